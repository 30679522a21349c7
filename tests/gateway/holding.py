"""A desk in the pipeline's place, that only knows the request's row, and clients whose calls wait at it for humans."""

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import pytest
from django.db.models import F

from gateway.bus import post
from gateway.call import Answer, Frame, Held
from gateway.held_rows import topic_of_request
from gateway.mcp import attendance, calls, running
from gateway.mcp.message import Message
from governance.models import ApprovalRequest
from tests.gateway.storing import (
    AGENT,
    Client,
    StoredPorts,
    call_message,
    context,
    frame,
)

State = ApprovalRequest.State
URL: dict[str, Any] = {"elicitation": {"url": {}}}
FORM: dict[str, Any] = {"elicitation": {"form": {}}}
DONE = [{"type": "text", "text": "done"}]
DENIED = [{"type": "text", "text": "An approver said no."}]
WAITING = [{"type": "text", "text": "Call again after approval."}]


class Desk:
    """Stands for the pipeline: one call, its row, and what it had for effects. `wants_reason` as a rule may."""

    def __init__(self) -> None:
        self.effects = 0
        self.frames: list[Frame] = []
        self.wants_reason = False
        self.pending = timedelta(minutes=15)
        self.has_asked = asyncio.Event()

    async def run(self, frame: Frame, ports: StoredPorts) -> Answer:
        self.frames.append(frame)
        answer = await ports.tasks._thread.run(lambda: self._run(frame))
        self.has_asked.set()
        return answer

    def _run(self, frame: Frame) -> Answer:
        row = ApprovalRequest.objects.filter(state__in=ApprovalRequest.LIVE).first()
        is_new = row is None and frame.awaited is None
        if is_new:
            row = self._ask()
        elif row is None:
            row = ApprovalRequest.objects.filter(key=str(frame.awaited)).first()
        assert row is not None
        approved = ApprovalRequest.objects.filter(number=row.number, state=State.APPROVED)
        if approved.update(state=State.CONSUMED):
            self.effects += 1
            return Answer(result={"content": DONE})
        content = WAITING if row.state == State.PENDING else DENIED
        return Answer(result={"content": content, "isError": True}, held=self._view(row, is_new=is_new))

    def _ask(self) -> ApprovalRequest:
        now = datetime.now(UTC)
        return ApprovalRequest.objects.create(
            agent_id=UUID(AGENT),
            asked_digest=b"a" * 32,
            call_digest=b"c" * 32,
            created_at=now,
            expires_at=now + self.pending,
        )

    def _view(self, row: ApprovalRequest, *, is_new: bool) -> Held:
        url = f"https://gatehouse.example/approvals/{row.key}/"
        return Held(
            row.key, row.name, url, row.state, row.expires_at, 5, is_new, self.wants_reason and not row.stated_reason
        )


@pytest.fixture
def desk(monkeypatch: pytest.MonkeyPatch) -> Desk:
    desk = Desk()
    monkeypatch.setattr(attendance, "WATCH_AFTER_SECONDS", 0.0)
    monkeypatch.setattr(running, "WATCH_AFTER_SECONDS", 0.001)
    monkeypatch.setattr(running, "run", desk.run)
    return desk


def serve(ports: StoredPorts, message: Message | None = None, **fields: Any) -> tuple[Client, asyncio.Task[None]]:
    client = Client()
    of = context(client, message or call_message(1), **fields)
    return client, asyncio.create_task(calls.serve(of, frame(of), ports))


def modern(ports: StoredPorts, capabilities: Any = None, **params: Any) -> tuple[Client, asyncio.Task[None]]:
    return serve(ports, call_message(1, **params), is_modern=True, capabilities=capabilities or {})


async def decide(ports: StoredPorts, state: str) -> None:
    def write() -> None:
        rows = ApprovalRequest.objects.filter(state=State.PENDING)
        key = rows.values_list("key", flat=True).get()
        assert rows.update(state=state, revision=F("revision") + 1)
        post(topic_of_request(key), b"")

    await ports.tasks._thread.run(write)


async def row_of(ports: StoredPorts) -> ApprovalRequest:
    return await ports.tasks._thread.run(ApprovalRequest.objects.order_by("number").reverse()[:1].get)


async def is_waiting(ports: StoredPorts) -> None:
    """Until somebody waits for the row to change."""
    async with asyncio.timeout(10):
        while not any(topic.startswith("approval:") for topic in ports.bus._boxes):  # noqa: ASYNC110
            await asyncio.sleep(0.005)
