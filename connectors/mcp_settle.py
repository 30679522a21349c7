"""How an upstream wants to be spoken to: `server/discover` first, `initialize` where that finds no modern peer."""

from collections.abc import Iterable, Mapping
from typing import Any, Final

from connectors.mcp_peer import (
    CLIENT_INFO,
    LEGACY,
    MODERN,
    MODERN_ERRORS,
    OLDEST,
    UNSUPPORTED_VERSION,
    Reply,
    Request,
    Wire,
    bad_answer,
)

DISCOVER: Final = Request("server/discover")
INITIALIZED: Final = Request("notifications/initialized")
PROBE: Final = Wire(MODERN)
"""What `server/discover` is sent over."""
HANDSHAKE: Final = Wire(LEGACY[0])
"""What `initialize` is sent over."""

_SERVER_INFO: Final = "io.modelcontextprotocol/serverInfo"
_MODES: Final[Mapping[str, tuple[str, ...]]] = {
    "elicitation": ("form", "url"),
    "sampling": ("context", "tools"),
    "roots": (),
}

Powers = tuple[tuple[str, tuple[str, ...]], ...]
"""What one legacy session declares that can be asked: names with their modes."""


def powers_of(declared: Mapping[str, Any]) -> Powers:
    """What a caller declared, as far as it has a name: a session is kept for each, so callers cannot make up more."""
    if not declared:
        return ()
    return tuple((name, _modes_of(name, declared[name])) for name in _MODES if isinstance(declared.get(name), Mapping))


def _modes_of(name: str, declared: Mapping[str, Any]) -> tuple[str, ...]:
    modes = tuple(mode for mode in _MODES[name] if mode in declared)
    return modes or (("form",) if name == "elicitation" else ())


def program_powers(declared: Mapping[str, Any]) -> Powers:
    """Of a session that is a program of its own: only such differences as are worth one, so that there are few."""
    return tuple((name, modes if name == "elicitation" else ()) for name, modes in powers_of(declared))


def relayed_powers(relays: Iterable[str]) -> Powers:
    """All that callers of a connector can be asked: some upstreams list certain tools only for those who can be."""
    return powers_of({name: {"form": {}, "url": {}} for name in relays})


def capabilities_of(powers: Powers) -> dict[str, Any]:
    """As they are declared to an upstream."""
    return {name: {mode: {} for mode in modes} for name, modes in powers}


def initialize(powers: Powers, *, version: str = LEGACY[0]) -> Request:
    """The legacy handshake."""
    about = {"capabilities": capabilities_of(powers), "clientInfo": CLIENT_INFO}
    return Request("initialize", {"protocolVersion": version, **about})


def modern_wire(reply: Reply) -> Wire | None:
    """The verdict of an answer to `DISCOVER`; None means: try `initialize`."""
    if reply.error_code in MODERN_ERRORS:
        return PROBE if MODERN in _supported_versions(reply) else None
    result = (reply.message or {}).get("result", {})
    versions = result.get("supportedVersions")
    return Wire(MODERN, server=_about(result)) if isinstance(versions, list) and MODERN in versions else None


def legacy_wire(reply: Reply, *, knows_oldest: bool = False) -> Wire:
    """What an answer to `initialize` settles: `INITIALIZED` is to be sent next, unless the upstream turned out modern.
    Raises UpstreamFailure (`bad_answer`)."""
    if reply.error_code == UNSUPPORTED_VERSION and MODERN in _supported_versions(reply):
        return PROBE
    result = (reply.message or {}).get("result", {})
    version = result.get("protocolVersion")
    if version not in LEGACY and not (knows_oldest and version == OLDEST):
        raise bad_answer("The upstream speaks no revision of MCP that Gatehouse speaks.")
    return Wire(version, session_id=reply.session_id, server=_about(result))


def _supported_versions(reply: Reply) -> list[Any]:
    error = (reply.message or {}).get("error") or {}
    supported = error["data"].get("supported") if isinstance(error.get("data"), dict) else None
    return supported if isinstance(supported, list) else [MODERN]


def _about(result: Mapping[str, Any]) -> dict[str, Any]:
    """What an upstream says of itself, in one shape for both eras; display only, nothing here is verified."""
    meta = result.get("_meta")
    info = result.get("serverInfo") or (meta.get(_SERVER_INFO) if isinstance(meta, dict) else None)
    capabilities = result.get("capabilities")
    about = {
        "serverInfo": info if isinstance(info, dict) else {},
        "capabilities": capabilities if isinstance(capabilities, dict) else {},
    }
    if isinstance(result.get("instructions"), str):
        about["instructions"] = result["instructions"]
    return about
