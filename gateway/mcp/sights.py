"""What an agent sees at an endpoint, as far as others tell when it changes, and whom to listen to for that."""

from collections.abc import Iterable, Mapping

from connectors.base import Interest
from gateway.call import Caller, Frame
from gateway.mcp.listing import OUTPUT_SCHEMA, visible_tools
from gateway.ports import Ports
from gateway.targets import PROMPT, RESOURCE, TOOL, selections
from governance.snapshot import Bundle, Connector, Snapshot


def sight(kind: str, frame: Frame, caller: Caller, bundles: list[Bundle], ports: Ports) -> tuple[frozenset[str], int]:
    """(connectors, a number that differs when what is visible does). Of prompts and resources it is what decides
    on their visibility: to ask the upstreams for each new snapshot would be too much."""
    if kind == TOOL:
        tools = dict(visible_tools(frame, caller, bundles, ports))
        told = (
            (name, tool.definition_digest, item.get("description"), OUTPUT_SCHEMA in item)
            for name, (tool, item) in tools.items()
        )
        return frozenset(tool.connector.id for tool, _ in tools.values()), hash(frozenset(told))
    chosen = [(bundle, each) for bundle in bundles for each in selections(bundle, kind)]
    basis = [
        (bundle.version_id, bundle.ancestry, each.allow, each.deny, *_state(each.connector)) for bundle, each in chosen
    ]
    freezes = caller.snapshot.freezes if chosen else ()
    return frozenset(each.connector.id for _, each in chosen), hash((tuple(basis), freezes))


def interests(
    snapshot: Snapshot, reaches: Iterable[Mapping[str, frozenset[str]]], uris_wanted: Iterable[tuple[str, str]]
) -> dict[str, tuple[Connector, Interest]]:
    """By connector, of those that can be listened to."""
    kinds: dict[str, set[str]] = {}
    for reach in reaches:
        for kind, connector_ids in reach.items():
            for connector_id in connector_ids:
                kinds.setdefault(connector_id, set()).add(kind)
    uris: dict[str, set[str]] = {}
    for connector_id, uri in uris_wanted:
        uris.setdefault(connector_id, set()).add(uri)
    return {
        connector_id: (connector, _interest(kinds.get(connector_id, set()), uris.get(connector_id, set())))
        for connector_id in kinds.keys() | uris.keys()
        if (connector := snapshot.connectors.get(connector_id)) is not None
        and connector.is_enabled
        and not connector.secret_missing
    }


def _interest(kinds: set[str], uris: set[str]) -> Interest:
    return Interest(tools=TOOL in kinds, prompts=PROMPT in kinds, resources=RESOURCE in kinds, uris=frozenset(uris))


def _state(connector: Connector) -> tuple[str, str, bool, bool]:
    return connector.id, connector.revision, connector.is_enabled, connector.secret_missing
