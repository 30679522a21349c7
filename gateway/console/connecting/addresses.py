"""How a connector's addresses and programs do right now, from what each gateway process tells with its heartbeat."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from django.db.models.functions import Now

from gateway.models import GatewayProcess
from gateway.recovery import DEAD_AFTER
from governance.models import Connector

SERIOUS = 3
"""Failures of a program in a row; one that just ended is started again without anybody noticing."""


@dataclass(frozen=True, slots=True)
class Address:
    """One replica: for how many of the living processes it is out of order, and when the first of them looks again."""

    url: str
    broken: int
    processes: int
    due_in_seconds: int

    @property
    def tone(self) -> str:
        if not self.broken:
            return "good"
        return "bad" if self.broken == self.processes else "warn"

    @property
    def text(self) -> str:
        if not self.broken:
            return "in use"
        whom = "" if self.broken == self.processes else f" for {self.broken} of {self.processes} gateway processes"
        return f"out of order{whom}; looked at again in {self.due_in_seconds} s when it is needed"


@dataclass(frozen=True, slots=True)
class Addresses:
    """All of a connector's, and how many calls wait for their turn in all processes."""

    each: tuple[Address, ...]
    waiting: int

    @property
    def is_unusual(self) -> bool:
        return self.waiting > 0 or any(address.broken for address in self.each)


def out_of_order() -> frozenset[UUID]:
    """Connectors to which some gateway process can make no call now."""
    return frozenset(UUID(state["connector_id"]) for states in _told() for state in states if _is_down(state))


def _is_down(state: dict[str, Any]) -> bool:
    replicas, programs = state["replicas"], state["programs"]
    is_broken = all(replica["status"] != "closed" for replica in replicas)
    return is_broken if replicas else any(each["failures"] >= SERIOUS and not each["pid"] for each in programs)


def _told() -> list[list[dict[str, Any]]]:
    living = GatewayProcess.objects.filter(ended_at=None, beat_at__gte=Now() - DEAD_AFTER)
    return list(living.values_list("upstreams", flat=True))


def addresses_of(connector: Connector) -> Addresses:
    told = _told()
    mine = [state for states in told for state in states if state["connector_id"] == connector.pk.hex]
    addresses = tuple(_address(url, mine, processes=len(told)) for url in connector.urls)
    return Addresses(addresses, sum(state["waiting"] for state in mine))


def _address(url: str, states: Iterable[dict[str, Any]], *, processes: int) -> Address:
    replicas = [each for state in states for each in state["replicas"] if each["url"] == url]
    broken = [each for each in replicas if each["status"] != "closed"]
    due = min((each["due_in_seconds"] for each in broken), default=0)
    return Address(url, len(broken), processes, round(due))
