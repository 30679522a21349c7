"""The MCP endpoint as clients see it, with everything behind it faked: one process, no network, no database."""

import asyncio
import json
from collections import Counter
from collections.abc import Callable, Iterator, MutableMapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any

from connectors.base import Heard, Interest, Stands
from gateway.bus import Mailbox
from gateway.mcp.endpoint import McpEndpoint
from gateway.mcp.sessions import Session
from gateway.mcp.task_table import Task
from governance.snapshot import Agent, Bundle, Connector, Selection, Snapshot
from tests import factories as make
from tests.fakes import FakePorts

MODERN = "2026-07-28"
LEGACY = "2025-11-25"
META = "io.modelcontextprotocol/"
BOTH_KINDS = "application/json, text/event-stream"
WAIT_SECONDS = 20.0


class FakeSessions:
    """Sessions in memory; `broken` is raised instead of any answer."""

    def __init__(self) -> None:
        self.kept: dict[str, Session] = {}
        self.broken: Exception | None = None

    async def create(
        self, agent_id: str, bundle: str | None, *, revision: str, capabilities: Any, client: str = ""
    ) -> Session:
        if self.broken is not None:
            raise self.broken
        session = Session(f"session-{len(self.kept)}", agent_id, bundle, revision, capabilities, client)
        self.kept[session.id] = session
        return session

    async def find(self, session_id: str, agent_id: str, bundle: str | None) -> Session | None:
        if self.broken is not None:
            raise self.broken
        found = self.kept.get(session_id)
        return found if found is not None and (found.agent_id, found.bundle) == (agent_id, bundle) else None

    async def end(self, session: Session) -> None:
        self.kept.pop(session.id, None)

    async def set_log_level(self, session: Session, level: str) -> Session:
        return self._keep(replace(session, log_level=level))

    async def set_subscriptions(self, session: Session, uris: tuple[str, ...]) -> Session:
        return self._keep(replace(session, subscriptions=uris))

    def _keep(self, session: Session) -> Session:
        self.kept[session.id] = session
        return session


class FakeBus:
    """Letters between mailboxes of this process."""

    def __init__(self) -> None:
        self.boxes: dict[str, list[Mailbox]] = {}

    @contextmanager
    def mailbox(self, topic: str, **_: Any) -> Iterator[Mailbox]:
        box = Mailbox(topic, make_moment())
        self.boxes.setdefault(topic, []).append(box)
        try:
            yield box
        finally:
            self.boxes[topic].remove(box)

    async def send(self, topic: str, body: bytes, *, sender: str = "") -> bool:
        for box in self.boxes.get(topic, ()):
            box.put(body)
        return True

    async def announce(self, topic: str) -> None:
        await self.send(topic, b"")


def make_moment() -> Any:
    return FakePorts(make.snapshot()).at


class FakeTasks:
    """Tasks by id; `tell` is what a change calls."""

    def __init__(self) -> None:
        self.kept: dict[str, Task] = {}
        self.tell: Callable[[Task], Any] | None = None

    async def find(self, task_id: Any, agent_id: str, bundle: str | None, *, is_modern: bool) -> Task | None:
        return self.kept.get(task_id)

    async def page(self, agent_id: str, bundle: str | None, **_: Any) -> tuple[list[Task], None]:
        return list(self.kept.values()), None

    async def changed(self, agent_id: str, bundle: str | None, callback: Any, *, is_modern: bool) -> None:
        self.tell = callback
        await asyncio.Event().wait()


class McpPorts(FakePorts):
    """Fake ports with what the endpoint needs beside the pipeline. `heard` is how upstreams tell their news."""

    def __init__(self, snapshot: Snapshot) -> None:
        super().__init__(snapshot)
        self.sessions: Any = FakeSessions()
        self.bus: Any = FakeBus()
        self.tasks: Any = FakeTasks()
        self.heard: dict[str, Heard] = {}
        self.stands: dict[str, Stands] = {}
        self.stands_at_once = True
        self.listening: Counter[str] = Counter()
        self.interests: list[tuple[str, Interest]] = []
        self._swap_heard: list[Callable[[Snapshot], None]] = []
        self._listened = asyncio.Event()

    async def until(self, is_so: Callable[[], bool]) -> None:
        """Until something is so that changes when we begin to listen to an upstream."""
        async with asyncio.timeout(WAIT_SECONDS):
            while not is_so():
                self._listened.clear()
                await self._listened.wait()

    async def listen(self, connector: Connector, interest: Interest, heard: Heard, stands: Stands) -> None:
        self.interests.append((connector.name, interest))
        self.heard[connector.name] = heard
        if self.stands_at_once:
            stands()
        else:
            self.stands[connector.name] = stands
        self.listening[connector.name] += 1
        self._listened.set()
        try:
            await asyncio.Event().wait()
        finally:
            self.listening[connector.name] -= 1
            self._listened.set()

    def on_swap(self, heard: Callable[[Snapshot], None]) -> None:
        self._swap_heard.append(heard)

    def swap(self, snapshot: Snapshot) -> None:
        self.views[:] = [snapshot]
        for heard in self._swap_heard:
            heard(snapshot)


@dataclass
class Reply:
    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def message(self) -> Any:
        return json.loads(self.body)

    @property
    def result(self) -> Any:
        assert "result" in self.message, self.message
        return self.message["result"]

    @property
    def error(self) -> Any:
        assert "error" in self.message, self.message
        return self.message["error"]

    @property
    def code(self) -> int:
        return int(self.error["code"])


@dataclass
class Open:
    """A stream under way; `events` are its parsed messages so far."""

    task: asyncio.Task[None]
    sent: asyncio.Queue[MutableMapping[str, Any]]
    gone: asyncio.Event
    status: int = 0
    headers: dict[str, str] = field(default_factory=dict)
    comments: list[bytes] = field(default_factory=list)
    is_over: bool = False
    _pending: list[Any] = field(default_factory=list)

    async def next(self, seconds: float = WAIT_SECONDS) -> Any:
        """The next message; None when the stream ended."""
        async with asyncio.timeout(seconds):
            while not self._pending and not self.is_over:
                self._take(await self.sent.get())
        return self._pending.pop(0) if self._pending else None

    async def quiet(self, seconds: float = 0.3) -> bool:
        """Whether nothing but keep-alives comes for a while."""
        try:
            return await self.next(seconds) is None
        except TimeoutError:
            return True

    async def leave(self) -> None:
        self.gone.set()
        async with asyncio.timeout(WAIT_SECONDS):
            await self.task

    def _take(self, message: MutableMapping[str, Any]) -> None:
        if message["type"] == "http.response.start":
            self.status, self.headers = message["status"], _headers(message)
            return
        for block in message.get("body", b"").split(b"\n\n"):
            data = [line[6:] for line in block.split(b"\n") if line.startswith(b"data: ")]
            if data:
                self._pending.append(json.loads(data[0]))
            elif block:
                self.comments.append(block)
        if not message.get("more_body"):
            self.is_over = True


class Surface:
    """One agent's client at one endpoint."""

    def __init__(self, ports: McpPorts, *, bundle: str | None = "support", key: str = make.KEY) -> None:
        self.ports = ports
        self.bundle = bundle
        self.key = key
        self.app = McpEndpoint(ports)

    def other(self, *, bundle: str | None = "support", key: str = make.KEY) -> "Surface":
        """Somebody else at the same process."""
        other = object.__new__(Surface)
        other.ports, other.app, other.bundle, other.key = self.ports, self.app, bundle, key
        return other

    async def send(self, method: str, body: bytes = b"", headers: Any = None) -> Reply:
        sent: list[MutableMapping[str, Any]] = []
        parts = [{"type": "http.request", "body": body, "more_body": False}]

        async def receive() -> MutableMapping[str, Any]:
            if parts:
                return parts.pop()
            await asyncio.Event().wait()
            return {}

        async def send(message: MutableMapping[str, Any]) -> None:
            sent.append(message)

        async with asyncio.timeout(WAIT_SECONDS):
            await self.app(self._scope(method, headers or {}), receive, send)
        whole = b"".join(message.get("body", b"") for message in sent[1:])
        return Reply(sent[0]["status"], _headers(sent[0]), whole)

    async def open(self, method: str, body: bytes = b"", headers: Any = None) -> Open:
        """Begins a request whose answer is a stream."""
        stream = Open(asyncio.create_task(asyncio.sleep(0)), asyncio.Queue(), asyncio.Event())
        parts = [{"type": "http.request", "body": body, "more_body": False}]

        async def receive() -> MutableMapping[str, Any]:
            if parts:
                return parts.pop()
            while not stream.gone.is_set() and not stream.task.done() and not ended:
                await asyncio.wait([asyncio.create_task(stream.gone.wait())], timeout=0.02)
            return {"type": "http.disconnect"}

        ended: list[bool] = []

        async def send(message: MutableMapping[str, Any]) -> None:
            if message["type"] == "http.response.body" and not message.get("more_body"):
                ended.append(True)
            await stream.sent.put(message)

        stream.task = asyncio.create_task(self.app(self._scope(method, headers or {}), receive, send))
        async with asyncio.timeout(WAIT_SECONDS):
            stream._take(await stream.sent.get())
        return stream

    async def post(self, message: Any, **headers: str) -> Reply:
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        body = message if isinstance(message, bytes) else json.dumps(message).encode()
        return await self.send("POST", body, _json_headers() | named)

    async def ask(self, method: str, params: Any = None, *, version: str = LEGACY, id: Any = 1, **more: str) -> Reply:  # noqa: A002
        message = {"jsonrpc": "2.0", "id": id, "method": method, "params": params or {}}
        return await self.post(message, **({"mcp_protocol_version": version} if version else {}), **more)

    async def ask_modern(self, method: str, params: Any = None, *, capabilities: Any = None, **headers: str) -> Reply:
        message = modern_message(method, params, capabilities=capabilities)
        return await self.send("POST", json.dumps(message).encode(), modern_headers(message) | _dashed(headers))

    async def initialize(self, version: str = LEGACY, capabilities: Any = None) -> str:
        """The id of a new session."""
        params = {"protocolVersion": version, "capabilities": capabilities or {}, "clientInfo": {"name": "test"}}
        reply = await self.ask("initialize", params, version="")
        return reply.headers["mcp-session-id"]

    async def listen(self, notifications: Any, *, id: Any = 7) -> Open:  # noqa: A002
        return await self.open_modern(modern_message("subscriptions/listen", {"notifications": notifications}, id=id))

    async def open_modern(self, message: dict[str, Any]) -> Open:
        return await self.open("POST", json.dumps(message).encode(), modern_headers(message))

    def _scope(self, method: str, headers: dict[str, Any]) -> dict[str, Any]:
        usual = {"Host": "testserver", "Authorization": f"Bearer {self.key}"}
        given = [
            (name.lower().encode(), each.encode())
            for name, value in (usual | headers).items()
            if value is not None
            for each in (value if isinstance(value, list) else [value])
        ]
        return {
            "type": "http",
            "method": method,
            "headers": given,
            "client": ("127.0.0.1", 1),
            "url_route": {"kwargs": {"bundle": self.bundle}},
        }


def modern_message(
    method: str,
    params: Any = None,
    *,
    id: Any = 1,  # noqa: A002
    capabilities: Any = None,
) -> dict[str, Any]:
    meta = {f"{META}protocolVersion": MODERN, f"{META}clientCapabilities": capabilities or {}}
    return {"jsonrpc": "2.0", "id": id, "method": method, "params": {"_meta": meta, **(params or {})}}


def modern_headers(message: dict[str, Any]) -> dict[str, str]:
    params = message["params"]
    name = next((params[key] for key in ("name", "uri", "taskId") if isinstance(params.get(key), str)), None)
    headers = _json_headers() | {"MCP-Protocol-Version": MODERN, "Mcp-Method": message["method"]}
    return headers | ({"Mcp-Name": name} if name is not None else {})


def world(
    *bundles: Bundle,
    selections: tuple[Selection, ...] = (),
    agent: Agent | None = None,
    epoch: int = 1,
    **fields: Any,
) -> Snapshot:
    """One live agent that holds the bundle `support`, or those given."""
    held = bundles or (replace(make.bundle(), selections=selections),)
    caller = agent or make.agent(roles=(make.role(*(bundle.id for bundle in held)),))
    snapshot = make.snapshot(
        agents=(caller,), bundles=held, credentials=(make.credential(caller),), epoch=epoch, **fields
    )
    chosen = {each.connector.id: each.connector for bundle in held for each in bundle.selections}
    return replace(snapshot, connectors={**snapshot.connectors, **chosen})


def selection(kind: str, *allow: str, of: Connector | None = None, deny: tuple[str, ...] = ()) -> Selection:
    return Selection(kind, of or make.connector(), allow or ("*",), deny)


def _json_headers() -> dict[str, str]:
    return {"Content-Type": "application/json", "Accept": BOTH_KINDS}


def _dashed(headers: dict[str, str]) -> dict[str, str]:
    return {name.replace("_", "-"): value for name, value in headers.items()}


def _headers(message: MutableMapping[str, Any]) -> dict[str, str]:
    return {name.decode().lower(): value.decode() for name, value in message["headers"]}
