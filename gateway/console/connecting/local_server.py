"""A connector's local server: what is run, and how it does in each gateway process."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from django.db.models.functions import Now

from gateway.hostile_text import visible
from gateway.models import GatewayProcess
from gateway.recovery import DEAD_AFTER
from governance.models import Agent, Connector
from governance.programs import program_faults, shown_command


@dataclass(frozen=True, slots=True)
class Running:
    """One program of one gateway process. `said` is the end of its standard error; after a failure it is not started
    before `due_in_seconds` are over."""

    process: str
    agent: str
    pid: int
    failures: int
    due_in_seconds: int
    reason: str
    said: str


@dataclass(frozen=True, slots=True)
class LocalServer:
    command: str
    variables: tuple[str, ...]
    faults: tuple[str, ...]
    """Why it may not be run here."""
    running: tuple[Running, ...]


def local_server_of(connector: Connector) -> LocalServer | None:
    if not connector.command:
        return None
    variables = [f"{name}={value}" for name, value in sorted(connector.environment.items())]
    if connector.secret_variable:
        variables.append(f"{connector.secret_variable}=(the secret)")
    faults = program_faults(connector.command, connector.environment)
    return LocalServer(
        visible(shown_command(connector.command)),
        tuple(map(visible, variables)),
        tuple(message for _, message in faults),
        _running(connector),
    )


def _running(connector: Connector) -> tuple[Running, ...]:
    told = list(_told_of(connector))
    agents = Agent.objects.filter(pk__in={each["agent_id"] for _, each in told if each["agent_id"]})
    names = {agent.pk.hex: agent.name for agent in agents}
    return tuple(
        Running(
            process,
            names.get(each["agent_id"], ""),
            each["pid"],
            each["failures"],
            round(each.get("due_in_seconds", 0)),
            visible(each["reason"]),
            visible(each["said"]),
        )
        for process, each in told
    )


def _told_of(connector: Connector) -> Iterator[tuple[str, dict[str, Any]]]:
    """What living gateway processes tell of its programs with their heartbeat."""
    for process in GatewayProcess.objects.filter(ended_at=None, beat_at__gte=Now() - DEAD_AFTER):
        for upstream in process.upstreams:
            if upstream["connector_id"] == connector.pk.hex:
                yield from ((str(process), program) for program in upstream["programs"])
