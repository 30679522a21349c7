"""Tasks in the database, so that any process tells of each of them. Which process runs a task only that one knows.

Statuses change by one conditional UPDATE each: what has ended never changes again.
"""

import json
import secrets
from collections.abc import Awaitable, Callable, Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from functools import partial
from hashlib import sha256
from typing import Any
from uuid import UUID

from django.db import transaction
from django.db.models import Count, Exists, OuterRef, Q, QuerySet

from gateway.bus import Bus, post, topic_of
from gateway.database import DatabaseThread
from gateway.mcp.waiting import Places
from gateway.models import GatewayProcess, McpTask
from gateway.sealing import NotOurs, seal, seal_text, unseal, unseal_text
from governance.models import ApprovalRequest

PURPOSE = "task"
CURSOR_PURPOSE = "task cursor"
PAGE = 50
ID_LIMIT = 128
DEFAULT_TTL_MS = 3_600_000
LEAST_TTL_MS, MOST_TTL_MS = 1_000, 4 * 3_600_000
SILENT_FOR = timedelta(seconds=10)
NOBODY = UUID(int=0)
"""Instead of a process, while a task waits for humans."""
OWNER_DIED = "The gateway process that ran this ended, so its outcome is unknown. It may have had an effect."

Status = McpTask.Status
LIVE = (Status.WORKING, Status.INPUT_REQUIRED)
OPEN = ("requests", "answers")


@dataclass(frozen=True, slots=True)
class Task:
    """`content` has `result` or `error` of one that has ended, `requests` that wait for an answer, and the `answers`
    that its process has not taken yet."""

    id: str = field(repr=False)
    agent_id: str
    bundle: str | None
    is_modern: bool
    status: str
    status_message: str
    ttl_ms: int
    created_at: datetime
    updated_at: datetime
    content: Mapping[str, Any] = field(repr=False)
    awaits: UUID | None = None
    """The request for approval that it waits for: nobody runs it yet, and any process may in the end."""

    @property
    def is_over(self) -> bool:
        return self.status not in LIVE

    @property
    def topic(self) -> str:
        """Reaches the process that runs it."""
        return topic_of("task", self.id)


@dataclass(frozen=True, slots=True)
class Awaited:
    """What a task waits for: a request for approval. `call` is what runs then, as JSON without the agent's key; the
    task is kept at least `until` then."""

    key: UUID
    message: str
    until: datetime
    call: Mapping[str, Any] = field(repr=False)


Changed = Callable[[Task], Awaitable[None]]
Content = dict[str, dict[str, Any]]
Edit = Callable[[Content], Content | None]
"""What the open questions and their answers become; None when they stay as they are."""


class Tasks:
    def __init__(self, thread: DatabaseThread, bus: Bus, process_id: UUID, places: Places) -> None:
        self.process_id = process_id
        self._thread = thread
        self._bus = bus
        self._places = places

    @property
    def places_taken(self) -> int:
        return self._places.count

    async def count_by_status(self) -> dict[str, int]:
        """Of all processes, without those whose time is up. Raises EvidenceUnavailable."""
        rows = McpTask.objects.filter(expires_at__gt=datetime.now(UTC)).order_by().values_list("status")
        return await self._thread.run(lambda: dict(rows.annotate(count=Count("digest"))))

    async def create(self, agent_id: str, bundle: str | None, *, is_modern: bool, ttl_ms: Any = None) -> Task:
        """Durable when this returns. A time to live that cannot be had is the nearest one.

        Raises EvidenceUnavailable.
        """
        now = datetime.now(UTC)
        ttl = ttl_ms if isinstance(ttl_ms, int) and not isinstance(ttl_ms, bool) else DEFAULT_TTL_MS
        task = Task(
            id=secrets.token_urlsafe(32),
            agent_id=UUID(agent_id).hex,
            bundle=bundle,
            is_modern=is_modern,
            status=Status.WORKING,
            status_message="",
            ttl_ms=min(max(ttl, LEAST_TTL_MS), MOST_TTL_MS),
            created_at=now,
            updated_at=now,
            content={},
        )
        await self._thread.run(partial(_insert, task, self.process_id))
        return task

    async def change(self, task: Task, status: str, content: Mapping[str, Any], *, message: str = "") -> bool:
        """Whether it was still live: the first end is the only one. Raises EvidenceUnavailable."""
        is_changed = await self._thread.run(partial(_change, task, status, content, message))
        if is_changed:
            self._bus.ring(_topic_of_agent(task.agent_id))
        return is_changed

    async def suspend(self, task: Task, awaits: Awaited) -> Task | None:
        """From now on it belongs to no process. None when it has ended. Raises EvidenceUnavailable."""
        suspended = await self._thread.run(partial(_suspend, task, awaits, self.process_id))
        if suspended is not None:
            self._bus.ring(_topic_of_agent(task.agent_id))
        return suspended

    async def claim(self, task: Task) -> Mapping[str, Any] | None:
        """What is to run, for the one process that gets it; None while humans have not decided, and for all others.
        Raises EvidenceUnavailable."""
        return await self._thread.run(partial(_claim, task, self.process_id))

    async def ask(self, task: Task, requests: Mapping[str, Any]) -> None:
        """Adds questions to those that the task has open. Raises EvidenceUnavailable."""
        await self._edit(task, partial(_asked, requests))

    async def give(self, task: Task, answers: Mapping[str, Any]) -> None:
        """A client's answers to questions that are open; others are left away. Durable when this returns, and what was
        answered is asked no more. Raises EvidenceUnavailable."""
        if await self._edit(task, partial(_given, answers)):
            await self._bus.send(task.topic, b"{}")

    async def settle(self, task: Task, names: Collection[str]) -> None:
        """Nobody waits for answers to these any more. Raises EvidenceUnavailable."""
        await self._edit(task, partial(_settled, names))

    async def answers(self, task: Task) -> Mapping[str, Any]:
        """Those that were given and are not settled. Raises EvidenceUnavailable."""
        found = await self._thread.run(partial(_read, McpTask.objects.filter(digest=_digest(task.id))))
        given: Mapping[str, Any] = found[0].content.get("answers", {}) if found else {}
        return given

    async def _edit(self, task: Task, edit: Edit) -> bool:
        is_changed = await self._thread.run(partial(_edit, task, edit))
        if is_changed:
            self._bus.ring(_topic_of_agent(task.agent_id))
        return is_changed

    async def find(self, task_id: Any, agent_id: str, bundle: str | None, *, is_modern: bool) -> Task | None:
        """None for an unknown or expired one, and for another agent's or endpoint's. Raises EvidenceUnavailable."""
        if not isinstance(task_id, str) or not 0 < len(task_id) <= ID_LIMIT:
            return None
        rows = _of(agent_id, bundle, is_modern=is_modern).filter(digest=_digest(task_id))
        found = await self._thread.run(partial(_read, rows))
        return found[0] if found else None

    async def page(
        self, agent_id: str, bundle: str | None, *, is_modern: bool, cursor: str | None
    ) -> tuple[list[Task], str | None]:
        """The newest first, and the cursor of the next page. Raises NotOurs for a cursor we did not make for this
        agent, or EvidenceUnavailable."""
        rows = _of(agent_id, bundle, is_modern=is_modern).order_by("-created_at", "digest")
        if cursor is not None:
            at, digest = json.loads(unseal_text(CURSOR_PURPOSE, cursor, bound_to=agent_id))
            at, digest = datetime.fromisoformat(at), bytes.fromhex(digest)
            rows = rows.filter(Q(created_at__lt=at) | Q(created_at=at, digest__gt=digest))
        found = await self._thread.run(partial(_read, rows[: PAGE + 1]))
        if len(found) <= PAGE:
            return found, None
        last = [found[PAGE - 1].created_at.isoformat(), _digest(found[PAGE - 1].id).hex()]
        return found[:PAGE], seal_text(CURSOR_PURPOSE, json.dumps(last).encode(), bound_to=agent_id)

    async def changed(self, agent_id: str, bundle: str | None, callback: Changed, *, is_modern: bool) -> None:
        """Runs until cancelled: tells each change of this agent's tasks at this endpoint, in whichever process it
        happened. Only the newest status of a task is told when several changed at once. Up to 2025-11-25 nobody asks
        to be told, so it costs nothing while nothing happens: an owner's death is not noticed."""
        told: dict[str, datetime] = {}
        since = datetime.now(UTC)
        with self.bell(agent_id, SILENT_FOR.total_seconds() if is_modern else None) as bell:
            while True:
                await bell()
                rows = _of(agent_id, bundle, is_modern=is_modern).filter(updated_at__gt=since - SILENT_FOR)
                for task in await self._thread.run(partial(_read, rows.order_by("updated_at"))):
                    if task.updated_at > told.get(task.id, since):
                        told[task.id] = task.updated_at
                        await callback(task)
                since = max([since, *told.values()])
                told = {key: at for key, at in told.items() if at > since - SILENT_FOR}

    async def is_alive(self, process_id: str) -> bool:
        """Whether nobody has declared that process dead. Raises EvidenceUnavailable."""
        return await self._thread.run(GatewayProcess.objects.filter(id=process_id, ended_at=None).exists)

    @contextmanager
    def bell(
        self, agent_id: str, seconds: float | None = SILENT_FOR.total_seconds()
    ) -> Iterator[Callable[[], Awaitable[bool]]]:
        """Rings when any task of this agent may have changed; at the latest in a while, because owners die silently."""
        with self._bus.mailbox(_topic_of_agent(UUID(agent_id).hex)) as box:
            yield partial(box.ring, seconds)


def _suspend(task: Task, awaits: Awaited, process_id: UUID) -> Task | None:
    now = datetime.now(UTC)
    until = max(awaits.until, task.created_at + timedelta(milliseconds=task.ttl_ms))
    ttl_ms = int((until - task.created_at).total_seconds() * 1000)
    with transaction.atomic():
        changed = McpTask.objects.filter(digest=_digest(task.id), process_id=process_id, status__in=LIVE).update(
            process_id=NOBODY,
            approval_key=awaits.key,
            held_call=_sealed(task, {"call": awaits.call}),
            status=Status.WORKING,
            status_message=awaits.message,
            ttl_ms=ttl_ms,
            expires_at=until,
            updated_at=now,
        )
        if not changed:
            return None
        post(_topic_of_agent(task.agent_id), b"")
    return replace(task, awaits=awaits.key, status_message=awaits.message, ttl_ms=ttl_ms, updated_at=now)


def _claim(task: Task, process_id: UUID) -> Mapping[str, Any] | None:
    """That the humans have decided is part of the condition: who looked before could be late."""
    undecided = ApprovalRequest.objects.filter(
        key=OuterRef("approval_key"), state=ApprovalRequest.State.PENDING, expires_at__gt=datetime.now(UTC)
    )
    held = McpTask.objects.filter(digest=_digest(task.id))
    if not held.filter(~Exists(undecided), process_id=NOBODY, status__in=LIVE).update(
        process_id=process_id, status_message=""
    ):
        return None
    sealed = held.values_list("held_call", flat=True).get()
    try:
        said = unseal(PURPOSE, bytes(sealed or b""), bound_to=_bound_to(task.agent_id, _digest(task.id)))
    except NotOurs:
        return None
    call: Mapping[str, Any] = json.loads(said)["call"]
    return call


def forget_tasks(now: datetime) -> None:
    McpTask.objects.filter(expires_at__lt=now).delete()
    _bury(McpTask.objects.all())


def _topic_of_agent(agent_id: str) -> str:
    return topic_of("tasks", agent_id)


def _digest(task_id: str) -> bytes:
    return sha256(task_id.encode()).digest()


def _bound_to(agent_id: str, digest: bytes) -> str:
    return f"{agent_id} {digest.hex()}"


def _sealed(task: Task, content: Mapping[str, Any]) -> bytes:
    """With the id, which its row does not say."""
    said = json.dumps({**content, "id": task.id}).encode()
    return seal(PURPOSE, said, bound_to=_bound_to(task.agent_id, _digest(task.id)))


def _insert(task: Task, process_id: UUID) -> None:
    row = McpTask(
        digest=_digest(task.id),
        agent_id=task.agent_id,
        bundle=task.bundle or "",
        is_modern=task.is_modern,
        status=task.status,
        process_id=process_id,
        content=_sealed(task, {}),
        ttl_ms=task.ttl_ms,
        created_at=task.created_at,
        updated_at=task.updated_at,
        expires_at=task.created_at + timedelta(milliseconds=task.ttl_ms),
    )
    McpTask.objects.bulk_create([row], ignore_conflicts=True)


def _change(task: Task, status: str, content: Mapping[str, Any], message: str) -> bool:
    live = McpTask.objects.filter(digest=_digest(task.id), status__in=LIVE)
    with transaction.atomic():
        changed = live.update(
            status=status,
            status_message=message.replace("\0", "")[:300],
            content=_sealed(task, content),
            held_call=None,
            updated_at=datetime.now(UTC),
        )
        if changed:
            post(_topic_of_agent(task.agent_id), b"")
    return bool(changed)


def _edit(task: Task, edit: Edit) -> bool:
    """Its process and its client change the same row, so each reads it again while nobody else can write."""
    live = McpTask.objects.filter(digest=_digest(task.id), status__in=LIVE)
    with transaction.atomic():
        row = live.select_for_update().first()
        found = _task(row) if row is not None else None
        content = edit({key: dict(found.content.get(key, {})) for key in OPEN}) if found is not None else None
        if content is None:
            return False
        status = Status.INPUT_REQUIRED if content["requests"] else Status.WORKING
        live.update(status=status, content=_sealed(task, content), updated_at=datetime.now(UTC))
        post(_topic_of_agent(task.agent_id), b"")
    return True


def _asked(requests: Mapping[str, Any], content: Content) -> Content | None:
    return content | {"requests": {**content["requests"], **requests}}


def _given(answers: Mapping[str, Any], content: Content) -> Content | None:
    wanted = {name: answers[name] for name in content["requests"] if isinstance(answers.get(name), dict)}
    left = {name: request for name, request in content["requests"].items() if name not in wanted}
    return {"requests": left, "answers": content["answers"] | wanted} if wanted else None


def _settled(names: Collection[str], content: Content) -> Content | None:
    kept = {key: {name: it for name, it in each.items() if name not in names} for key, each in content.items()}
    return kept if kept != content else None


def _of(agent_id: str, bundle: str | None, *, is_modern: bool) -> QuerySet[McpTask]:
    return McpTask.objects.filter(
        agent_id=agent_id, bundle=bundle or "", is_modern=is_modern, expires_at__gt=datetime.now(UTC)
    )


def _read(rows: QuerySet[McpTask]) -> list[Task]:
    """One whose process has died is buried first."""
    found = list(rows)
    lost = [row.digest for row in found if row.status in LIVE]
    if lost and _bury(McpTask.objects.filter(digest__in=lost)):
        found = list(rows.all())
    return [task for row in found if (task := _task(row)) is not None]


def _bury(rows: QuerySet[McpTask]) -> int:
    """A process that is silent may still write an outcome, so only its end counts, which is declared by recovery. What
    it had taken up but not begun, because the approval is unused, is for the next one: the call has one id for both."""
    ended = GatewayProcess.objects.filter(id=OuterRef("process_id")).exclude(ended_at=None)
    lost = rows.filter(Exists(ended), status__in=LIVE)
    unused = ApprovalRequest.objects.filter(key=OuterRef("approval_key"), state__in=ApprovalRequest.LIVE)
    given_back = lost.filter(Exists(unused), held_call__isnull=False).update(process_id=NOBODY)
    return given_back + lost.update(status=Status.FAILED, status_message=OWNER_DIED, updated_at=datetime.now(UTC))


def _task(row: McpTask) -> Task | None:
    agent_id = row.agent_id.hex
    try:
        content = json.loads(unseal(PURPOSE, bytes(row.content), bound_to=_bound_to(agent_id, bytes(row.digest))))
    except NotOurs:
        return None
    return Task(
        id=content.pop("id"),
        agent_id=agent_id,
        bundle=row.bundle or None,
        is_modern=row.is_modern,
        status=row.status,
        status_message=row.status_message,
        ttl_ms=row.ttl_ms,
        created_at=row.created_at,
        updated_at=row.updated_at,
        content=content,
        awaits=row.approval_key if row.process_id == NOBODY else None,
    )
