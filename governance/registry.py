"""Tools and their pinned definitions: what an upstream says it offers, and what we let it serve.

The first definitions seen of a connector are pinned. Whatever is new or different later waits for a human,
unless the connector allows it, and the pinned definition goes on being served: an upstream cannot change
under our feet what was approved (a "rug pull"). What inspection finds something serious in waits always.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any

import orjson
from django.db.models import QuerySet

from governance import canonical
from governance.definition_findings import (
    Remarks,
    changed,
    inspected,
    is_suspicious,
    shadowing,
    stored,
)
from governance.facts import Fact, Recorder
from governance.inspection.digest import pack_digest
from governance.models import Connector, Tool, ToolDefinition

LONGEST_NAME = 128
MAX_DEFINITION_BYTES = 256 * 1024
MAX_NAMES_IN_EVIDENCE = 100
MAX_FINDINGS_IN_EVIDENCE = 200
INSPECTION_CPU_SECONDS = 20.0
MOST_COMPARED = 4_000
"""Tools of other connectors that new ones are compared with."""
WAITING, PINNED = ToolDefinition.Status.WAITING, ToolDefinition.Status.PINNED
SUPERSEDED, REJECTED = ToolDefinition.Status.SUPERSEDED, ToolDefinition.Status.REJECTED


class NotDecidable(Exception):
    """The definition or tool is no longer in the state that the decision was about."""


@dataclass(frozen=True, slots=True)
class FoundTool:
    """A tool as its upstream describes it: canonical JSON and its hash."""

    name: str
    digest: str
    body: bytes = field(repr=False)
    schema: Mapping[str, Any] = field(repr=False, compare=False)
    remarks: Remarks = field(default=(), repr=False, compare=False)
    """What inspection says of it by itself."""

    @property
    def text(self) -> str:
        """What agents read of it first."""
        said = orjson.loads(self.body)
        annotations = said.get("annotations")
        titles = annotations.get("title") if isinstance(annotations, dict) else None
        return "\n".join(text for text in (said.get("title"), titles, said.get("description")) if isinstance(text, str))


@dataclass(frozen=True, slots=True)
class Catalogue:
    """One answer of an upstream: its tools, or why there is no answer. `unusable` are names we cannot take."""

    tools: tuple[FoundTool, ...] = ()
    unusable: tuple[str, ...] = ()
    protocol_version: str = ""
    error: str = ""


@dataclass(frozen=True, slots=True)
class Registration:
    """What taking in a catalogue does, by tool name. `vanished` tools stay: whoever calls one hears the upstream."""

    pinned: tuple[str, ...] = ()
    waiting: tuple[str, ...] = ()
    vanished: tuple[str, ...] = ()
    remarks: Mapping[str, Remarks] = field(default_factory=dict, repr=False, compare=False)
    """Of what is pinned or waits now, where there is something to say."""

    @property
    def held(self) -> tuple[str, ...]:
        """Those that wait because of what was found in them, whatever the connector allows."""
        return tuple(name for name in self.waiting if is_suspicious(self.remarks.get(name, ())))

    def __bool__(self) -> bool:
        """Does it change anything?"""
        return bool(self.pinned or self.waiting)


def catalogue(definitions: Iterable[Mapping[str, Any]], *, protocol_version: str) -> Catalogue:
    """Hashes and inspects what an upstream sent. Slow for many tools, so never inside a transaction."""
    tools: dict[str, FoundTool] = {}
    unusable: list[str] = []
    for definition in definitions:
        found = _found_tool(definition)
        if found is None or found.name in tools:
            unusable.append(str(definition.get("name"))[:LONGEST_NAME])
        else:
            tools[found.name] = found
    remarks = inspected((orjson.loads(tool.body) for tool in tools.values()), cpu_seconds=INSPECTION_CPU_SECONDS)
    looked_at = (replace(tool, remarks=said) for tool, said in zip(tools.values(), remarks, strict=True))
    return Catalogue(tuple(looked_at), tuple(unusable), protocol_version)


def _found_tool(definition: Mapping[str, Any]) -> FoundTool | None:
    """None for what cannot be kept faithfully or called by name."""
    name, schema = definition.get("name"), definition.get("inputSchema")
    if not isinstance(name, str) or not 0 < len(name) <= LONGEST_NAME or not name.isprintable():
        return None
    try:
        body = canonical.encode(definition)
        canonical.parse(body)
    except (TypeError, canonical.NotCanonical):
        return None
    if len(body) > MAX_DEFINITION_BYTES:
        return None
    return FoundTool(name, canonical.definition_hash(definition), body, schema if isinstance(schema, Mapping) else {})


def registration(connector: Connector | None, found: Catalogue, *, new_tools: str) -> Registration:
    """What `register` would do; `connector` is None for one that does not exist yet."""
    known = _known_definitions(connector) if connector is not None else {}
    pins = connector is None or _pins(connector, new_tools)
    news = [tool for tool in found.tools if _is_news(known.get(tool.name, {}), tool.digest, pins=pins)]
    remarks = _remarks_on(connector, news)
    offered = {tool.name for tool in found.tools}
    vanished = tuple(sorted(name for name, digests in known.items() if digests and name not in offered))
    held = {tool.name for tool in news if not pins or is_suspicious(remarks.get(tool.name, ()))}
    pinned = tuple(tool.name for tool in news if tool.name not in held)
    waiting = tuple(tool.name for tool in news if tool.name in held and not _waits(known, tool))
    return Registration(pinned, waiting, vanished, remarks)


def _pins(connector: Connector, new_tools: str) -> bool:
    return connector.last_seen_at is None or new_tools == Connector.NewTools.ALLOW


def _known_definitions(connector: Connector) -> dict[str, dict[str, str]]:
    """Tool name -> digest -> status."""
    known: dict[str, dict[str, str]] = {name: {} for name in connector.tools.values_list("name", flat=True)}
    rows = ToolDefinition.objects.filter(tool__connector=connector)
    for name, digest, status in rows.values_list("tool__name", "digest", "status"):
        known[name][digest] = status
    return known


def _is_news(statuses: Mapping[str, str], digest: str, *, pins: bool) -> bool:
    """A rejected definition stays rejected, however often it is offered."""
    settled = (PINNED, REJECTED) if pins else (PINNED, REJECTED, WAITING)
    return statuses.get(digest) not in settled


def _waits(known: Mapping[str, Mapping[str, str]], tool: FoundTool) -> bool:
    return known.get(tool.name, {}).get(tool.digest) == WAITING


def _remarks_on(connector: Connector | None, news: Sequence[FoundTool]) -> dict[str, Remarks]:
    """By itself, against what is pinned of it, and against the tools of other connectors."""
    if not news:
        return {}
    others = Tool.objects.exclude(connector=connector) if connector is not None else Tool.objects
    known = list(others.values_list("connector__name", "name").order_by("id")[:MOST_COMPARED])
    name = connector.name if connector is not None else ""
    shadows = shadowing({tool.name: tool.text for tool in news}, connector=name, known=known) if known else {}
    before = _pinned_bodies(connector, news)
    found = {
        tool.name: (*tool.remarks, *shadows.get(tool.name, ()), *_changes(before.get(tool.name), tool)) for tool in news
    }
    return {name: remarks for name, remarks in found.items() if remarks}


def _pinned_bodies(connector: Connector | None, news: Iterable[FoundTool]) -> dict[str, bytes]:
    if connector is None:
        return {}
    rows = ToolDefinition.objects.filter(tool__connector=connector, status=PINNED)
    names = [tool.name for tool in news]
    return {name: bytes(body) for name, body in rows.filter(tool__name__in=names).values_list("tool__name", "body")}


def _changes(pinned: bytes | None, tool: FoundTool) -> Remarks:
    return changed(orjson.loads(pinned), orjson.loads(tool.body)) if pinned is not None else ()


def register(connector: Connector, found: Catalogue, *, by: str, record: Recorder, now: datetime) -> Registration:
    """Takes in what an upstream answered; only notes the error when it did not."""
    if found.error:
        Connector.objects.filter(id=connector.id).update(last_error=found.error)
        return Registration()
    done = registration(connector, found, new_tools=connector.new_tools)
    tools = {tool.name: tool for tool in found.tools}
    _store(connector, [tools[name] for name in done.pinned], done.remarks, status=PINNED, by=by)
    _store(connector, [tools[name] for name in done.waiting], done.remarks, status=WAITING, by="")
    _look_after(connector, found)
    Connector.objects.filter(id=connector.id).update(
        last_error=_remarks(found), last_seen_at=now, protocol_version=found.protocol_version[:16]
    )
    if done:
        record(Fact("tools.registered", f"connector:{connector.name}", _shown(done)))
    return done


def _remarks(found: Catalogue) -> str:
    if not found.unusable:
        return ""
    return f"Tools with unusable names or definitions were left out: {', '.join(found.unusable[:10])}"


def _shown(done: Registration) -> dict[str, Any]:
    listed = {"pinned": done.pinned, "waiting": done.waiting, "vanished": done.vanished}
    if done.held:
        listed["held"] = done.held
    shown: dict[str, Any] = {
        key: {"count": len(names), "names": sorted(names)[:MAX_NAMES_IN_EVIDENCE]} for key, names in listed.items()
    }
    told = [{"tool": name, **each} for name in sorted(done.remarks) for each in stored(done.remarks[name])]
    return shown | ({"findings": told[:MAX_FINDINGS_IN_EVIDENCE], "pack": pack_digest()} if told else {})


def _look_after(connector: Connector, found: Catalogue) -> None:
    """Definitions taken in before there was inspection: what it says of them is noted, and they go on as they are."""
    unseen = ToolDefinition.objects.filter(
        tool__connector=connector, status__in=(PINNED, WAITING), findings__isnull=True
    )
    remarks = {(tool.name, tool.digest): tool.remarks for tool in found.tools}
    for row in unseen.select_related("tool").only("tool__name", "digest"):
        said = remarks.get((row.tool.name, row.digest))
        if said is not None:
            _note(ToolDefinition.objects.filter(pk=row.pk), said)


def _note(rows: QuerySet[ToolDefinition], remarks: Remarks) -> None:
    rows.update(findings=stored(remarks), is_suspicious=is_suspicious(remarks))


def _store(
    connector: Connector, found: Sequence[FoundTool], remarks: Mapping[str, Remarks], *, status: str, by: str
) -> None:
    """Older definitions that wait, or were pinned where this one is now, are superseded."""
    if not found:
        return
    tools = _tool_rows(connector, [tool.name for tool in found])
    replaced = (WAITING, PINNED) if status == PINNED else (WAITING,)
    rows = ToolDefinition.objects.filter(tool__in=tools.values())
    rows.filter(status__in=replaced).update(status=SUPERSEDED)
    known = {(row.tool_id, row.digest): row.id for row in rows}
    keys = {(tools[tool.name].id, tool.digest): tool for tool in found}
    again = [known[key] for key in keys if key in known]
    ToolDefinition.objects.filter(id__in=again).update(status=status, decided_by=by)
    for key, tool in keys.items():
        if key in known:
            _note(ToolDefinition.objects.filter(id=known[key]), remarks.get(tool.name, ()))
    ToolDefinition.objects.bulk_create(
        ToolDefinition(
            tool_id=key[0],
            digest=tool.digest,
            body=tool.body,
            status=status,
            decided_by=by,
            findings=stored(remarks.get(tool.name, ())),
            is_suspicious=is_suspicious(remarks.get(tool.name, ())),
        )
        for key, tool in keys.items()
        if key not in known
    )


def _tool_rows(connector: Connector, names: Sequence[str]) -> dict[str, Tool]:
    rows = {tool.name: tool for tool in connector.tools.filter(name__in=names)}
    created = Tool.objects.bulk_create(Tool(connector=connector, name=name) for name in names if name not in rows)
    return rows | {tool.name: tool for tool in created}


def pin(definition: ToolDefinition, *, by: str, record: Recorder, reason: str = "") -> None:
    """A human accepts a waiting definition; it takes the place of the pinned one. Raises NotDecidable."""
    ToolDefinition.objects.filter(tool=definition.tool_id, status=PINNED).update(status=SUPERSEDED)
    _decide(definition, PINNED, by=by)
    record(Fact("definition.pinned", f"tool:{definition.tool}", _decided(definition, reason)))


def reject(definition: ToolDefinition, *, by: str, record: Recorder, reason: str = "") -> None:
    """A human refuses a waiting definition, for good; the pinned one goes on. Raises NotDecidable."""
    _decide(definition, REJECTED, by=by)
    record(Fact("definition.rejected", f"tool:{definition.tool}", _decided(definition, reason)))


def _decided(definition: ToolDefinition, reason: str) -> dict[str, Any]:
    return {"digest": definition.digest, **({"reason": reason} if reason else {})}


def _decide(definition: ToolDefinition, status: str, *, by: str) -> None:
    waiting = ToolDefinition.objects.filter(id=definition.id, status=WAITING)
    if not waiting.update(status=status, decided_by=by):
        raise NotDecidable(f"The definition {definition.digest[:8]} of {definition.tool} waits no longer.")


def quarantine(tool: Tool, *, reason: str, by: str, record: Recorder, now: datetime) -> None:
    """Takes a tool out of every agent's reach at once. Raises NotDecidable if it is already."""
    rows = Tool.objects.filter(id=tool.id, quarantined_at=None)
    if not rows.update(quarantined_at=now, quarantine_reason=reason[:300]):
        raise NotDecidable(f"{tool} is in quarantine already.")
    record(Fact("tool.quarantined", f"tool:{tool}", {"reason": reason, "by": by}))


def release(tool: Tool, *, by: str, record: Recorder) -> None:
    """Raises NotDecidable if the tool is not in quarantine."""
    rows = Tool.objects.filter(id=tool.id).exclude(quarantined_at=None)
    if not rows.update(quarantined_at=None, quarantine_reason=""):
        raise NotDecidable(f"{tool} is not in quarantine.")
    record(Fact("tool.released", f"tool:{tool}", {"by": by}))
