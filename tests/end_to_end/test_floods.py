"""Strangers and agents who begin requests and never finish them, or never take the answers: bounded by configuration,
and others are served all the while."""

import asyncio
import json
import os
import socket
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor, as_completed
from contextlib import ExitStack, closing, contextmanager, suppress
from dataclasses import dataclass, field
from itertools import islice
from threading import Event
from types import MappingProxyType
from urllib.parse import urlsplit

import pytest

from gateway.http_limits import HEAD_LIMIT, HEAD_SECONDS
from tests import cast
from tests.connectors.servers import Turn, scripted_server
from tests.end_to_end.conftest import Helpdesk, MakeInstallation
from tests.end_to_end.half_open import HALF_A_HEAD
from tests.end_to_end.installation import REPOSITORY, Installation
from tests.end_to_end.test_processes import resident_megabytes
from tests.end_to_end.upstreams import in_background
from tests.end_to_end.wire import Caller, Reply, exchange, http_request, modern_headers, modern_message

MOST_CONNECTIONS = 300
MOST_OF_ONE_ADDRESS = 200
MOST_RUNNING = 64
HALF_OPEN = 2_000
SOAK_HALF_OPEN = int(os.environ.get("SOAK_HALF_OPEN", "100000"))
OF_ONE_FLOODER = 15_000
"""Connections that one process may hold here: a process' open files are limited."""
GROWN_MEGABYTES = 60
SOAK_GROWN_MEGABYTES = 400
"""Ten thousand connections, as many as are kept by default, with what the system and the parser keep of each."""
SERVED_SECONDS = 20.0


@dataclass
class Desk:
    house: Installation
    key: str
    other_key: str

    def agent(self, key: str = "") -> Caller:
        return Caller(self.house.url, key or self.key)

    def megabytes(self) -> float:
        return sum(resident_megabytes(process.pid) for process in self.house.processes)

    def served_in(self) -> float:
        """The seconds that an agent who comes just now waits for its answer."""
        began = time.monotonic()
        with closing(self.agent()) as agent:
            assert is_served(search(agent))
        return time.monotonic() - began


def is_served(reply: Reply) -> bool:
    return reply.status == 200 and "Return and refund policy" in reply.text


def search(agent: Caller) -> Reply:
    return agent.call("helpdesk__kb_search", query="refund")


OpenDesk = Callable[..., Desk]


@pytest.fixture(scope="module")
def open_desk(make_installation: MakeInstallation, helpdesk: Helpdesk) -> Iterator[OpenDesk]:
    """Opens an installation with these settings, before the helpdesk or before other upstreams."""
    with ExitStack() as stack:

        def open_one(connectors: Mapping[str, str] = MappingProxyType({}), **variables: object) -> Desk:
            house = make_installation()
            house.configure(**{name: str(value) for name, value in variables.items()})
            manifest = cast.organisation(connectors) if connectors else cast.support_desk(helpdesk.url)
            house.apply(manifest, HELPDESK_TOKEN=helpdesk.token)
            desk = Desk(house, house.issue_key(cast.TRIAGE_BOT), house.issue_key(cast.NIGHT_BOT))
            house.start_gateway()
            stack.callback(check_and_close, house)
            return desk

        yield open_one


def check_and_close(house: Installation) -> None:
    assert "Traceback" not in house.log()
    assert [process.poll() for process in house.processes] == [None]
    house.kill9()


@pytest.fixture(scope="module")
def desk(open_desk: OpenDesk) -> Desk:
    """With bounds that a test can reach."""
    return open_desk(
        GATEWAY_MAX_CONNECTIONS=MOST_CONNECTIONS,
        GATEWAY_MAX_CONNECTIONS_PER_ADDRESS=MOST_OF_ONE_ADDRESS,
        GATEWAY_MAX_RUNNING=MOST_RUNNING,
        GATEWAY_MAX_WAITING=MOST_RUNNING,
    )


@contextmanager
def connections(origin: str, count: int, data: bytes, *, address: str = "127.0.0.2") -> Iterator[list[socket.socket]]:
    """So many, each with this much of a request sent."""
    to = urlsplit(origin)
    with ExitStack() as stack:
        opened = []
        for _ in range(count):
            made = socket.create_connection((to.hostname or "", to.port or 0), 20, source_address=(address, 0))
            stack.callback(made.close)
            with suppress(ConnectionError):
                made.sendall(data)
            opened.append(made)
        yield opened


@dataclass
class Flood:
    """Half-open connections of several processes from several addresses; see half_open.py."""

    port: int
    count: int
    flooders: list[subprocess.Popen[str]] = field(default_factory=list)
    _pool: ThreadPoolExecutor = field(default_factory=ThreadPoolExecutor)
    _said: list[Future[str]] = field(default_factory=list)

    def __enter__(self) -> "Flood":
        for first in range(0, self.count, OF_ONE_FLOODER):
            addresses = ",".join(str(10 + first // OF_ONE_FLOODER * 5 + each) for each in range(5))
            self.flooders.append(self._flooder(addresses, min(OF_ONE_FLOODER, self.count - first)))
        self._said = self._ask()
        return self

    def __exit__(self, *_: object) -> None:
        for flooder in self.flooders:
            flooder.kill()
        self._pool.shutdown()
        for flooder in self.flooders:
            flooder.communicate()

    def _flooder(self, addresses: str, count: int) -> subprocess.Popen[str]:
        words = [sys.executable, "-m", "tests.end_to_end.half_open", str(self.port), addresses, str(count)]
        return subprocess.Popen(words, cwd=REPOSITORY, text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE)

    @property
    def is_opening(self) -> bool:
        return not all(said.done() for said in self._said)

    def opened(self) -> int:
        return sum(int(said.result().split()[1]) for said in self._said)

    def dropped(self) -> tuple[int, float]:
        """How many the server drops by itself, and the seconds from now to the last one."""
        for flooder in self.flooders:
            assert flooder.stdin is not None
            print(file=flooder.stdin, flush=True)
        words = [said.result().split() for said in self._ask()]
        return sum(int(count) for _, count, _ in words), max(float(seconds) for _, _, seconds in words)

    def _ask(self) -> list[Future[str]]:
        return [self._pool.submit(flooder.stdout.readline) for flooder in self.flooders if flooder.stdout is not None]


def flood(desk: Desk, count: int, *, most_megabytes: int) -> None:
    """Half requests from everywhere; who comes meanwhile is served, whether there was a connection before or not."""
    waits, grown = [desk.served_in()], 0.0
    megabytes, began = desk.megabytes(), time.monotonic()
    port = urlsplit(desk.house.url).port or 0
    with closing(desk.agent()) as before, Flood(port, count) as flooding:
        while flooding.is_opening:
            assert is_served(search(before))
            waits.append(desk.served_in())
            grown = max(grown, desk.megabytes() - megabytes)
        opening = time.monotonic() - began
        waits += [desk.served_in() for _ in range(5)]
        grown = max(grown, desk.megabytes() - megabytes)
        assert flooding.opened() == count
        dropped, seconds = flooding.dropped()
        waits.append(desk.served_in())
    print(
        f"\n{desk.house.database}: {count} half requests in {opening:.1f} s: {dropped} dropped, the last after"
        f" {seconds:.1f} s, {grown:+.1f} MB; {len(waits)} new agents were served in at most {max(waits):.2f} s"
    )
    assert dropped == count
    assert seconds < HEAD_SECONDS + 30
    assert max(waits) < SERVED_SECONDS
    assert grown < most_megabytes


def test_half_requests_are_bounded(desk: Desk) -> None:
    flood(desk, HALF_OPEN, most_megabytes=GROWN_MEGABYTES)


@pytest.mark.soak
@pytest.mark.timeout(900)
def test_a_hundred_thousand_half_requests(open_desk: OpenDesk) -> None:
    """With the settings that an installation has by default."""
    flood(open_desk(), SOAK_HALF_OPEN, most_megabytes=SOAK_GROWN_MEGABYTES)


def test_one_address_takes_nothing_from_others(desk: Desk) -> None:
    """Neither an agent's place nor that of a connection which is as silent as the flood, but from elsewhere."""
    few, many = MOST_CONNECTIONS - MOST_OF_ONE_ADDRESS - 10, 2 * MOST_CONNECTIONS
    with (
        connections(desk.house.url, few, HALF_A_HEAD, address="127.0.0.4") as silent,
        connections(desk.house.url, many, HALF_A_HEAD, address="127.0.0.3") as flooding,
    ):
        assert desk.served_in() < SERVED_SECONDS
        assert not any(map(is_dropped, silent))
        assert sum(map(is_dropped, flooding)) >= many - MOST_OF_ONE_ADDRESS


def is_dropped(made: socket.socket) -> bool:
    made.setblocking(False)
    try:
        return made.recv(200) == b""
    except BlockingIOError:
        return False
    except ConnectionError:
        return True


def test_half_bodies_of_one_agent_leave_room_for_others(desk: Desk) -> None:
    """It has a key, so its requests are begun; their bodies never come."""
    head = [f"Host: {desk.house.url[7:]}", f"Authorization: Bearer {desk.key}", "Content-Type: application/json"]
    half = http_request(*head, "Content-Length: 1000", body=b'{"jsonrpc"')
    with connections(desk.house.url, 3 * MOST_RUNNING, half), closing(desk.agent(desk.other_key)) as other:
        began = time.monotonic()
        assert [is_served(search(other)) for _ in range(5)] == [True] * 5
        assert time.monotonic() - began < SERVED_SECONDS


@pytest.mark.parametrize(
    "lines",
    [
        ["X-Filler: " + "a" * (HEAD_LIMIT + 1000)],
        ["a" * (HEAD_LIMIT + 1000)],
        ["X-Filler: a"] * (HEAD_LIMIT // 10),
        ["Mcp-Session-Id: " + "a" * (HEAD_LIMIT + 1000)],
    ],
    ids=["a-long-value", "a-long-name", "many-headers", "a-long-session-id"],
)
def test_an_oversized_head_is_cut_and_harms_nobody(desk: Desk, lines: list[str]) -> None:
    with closing(desk.agent()) as agent:
        assert is_served(search(agent))
        answer = b""
        with suppress(ConnectionError):
            answer = exchange(desk.house.url, http_request(f"Host: {desk.house.url[7:]}", *lines))
        assert not answer or answer.startswith(b"HTTP/1.1 4")
        assert is_served(search(agent))


SHAPES = {
    "length and chunks": "Content-Length: {ends}\r\nTransfer-Encoding: chunked",
    "chunks and length": "Transfer-Encoding: chunked\r\nContent-Length: {ends}",
    "two lengths": "Content-Length: {ends}\r\nContent-Length: {whole}",
    "a list of lengths": "Content-Length: {ends}, {whole}",
    "a folded encoding": "Content-Length: {whole}\r\nTransfer-Encoding:\r\n chunked",
    "a folded length": "Content-Length: {ends}\r\n {whole}",
    "a bare line feed": "X-Note: a\nContent-Length: {ends}\r\nContent-Length: {whole}",
    "a bare carriage return": "X-Note: a\rContent-Length: {ends}\r\nContent-Length: {whole}",
    "an encoding of a different name": "Content-Length: {ends}\r\nTransfer-Encoding : chunked",
}


@pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES.keys())
def test_a_call_inside_another_request_is_never_made(desk: Desk, shape: str) -> None:
    """Whatever a proxy in front made of it: to us it is no request at all."""
    message = modern_message("tools/call", {"name": "helpdesk__kb_search", "arguments": {"query": "refund"}})
    head = [f"Host: {desk.house.url[7:]}", f"Authorization: Bearer {desk.key}", "Content-Type: application/json"]
    head += [f"{name}: {value}" for name, value in modern_headers(message).items()]
    body = json.dumps(message).encode()
    inner = http_request(*head, f"Content-Length: {len(body)}", body=body)
    outer = b"0\r\n\r\n" + inner
    made = len(desk.house.events("call.intent"))
    assert exchange(desk.house.url, inner).startswith(b"HTTP/1.1 200 ")
    framing = shape.format(ends=5, whole=len(outer))
    answer = exchange(desk.house.url, http_request(*head, *framing.split("\r\n"), body=outer))
    assert answer.startswith(b"HTTP/1.1 400 ")
    assert answer.count(b"HTTP/1.1 ") == 1
    assert len(desk.house.events("call.intent")) == made + 1


def test_slow_calls_of_one_agent_leave_room_for_others(open_desk: OpenDesk) -> None:
    """Each of its calls is whole and allowed; only there are too many of them at once."""
    go_on = Event()

    async def slow(turn: Turn) -> None:
        while not go_on.is_set():  # noqa: ASYNC110  (set from another thread)
            await asyncio.sleep(0.02)
        await turn.result({"content": [{"type": "text", "text": "done"}], "resultType": "complete"})

    with in_background(scripted_server()) as upstream, ThreadPoolExecutor(16) as pool:
        upstream.be_modern(tools=[{"name": "wait", "inputSchema": {"type": "object"}}])
        upstream.scripts["tools/call"] = slow
        desk = open_desk({"slow": upstream.url}, GATEWAY_MAX_RUNNING=8)
        calls = [pool.submit(ended, desk.agent()) for _ in range(16)]
        refused = [call.result() for call in list(islice(as_completed(calls), 12))]
        assert {(reply.status, reply.headers.get("retry-after")) for reply in refused} == {(429, "1")}
        others = [pool.submit(ended, desk.agent(desk.other_key)) for _ in range(2)]
        deadline = time.monotonic() + SERVED_SECONDS
        while len(upstream.sent("tools/call")) < 6:
            assert time.monotonic() < deadline
            time.sleep(0.02)
        assert not any(call.done() for call in others)
        go_on.set()
        answers = [call.result() for call in (*calls, *others)]
        assert Counter(reply.status for reply in answers) == {429: 12, 200: 6}
        assert len(upstream.sent("tools/call")) == 6
    (event,) = desk.house.events("call.refused")
    assert (event["details"]["reason"], event["actor"]) == ("over_share", f"agent:{cast.TRIAGE_BOT}")


def ended(agent: Caller) -> Reply:
    with closing(agent):
        return agent.call("slow__wait")
