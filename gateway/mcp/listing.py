"""tools/list and discovery: the first stages of the pipeline for each tool; what would be denied is not shown."""

from collections.abc import Iterator
from typing import Any

from audit.event import AuditEvent
from gateway import refusals
from gateway.call import Caller, Frame
from gateway.commit.entry import Entry, EvidenceUnavailable, RecordRefused, Verdict
from gateway.pipeline import DECISIONS, authenticate, reachable_bundles
from gateway.ports import Ports
from gateway.refusals import Refusal
from governance import canonical
from governance.decision import AccessRequest, decide
from governance.inspection.masking import VaultIndex
from governance.snapshot import Bundle, Tool


async def list_tools(frame: Frame, ports: Ports) -> list[dict[str, Any]]:
    """Pinned definitions under their exposed names, in a stable order. A list discloses, so it passes the fence.

    Raises Refusal.
    """
    snapshot = await ports.confirmed_snapshot()
    for _ in range(DECISIONS):
        caller = authenticate(frame, snapshot, ports)
        bundles = reachable_bundles(frame.bundle, caller.agent, snapshot, ports)
        visible = dict(_visible(frame, caller, bundles, ports))
        committed = await _commit(_entry(frame, caller, bundles, visible, ports), ports)
        if committed.verdict is Verdict.COMMITTED:
            return _shown(visible, ports.vault_index(ports.snapshot()))
        snapshot = await ports.snapshot_at_least(committed.epoch)
    raise Refusal(refusals.BUSY)


def _shown(visible: dict[str, Tool], vault: VaultIndex) -> list[dict[str, Any]]:
    """An upstream may have put what we present to it into a description."""
    tools: Any = [{**tool.definition, "name": name} for name, tool in sorted(visible.items())]
    if vault.find(canonical.encode(tools)):
        tools, _ = vault.mask(tools)
    return tools if isinstance(tools, list) else []


async def _commit(entry: Entry, ports: Ports) -> Any:
    try:
        return await ports.commit(entry)
    except RecordRefused as error:
        raise EvidenceUnavailable("the list could not be recorded") from error


def _visible(frame: Frame, caller: Caller, bundles: list[Bundle], ports: Ports) -> Iterator[tuple[str, Tool]]:
    now = ports.now()
    for bundle in bundles:
        for name, tool in (bundle.tools if frame.bundle is not None else bundle.by_union_name).items():
            request = AccessRequest(
                agent_id=caller.agent.id,
                credential_id=caller.credential.id,
                tool_id=tool.id,
                bundle_id=bundle.id,
                arguments=None,
                session_id=frame.session_id,
                source_ip=frame.source_ip,
            )
            decision = decide(request, caller.snapshot, now)
            if decision.effect != "deny":
                yield name, tool


def _entry(frame: Frame, caller: Caller, bundles: list[Bundle], visible: dict[str, Tool], ports: Ports) -> Entry:
    agent = caller.agent
    event = AuditEvent(
        kind="tools.listed",
        at=ports.now(),
        actor=f"agent:{agent.name}",
        agent=agent.name,
        person=agent.owner.email,
        decision="permit",
        process_id=ports.process_id,
        decided_epoch=caller.snapshot.epoch,
        details={
            "endpoint": frame.bundle or "*",
            "bundles": [f"{bundle.name} v{bundle.number}" for bundle in bundles],
            "tools": len(visible),
            "revision": frame.revision,
            "source_ip": frame.source_ip,
        },
    )
    reads = {f"agent:{agent.id}", f"person:{agent.owner.id}", f"credential:{caller.credential.id}"}
    reads.update(f"role:{role.id}" for role in agent.roles)
    reads.update(f"team:{team}" for team in agent.owner.team_ids)
    reads.update(f"tool:{tool.id}" for tool in visible.values())
    reads.update(*(bundle.ancestry for bundle in bundles))
    return Entry(event, read_set=frozenset(reads))
