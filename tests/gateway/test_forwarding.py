"""What is not the gateway's own, on its way to the pages and back: two real servers, the pages a small application."""

import asyncio
import json
import socket
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from ipaddress import ip_network
from pathlib import Path
from typing import Any

import httpx
import pytest
import uvicorn
from channels.routing import ProtocolTypeRouter
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidStatus

from gateway import forwarding, http_server, pages_server, tunnels
from gateway.forwarding import PagesForwarder, no_pages
from gateway.http_connections import neighbourhood
from gateway.tunnels import TunnelForwarder

Chunks = list[bytes]


class Pages:
    """The application behind: tells what it was asked, and can be told to misbehave."""

    def __init__(self) -> None:
        self.requests: list[dict[str, Any]] = []
        self.came = asyncio.Event()
        self.left = asyncio.Event()
        self.go_on = asyncio.Event()

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        await getattr(self, f"_{scope['type']}")(scope, receive, send)

    async def _http(self, scope: Any, receive: Any, send: Any) -> None:
        body = b""
        while True:
            message = await receive()
            body += message.get("body", b"")
            if not message.get("more_body"):
                break
        await getattr(self, f"_get_{scope['path'].strip('/')}", self._tell)(scope, body, receive, send)

    async def _tell(self, scope: Any, body: bytes, receive: Any, send: Any) -> None:
        headers = [[name.decode(), value.decode()] for name, value in scope["headers"]]
        told = {key: scope[key] for key in ("method", "path", "scheme", "client")}
        told |= {"query": scope["query_string"].decode(), "headers": headers, "size": len(body)}
        cookies = [(b"set-cookie", b"a=1"), (b"set-cookie", b"b=2"), (b"connection", b"x-hop"), (b"x-hop", b"1")]
        await send({"type": "http.response.start", "status": 200, "headers": cookies})
        await send({"type": "http.response.body", "body": json.dumps(told).encode()})

    async def _get_stream(self, scope: Any, body: bytes, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"first", "more_body": True})
        await self.go_on.wait()
        await send({"type": "http.response.body", "body": b"second"})

    async def _get_endless(self, scope: Any, body: bytes, receive: Any, send: Any) -> None:
        self.came.set()
        assert (await receive())["type"] == "http.disconnect"
        self.left.set()

    async def _websocket(self, scope: Any, receive: Any, send: Any) -> None:
        await receive()
        if scope["path"] == "/ws/refused/":
            await send({"type": "websocket.close"})
            return
        await send({"type": "websocket.accept"})
        while (message := await receive())["type"] == "websocket.receive":
            if message.get("text") == "who":
                client = [scope["client"][0], scope["scheme"], scope["path"], scope["query_string"].decode()]
                message = {"text": json.dumps(client)}
            await send({"type": "websocket.send", **{key: message[key] for key in ("text", "bytes") if key in message}})
        self.left.set()


class House:
    """The gateway's side and the pages' side, each a uvicorn as the real processes start it."""

    def __init__(self, socket_path: Path, pages: Pages) -> None:
        self.socket_path = socket_path
        self.pages = pages
        self.port = 0
        self._stack = AsyncExitStack()
        self._behind: AsyncExitStack | None = None

    async def start(self) -> None:
        await self.start_pages()
        listener = socket.create_server(("127.0.0.1", 0))
        self.port = listener.getsockname()[1]
        forwarder = PagesForwarder(str(self.socket_path))
        self._stack.push_async_callback(forwarder.close)
        config = http_server.server_config()
        config.app = ProtocolTypeRouter({"http": forwarder, "websocket": TunnelForwarder(str(self.socket_path))})
        await self._stack.enter_async_context(serving(config, [listener]))

    async def start_pages(self) -> None:
        config = pages_server.server_config(str(self.socket_path))
        config.app = self.pages
        self._behind = AsyncExitStack()
        await self._behind.enter_async_context(serving(config))

    async def stop_pages(self) -> None:
        assert self._behind is not None
        await self._behind.aclose()
        self.socket_path.unlink(missing_ok=True)

    async def close(self) -> None:
        await self._stack.aclose()
        await self.stop_pages()

    async def ask(self, path: str = "/x", **options: Any) -> httpx.Response:
        async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{self.port}", timeout=20) as client:
            return await client.request(options.pop("method", "GET"), path, **options)

    async def until_answered(self, status: int) -> None:
        async with asyncio.timeout(10):
            while (await self.ask()).status_code != status:  # noqa: ASYNC110  (only asking tells)
                await asyncio.sleep(0.02)

    def screen(self, path: str = "/ws/live/", **options: Any) -> "connect":
        return connect(f"ws://127.0.0.1:{self.port}{path}", open_timeout=10, proxy=None, **options)

    async def say(self, *parts: bytes) -> bytes:
        """All that comes back to these bytes until the other side closes."""
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        try:
            for part in parts:
                writer.write(part)
                await writer.drain()
            return await asyncio.wait_for(reader.read(), 20)
        except ConnectionError:
            return b""
        finally:
            writer.close()


@asynccontextmanager
async def serving(config: uvicorn.Config, sockets: list[socket.socket] | None = None) -> AsyncIterator[None]:
    config.lifespan = "off"
    config.timeout_graceful_shutdown = 1
    server = uvicorn.Server(config)
    server.install_signal_handlers = lambda: None  # type: ignore[attr-defined]
    task = asyncio.create_task(server.serve(sockets=sockets))
    while not server.started:  # noqa: ASYNC110  (uvicorn has no event for it)
        await asyncio.sleep(0.01)
    try:
        yield
    finally:
        server.should_exit = True
        await task


MakeHouse = Callable[[], Awaitable[House]]


@pytest.fixture
async def house(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[House]:
    monkeypatch.setattr(forwarding, "RECONNECTS", 3)
    with tempfile.TemporaryDirectory() as folder:
        made = House(Path(folder, "s"), Pages())
        await made.start()
        yield made
        await made.close()


async def test_a_request_and_its_answer_pass_whole(house: House) -> None:
    answer = await house.ask("/a%20b//c?q=%2F", method="PATCH", content=b"x" * 200_000, headers={"Cookie": "s=1"})
    told = answer.json()
    assert (told["method"], told["path"], told["query"], told["size"]) == ("PATCH", "/a b//c", "q=%2F", 200_000)
    assert ["cookie", "s=1"] in told["headers"]
    assert ["host", f"127.0.0.1:{house.port}"] in told["headers"]
    assert answer.headers.get_list("set-cookie") == ["a=1", "b=2"]
    assert "x-hop" not in answer.headers
    assert len(answer.headers.get_list("date")) == 1


async def test_what_a_client_says_of_itself_is_not_believed(house: House) -> None:
    lies = {
        "X-Forwarded-For": "6.6.6.6",
        "X_Forwarded_For": "6.6.6.6",
        "X-Forwarded-Proto": "https",
        "X-Forwarded-Host": "evil.example",
        "X-Real-IP": "6.6.6.6",
        "Forwarded": "for=6.6.6.6;proto=https",
        "Connection": "x-secret-hop, X-Forwarded-For",
        "X-Secret-Hop": "6.6.6.6",
    }
    told = (await house.ask(headers=lies)).json()
    assert told["client"][0] == "127.0.0.1"
    assert told["scheme"] == "http"
    assert "6.6.6.6" not in str(told)
    assert "evil.example" not in str(told)


async def test_a_trusted_proxy_is_believed(settings: Any) -> None:
    settings.TRUSTED_PROXIES = (ip_network("127.0.0.0/8"),)
    with tempfile.TemporaryDirectory() as folder:
        house = House(Path(folder, "s"), Pages())
        await house.start()
        said = {"X-Forwarded-For": "9.9.9.9, 203.0.113.7", "X-Forwarded-Proto": "https"}
        told = (await house.ask(headers=said)).json()
        async with house.screen(additional_headers=said) as screen:
            await screen.send("who")
            assert json.loads(await screen.recv())[:2] == ["203.0.113.7", "wss"]
        await house.close()
    assert (told["client"][0], told["scheme"]) == ("203.0.113.7", "https")


@pytest.mark.parametrize("declared", [True, False])
async def test_a_body_over_the_limit_is_refused_in_plain_words(
    house: House, declared: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(forwarding, "BODY_LIMIT", 1024 * 1024)
    body = b"x" * (1024 * 1024 + 1)

    async def in_pieces() -> AsyncIterator[bytes]:
        for start in range(0, len(body), 65536):
            yield body[start : start + 65536]

    answer = await house.ask(method="POST", content=body if declared else in_pieces())
    assert answer.status_code == 413
    assert "over the limit of 1 MB" in answer.text


async def test_a_body_that_drips_is_refused(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(forwarding, "BODY_SECONDS", 0.2)
    said = await house.say(b"POST /x HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 9\r\n\r\nx")
    assert said.startswith(b"HTTP/1.1 408 ")


async def test_slow_uploads_of_one_stranger_shut_out_nobody_else(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(forwarding, "PLACE_SECONDS", 0.2)
    uploads = [await asyncio.open_connection("127.0.0.1", house.port) for _ in range(forwarding.PER_ADDRESS)]
    for _, writer in uploads:
        writer.write(b"POST /x HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 9\r\n\r\nx")
    await house.until_answered(429)
    async with httpx.AsyncClient(transport=httpx.AsyncHTTPTransport(local_address="127.0.0.2")) as somebody_else:
        assert (await somebody_else.get(f"http://127.0.0.1:{house.port}/")).status_code == 200

    for _, writer in uploads:
        writer.close()
    await house.until_answered(200)


def test_one_subscriber_is_one_neighbour() -> None:
    assert neighbourhood("192.0.2.1") != neighbourhood("192.0.2.2")
    assert neighbourhood("2001:db8::1") == neighbourhood("2001:db8::ffff:2") != neighbourhood("2001:db8:0:1::1")
    assert neighbourhood("::ffff:192.0.2.1") == neighbourhood("192.0.2.1")
    assert neighbourhood("testclient") == "testclient"


async def test_an_answer_streams(house: House) -> None:
    async with (
        httpx.AsyncClient(timeout=10) as client,
        client.stream("GET", f"http://127.0.0.1:{house.port}/stream") as answer,
    ):
        pieces = answer.aiter_bytes()
        assert await anext(pieces) == b"first"
        house.pages.go_on.set()
        assert await anext(pieces) == b"second"


async def test_a_client_that_leaves_takes_its_request_with_it(house: House) -> None:
    _, writer = await asyncio.open_connection("127.0.0.1", house.port)
    writer.write(b"GET /endless HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")
    await asyncio.wait_for(house.pages.came.wait(), 20)
    writer.close()
    await asyncio.wait_for(house.pages.left.wait(), 20)


async def test_without_pages_there_is_a_plain_answer_and_with_them_it_works_again(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    await house.ask()
    await house.stop_pages()
    answer = await house.ask()
    assert answer.status_code == 503
    assert int(answer.headers["retry-after"]) > 0
    assert "not available at the moment" in answer.text
    with pytest.raises(InvalidStatus) as refused:
        await house.screen()
    assert refused.value.response.status_code == 503
    asking = asyncio.create_task(house.ask())
    await house.start_pages()
    assert (await asking).status_code == 200


async def test_a_gateway_alone_says_so() -> None:
    sent: list[Any] = []

    async def send(message: Any) -> None:
        sent.append(message)

    await no_pages({}, send, send)  # type: ignore[arg-type]
    assert sent[0]["status"] == 503


async def test_a_screen_talks_through_the_gateway(house: House) -> None:
    lies = {"X-Forwarded-For": "6.6.6.6", "X-Forwarded-Proto": "https"}
    async with house.screen("/ws/live/?of=1", additional_headers=lies) as screen:
        await screen.send("who")
        assert json.loads(await screen.recv()) == ["127.0.0.1", "ws", "/ws/live/", "of=1"]
        await screen.send("x" * 60_000)
        assert await screen.recv() == "x" * 60_000
    await asyncio.wait_for(house.pages.left.wait(), 20)


async def test_a_message_that_is_too_large_ends_the_screen(house: House) -> None:
    async with house.screen() as screen:
        await screen.send("x" * (pages_server.MESSAGE_LIMIT + 1))
        with pytest.raises(ConnectionClosed) as closed:
            await screen.recv()
    assert closed.value.rcvd is not None
    assert closed.value.rcvd.code == 1009


async def test_a_reader_that_stops_reading_stops_the_writer(house: House) -> None:
    """Neither the gateway nor the pages may keep what a client does not take."""
    async with house.screen(max_queue=1) as screen:
        screen.transport.pause_reading()
        sending = asyncio.create_task(_send_forever(screen))
        done, _ = await asyncio.wait({sending}, timeout=2)
        assert not done
        before = _sent(sending)
        await asyncio.sleep(0.3)
        assert _sent(sending) == before
        sending.cancel()
        screen.transport.abort()


SENT: dict[asyncio.Task[None], int] = {}


async def _send_forever(screen: ClientConnection) -> None:
    task = asyncio.current_task()
    assert task is not None
    while True:
        await screen.send("x" * 60_000)
        SENT[task] = SENT.get(task, 0) + 1


def _sent(task: asyncio.Task[None]) -> int:
    return SENT.get(task, 0)


async def test_a_refused_screen_hears_the_refusal_and_its_connection_ends(house: House) -> None:
    """Were it kept open, further bytes would reach the pages as requests whose headers nobody has cleaned."""
    smuggled = b"GET /x HTTP/1.1\r\nHost: h\r\nX-Forwarded-For: 6.6.6.6\r\n\r\n"
    said = await house.say(handshake("/ws/refused/"), smuggled)
    assert said.startswith(b"HTTP/1.1 403 ")
    assert said.count(b"HTTP/1.1") == 1


@pytest.mark.parametrize(
    "head",
    [
        b"GET /ws/live/ HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n",
        b"POST /ws/live/ HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n",
        b"GET /ws/%00 HTTP/1.1\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n",
    ],
    ids=["no key", "not GET", "no host"],
)
async def test_an_upgrade_that_is_none_ends(house: House, head: bytes) -> None:
    smuggled = b"GET /x HTTP/1.1\r\nHost: h\r\nX-Forwarded-For: 6.6.6.6\r\n\r\n"
    said = await house.say(head, smuggled)
    assert b" 101 " not in said
    assert b" 200 " not in said
    assert said.count(b"HTTP/1.1") <= 1


async def test_elsewhere_an_upgrade_is_an_ordinary_request(house: House) -> None:
    said = await house.say(handshake("/mcp/support", extra=b"Connection: close\r\n"))
    assert said.startswith(b"HTTP/1.1 200 ")


async def test_screens_are_bounded_and_places_become_free(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tunnels, "TUNNELS", 1)
    async with house.screen():
        with pytest.raises(InvalidStatus) as refused:
            await house.screen()
        assert refused.value.response.status_code == 503
    await asyncio.wait_for(house.pages.left.wait(), 20)
    async with asyncio.timeout(10):
        while True:
            try:
                async with house.screen():
                    return
            except InvalidStatus:
                await asyncio.sleep(0.02)


async def test_a_screen_is_asked_again_who_it_is(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tunnels, "LIFE_SECONDS", 0.3)
    async with house.screen() as screen:
        with pytest.raises(ConnectionClosed):
            await asyncio.wait_for(screen.recv(), 20)


def handshake(path: str, extra: bytes = b"") -> bytes:
    return (
        b"GET " + path.encode() + b" HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
        b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n" + extra + b"\r\n"
    )
