"""One message of one client, with all that its HTTP request and session say about it."""

from collections.abc import Mapping
from dataclasses import field
from typing import Any

from gateway.call import Caller
from gateway.mcp.http import Receive, Request, Send
from gateway.mcp.message import Message
from gateway.mcp.sessions import Session
from gateway.values import per_call


@per_call
class Context:
    """`capabilities` are the client's: of this request's `_meta` in the modern era, else of its session. `log_level`
    is the least severity of messages it wants now; empty for none."""

    request: Request
    message: Message
    caller: Caller
    token: str = field(repr=False)
    is_modern: bool
    revision: str
    session: Session | None
    capabilities: Mapping[str, Any]
    log_level: str
    progress_token: str | int | None
    receive: Receive = field(repr=False)
    send: Send = field(repr=False)

    @property
    def bundle(self) -> str | None:
        return self.request.bundle

    @property
    def agent_id(self) -> str:
        return self.caller.agent.id
