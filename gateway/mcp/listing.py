"""The four lists: the first stages of the pipeline for each item; what would be denied is not shown.

Tools are pinned definitions of the registry, without those of an upstream that is down. Prompts, resources and
templates are what the upstreams list now, cut to what the caller's bundles select.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

from audit.event import AuditEvent
from gateway import refusals
from gateway.call import Caller, Frame
from gateway.catalogs import DOWN, TOOLS, Catalogs, Shelf
from gateway.commit.entry import Committed, Entry, EvidenceUnavailable, RecordRefused, Verdict
from gateway.deciding import authenticate, reachable_bundles
from gateway.mcp.own_tools import DEFINITIONS
from gateway.mcp.paging import page
from gateway.offered_items import Withheld
from gateway.pipeline import DECISIONS
from gateway.ports import Ports
from gateway.refusals import Refusal
from gateway.run_sessions import session_at
from gateway.targets import PROMPT, RESOURCE, TOOL, exposed_name, selections
from governance import canonical
from governance.decision import AccessRequest, Effect, decide
from governance.inspection.masking import VaultIndex
from governance.snapshot import Agent, Bundle, Connector, Snapshot, Tool

MISSING = "com.gatehouse/missing"
TTL_MS = 30_000
OUTPUT_SCHEMA = "outputSchema"
LIMITS, LIMIT_LENGTH = 10, 200
"""How many limits a description tells, and how many letters of each."""
MOST_WITHHELD_TOLD = 50
LIVENESS_SECONDS = 1.0
"""How long a list of tools waits to hear whether an upstream is there; one that is only slow stays in it."""

Items = Mapping[str, tuple[Tool, Mapping[str, Any]]]
"""By exposed name."""


@dataclass(frozen=True, slots=True)
class Kind:
    """One list: which kind of target, under which member its items stand, what names an item, how evidence calls it."""

    target: str
    member: str
    key: str
    record: str


KINDS: Mapping[str, Kind] = MappingProxyType(
    {
        "tools/list": Kind(TOOL, "tools", "name", "tools.listed"),
        "prompts/list": Kind(PROMPT, "prompts", "name", "prompts.listed"),
        "resources/list": Kind(RESOURCE, "resources", "uri", "resources.listed"),
        "resources/templates/list": Kind(RESOURCE, "resourceTemplates", "uriTemplate", "templates.listed"),
    }
)


@dataclass(frozen=True, slots=True)
class Visible:
    """What one caller may see of one list."""

    caller: Caller
    bundles: tuple[Bundle, ...]
    items: Items = field(repr=False)
    missing: tuple[Shelf, ...] = ()
    withheld: tuple[tuple[str, Withheld], ...] = ()
    """Connector and item, of what inspection finds something serious in."""


async def list_items(frame: Frame, ports: Ports, catalogs: Catalogs, *, cursor: Any = None) -> dict[str, Any]:
    """One page under exposed names, in a stable order. A list discloses, so it passes the fence.

    Raises Refusal, BadCursor, EvidenceUnavailable.
    """
    snapshot = await ports.confirmed_snapshot()
    for _ in range(DECISIONS):
        visible = await see(frame, snapshot, ports, catalogs)
        names = sorted(visible.items)
        endpoint = f"{visible.caller.agent.id} {frame.bundle or '*'} {frame.method}"
        shown, following = page(names, cursor, bound_to=endpoint)
        committed = await commit_disclosure(_entry(frame, visible, shown, ports), ports)
        if committed.verdict is Verdict.COMMITTED:
            return _result(frame, visible, shown, following, ports.vault_index(ports.snapshot()))
        snapshot = await ports.snapshot_at_least(committed.epoch)
    raise Refusal(refusals.BUSY)


async def commit_disclosure(entry: Entry, ports: Ports) -> Committed:
    """Raises EvidenceUnavailable."""
    try:
        return await ports.commit(entry)
    except RecordRefused as error:
        raise EvidenceUnavailable("a disclosure could not be recorded") from error


async def see(frame: Frame, snapshot: Snapshot, ports: Ports, catalogs: Catalogs) -> Visible:
    """Raises Refusal for a caller without a valid key."""
    caller = authenticate(frame, snapshot, ports)
    bundles = tuple(reachable_bundles(frame.bundle, caller, ports))
    if frame.method == TOOLS:
        tools = dict(visible_tools(frame, caller, bundles, ports))
        return Visible(caller, bundles, *await _without_the_down(tools, catalogs))
    kind = KINDS[frame.method]
    connectors = _connectors(caller.agent, bundles, kind.target, snapshot, ports)
    shelves = await catalogs.of_all(connectors, frame.method)
    items = dict(_visible_targets(frame, caller, bundles, shelves, ports))
    withheld = tuple((shelf.connector.name, each) for shelf in shelves for each in shelf.withheld)
    return Visible(caller, bundles, items, tuple(shelf for shelf in shelves if shelf.problem), withheld)


async def _without_the_down(tools: Items, catalogs: Catalogs) -> tuple[Items, tuple[Shelf, ...]]:
    """What is listed are pinned definitions, so upstreams are asked only whether they would answer a call at all."""
    connectors = {tool.connector.id: tool.connector for tool, _ in tools.values() if is_shared(tool.connector)}
    shelves = await catalogs.of_all(connectors.values(), TOOLS, patience_seconds=LIVENESS_SECONDS)
    down = {shelf.connector.id: shelf for shelf in shelves if shelf.problem in DOWN}
    return {name: item for name, item in tools.items() if item[0].connector.id not in down}, tuple(down.values())


def is_shared(connector: Connector) -> bool:
    """Not a local server of which each agent has its own: to ask one more whether it is there would start it."""
    return connector.program is None or not connector.program.per_agent


def visible_tools(
    frame: Frame, caller: Caller, bundles: Iterable[Bundle], ports: Ports
) -> Iterator[tuple[str, tuple[Tool, Mapping[str, Any]]]]:
    unpromised: set[str] = set()
    for bundle in bundles:
        for name, tool in (bundle.tools if frame.bundle is not None else bundle.by_union_name).items():
            if not is_reserved(name, caller.snapshot) and may_see(frame, caller, bundle, tool, ports):
                definition = _with_limits(caller, bundle, tool, ports)
                if OUTPUT_SCHEMA in definition and (name in unpromised or _may_mask(caller, bundle, tool)):
                    unpromised.add(name)
                    definition = {key: value for key, value in definition.items() if key != OUTPUT_SCHEMA}
                yield name, (tool, definition)


def _may_mask(caller: Caller, bundle: Bundle, tool: Tool) -> bool:
    """Then no schema of its results is promised: a mask makes text of a number, and a value that a pattern or an enum
    does not know. Whatever a server lists a schema for has to conform to it."""
    holding = caller.snapshot.holding(caller.agent, bundle, tool, caller.credential.person_id)
    return holding is not None and holding.masks_results


def is_reserved(name: str, snapshot: Snapshot) -> bool:
    """Our own tools' names are ours wherever they are offered: no upstream is taken for us."""
    return snapshot.agents_may_ask and name in DEFINITIONS


def _with_limits(caller: Caller, bundle: Bundle, tool: Tool, ports: Ports) -> Mapping[str, Any]:
    """The agent is told its data scopes where it reads what the tool is for. The pinned definition stays as it is."""
    limits = caller.snapshot.limits_told(caller.agent, bundle, tool, ports.now(), person_id=caller.credential.person_id)
    if not limits:
        return tool.definition
    told = "; ".join(_one_line(limit) for limit in limits[:LIMITS])
    said = tool.definition.get("description")
    before = f"{said}\n\n" if isinstance(said, str) and said else ""
    return {**tool.definition, "description": f"{before}Limit here: {told}."}


def _one_line(text: str) -> str:
    plain = "".join(letter if letter.isprintable() else " " for letter in text)
    return " ".join(plain.split())[:LIMIT_LENGTH].rstrip(".")


def may_see(frame: Frame, caller: Caller, bundle: Bundle, tool: Tool, ports: Ports) -> bool:
    request = AccessRequest(
        agent_id=caller.agent.id,
        credential_id=caller.credential.id,
        tool_id=tool.id,
        bundle_id=bundle.id,
        arguments=None,
        session_id=frame.session_id,
        source_ip=frame.source_ip,
        target=tool if tool.kind != TOOL else None,
        person_id=caller.credential.person_id,
        rests_on=caller.credential.reads,
        ends_at=caller.credential.expires_at,
    )
    return decide(request, caller.snapshot, ports.now()).effect is not Effect.DENY


def _visible_targets(
    frame: Frame, caller: Caller, bundles: Iterable[Bundle], shelves: Iterable[Shelf], ports: Ports
) -> Iterator[tuple[str, tuple[Tool, Mapping[str, Any]]]]:
    kind = KINDS[frame.method]
    by_connector = {shelf.connector.id: shelf for shelf in shelves}
    for bundle in bundles:
        for selection in selections(bundle, kind.target):
            shelf = by_connector.get(selection.connector.id)
            for name, item in _named(shelf.items if shelf is not None else (), kind):
                target = caller.snapshot.target(selection.connector, kind.target, name)
                if target is not None and may_see(frame, caller, bundle, target, ports):
                    union = frame.bundle is None
                    yield exposed_name(bundle, selection.connector, name, kind.target, union=union), (target, item)


def _named(items: Iterable[Mapping[str, Any]], kind: Kind) -> Iterator[tuple[str, Mapping[str, Any]]]:
    for item in items:
        name = item.get(kind.key)
        if isinstance(name, str):
            yield name, item


def _connectors(
    agent: Agent, bundles: Iterable[Bundle], kind: str, snapshot: Snapshot, ports: Ports
) -> list[Connector]:
    """Those a list may ask: none that is switched off, frozen or without its secret."""
    chosen = {each.connector.id: each.connector for bundle in bundles for each in selections(bundle, kind)}
    return [connector for connector in chosen.values() if _is_open(connector, agent, snapshot, ports)]


def _is_open(connector: Connector, agent: Agent, snapshot: Snapshot, ports: Ports) -> bool:
    anything = snapshot.target(connector, PROMPT, "*")
    is_frozen = anything is not None and snapshot.freeze_of(agent, anything, ports.now()) is not None
    return connector.is_enabled and not connector.secret_missing and not is_frozen


def _result(
    frame: Frame, visible: Visible, shown: Iterable[str], following: str | None, vault: VaultIndex
) -> dict[str, Any]:
    kind = KINDS[frame.method]
    items = [_readable({**visible.items[name][1], kind.key: name}, kind) for name in shown]
    if kind.target == TOOL and following is None and visible.caller.snapshot.agents_may_ask:
        items += [{**definition, "name": name} for name, definition in DEFINITIONS.items()]
    result: dict[str, Any] = {kind.member: _without_secrets(items, vault), "ttlMs": TTL_MS}
    if following is not None:
        result["nextCursor"] = following
    if visible.missing:
        missing = [{"connector": shelf.connector.name, "problem": shelf.problem} for shelf in visible.missing]
        result["_meta"] = {MISSING: missing}
    return result


def _readable(item: dict[str, Any], kind: Kind) -> dict[str, Any]:
    """A tool's schema is an object's in every revision: clients refuse the whole list for one that is not."""
    schema = item.get("inputSchema")
    if kind.target != TOOL or (isinstance(schema, Mapping) and schema.get("type") == "object"):
        return item
    return {**item, "inputSchema": {**(schema if isinstance(schema, Mapping) else {}), "type": "object"}}


def _without_secrets(items: Any, vault: VaultIndex) -> list[dict[str, Any]]:
    """An upstream may have put what we present to it into a description."""
    if vault.find(canonical.encode(items)):
        items, _ = vault.mask(items)
    return items if isinstance(items, list) else []


def _entry(frame: Frame, visible: Visible, shown: Iterable[str], ports: Ports) -> Entry:
    kind, agent = KINDS[frame.method], visible.caller.agent
    targets = [visible.items[name][0] for name in shown]
    details: dict[str, Any] = {
        "endpoint": frame.bundle or "*",
        "bundles": [f"{bundle.name} v{bundle.number}" for bundle in visible.bundles],
        kind.member: len(targets),
        "revision": frame.revision,
        "source_ip": frame.source_ip,
    }
    if visible.missing:
        details["missing"] = [shelf.connector.name for shelf in visible.missing]
    if visible.withheld:
        told = [{"connector": of, **each.as_json()} for of, each in visible.withheld[:MOST_WITHHELD_TOLD]]
        details["withheld"] = _without_secrets(told, ports.vault_index(ports.snapshot()))
    at = ports.now()
    event = AuditEvent(
        kind=kind.record,
        at=at,
        actor=f"agent:{agent.name}",
        agent=agent.name,
        person=agent.owner.email,
        decision="permit",
        process_id=ports.process_id,
        session=session_at(frame, agent.name, visible.caller.person.email, at),
        decided_epoch=visible.caller.snapshot.epoch,
        details=details,
    )
    return Entry(event, read_set=_read_set(visible, targets))


def _read_set(visible: Visible, targets: Iterable[Tool]) -> frozenset[str]:
    caller, agent = visible.caller, visible.caller.agent
    reads = {f"agent:{agent.id}", f"credential:{caller.credential.id}", *caller.credential.reads}
    reads.update(f"role:{role.id}" for role in caller.snapshot.roles_of(agent))
    for person in {agent.owner.id: agent.owner, caller.person.id: caller.person}.values():
        reads.add(f"person:{person.id}")
        reads.update(f"team:{team}" for team in person.team_ids)
    if caller.credential.person_id:
        reads.update(f"role:{role.id}" for role in caller.snapshot.roles_of(caller.person))
    reads.update(f"tool:{each.id}" if each.kind == TOOL else f"connector:{each.connector.id}" for each in targets)
    reads.update(*(bundle.ancestry for bundle in visible.bundles))
    return frozenset(reads)
