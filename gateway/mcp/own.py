"""Methods that we answer ourselves: they disclose nothing governed, so nothing is decided or recorded."""

from collections.abc import Awaitable, Callable, Mapping
from types import MappingProxyType

from gateway.call import Answer
from gateway.mcp.capabilities import capabilities
from gateway.mcp.context import Context
from gateway.mcp.frames import invalid_params
from gateway.mcp.revisions import INSTRUCTIONS, LOG_LEVELS, SERVER_INFO, SUPPORTED
from gateway.ports import Ports

DISCOVER_TTL_MS = 300_000


async def ping(context: Context, ports: Ports) -> Answer:
    return Answer(result={})


async def set_level(context: Context, ports: Ports) -> Answer:
    level = context.message.params.get("level")
    if level not in LOG_LEVELS:
        raise invalid_params(context, f"'level' must be one of {', '.join(LOG_LEVELS)}.")
    if context.session is not None:
        await ports.sessions.set_log_level(context.session, level)
    return Answer(result={})


async def discover(context: Context, ports: Ports) -> Answer:
    return Answer(
        result={
            "supportedVersions": list(SUPPORTED),
            "capabilities": capabilities(context.bundle, context.caller, context.revision, ports),
            "instructions": INSTRUCTIONS,
            "serverInfo": SERVER_INFO,
            "ttlMs": DISCOVER_TTL_MS,
        }
    )


async def initialize(context: Context, ports: Ports) -> Answer:
    """The revision of the context is the one agreed on."""
    return Answer(
        result={
            "protocolVersion": context.revision,
            "capabilities": capabilities(context.bundle, context.caller, context.revision, ports),
            "serverInfo": SERVER_INFO,
            "instructions": INSTRUCTIONS,
        }
    )


ANSWERS: Mapping[str, Callable[[Context, Ports], Awaitable[Answer]]] = MappingProxyType(
    {
        "ping": ping,
        "logging/setLevel": set_level,
        "server/discover": discover,
        "initialize": initialize,
    }
)
