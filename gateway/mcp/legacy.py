"""Revisions up to 2025-11-25: a handshake that opens a session, then requests that name it and their version.

The session is a convenience of the shared store, so any process serves any request of it. Who does not name one is
served all the same, but cannot be asked anything and hears nothing beside its answers.
"""

from typing import Any

from gateway.call import Caller
from gateway.mcp.errors import INVALID_PARAMS, INVALID_REQUEST, METHOD_NOT_FOUND, ProtocolError
from gateway.mcp.http import Request
from gateway.mcp.message import Message
from gateway.mcp.methods import Method, find
from gateway.mcp.revisions import LEGACY, NEWEST_LEGACY, OLDEST_LEGACY, client_label
from gateway.mcp.sessions import Session
from gateway.ports import Ports


def revision_of(request: Request, session: Session | None) -> str:
    """Clients of before 2025-06-18 send no header."""
    if request.version in LEGACY:
        return request.version
    return session.revision if session is not None else OLDEST_LEGACY


async def session_of(request: Request, caller: Caller, ports: Ports) -> Session | None:
    """None when the request names none. Raises ProtocolError 404 for one that has ended, is unknown or somebody
    else's: the three must look alike."""
    if not request.session_id:
        return None
    session = await ports.sessions.find(request.session_id, caller.agent.id, request.bundle)
    if session is None:
        raise ProtocolError(INVALID_REQUEST, "Unknown session; initialize again.", status=404)
    return session


def check(message: Message, revision: str) -> Method:
    """Raises ProtocolError for a method this revision does not have; JSON-RPC errors are HTTP 200 in this era."""
    method = find(message.method, revision)
    if method is None:
        raise ProtocolError(METHOD_NOT_FOUND, f"Method not found: {message.method[:100]}", status=200)
    return method


async def open_session(message: Message, request: Request, caller: Caller, ports: Ports) -> Session:
    """Of an `initialize`. Raises ProtocolError."""
    asked = message.params.get("protocolVersion")
    declared: Any = message.params.get("capabilities", {})
    if not isinstance(declared, dict):
        raise ProtocolError(INVALID_PARAMS, "'capabilities' must be an object.", status=200)
    return await ports.sessions.create(
        caller.agent.id,
        request.bundle,
        revision=asked if asked in LEGACY else NEWEST_LEGACY,
        capabilities=declared,
        client=client_label(message.params.get("clientInfo")),
    )
