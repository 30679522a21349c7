"""Many agents of both eras, an upstream with every bad habit, and faults that come upon all of them at once.

    Storm(house, upstream, keys, seed=1).run(("kill", "freeze"), agents=16, seconds=10)

What happens is in `recorder`, see histories.py. Which call meets which fault is up to chance.
"""

import asyncio
import json
import random
import resource
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

import httpx
import psycopg

from tests.connectors.servers import ScriptedServer, Turn
from tests.end_to_end.histories import Heard, Recorder, digest_of
from tests.end_to_end.installation import Installation
from tests.end_to_end.wire import BOTH_KINDS, META, MODERN, NEWEST_LEGACY, modern_headers, modern_message

TIMEOUT_SECONDS = 1.0
"""How long the gateway waits for the upstream."""
BATCHING = "2025-03-26"
BATCH = 3
ATTEMPTS = 25
PATIENCE_SECONDS = 8.0
"""After that an agent gives up and goes on with something new."""
MOST_PAUSE_SECONDS = 2.0
"""Between two faults."""
FELLED_ONE_IN = 400
EMPTY_FORM = {"mode": "form", "message": "Sure?", "requestedSchema": {"type": "object", "properties": {}}}
QUESTION = {"sure": {"method": "elicitation/create", "params": EMPTY_FORM}}
ANSWER = {"sure": {"action": "accept", "content": {}}}
DENIED_CODES = {-32001, -32603, 403, 429}
"""What the gateway itself says when it did nothing; of -32603 those without a word about a call."""


class UnluckyInstallation(Installation):
    """Its gateways are those of unlucky_gateway.py, `flaw` is one of flaws.py."""

    one_in = 0
    flaw = ""

    def _start_process(self) -> "subprocess.Popen[bytes]":
        assert self._listener is not None
        descriptor = self._listener.fileno()
        unlucky = {"STRIKE_ONE_IN": str(self.one_in), "FLAW": self.flaw}
        unlucky["DJANGO_SETTINGS_MODULE"] = "config.settings_gateway"
        return self._start(
            "tests.end_to_end.unlucky_gateway", str(descriptor), inherit=(descriptor,), environment=unlucky
        )

    def replace_the_dead(self) -> int:
        """How many processes had ended since the last time."""
        dead = [process for process in self.processes if process.poll() is not None]
        for process in dead:
            self.processes.remove(process)
            self.processes.append(self._start_process())
        return len(dead)

    def declare_silent(self) -> None:
        """As if whoever is not here any more had been silent for longer than it takes to be declared dead."""
        pids = ", ".join(str(process.pid) for process in self.processes) or "0"
        earlier = "beat_at - interval '1 minute'" if self.database == "postgres" else "datetime(beat_at, '-1 minute')"
        self.sql(f"UPDATE gateway_gatewayprocess SET beat_at = {earlier} WHERE pid NOT IN ({pids})")


@dataclass(frozen=True, slots=True)
class Key:
    id: str
    token: str = field(repr=False)


# -- the upstream


def done(arguments: Mapping[str, Any]) -> dict[str, Any]:
    text = f"done {arguments['nonce']}"
    return {"content": [{"type": "text", "text": text}], "resultType": "complete"}


async def works(turn: Turn, arguments: dict[str, Any]) -> None:
    await turn.result(done(arguments))


async def is_slow(turn: Turn, arguments: dict[str, Any]) -> None:
    await asyncio.sleep(0.4)
    await turn.result(done(arguments))


async def is_late(turn: Turn, arguments: dict[str, Any]) -> None:
    """Answers when nobody waits any more."""
    await asyncio.sleep(TIMEOUT_SECONDS + 0.3)
    with suppress(ConnectionError):
        await turn.result(done(arguments))


async def talks(turn: Turn, arguments: dict[str, Any]) -> None:
    await turn.stream_head()
    token = turn.seen.message["params"]["_meta"].get("progressToken")
    for step in range(4 if token is not None else 0):
        params = {"progressToken": token, "progress": step, "message": "still at it"}
        await turn.event({"jsonrpc": "2.0", "method": "notifications/progress", "params": params})
        await asyncio.sleep(0.05)
    await turn.event({"jsonrpc": "2.0", "id": turn.seen.message["id"], "result": done(arguments)})
    await turn.stream_end()


async def asks(turn: Turn, arguments: dict[str, Any]) -> None:
    if "inputResponses" in turn.seen.message["params"]:
        await turn.result(done(arguments))
        return
    state = f"state-{arguments['nonce']}"
    await turn.result({"resultType": "input_required", "inputRequests": QUESTION, "requestState": state})


async def resets(turn: Turn, arguments: dict[str, Any]) -> None:
    turn.reset()


async def goes_half(turn: Turn, arguments: dict[str, Any]) -> None:
    """Half of an answer, then silence on an open connection."""
    await turn.raw(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 500\r\n\r\n{")
    await asyncio.sleep(3600)


async def drips(turn: Turn, arguments: dict[str, Any]) -> None:
    await turn.raw(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 100000\r\n\r\n")
    while True:
        await turn.raw(b" ")
        await asyncio.sleep(0.05)


async def breaks_off(turn: Turn, arguments: dict[str, Any]) -> None:
    await turn.stream_head()
    turn.reset()


HABITS: dict[str, Callable[[Turn, dict[str, Any]], Awaitable[None]]] = {
    "works": works,
    "is-slow": is_slow,
    "is-late": is_late,
    "talks": talks,
    "asks": asks,
    "resets": resets,
    "goes-half": goes_half,
    "drips": drips,
    "breaks-off": breaks_off,
}
BAD_HABITS = ("is-late", "resets", "goes-half", "drips", "breaks-off")


# -- what an agent is told


def judge(status: int, message: Mapping[str, Any], nonce: str) -> tuple[Heard, str]:
    """How to take an answer, and what it was."""
    result, error = message.get("result"), message.get("error")
    if isinstance(error, dict):
        return _judge_error(status, error)
    if not isinstance(result, dict) or status != 200:
        return Heard.STRANGE, f"{status} {message}"
    meta = result.get("_meta") or {}
    if "com.gatehouse/failure" in meta:
        return Heard.FAILED, str(meta)
    if decision := meta.get("com.gatehouse/decision"):
        return (Heard.UNKNOWN if decision["code"] == "outcome_unknown" else Heard.REFUSED), str(meta)
    if result.get("resultType") == "input_required":
        return Heard.ASKED, ""
    is_ours = result.get("content") == done({"nonce": nonce})["content"]
    return (Heard.DONE, "") if is_ours else (Heard.STRANGE, f"{status} {message}")


def _judge_error(status: int, error: Mapping[str, Any]) -> tuple[Heard, str]:
    told = f"{status} {error}"
    text = error.get("message", "")
    if "process that ran" in text or "outcome is unknown" in text:
        return Heard.UNKNOWN, told
    if status in (401, 404, 429, 503) or (status == 200 and error.get("code") in DENIED_CODES):
        return Heard.REFUSED, told
    return Heard.STRANGE, told


# -- agents


@dataclass(slots=True)
class Answered:
    """One HTTP exchange as far as it got. `messages` are with their event ids, if they had any."""

    status: int = 0
    session: str = ""
    messages: list[tuple[str, dict[str, Any]]] = field(default_factory=list)

    def answer_to(self, request_id: object) -> dict[str, Any] | None:
        return next((it for _, it in self.messages if it.get("id") == request_id and "method" not in it), None)

    @property
    def last_event_id(self) -> str:
        return next((event_id for event_id, _ in reversed(self.messages) if event_id), "")


class Agent:
    """Calls in one manner after the other until told to stop; whatever breaks, it goes on with something new."""

    def __init__(self, storm: "Storm", number: int) -> None:
        self.storm = storm
        self.number = number
        self.chance = random.Random(f"{storm.seed} {number}")
        self.recorder = storm.recorder
        self.key = storm.keys[number % len(storm.keys)]
        self._http = httpx.AsyncClient(timeout=PATIENCE_SECONDS)
        self._session = ""
        self._count = 0

    async def live(self, until: float) -> None:
        while time.monotonic() < until:
            await self.act()

    async def act(self) -> None:
        """In any manner, once."""
        manner = self.chance.choice((self.calls, self.calls_modern, self.batches, self.loses_its_stream, self.answers,
                                     self.waits, self.leaves, self.cancels, self.listens, self.errs))  # fmt: skip
        self.storm.manners[manner.__name__] += 1
        if self.key.id in self.recorder.revoked and self.chance.random() < 0.3:
            self.key = self.storm.live_key()
        with suppress(TimeoutError):
            async with asyncio.timeout(PATIENCE_SECONDS):
                await manner()

    async def close(self) -> None:
        await self._http.aclose()

    # -- manners

    async def calls(self) -> None:
        params = self._new(self._any_habit())
        await self._tell(params, await self._post(self._legacy(params)))

    async def calls_modern(self) -> None:
        params = self._new(self._any_habit())
        await self._tell(params, await self._post(self._modern(params)))

    async def batches(self) -> None:
        several = [self._new(self.chance.choice(("works", "is-slow", "resets"))) for _ in range(BATCH)]
        bodies = [self._body(params) for params in several]
        answered = await self._exchange(bodies, {"MCP-Protocol-Version": BATCHING})
        for params in several:
            await self._tell(params, answered)

    async def loses_its_stream(self) -> None:
        """Breaks off after the first event and asks for the rest, at whichever process."""
        session = await self._in_session()
        params = self._new("talks", _meta={"progressToken": "p"})
        headers = self._legacy(params, session)[1]
        answered = await self._exchange(self._body(params), headers, leave_after_events=1)
        for _ in range(ATTEMPTS):
            event_id = answered.last_event_id
            if not event_id or answered.answer_to(self._id(params)) is not None:
                break
            again = {"Accept": "text/event-stream", "Mcp-Session-Id": session, "Last-Event-ID": event_id}
            more = await self._exchange(None, again | {"MCP-Protocol-Version": NEWEST_LEGACY})
            answered.messages += more.messages
            if more.status in (401, 404):
                break
            await asyncio.sleep(0.05)
        await self._tell(params, answered)

    async def answers(self) -> None:
        """A question, and the retry that brings its answer."""
        params = self._new("asks")
        powers = {"elicitation": {"form": {}}}
        answered = await self._post(self._modern(params, powers))
        await self._tell(params, answered)
        message = answered.answer_to(self._id(params)) or {}
        if (state := (message.get("result") or {}).get("requestState")) is None:
            return
        nonce = params["arguments"]["nonce"]
        resumed = {**params, "inputResponses": ANSWER, "requestState": f"state-{nonce}"}
        digest = self.recorder.sends(self.key.id, resumed)
        answered = await self._post(self._modern({**resumed, "requestState": state}, powers))
        await self._tell(params, answered, digest=digest)

    async def waits(self) -> None:
        """A task of 2025-11-25."""
        session = await self._in_session()
        params = self._new(self.chance.choice(("works", "is-slow", "is-late", "resets")), task={"ttl": 600_000})
        body, headers = self._legacy(params, session)
        answered = await self._exchange(body, headers)
        created = (answered.answer_to(self._id(params)) or {}).get("result") or {}
        if "task" not in created:
            await self._tell(params, answered)
            return
        if self.chance.random() < 0.2:
            await self._ask("tasks/cancel", headers, taskId=created["task"]["taskId"])
        for _ in range(ATTEMPTS):
            task = (await self._ask("tasks/get", headers, taskId=created["task"]["taskId"]) or {}).get("result", {})
            if task.get("status") in ("completed", "failed"):
                break
            if task.get("status") == "cancelled":
                return
            await asyncio.sleep(0.1)
        else:
            return
        message = await self._ask("tasks/result", headers, taskId=created["task"]["taskId"])
        if message is not None and not _has_lost_its_task(message):
            result = message.get("result")
            if isinstance(result, dict):
                result.get("_meta", {}).pop("io.modelcontextprotocol/related-task", None)
            await self._hears(params, 200, message)

    async def leaves(self) -> None:
        """Without waiting for the answer, which cancels in the modern era."""
        params = self._new("is-slow")
        with suppress(TimeoutError):
            async with asyncio.timeout(0.05 + self.chance.random() * 0.3):
                await self._tell(params, await self._post(self._modern(params)))

    async def cancels(self) -> None:
        session = await self._in_session()
        params = self._new("is-slow")
        body, headers = self._legacy(params, session)
        calling = asyncio.create_task(self._exchange(body, headers))
        await asyncio.sleep(self.chance.random() * 0.3)
        notice = {"jsonrpc": "2.0", "method": "notifications/cancelled", "params": {"requestId": self._id(params)}}
        await self._exchange(notice, headers)
        await self._tell(params, await calling)

    async def listens(self) -> None:
        """For news, for a moment; in the older era its session ends with it."""
        if self.chance.random() < 0.5:
            message = modern_message("subscriptions/listen", {"notifications": {"toolsListChanged": True}})
            await self._exchange(message, modern_headers(message), leave_after_events=1)
            return
        named = {"Mcp-Session-Id": await self._in_session(), "MCP-Protocol-Version": NEWEST_LEGACY}
        with suppress(TimeoutError):
            async with asyncio.timeout(0.2):
                await self._exchange(None, named | {"Accept": "text/event-stream"})
        self._session = ""
        await self._exchange(None, named, method="DELETE")

    async def errs(self) -> None:
        """In one of the ways that are answered without a call."""
        headers = {"MCP-Protocol-Version": NEWEST_LEGACY}
        wrong: tuple[tuple[Any, dict[str, str]], ...] = (
            ({"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": {"name": "unknown"}}, headers),
            ({"jsonrpc": "2.0", "id": 1, "method": "unknown"}, headers),
            ({"jsonrpc": "2.0", "id": 1, "method": "tools/list"}, headers | {"Mcp-Session-Id": f"no-{self._count}"}),
            ({"jsonrpc": "2.0", "id": 1, "method": "tools/list"}, headers | {"Authorization": "Bearer wrong"}),
            ([], headers),
        )
        await self._exchange(*self.chance.choice(wrong))

    # -- means

    def _any_habit(self) -> str:
        if self.chance.random() < 0.1:
            return self.chance.choice(BAD_HABITS)
        return self.chance.choice(("works", "works", "works", "is-slow", "talks"))

    def _new(self, habit: str, **more: Any) -> dict[str, Any]:
        """The params of a request that nobody has sent yet."""
        self._count += 1
        arguments = {"nonce": f"{self.number}-{self._count}", "habit": habit}
        params = {"name": "act", "arguments": arguments, **more}
        self.recorder.sends(self.key.id, params)
        return params

    @staticmethod
    def _id(params: Mapping[str, Any]) -> str:
        return str(params["arguments"]["nonce"])

    def _body(self, params: Mapping[str, Any]) -> dict[str, Any]:
        return {"jsonrpc": "2.0", "id": self._id(params), "method": "tools/call", "params": params}

    def _legacy(self, params: Mapping[str, Any], session: str = "") -> tuple[dict[str, Any], dict[str, str]]:
        named = {"Mcp-Session-Id": session} if session else {}
        return self._body(params), {"MCP-Protocol-Version": NEWEST_LEGACY} | named

    def _modern(
        self, params: Mapping[str, Any], powers: Mapping[str, Any] | None = None
    ) -> tuple[dict[str, Any], dict[str, str]]:
        meta = {f"{META}protocolVersion": MODERN, f"{META}clientCapabilities": powers or {}}
        body = self._body({**params, "_meta": meta})
        return body, modern_headers(body)

    async def _in_session(self) -> str:
        """A new one now and then, and after every failure."""
        if not self._session or self.chance.random() < 0.05:
            hello = {"protocolVersion": NEWEST_LEGACY, "capabilities": {}, "clientInfo": {"name": "a", "version": "1"}}
            body = {"jsonrpc": "2.0", "id": 0, "method": "initialize", "params": hello}
            self._session = (await self._exchange(body, {})).session
        return self._session

    async def _ask(self, method: str, headers: Mapping[str, str], **params: Any) -> dict[str, Any] | None:
        body = {"jsonrpc": "2.0", "id": "q", "method": method, "params": params}
        answered = await self._exchange(body, headers)
        return answered.answer_to("q") if answered.status == 200 else None

    async def _post(self, request: tuple[dict[str, Any], dict[str, str]]) -> Answered:
        return await self._exchange(*request)

    async def _tell(self, params: Mapping[str, Any], answered: Answered, *, digest: str = "") -> None:
        """Records what was heard of the request, if anything was."""
        if (message := answered.answer_to(self._id(params))) is not None:
            await self._hears(params, answered.status, message, digest=digest)
        elif answered.status >= 400:
            refusal = answered.messages[0][1] if answered.messages else {"error": {}}
            await self._hears(params, answered.status, refusal, digest=digest)

    async def _hears(
        self, params: Mapping[str, Any], status: int, message: Mapping[str, Any], *, digest: str = ""
    ) -> None:
        heard, what = judge(status, message, self._id(params))
        self.recorder.hears(digest or digest_of(params), heard, what)
        if heard is Heard.DONE:
            self.storm.fell_perhaps()

    async def _exchange(
        self, body: Any, headers: Mapping[str, str], *, method: str = "", leave_after_events: int = 0
    ) -> Answered:
        answered = Answered()
        usual = {"Authorization": f"Bearer {self.key.token}", "Content-Type": "application/json", "Accept": BOTH_KINDS}
        content = b"" if body is None else json.dumps(body).encode()
        url = f"{self.storm.house.url}/mcp/upstream"
        method = method or ("GET" if body is None else "POST")
        with suppress(httpx.TransportError):
            async with self._http.stream(method, url, content=content, headers=usual | dict(headers)) as response:
                answered.status = response.status_code
                answered.session = response.headers.get("mcp-session-id", "")
                await _read(response, answered, leave_after_events)
        if answered.status in (0, 404):
            self._session = ""
        return answered


async def _read(response: httpx.Response, answered: Answered, leave_after_events: int) -> None:
    if response.headers.get("content-type", "").startswith("text/event-stream"):
        async for event_id, message in _events(response):
            answered.messages.append((event_id, message))
            if leave_after_events and len(answered.messages) >= leave_after_events:
                return
    elif text := await response.aread():
        found = json.loads(text)
        answered.messages += [("", message) for message in (found if isinstance(found, list) else [found])]


async def _events(response: httpx.Response) -> AsyncIterator[tuple[str, dict[str, Any]]]:
    event_id = ""
    async for line in response.aiter_lines():
        if line.startswith("id:"):
            event_id = line.removeprefix("id:").strip()
        elif line.startswith("data:") and (text := line.removeprefix("data:").strip()):
            yield event_id, json.loads(text)


def _has_lost_its_task(message: Mapping[str, Any]) -> bool:
    """Its time was over, perhaps because a clock jumped."""
    error = message.get("error") or {}
    return error.get("code") == -32602 or "cancelled" in error.get("message", "")


# -- what comes upon them


class Storm:
    """`crash` ends the database server without a goodbye and starts it again; None where nobody may."""

    def __init__(
        self,
        house: UnluckyInstallation,
        upstream: ScriptedServer,
        keys: Sequence[Key],
        *,
        seed: int,
        crash: Callable[[], None] | None = None,
        felled_one_in: int = FELLED_ONE_IN,
        known: Mapping[str, Callable[[Any], Awaitable[None]]] | None = None,
    ) -> None:
        self.house = house
        self.keys = list(keys)
        self.seed = seed
        self.crash = crash
        self.felled_one_in = felled_one_in
        self.known = FAULTS if known is None else known
        self.recorder = Recorder()
        self.manners: Counter[str] = Counter()
        self.faults: Counter[str] = Counter()
        self.chance = random.Random(seed)
        self._unrevoked = list(keys)
        upstream.scripts["tools/call"] = self._act

    def run(self, faults: Sequence[str], *, agents: int, seconds: float) -> None:
        """Ends with all processes dead, as nobody can tell which of them still had something in mind."""
        asyncio.run(self._run(faults, agents, seconds))
        self.house.kill9()

    async def _run(self, faults: Sequence[str], agents: int, seconds: float) -> None:
        until = time.monotonic() + seconds
        replacing = asyncio.create_task(self._replace_the_dead())
        living = [Agent(self, number) for number in range(agents)]
        async with asyncio.TaskGroup() as group:
            group.create_task(self._strike(faults, until))
            for agent in living:
                group.create_task(agent.live(until))
        replacing.cancel()
        for agent in living:
            await agent.close()

    async def _replace_the_dead(self) -> None:
        while True:
            self.faults["processes replaced"] += self.house.replace_the_dead()
            await asyncio.sleep(0.05)

    async def _strike(self, faults: Sequence[str], until: float) -> None:
        """Each of them, in an order of chance, several at a time, again as often as there is time."""
        pause = min((until - time.monotonic()) / (len(faults) + 1), MOST_PAUSE_SECONDS)
        async with asyncio.TaskGroup() as group:
            while time.monotonic() + pause * len(faults) < until:
                for name in self.chance.sample(list(faults), len(faults)):
                    await asyncio.sleep(pause)
                    self.faults[name] += 1
                    group.create_task(self.known[name](self))
                await self.breathe(until)

    async def breathe(self, until: float) -> None:
        """Between two rounds of faults."""

    def any_process(self) -> "subprocess.Popen[bytes]":
        return self.chance.choice(self.house.processes)

    def fell_perhaps(self) -> None:
        """At the very moment at which an upstream or an agent hears something, what was to be durable must be."""
        if self.felled_one_in and self.chance.randrange(self.felled_one_in) == 0:
            self.faults["felled"] += 1
            for process in list(self.house.processes):
                process.kill()

    def next_to_revoke(self) -> Key | None:
        """One is left: who would call?"""
        return self._unrevoked.pop(0) if len(self._unrevoked) > 1 else None

    def welcome(self, key: Key) -> None:
        """For those that come from now on."""
        self.keys.append(key)
        self._unrevoked.append(key)

    def live_key(self) -> Key:
        return self.chance.choice(self._unrevoked)

    async def _act(self, turn: Turn) -> None:
        params = turn.seen.message["params"]
        self.recorder.receives(params)
        self.fell_perhaps()
        await HABITS[params["arguments"]["habit"]](turn, params["arguments"])


async def kill(storm: Storm) -> None:
    storm.any_process().kill()


async def end(storm: Storm) -> None:
    storm.any_process().terminate()


async def freeze(storm: Storm) -> None:
    """For longer than a committed intent may wait to be sent."""
    process = storm.any_process()
    process.send_signal(signal.SIGSTOP)
    await asyncio.sleep(1.3)
    process.send_signal(signal.SIGCONT)


async def lose_the_database(storm: Storm) -> None:
    if storm.crash is not None:
        await asyncio.to_thread(storm.crash)
        return
    restore = await asyncio.to_thread(take_away, storm.house)
    await asyncio.sleep(0.5 + storm.chance.random())
    await asyncio.to_thread(restore)


async def fill_the_disk(storm: Storm) -> None:
    restore = await asyncio.to_thread(fill, storm.house)
    await asyncio.sleep(0.7)
    await asyncio.to_thread(restore)


async def jump(storm: Storm) -> None:
    """The clock of one process, forwards or back."""
    storm.any_process().send_signal(signal.SIGUSR1)


async def revoke(storm: Storm) -> None:
    key = storm.next_to_revoke()
    while key is not None:
        told = await asyncio.to_thread(storm.house.manage, "revoke_key", key.id, expect=None)
        if told.returncode == 0:
            storm.recorder.revokes(key.id)
            return


FAULTS: dict[str, Callable[[Storm], Awaitable[None]]] = {
    "kill": kill,
    "end": end,
    "freeze": freeze,
    "lose-the-database": lose_the_database,
    "fill-the-disk": fill_the_disk,
    "jump": jump,
    "revoke": revoke,
}
# -- the database away


def take_away(house: Installation) -> Callable[[], None]:
    """Takes the database away; what it returns brings it back."""
    return _shut_out(house) if house.database == "postgres" else _hold_write_lock(house)


def _shut_out(house: Installation) -> Callable[[], None]:
    """Ends every session of the gateway's database and lets nobody in."""
    name = urlsplit(house.database_url).path[1:]

    def allow(flag: str) -> None:
        with psycopg.connect(house._admin_url, autocommit=True) as server:
            server.execute(f'ALTER DATABASE "{name}" ALLOW_CONNECTIONS {flag}'.encode())
            server.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s", [name])

    allow("false")
    return lambda: allow("true")


def _hold_write_lock(house: Installation) -> Callable[[], None]:
    """A writer that never ends: what SQLite can do instead of being away."""
    script = (
        "import sqlite3, sys; c = sqlite3.connect(sys.argv[1], isolation_level=None, timeout=30);"
        "c.execute('BEGIN EXCLUSIVE'); print('held', flush=True); input()"
    )
    holder = subprocess.Popen(
        [sys.executable, "-c", script, str(house.data_dir / "gatehouse.sqlite3")],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    assert holder.stdout is not None
    assert holder.stdout.readline() == b"held\n"

    def release() -> None:
        if holder.poll() is None:
            holder.communicate(b"\n")

    return release


# -- its disk full


def fill(house: Installation) -> Callable[[], None]:
    """Leaves no room for evidence; what it returns makes some."""
    return _refuse_evidence(house) if house.database == "postgres" else _limit_files(house)


def _refuse_evidence(house: Installation) -> Callable[[], None]:
    """In the words of a server whose table cannot grow. Where its log cannot, it crashes, see Storm."""
    function = "RAISE EXCEPTION 'could not extend file' USING ERRCODE = 'disk_full'"
    house.sql(
        f"CREATE OR REPLACE FUNCTION no_space() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN {function}; END $$;"
        "CREATE TRIGGER no_space BEFORE INSERT ON audit_event EXECUTE FUNCTION no_space()"
    )

    def release() -> None:
        house.sql("DROP TRIGGER IF EXISTS no_space ON audit_event")

    return release


def _limit_files(house: Installation) -> Callable[[], None]:
    """As far as a process can tell: no file of it grows beyond a page."""
    pids = [process.pid for process in house.processes]

    def allow(size: int) -> None:
        for pid in pids:
            with suppress(ProcessLookupError):
                resource.prlimit(pid, resource.RLIMIT_FSIZE, (size, resource.RLIM_INFINITY))

    allow(4096)
    return lambda: allow(resource.RLIM_INFINITY)
