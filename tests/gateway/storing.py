"""Two gateway processes' stores on one database, fake ports on top of one, and a client that hears what it is sent."""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, MutableMapping
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import pytest
from django.db import connection, transaction
from pytest_django import DjangoDbBlocker

from audit.event import uuid7
from connectors.base import RawResult, Relay, UpstreamFailure
from gateway.call import Caller, Frame, Intent
from gateway.mcp.context import Context
from gateway.mcp.frames import frame_of
from gateway.mcp.http import Request
from gateway.mcp.message import Message
from gateway.mcp.revisions import MODERN
from gateway.mcp.session_ends import end_session
from gateway.mcp.sessions import Session
from gateway.mcp.task_methods import METHODS
from gateway.models import GatewayProcess, Letter, McpSession, McpTask, StreamEvent
from gateway.store import Store
from governance.facts import Fact
from governance.models import Agent, ApprovalRequest
from governance.snapshot import Snapshot
from tests import factories as make
from tests.fakes import FakePorts
from tests.fresh_database import own_database

AGENT = UUID(int=7).hex
OTHER_AGENT = UUID(int=8).hex
ELICITATION: dict[str, Any] = {"elicitation": {"form": {}}}
TASKS: dict[str, Any] = {"extensions": {"io.modelcontextprotocol/tasks": {}}}


@pytest.fixture(scope="module")
def module_database(django_db_blocker: DjangoDbBlocker, tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """To copy one takes far longer than most tests that need it."""
    yield from own_database(django_db_blocker, tmp_path_factory.mktemp("database"))


@pytest.fixture
def empty_store(module_database: None) -> Iterator[None]:
    """A database in which commits are real and nobody has a session, a task, a stream or a letter."""
    for model in (McpSession, McpTask, StreamEvent, Letter, GatewayProcess, ApprovalRequest):
        model._default_manager.all().delete()
    yield
    connection.close()


def with_database(test: Any) -> Any:
    """A test on both databases, beginning with an empty store."""
    return pytest.mark.database(pytest.mark.usefixtures("empty_store")(test))


def world() -> Snapshot:
    """One live agent that holds helpdesk/ticket_get through the bundle support; helpdesk may ask everything."""
    helpdesk = make.connector(relays=frozenset({"elicitation", "sampling", "roots"}))
    agent = replace(make.agent(roles=(make.role("bundle-support"),)), id=AGENT)
    bundle = make.bundle(tools=(make.tool(of=helpdesk),))
    return make.snapshot(agents=(agent,), bundles=(bundle,), credentials=(make.credential(agent),))


class StoredPorts(FakePorts):
    """The upstream of a call is `conversation`, which may take its time and talk with the caller's side."""

    def __init__(self, store: Store, process_id: UUID, snapshot: Snapshot | None = None) -> None:
        super().__init__(snapshot or world())
        self.process_id = process_id
        self.sessions, self.bus, self.tasks = store.sessions, store.bus, store.tasks
        self.waiting, self.held = store.waiting, store.held
        self.requests = store.requests
        self.running: dict[asyncio.Task[Any], bool] = {}
        self.cancelled = asyncio.Event()

    async def call_upstream(self, intent: Intent, relay: Relay) -> RawResult:
        task = asyncio.current_task()
        assert task is not None
        self.running[task] = False
        try:
            return await super().call_upstream(intent, relay)
        except asyncio.CancelledError:
            if not self.running[task]:
                raise
            task.uncancel()
            self.cancelled.set()
            raise UpstreamFailure("cancelled", "The caller broke it off.", reached=True) from None
        finally:
            del self.running[task]

    def cancel(self, task: asyncio.Task[Any]) -> bool:
        if task not in self.running:
            return False
        self.running[task] = True
        task.cancel()
        return True


@asynccontextmanager
async def two_processes() -> AsyncIterator[tuple[StoredPorts, StoredPorts]]:
    ids = uuid7(), uuid7()
    stores = [Store(process_id) for process_id in ids]
    for store, process_id in zip(stores, ids, strict=True):
        await store.start()
        await store.tasks._thread.run(lambda process_id=process_id: _register(process_id))  # type: ignore[misc]
    try:
        yield StoredPorts(stores[0], ids[0]), StoredPorts(stores[1], ids[1])
    finally:
        for store in stores:
            await store.stop()


def _register(process_id: UUID) -> None:
    now = datetime.now(UTC)
    GatewayProcess.objects.create(id=process_id, host="here", pid=1, started_at=now, beat_at=now, applied_epoch=1)


class Client:
    """One request of a client: what it was answered, event by event."""

    def __init__(self) -> None:
        self.status = 0
        self.headers: dict[bytes, bytes] = {}
        self.body = b""
        self.is_complete = asyncio.Event()
        self.left = asyncio.Event()
        self._heard = asyncio.Event()

    async def send(self, message: MutableMapping[str, Any]) -> None:
        if message["type"] == "http.response.start":
            self.status, self.headers = message["status"], dict(message["headers"])
        else:
            self.body += message.get("body", b"")
            if not message.get("more_body"):
                self.is_complete.set()
        self._heard.set()

    async def receive(self) -> MutableMapping[str, Any]:
        waits = [asyncio.create_task(event.wait()) for event in (self.left, self.is_complete)]
        try:
            await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for wait in waits:
                wait.cancel()
        return {"type": "http.disconnect"}

    @property
    def is_stream(self) -> bool:
        return self.headers.get(b"content-type") == b"text/event-stream"

    @property
    def message(self) -> dict[str, Any]:
        """The answer, as JSON or as the last event."""
        found: dict[str, Any] = self.messages[-1] if self.is_stream else json.loads(self.body)
        return found

    @property
    def messages(self) -> list[dict[str, Any]]:
        lines = [line for line in self.body.split(b"\n") if line.startswith(b"data: ")]
        return [json.loads(line[6:]) for line in lines if line != b"data: "]

    @property
    def event_ids(self) -> list[str]:
        return [line[4:].decode() for line in self.body.split(b"\n") if line.startswith(b"id: ")]

    @property
    def result(self) -> dict[str, Any]:
        assert self.is_complete.is_set()
        found: dict[str, Any] = self.message["result"]
        return found

    async def until(self, is_so: Callable[["Client"], bool], *, seconds: float = 30) -> None:
        async with asyncio.timeout(seconds):
            while not is_so(self):
                self._heard.clear()
                await self._heard.wait()

    async def first_question(self) -> dict[str, Any]:
        await self.until(lambda client: any("method" in message and "id" in message for message in client.messages))
        return next(message for message in self.messages if "method" in message and "id" in message)


def call_message(request_id: str | int = 1, **params: Any) -> Message:
    return Message("tools/call", request_id, {"name": "ticket_get", "arguments": {"id": 7}, **params})


def context(
    client: Client,
    message: Message | None = None,
    *,
    session: Session | None = None,
    capabilities: dict[str, Any] | None = None,
    is_modern: bool = False,
    agent_id: str = AGENT,
    bundle: str | None = "support",
    **fields: Any,
) -> Context:
    snapshot = world()
    found = next(iter(snapshot.agents.values()))
    agent = replace(found, id=agent_id)
    said = dict(session.capabilities) if session is not None else {}
    defaults: dict[str, Any] = {"log_level": "", "progress_token": None}
    return Context(
        request=Request("POST", bundle, {b"accept": b"application/json, text/event-stream"}, "192.0.2.1"),
        message=message or call_message(),
        caller=Caller(agent, make.credential(found), snapshot),
        token=make.KEY,
        is_modern=is_modern,
        revision=MODERN if is_modern else session.revision if session is not None else "2025-11-25",
        session=session,
        capabilities=capabilities if capabilities is not None else said,
        receive=client.receive,
        send=client.send,
        **(defaults | fields),
    )


def frame(of: Context) -> Frame:
    return frame_of(of)


async def a_session(ports: StoredPorts, revision: str = "2025-11-25", **capabilities: Any) -> Session:
    return await ports.sessions.create(AGENT, "support", revision=revision, capabilities=capabilities)


def end_as_its_person(digest: bytes) -> list[Fact]:
    """From a process of the pages, which none of the others hears directly."""
    facts: list[Fact] = []
    try:
        with transaction.atomic():
            row = McpSession.objects.get(pk=digest)
            end_session(row, agent=Agent(name="triage-bot"), record=facts.append, now=datetime.now(UTC))
    finally:
        connection.close()
    return facts


Use = Callable[[StoredPorts, StoredPorts], Awaitable[Any]]


def run_twice(use: Use) -> Any:
    """`use` with the ports of two processes on one database."""

    async def run() -> Any:
        async with two_processes() as both, asyncio.timeout(20):
            return await use(*both)

    return asyncio.run(run())


async def ask(ports: StoredPorts, method: str, *, is_modern: bool = True, session: Any = None, **params: Any) -> Any:
    """The result of a tasks method, or its error."""
    agent = params.pop("agent_id", AGENT)
    bundle = params.pop("bundle", "support")
    of = context(
        Client(), Message(method, 9, params), is_modern=is_modern, session=session, agent_id=agent, bundle=bundle
    )
    found = await METHODS[method](of, ports)
    assert found is not None
    return found.result if found.error is None else found.error


async def until(ports: StoredPorts, task_id: str, *statuses: str, is_modern: bool = True) -> Any:
    with ports.tasks.bell(AGENT) as bell:
        while True:
            told = await ask(ports, "tasks/get", is_modern=is_modern, taskId=task_id)
            if told["status"] in statuses:
                return told
            await bell()
