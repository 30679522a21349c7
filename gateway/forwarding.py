"""Hands what is not the gateway's own to the pages process, over a Unix socket that nobody else can reach.

The pages believe what comes over that socket: who the client is, and whether it came by TLS. Therefore whatever a
client says of itself (X-Forwarded-*, Forwarded) is removed here, and what uvicorn found out is said instead.
"""

import asyncio
import logging
from collections.abc import AsyncIterator, Iterable
from contextlib import suppress
from weakref import WeakValueDictionary

import httpcore

from gateway.http_connections import neighbourhood
from gateway.mcp.http import ClientGone, Headers, Receive, Scope, Send

logger = logging.getLogger(__name__)

BODY_LIMIT = 10 * 1024 * 1024
BODY_SECONDS = 60.0
SEND_SECONDS = 60.0
ANSWER_SECONDS = 120.0
CONNECTIONS = 100
PER_ADDRESS = 30
"""Of them at once for one client address, or one /64 of IPv6: slow uploads of one stranger shut out nobody else."""
PLACE_SECONDS = 5.0
IDLE_SECONDS = 30.0
RECONNECTS = 5
"""Tries to connect after the first one, 7.5 s in all: pages that start again are waited for."""

HOP_BY_HOP = frozenset(
    (
        b"connection",
        b"keep-alive",
        b"proxy-authenticate",
        b"proxy-authorization",
        b"proxy-connection",
        b"te",
        b"trailer",
        b"transfer-encoding",
        b"upgrade",
    )
)
"""RFC 9110 section 7.6.1: about one connection, never passed on."""

ABOUT_THE_CLIENT = frozenset((b"forwarded", b"x-real-ip", b"x-client-ip", b"expect"))

TIMEOUTS = {"connect": 2.0, "pool": 5.0, "write": 30.0, "read": ANSWER_SECONDS}


class BodyRefused(Exception):
    """The request's body is too large or too slow."""

    def __init__(self, status: int, text: str) -> None:
        super().__init__(text)
        self.status = status


class Body:
    """The request's body on its way to the pages; afterwards, whether the client is still there."""

    def __init__(self, receive: Receive) -> None:
        self._receive = receive
        self._is_complete = asyncio.Event()

    async def __aiter__(self) -> AsyncIterator[bytes]:
        """Raises BodyRefused or ClientGone."""
        deadline = asyncio.get_running_loop().time() + BODY_SECONDS
        size = 0
        while not self._is_complete.is_set():
            part = await self._next_part(deadline)
            size += len(part)
            if size > BODY_LIMIT:
                raise too_large()
            if part:
                yield part

    async def _next_part(self, deadline: float) -> bytes:
        try:
            async with asyncio.timeout_at(deadline):
                message = await self._receive()
        except TimeoutError:
            raise BodyRefused(408, f"The request did not arrive within {BODY_SECONDS:g} s.") from None
        if message["type"] == "http.disconnect":
            raise ClientGone
        if not message.get("more_body"):
            self._is_complete.set()
        return bytes(message.get("body", b""))

    async def client_gone(self) -> None:
        """Returns when the client has closed, which is not looked for before its request is complete."""
        await self._is_complete.wait()
        while (await self._receive())["type"] != "http.disconnect":
            pass


class PagesForwarder:
    """ASGI application for HTTP: asks the pages process and hands on what it answers, both ways in pieces."""

    def __init__(self, socket_path: str) -> None:
        self._pool = httpcore.AsyncConnectionPool(
            uds=socket_path,
            max_connections=CONNECTIONS,
            keepalive_expiry=IDLE_SECONDS,
            retries=RECONNECTS,
        )
        self._places: WeakValueDictionary[str, asyncio.Semaphore] = WeakValueDictionary()
        self._has_answered = False

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """A client that leaves takes its request with it: the pages need not go on for nobody."""
        body = Body(receive)
        exchange = asyncio.create_task(self._answer(scope, body, send))
        gone = asyncio.create_task(body.client_gone())
        try:
            await asyncio.wait((exchange, gone), return_when=asyncio.FIRST_COMPLETED)
            if exchange.done():
                exchange.result()
        finally:
            for task in (exchange, gone):
                task.cancel()
            await asyncio.gather(exchange, gone, return_exceptions=True)

    async def close(self) -> None:
        await self._pool.aclose()

    async def _answer(self, scope: Scope, body: Body, send: Send) -> None:
        """An address' places are forgotten when nobody holds or wants one."""
        places = self._places.setdefault(neighbourhood(client_of(scope)), asyncio.Semaphore(PER_ADDRESS))
        try:
            async with asyncio.timeout(PLACE_SECONDS):
                await places.acquire()
        except TimeoutError:
            await say(send, 429, "Too many requests at once from your address.", [(b"retry-after", b"5")])
            return
        try:
            await self._exchange(scope, body, send)
        finally:
            places.release()

    async def _exchange(self, scope: Scope, body: Body, send: Send) -> None:
        """Once an answer has begun, breaking it off is the only way to say that it failed."""
        try:
            response = await self._ask(scope, body)
        except BodyRefused as refused:
            await say(send, refused.status, str(refused), [(b"connection", b"close")])
            return
        except ClientGone:
            return
        except httpcore.LocalProtocolError:
            await say(send, 400, "This request is not valid HTTP.")
            return
        except (httpcore.NetworkError, httpcore.ProtocolError, httpcore.TimeoutException) as error:
            await self._say_why(send, error)
            return
        self._has_answered = True
        try:
            with suppress(httpcore.NetworkError, httpcore.ProtocolError, httpcore.TimeoutException, TimeoutError):
                await _hand_on(response, send)
        finally:
            await response.aclose()

    async def _ask(self, scope: Scope, body: Body) -> httpcore.Response:
        headers, framing = forwarded_headers(scope), framing_of(scope)
        if framing and framing[0][1].isdigit() and int(framing[0][1]) > BODY_LIMIT:
            raise too_large()
        request = httpcore.Request(
            scope["method"],
            httpcore.URL(scheme=b"http", host=b"pages", port=None, target=target(scope)),
            headers=[*headers, *framing],
            content=body,
            extensions={"timeout": TIMEOUTS},
        )
        return await self._pool.handle_async_request(request)

    async def _say_why(self, send: Send, error: Exception) -> None:
        """Only where nothing was sent may a client simply repeat itself. Pages that are still starting are no fault."""
        level = logging.WARNING if self._has_answered else logging.DEBUG
        logger.log(level, "the pages did not answer: %s", type(error).__name__)
        if isinstance(error, (httpcore.ConnectError, httpcore.ConnectTimeout, httpcore.PoolTimeout)):
            text = "The pages are not available at the moment. Agents are served all the same. Try again soon."
            await say(send, 503, text, [(b"retry-after", b"5")])
        elif isinstance(error, httpcore.ReadTimeout):
            await say(send, 504, f"The pages did not answer within {ANSWER_SECONDS:g} s. {LOOK_FIRST}")
        else:
            await say(send, 502, f"The pages stopped before they answered. {LOOK_FIRST}")


LOOK_FIRST = "If you were changing something, look whether it was changed before you do it again."


async def no_pages(scope: Scope, receive: Receive, send: Send) -> None:
    """For a gateway that was started alone."""
    await say(send, 503, "This gateway serves agents only; the pages are not part of it.", [(b"retry-after", b"60")])


async def say(send: Send, status: int, text: str, headers: Iterable[tuple[bytes, bytes]] = ()) -> None:
    body = f"{text}\n".encode()
    fixed = [
        (b"content-type", b"text/plain; charset=utf-8"),
        (b"content-length", str(len(body)).encode()),
        (b"cache-control", b"no-store"),
        (b"x-content-type-options", b"nosniff"),
    ]
    await send({"type": "http.response.start", "status": status, "headers": [*fixed, *headers]})
    await send({"type": "http.response.body", "body": body})


def forwarded_headers(scope: Scope) -> list[tuple[bytes, bytes]]:
    """The client's headers without those about its connection or itself, and what we know of both.

    Names with an underscore go, too: to Django X_Forwarded_For and X-Forwarded-For are the same.
    """
    headers: Headers = scope["headers"]
    unwanted = HOP_BY_HOP | ABOUT_THE_CLIENT | listed_in_connection(headers) | {b"content-length"}
    kept = [
        (name, value)
        for name, value in headers
        if name not in unwanted and not name.startswith(b"x-forwarded-") and b"_" not in name
    ]
    address = scope["client"][0] if scope.get("client") else "0.0.0.0"  # noqa: S104  (said, not bound)
    protocol = b"https" if scope["scheme"] in ("https", "wss") else b"http"
    return [*kept, (b"x-forwarded-for", address.encode("latin-1")), (b"x-forwarded-proto", protocol)]


def framing_of(scope: Scope) -> list[tuple[bytes, bytes]]:
    """How the body is delimited: as the client said (the parser refuses two ways at once), empty without a body."""
    headers = dict(scope["headers"])
    if b"transfer-encoding" in headers:
        return [(b"transfer-encoding", b"chunked")]
    return [(b"content-length", headers[b"content-length"])] if b"content-length" in headers else []


def listed_in_connection(headers: Iterable[tuple[bytes, bytes]]) -> set[bytes]:
    return {word.strip().lower() for name, value in headers if name == b"connection" for word in value.split(b",")} - {
        b"host"
    }


def client_of(scope: Scope) -> str:
    return scope["client"][0] if scope.get("client") else ""


def target(scope: Scope) -> bytes:
    path, query = scope["raw_path"], scope["query_string"]
    return path + b"?" + query if query else bytes(path)


def too_large() -> BodyRefused:
    return BodyRefused(413, f"The request is over the limit of {BODY_LIMIT // 1024 // 1024} MB.")


async def _hand_on(response: httpcore.Response, send: Send) -> None:
    unwanted = HOP_BY_HOP | listed_in_connection((name.lower(), value) for name, value in response.headers)
    headers = [(name.lower(), value) for name, value in response.headers if name.lower() not in unwanted]
    await send({"type": "http.response.start", "status": response.status, "headers": headers})
    async for part in response.aiter_stream():
        async with asyncio.timeout(SEND_SECONDS):
            await send({"type": "http.response.body", "body": part, "more_body": True})
    await send({"type": "http.response.body", "body": b""})
