"""The MCP endpoint: a lean ASGI consumer mounted in Channels' routers, one path for all revisions.

No Django handler, middleware or signal runs for a call; see docs/decisions/0002-lean-asgi-endpoint.md.
"""

import logging
import re
from typing import Any

from gateway import refusals
from gateway.call import Answer, Caller, Frame
from gateway.commit.entry import EvidenceUnavailable
from gateway.mcp import legacy, modern
from gateway.mcp.errors import (
    HEADER_MISMATCH,
    INTERNAL_ERROR,
    INVALID_PARAMS,
    INVALID_REQUEST,
    PARSE_ERROR,
    ProtocolError,
)
from gateway.mcp.guards import check_addresses, check_types
from gateway.mcp.http import ClientGone, Receive, Request, Scope, Send, read_body, read_request, respond
from gateway.mcp.listing import list_tools
from gateway.mcp.message import Message, parse_message
from gateway.mcp.metadata import challenge
from gateway.mcp.mirrored import check_mirrored
from gateway.mcp.revisions import LEGACY, META_CLIENT, META_VERSION, MODERN, client_label
from gateway.pipeline import (
    commit_refusal,
    find_tool,
    identify,
    reachable_bundles,
    refusal_of,
    refused_answer,
    run,
)
from gateway.ports import Ports
from gateway.refusals import Refusal

logger = logging.getLogger(__name__)

BEARER = re.compile(r"[Bb]earer +([A-Za-z0-9._~+/-]{8,512}=*)\Z")
SESSION_LIMIT = 128
EMPTY = Message("", None, {})
RECORDED = (PARSE_ERROR, INVALID_REQUEST, HEADER_MISMATCH)


class McpEndpoint:
    """ASGI application; the bundle's name, if any, comes from the URL route."""

    def __init__(self, ports: Ports) -> None:
        self._ports = ports

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        message, caller = EMPTY, None
        try:
            request = admitted(scope)
            token = bearer_token(request)
            caller = await self._caller(request, token)
            if isinstance(caller, Answer):
                await self._send(send, request, EMPTY, caller)
                return
            message = parse_message(await read_body(request, receive))
            await self._send(send, request, message, await self._handle(request, message, token, caller))
        except ProtocolError as error:
            if isinstance(caller, Caller) and error.code in RECORDED:
                await self._record_malformed(request, message, caller, error, token)
            body = {"jsonrpc": "2.0", "id": message.id, "error": error.as_json()}
            await respond(send, error.status, body, error.headers)
        except ClientGone:
            return
        except Exception:
            logger.exception("unforeseen failure in the MCP endpoint")
            failure = {"code": INTERNAL_ERROR, "message": "Internal error."}
            await respond(send, 500, {"jsonrpc": "2.0", "id": message.id, "error": failure})

    async def _caller(self, request: Request, token: str) -> Caller | Answer:
        """Before a byte of the body is read: no valid key, no work."""
        frame = Frame(token, request.bundle, "", {}, "", source_ip=request.source_ip)
        try:
            return await identify(frame, self._ports)
        except Refusal as refusal:
            return await commit_refusal(frame, refusal, self._ports)
        except EvidenceUnavailable:
            return refused_answer(Refusal(refusals.EVIDENCE_UNAVAILABLE))

    async def _record_malformed(
        self, request: Request, message: Message, caller: Caller, error: ProtocolError, token: str
    ) -> None:
        """What a known agent sends that cannot be read at all may be an attack, so it is evidence."""
        frame = Frame(token, request.bundle, message.method, {}, "", source_ip=request.source_ip)
        facts = {"problem": error.message.replace(token, "[KEY]")[:200], "rpc_code": error.code}
        await commit_refusal(frame, refusal_of(caller, refusals.MALFORMED, facts), self._ports)

    async def _handle(self, request: Request, message: Message, token: str, caller: Caller) -> Answer | None:
        """None for what needs no answer: a notification, or a client's response."""
        if message.is_notification:
            return None
        if is_modern(request, message):
            modern.check(request, message)
            if message.method == "server/discover":
                return _dressed(modern.discover(), modern)
            self._check_mirrored(request, message, caller)
            return await self._call_or_list(request, message, token, modern)
        legacy.check(message)
        if message.method in legacy.ANSWERS:
            return legacy.ANSWERS[message.method](message)
        version = legacy.version_of(request.text(b"mcp-protocol-version"))
        return await self._call_or_list(request, message, token, legacy, version)

    def _check_mirrored(self, request: Request, message: Message, caller: Caller) -> None:
        if message.method == "tools/call":
            bundles = reachable_bundles(request.bundle, caller.agent, caller.snapshot, self._ports)
            found = find_tool(request.bundle, message.params["name"], bundles)
            if found is not None:
                check_mirrored(request, found[0], message.params.get("arguments"))

    async def _call_or_list(
        self, request: Request, message: Message, token: str, era: Any, revision: str = MODERN
    ) -> Answer:
        frame = _frame(request, message, token, revision)
        if message.method == "tools/call":
            return _dressed(await run(frame, self._ports), era)
        if message.params.get("cursor") is not None:
            raise ProtocolError(INVALID_PARAMS, "This cursor was not issued here.", status=_rpc_status(era))
        try:
            return _dressed(Answer(result=era.dress_list(await list_tools(frame, self._ports))), era)
        except Refusal as refusal:
            return await commit_refusal(frame, refusal, self._ports)
        except EvidenceUnavailable:
            return refused_answer(Refusal(refusals.EVIDENCE_UNAVAILABLE))

    async def _send(self, send: Send, request: Request, message: Message, answer: Answer | None) -> None:
        if answer is None:
            await respond(send, 202)
            return
        headers = []
        if answer.status == 401:
            headers.append((b"www-authenticate", challenge(request.bundle, answer.challenge)))
        if answer.retry_after_seconds is not None:
            headers.append((b"retry-after", str(answer.retry_after_seconds).encode()))
        body: dict[str, Any] = {"jsonrpc": "2.0", "id": message.id}
        body |= {"error": answer.error} if answer.error is not None else {"result": answer.result}
        await respond(send, answer.status, body, headers)


def admitted(scope: Scope) -> Request:
    """What the HTTP request alone must satisfy. Raises ProtocolError."""
    request = read_request(scope, scope["url_route"]["kwargs"].get("bundle"))
    check_addresses(request)
    if request.method != "POST":
        raise ProtocolError(INVALID_REQUEST, "Send POST requests.", status=405, headers=((b"allow", b"POST"),))
    check_types(request)
    return request


def is_modern(request: Request, message: Message) -> bool:
    """The era of one request, never of a connection: `_meta` decides, else a header that names no legacy revision."""
    if META_VERSION in message.meta:
        return True
    version = request.text(b"mcp-protocol-version")
    return bool(version) and version not in LEGACY


def bearer_token(request: Request) -> str:
    """Empty when there is none; tokens in a URL are never looked at."""
    found = BEARER.match(request.text(b"authorization"))
    return found[1] if found else ""


def _frame(request: Request, message: Message, token: str, revision: str) -> Frame:
    name = message.params.get("name", "")
    if message.method == "tools/call" and not isinstance(name, str):
        raise ProtocolError(INVALID_PARAMS, "'name' must be a string.", status=200)
    return Frame(
        token=token,
        bundle=request.bundle,
        name=name,
        arguments=message.params.get("arguments") if message.params.get("arguments") is not None else {},
        revision=revision,
        session_id=request.text(b"mcp-session-id")[:SESSION_LIMIT],
        source_ip=request.source_ip,
        trace=message.trace,
        client=client_label(message.meta.get(META_CLIENT)),
    )


def _dressed(answer: Answer, era: Any) -> Answer:
    if answer.result is None:
        return answer
    return Answer(result=era.dress(answer.result), status=answer.status)


def _rpc_status(era: Any) -> int:
    return 400 if era is modern else 200
