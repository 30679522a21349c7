"""Asking every upstream again what it offers: what is new or changed waits for review, what was pinned is served on."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime
from functools import partial
from uuid import UUID

from gateway import notices
from gateway.accounts.looking_up import account_opener
from gateway.actions import act
from gateway.discovery import OpenAuth, Question, discover
from gateway.hostile_text import visible
from gateway.wiring import opened_auth, upstream_spec
from governance.facts import Recorder
from governance.manifest.apply import take_in
from governance.models import Tool, ToolDefinition
from governance.reactions import quarantine_drifted, to_drift
from governance.registry import Catalogue
from governance.snapshot import Connector
from governance.snapshot_builder import build_snapshot
from governance.vault import Keyring, keyring

BY = "system:discovery"
Status = ToolDefinition.Status


def rediscover(*, only: str = "", by: str = BY) -> dict[str, Catalogue]:
    """Connector name -> what it answered. Nothing is open in the database while upstreams are asked."""
    known = build_snapshot().connectors.values()
    connectors = [each for each in known if each.is_enabled and not each.secret_missing and only in ("", each.name)]
    keys = keyring()
    catalogues = discover(Question(upstream_spec(each), _opener(each, keys)) for each in connectors)

    def work(record: Recorder, now: datetime) -> None:
        with reacting(catalogues, record=record, now=now):
            take_in(catalogues, by=by, record=record, now=now)

    act(work, by=by)
    return catalogues


def _opener(connector: Connector, keys: Keyring) -> OpenAuth:
    if connector.account:
        return account_opener(UUID(connector.id))
    return partial(opened_auth, connector, keys)


@contextmanager
def reacting(catalogues: Mapping[str, Catalogue], *, record: Recorder, now: datetime) -> Iterator[None]:
    """Around the taking in of what upstreams answered, whoever asked them, in its transaction."""
    drifted, seen = _drifted(catalogues), _looked_at(catalogues)
    yield
    _react(drifted, record=record, now=now)
    _tell_suspicious(catalogues, seen, now=now)


def _looked_at(catalogues: Mapping[str, Catalogue]) -> set[UUID]:
    rows = ToolDefinition.objects.filter(tool__connector__name__in=catalogues).exclude(findings__isnull=True)
    return set(rows.values_list("pk", flat=True))


def _tell_suspicious(catalogues: Mapping[str, Catalogue], seen: set[UUID], *, now: datetime) -> None:
    """Of definitions that inspection has looked at for the first time, in one message."""
    rows = ToolDefinition.objects.filter(tool__connector__name__in=catalogues, is_suspicious=True).exclude(pk__in=seen)
    found = rows.exclude(status__in=(Status.SUPERSEDED, Status.REJECTED)).select_related("tool__connector")
    lines = [(visible(str(row.tool)), row.status == Status.PINNED) for row in found.defer("body").order_by("seen_at")]
    if lines:
        notices.definitions_suspicious(lines, now=now)


def _drifted(catalogues: Mapping[str, Catalogue]) -> list[Tool]:
    """Tools that are served and that their upstream describes as it never did before."""
    offered = {(name, tool.name): tool.digest for name, found in catalogues.items() for tool in found.tools}
    definitions = ToolDefinition.objects.filter(tool__connector__name__in=catalogues)
    known = set(definitions.exclude(status=Status.SUPERSEDED).values_list("tool_id", "digest"))
    served = Tool.objects.filter(definitions__in=definitions.filter(status=Status.PINNED)).select_related("connector")
    digests = [(tool, offered.get((tool.connector.name, tool.name))) for tool in served]
    return [tool for tool, digest in digests if digest is not None and (tool.pk, digest) not in known]


def _react(drifted: list[Tool], *, record: Recorder, now: datetime) -> None:
    """In the transaction in which the new definitions are taken in: none of them is served for a moment."""
    if not drifted or (reaction := to_drift()) is None:
        return
    for tool in drifted:
        if quarantine_drifted(reaction, tool, record=record, now=now):
            subject, text = f"tool {tool} is quarantined", "Its definition changed at the upstream."
            notices.reacted(subject, text, reaction=reaction.name, now=now)
