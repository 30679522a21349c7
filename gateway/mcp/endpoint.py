"""The MCP endpoint: a lean ASGI consumer mounted in Channels' routers, one path for all revisions.

No Django handler, middleware or signal runs for a call; see docs/decisions/0002-lean-asgi-endpoint.md. Which method is
served how stands in `methods.py`; what is the same in both eras stands here once.
"""

import logging
from collections.abc import Awaitable
from dataclasses import field
from typing import Any

from gateway import refusals
from gateway.call import Answer, Caller, Frame
from gateway.catalogs import Catalogs
from gateway.commit.entry import EvidenceUnavailable
from gateway.deciding import identify, reachable_bundles, refusal_of
from gateway.http_gate import VISIT
from gateway.http_gate import Visit as GateVisit
from gateway.mcp import calls, legacy, modern, own_tools
from gateway.mcp.admission import admitted, bearer_token, is_modern
from gateway.mcp.batches import Capture, as_member, check_batch, serve_all
from gateway.mcp.context import Context
from gateway.mcp.dressing import dress, status_of
from gateway.mcp.errors import HEADER_MISMATCH, INTERNAL_ERROR, INVALID_REQUEST, PARSE_ERROR, ProtocolError
from gateway.mcp.exchange import replay
from gateway.mcp.frames import bare_frame, frame_of, invalid_params
from gateway.mcp.http import (
    ClientGone,
    Headers,
    Receive,
    Request,
    Scope,
    Send,
    arrived_body,
    read_body,
    respond,
    respond_with,
)
from gateway.mcp.listening import Listening
from gateway.mcp.listing import list_items
from gateway.mcp.message import Message, parse_message, read_message
from gateway.mcp.metadata import answer_headers
from gateway.mcp.methods import Method, Serving
from gateway.mcp.mirrored import annotated, check_mirrored
from gateway.mcp.own import ANSWERS
from gateway.mcp.paging import BadCursor
from gateway.mcp.revisions import META_CAPABILITIES, MODERN
from gateway.mcp.sessions import Session
from gateway.mcp.streams import place_of
from gateway.mcp.task_methods import METHODS as TASKS
from gateway.operation import Operation, fail
from gateway.pipeline import commit_refusal, refused_answer
from gateway.ports import Ports
from gateway.refusals import Refusal
from gateway.targets import find_target
from gateway.values import changed, per_call
from governance.snapshot import Credential

logger = logging.getLogger(__name__)

EMPTY = Message("", None, {})
RECORDED = (PARSE_ERROR, INVALID_REQUEST, HEADER_MISMATCH)
LEGACY_LOG_LEVEL = "info"
"""Of a session that never set one: the server decides (logging, up to 2025-11-25)."""


@per_call
class Visit:
    """One HTTP request of somebody we know."""

    request: Request
    token: str = field(repr=False)
    caller: Caller
    receive: Receive = field(repr=False)
    send: Send = field(repr=False)


class McpEndpoint:
    """ASGI application; the bundle's name, if any, comes from the URL route."""

    def __init__(self, ports: Ports) -> None:
        self._ports = ports
        self._catalogs = Catalogs(ports.catalog)
        self._listening = Listening(ports, self._catalogs)

    @property
    def open_streams(self) -> int:
        return self._listening.count

    def end_streams(self) -> None:
        """Before the process ends: what would never end by itself."""
        self._listening.end_all()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            request = admitted(scope)
            token = bearer_token(request)
            caller = await self._caller(request, token, scope.get(VISIT))
            if isinstance(caller, Answer):
                await send_refusal(send, request, caller)
                return
            visit = Visit(request, token, caller, receive, send)
            if request.method == "POST":
                await self._post(visit, arrived_body(scope))
            else:
                await self._of_session(visit)
        except ProtocolError as error:
            await send_error(send, EMPTY, error)
        except EvidenceUnavailable:
            await send_error(send, EMPTY, unavailable())
        except ClientGone:
            return
        except Exception:
            logger.exception("unforeseen failure in the MCP endpoint")
            await send_error(send, EMPTY, ProtocolError(INTERNAL_ERROR, "Internal error.", status=500))

    async def _caller(self, request: Request, token: str, place: GateVisit | None) -> Caller | Answer:
        """Before a byte of the body is read: no valid key, no work; and no more for one agent than its share."""
        frame = Frame(token, request.bundle, "", {}, "", source_ip=request.source_ip)
        try:
            caller = await identify(frame, self._ports)
            if place is not None and not place.belongs_to(caller.agent.id):
                raise refusal_of(caller, refusals.OVER_SHARE, {"retry_after": 1})
            self._note_use(caller.credential, request)
            return caller
        except Refusal as refusal:
            return await commit_refusal(frame, refusal, self._ports)
        except EvidenceUnavailable:
            return refused_answer(Refusal(refusals.EVIDENCE_UNAVAILABLE))

    def _note_use(self, credential: Credential, request: Request) -> None:
        """Of the key, or of the credential that the token rests on; who was let in has an authorization instead."""
        ground, _, proven_by = credential.rests_on.partition(":")
        if ground not in ("", "credential"):
            return
        at, uses, credential_id = self._ports.now(), self._ports.uses, proven_by or credential.id
        if uses.is_due(credential_id, at):
            uses.note(credential_id, at=at, address=request.source_ip, client=request.text(b"user-agent"))

    async def _post(self, visit: Visit, body: bytes | None) -> None:
        """`body` is None when some of it is still to come. Meanwhile the key may have been revoked: it is asked for
        again."""
        if body is None:
            with self._ports.waiting.bodies.taken(visit.caller.agent.id):
                body = await read_body(visit.request, visit.receive)
            caller = await self._caller(visit.request, visit.token, None)
            if isinstance(caller, Answer):
                await send_refusal(visit.send, visit.request, caller)
                return
            visit = changed(visit, caller=caller)
        try:
            parsed = parse_message(body)
            if isinstance(parsed, list):
                await self._batch(visit, parsed)
                return
        except ProtocolError as error:
            await self._refuse(visit, EMPTY, error)
            return
        await self._guarded(visit, parsed, self._serve(visit, parsed))

    async def _guarded(self, visit: Visit, message: Message, serving: Awaitable[None]) -> None:
        """Whatever goes wrong with a message that can be read is answered under its id."""
        with Operation(message, revision=visit.request.version, secret=visit.token):
            try:
                await serving
            except ProtocolError as error:
                fail(str(error.code))
                await self._refuse(visit, message, error)
            except EvidenceUnavailable:
                fail("evidence_unavailable")
                await send_error(visit.send, message, unavailable())
            except ClientGone:
                raise
            except Exception:
                logger.exception("unforeseen failure while serving %s", message.method[:100])
                fail("unforeseen")
                await send_error(visit.send, message, ProtocolError(INTERNAL_ERROR, "Internal error.", status=500))

    async def _refuse(self, visit: Visit, message: Message, error: ProtocolError) -> None:
        """What a known agent sends that cannot be read at all may be an attack, so it is evidence."""
        if error.code in RECORDED:
            request, token = visit.request, visit.token
            frame = Frame(token, request.bundle, message.method, {}, "", source_ip=request.source_ip)
            facts = {"problem": error.message.replace(token, "[KEY]")[:200], "rpc_code": error.code}
            await commit_refusal(frame, refusal_of(visit.caller, refusals.MALFORMED, facts), self._ports)
        await send_error(visit.send, message, error)

    async def _batch(self, visit: Visit, members: list[Any]) -> None:
        session = await legacy.session_of(visit.request, visit.caller, self._ports)
        request = as_member(visit.request)
        check_batch(members, MODERN if is_modern(visit.request, EMPTY) else legacy.revision_of(visit.request, session))

        async def serve(member: Any) -> bytes | None:
            capture = Capture()
            alone = Visit(request, visit.token, visit.caller, capture.receive, capture.send)
            try:
                message = read_message(member)
            except ProtocolError as error:
                await self._refuse(alone, EMPTY, error)
            else:
                await self._guarded(alone, message, self._serve_legacy(alone, message, session))
            return capture.answer

        answers = await serve_all(members, serve)
        await (respond(visit.send, 202) if answers is None else respond_with(visit.send, 200, answers))

    def _serve(self, visit: Visit, message: Message) -> Awaitable[None]:
        if is_modern(visit.request, message):
            return self._serve_modern(visit, message)
        if message.method == "initialize" and not message.is_notification:
            return self._initialize(visit, message)
        return self._serve_in_session(visit, message)

    async def _serve_modern(self, visit: Visit, message: Message) -> None:
        """A notification is accepted and dropped: over HTTP a client of this revision has none to send."""
        if message.is_notification:
            await respond(visit.send, 202)
            return
        method = modern.check(visit.request, message)
        context = modern_context(visit, message)
        modern.check_needs(method, context.capabilities)
        await self._dispatch(context, method)

    async def _initialize(self, visit: Visit, message: Message) -> None:
        session = await legacy.open_session(message, visit.request, visit.caller, self._ports)
        context = legacy_context(visit, message, session, session.revision)
        answer = await ANSWERS["initialize"](context, self._ports)
        await send_answer(context, answer, ((b"mcp-session-id", session.id.encode()),))

    async def _serve_in_session(self, visit: Visit, message: Message) -> None:
        session = await legacy.session_of(visit.request, visit.caller, self._ports)
        await self._serve_legacy(visit, message, session)

    async def _serve_legacy(self, visit: Visit, message: Message, session: Session | None) -> None:
        revision = legacy.revision_of(visit.request, session)
        context = legacy_context(visit, message, session, revision)
        if message.is_notification:
            await self._note(context)
            await respond(visit.send, 202)
        else:
            await self._dispatch(context, legacy.check(message, revision))

    async def _note(self, context: Context) -> None:
        message = context.message
        if message.reply is not None:
            await calls.take_reply(context, message.reply, self._ports)
        elif message.method == "notifications/cancelled":
            await calls.cancel(context, message.params.get("requestId"), self._ports)

    async def _dispatch(self, context: Context, method: Method) -> None:
        if method.serving is Serving.GOVERNED:
            frame = frame_of(context)
            if method.name == "tools/call" and own_tools.is_own(context, frame.name):
                await own_tools.serve(context, frame.name, frame.arguments, self._ports)
                return
            if context.is_modern and method.name == "tools/call":
                self._check_mirrored(context, frame)
            await calls.serve(context, frame, self._ports)
            return
        answer = await self._answer(context, method)
        if answer is not None:
            await send_answer(context, answer)

    async def _answer(self, context: Context, method: Method) -> Answer | None:
        """None when a stream has been the answer."""
        match method.name:
            case "subscriptions/listen":
                return await self._listening.listen(context)
            case "resources/subscribe":
                return await self._listening.subscribe(context)
            case "resources/unsubscribe":
                return await self._listening.unsubscribe(context)
        match method.serving:
            case Serving.LIST:
                return await self._list(context)
            case Serving.TASK:
                return await TASKS[method.name](context, self._ports)
        return await ANSWERS[method.name](context, self._ports)

    async def _list(self, context: Context) -> Answer:
        frame = bare_frame(context)
        try:
            cursor = context.message.params.get("cursor")
            return Answer(result=await list_items(frame, self._ports, self._catalogs, cursor=cursor))
        except BadCursor:
            raise invalid_params(context, "This cursor was not issued here, or the list has changed.") from None
        except Refusal as refusal:
            return await commit_refusal(frame, refusal, self._ports)

    def _check_mirrored(self, context: Context, frame: Frame) -> None:
        """Mostly no tool of that name has such headers: then nobody need find out whether the agent holds it."""
        caller = context.caller
        bundle = caller.snapshot.bundles.get(caller.snapshot.bundle_ids.get(context.bundle or "", ""))
        if bundle is not None and ((tool := bundle.tools.get(frame.name)) is None or not annotated(tool)):
            return
        bundles = reachable_bundles(context.bundle, caller, self._ports)
        found = find_target(frame, bundles, caller.snapshot)
        if found is not None:
            check_mirrored(context.request, found[0], frame.arguments)

    async def _of_session(self, visit: Visit) -> None:
        """GET: the session's stream, or what was missed of another. DELETE: its end."""
        session = await legacy.session_of(visit.request, visit.caller, self._ports)
        assert session is not None, "admission wants a session id"
        context = legacy_context(visit, EMPTY, session, legacy.revision_of(visit.request, session))
        if visit.request.method == "DELETE":
            await self._ports.sessions.end(session)
            self._listening.end_session(session)
            await respond(visit.send, 204)
            return
        place = place_of(session.id, visit.request.text(b"last-event-id"))
        if place is not None:
            await replay(context, place, self._ports)
        elif (answer := await self._listening.follow(context, session)) is not None:
            await send_refusal(visit.send, visit.request, answer)


def modern_context(visit: Visit, message: Message) -> Context:
    return Context(
        request=visit.request,
        message=message,
        caller=visit.caller,
        token=visit.token,
        is_modern=True,
        revision=MODERN,
        session=None,
        capabilities=message.meta[META_CAPABILITIES],
        log_level=modern.log_level_of(message),
        progress_token=message.progress_token,
        receive=visit.receive,
        send=visit.send,
    )


def legacy_context(visit: Visit, message: Message, session: Session | None, revision: str) -> Context:
    return Context(
        request=visit.request,
        message=message,
        caller=visit.caller,
        token=visit.token,
        is_modern=False,
        revision=revision,
        session=session,
        capabilities=session.capabilities if session is not None else {},
        log_level=(session.log_level or LEGACY_LOG_LEVEL) if session is not None else "",
        progress_token=message.progress_token,
        receive=visit.receive,
        send=visit.send,
    )


async def send_answer(context: Context, answer: Answer, headers: Headers = ()) -> None:
    body = dress(context, answer)
    headers = (*headers, *answer_headers(context.bundle, answer))
    await respond(context.send, status_of(context, answer), body, headers)


async def send_refusal(send: Send, request: Request, answer: Answer) -> None:
    """Of the HTTP request itself, whatever is in its body."""
    body = {"jsonrpc": "2.0", "id": None, "error": answer.error}
    await respond(send, answer.status, body, answer_headers(request.bundle, answer))


async def send_error(send: Send, message: Message, error: ProtocolError) -> None:
    body = {"jsonrpc": "2.0", "id": message.id, "error": error.as_json()}
    await respond(send, error.status, body, error.headers)


def unavailable() -> ProtocolError:
    """The database is away: neither evidence nor sessions can be had."""
    text = f"{refusals.EVIDENCE_UNAVAILABLE.text} {refusals.EVIDENCE_UNAVAILABLE.remedy}"
    return ProtocolError(INTERNAL_ERROR, text, status=503, headers=((b"retry-after", b"1"),))
