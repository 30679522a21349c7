"""Calls that wait for humans: one row each, found again by the digest of what was asked, by whichever process.

Nothing waits inside a transaction, and no process owns a row: whoever repeats the call continues it.
"""

from collections.abc import Callable, Collection
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from functools import partial
from time import monotonic
from typing import Final
from uuid import UUID

from django.db import IntegrityError, connection, transaction
from django.db.models import F

from gateway import notices
from gateway.bus import Bus, post
from gateway.call import Asked
from gateway.database import DatabaseThread
from gateway.held_rows import TOPIC_KIND, HeldCall, answer_digest, call_digest, held_call, sealed, topic_of_request
from gateway.recorder import recorder
from gateway.run_sessions import session_of
from gateway.unmasking import bound_values
from governance import approvals
from governance.approval_rows import State, fact, in_time
from governance.facts import Recorder
from governance.models import ApprovalRequest, GrantUse

MOST_PENDING: Final = 20
MOST_ASKED: Final = 60
MOST_DENIED: Final = 5
FATIGUE: Final = timedelta(hours=1)
"""An agent's questions of this time count: approvers who are asked too often stop reading."""
DENIAL_STANDS: Final = timedelta(minutes=15)
"""So long a repetition is answered with the denial; then it may be asked anew."""
ANSWERED_FOR: Final = timedelta(days=8)
"""Older questions are not looked at: none can have been pending for longer."""
LOOK_EVERY_SECONDS: Final = 2.0
LONGEST_REASON: Final = 2000
SPENT_KEPT: Final = 10_000


class TooManyQuestions(Exception):
    """`is_denied`: not for their number, but because approvers said no so often."""

    def __init__(self, *, is_denied: bool) -> None:
        super().__init__()
        self.is_denied = is_denied


class HeldCalls:
    """All methods run on the event loop, and raise EvidenceUnavailable."""

    def __init__(self, thread: DatabaseThread, bus: Bus) -> None:
        self._thread = thread
        self._bus = bus
        self._looks = 0
        self.spent: frozenset[str] = frozenset()
        """Grants of which this process knows that no use is left: uses are never given back."""

    async def find(self, asked_digest: bytes, at: datetime, *, awaited: UUID | None = None) -> HeldCall | None:
        """What waits for this call, or was approved; or a denial that still stands. With `awaited`, that question
        however it ended, if none is live."""
        return await self._thread.run(lambda: _find(asked_digest, at, awaited))

    async def is_answer(self, key: UUID) -> bool:
        """Whether this question is about what a call got that has run."""
        answers = ApprovalRequest.objects.filter(key=key, kind=ApprovalRequest.Kind.ANSWER)
        return await self._thread.run(answers.exists)

    async def ask(self, asked: Asked, at: datetime, record: Recorder) -> HeldCall:
        """Puts the question, or finds that it has been put. Raises TooManyQuestions."""
        return await self._thread.run(lambda: _ask(asked, at, record))

    async def hold(self, asked: Asked, answer: bytes, at: datetime, record: Recorder) -> HeldCall:
        """Keeps what a call got until humans have looked at it. Raises TooManyQuestions."""
        return await self._thread.run(lambda: _ask(asked, at, record, answer))

    async def void(self, key: UUID, why: str, at: datetime, record: Recorder) -> bool:
        """What was agreed to is not what would run now. False when the row is over."""
        return await self._thread.run(lambda: _void(key, why, at, record))

    async def withdraw(self, key: UUID) -> bool:
        """The agent wants it no more. False when it is over."""
        return await self._thread.run(lambda: _withdraw(key, datetime.now(UTC)))

    async def say(self, key: UUID, reason: str, at: datetime) -> None:
        """Adds to what the asking side says it wants this for, while it waits."""
        await self._thread.run(lambda: _say(key, reason, at))

    async def give_back(self, number: int, call_id: UUID) -> None:
        """The call that consumed it was closed without anything having been sent."""
        await self._thread.run(lambda: _give_back(number, call_id))

    async def look_for_spent(self, grants: Collection[str]) -> None:
        """A call could not have what it was to take of these."""
        spent = await self._thread.run(lambda: _spent(grants))
        self.spent = (self.spent if len(self.spent) < SPENT_KEPT else frozenset()) | spent

    def look_again(self) -> None:
        """Whoever waits runs its call again: there may be nothing to wait for, as something is frozen."""
        self._looks += 1
        self._bus.ring_all(TOPIC_KIND)

    async def changed(self, key: UUID, seconds: float, *, while_: Callable[[], bool] = lambda: True) -> None:
        """Returns when the row has changed, or does not wait any more, or the time is over, or `while_` does not hold.
        A letter wakes; where none arrives, a look every two seconds does."""
        until, seen, looks = monotonic() + seconds, None, self._looks
        with self._bus.mailbox(topic_of_request(key)) as box:
            while True:
                revision = await self._thread.run(partial(_pending_revision, key))
                seen = revision if seen is None else seen
                left = until - monotonic()
                if revision is None or revision != seen or left <= 0 or looks != self._looks or not while_():
                    return
                await box.ring(min(left, LOOK_EVERY_SECONDS))

    async def decided(self, key: UUID) -> None:
        """Returns when the row does not wait any more."""
        while await self._thread.run(partial(_pending_revision, key)) is not None:
            await self.changed(key, LOOK_EVERY_SECONDS * 30)


def _find(asked_digest: bytes, at: datetime, awaited: UUID | None) -> HeldCall | None:
    same = ApprovalRequest.objects.filter(asked_digest=asked_digest)
    row = same.filter(in_time(at), state__in=ApprovalRequest.LIVE).first()
    if row is None and awaited is not None:
        row = same.filter(key=awaited).first()
    if row is None:
        denied = same.filter(created_at__gt=at - ANSWERED_FOR, state=State.DENIED, ended_at__gt=at - DENIAL_STANDS)
        row = denied.order_by("-number").first()
    return held_call(row) if row is not None else None


def _pending_revision(key: UUID) -> int | None:
    rows = ApprovalRequest.objects.filter(key=key, state=State.PENDING)
    return rows.values_list("revision", flat=True).first()


def _ask(asked: Asked, at: datetime, record: Recorder, answer: bytes = b"") -> HeldCall:
    caller = asked.call.caller
    with transaction.atomic():
        _one_at_a_time(caller.agent.id)
        if approvals.live_request(asked.digest, record=record, now=at) is None:
            _spare_the_approvers(caller.agent.id, at)
        draft = _with_answer(draft_of(asked), asked, answer) if answer else draft_of(asked)
        row, is_new = approvals.ask(draft, asked.decision.asks, record=record, now=at)
        if is_new:
            notices.asked(row, snapshot=caller.snapshot, now=at)
    return held_call(row, is_new=is_new)


def _with_answer(draft: ApprovalRequest, asked: Asked, answer: bytes) -> ApprovalRequest:
    draft.kind = ApprovalRequest.Kind.ANSWER
    draft.answer = sealed(draft.key, answer)
    draft.call_digest = answer_digest(draft, asked.call.recorded_arguments, answer)
    return draft


def _one_at_a_time(agent_id: str) -> None:
    """An agent's questions are counted before one more is put; on SQLite every writer is alone anyway."""
    if connection.vendor == "postgresql":
        with connection.cursor() as cursor:
            cursor.execute("SELECT pg_advisory_xact_lock(hashtext('approvals'), hashtext(%s))", [agent_id])


def _spare_the_approvers(agent_id: str, at: datetime) -> None:
    rows = ApprovalRequest.objects.filter(agent_id=agent_id).exclude(kind=ApprovalRequest.Kind.ACCESS)
    lately = rows.filter(created_at__gt=at - ANSWERED_FOR)
    if lately.filter(state=State.DENIED, ended_at__gt=at - FATIGUE).count() >= MOST_DENIED:
        raise TooManyQuestions(is_denied=True)
    waiting = lately.filter(state=State.PENDING, expires_at__gt=at).count()
    if waiting >= MOST_PENDING or rows.filter(created_at__gt=at - FATIGUE).count() >= MOST_ASKED:
        raise TooManyQuestions(is_denied=False)


def _void(key: UUID, why: str, at: datetime, record: Recorder) -> bool:
    with transaction.atomic():
        row = ApprovalRequest.objects.get(key=key)
        return approvals.void(row, why, record=record, now=at) and _told(row, at)


def _withdraw(key: UUID, at: datetime) -> bool:
    with transaction.atomic():
        row = ApprovalRequest.objects.get(key=key)
        record = recorder(by=f"agent:{row.agent}", now=at)
        return approvals.cancel(row, by=row.agent, record=record, now=at) and _told(row, at)


def _told(row: ApprovalRequest, at: datetime) -> bool:
    notices.ended(row, now=at)
    post(topic_of_request(row.key), b"")
    return True


def _say(key: UUID, reason: str, at: datetime) -> None:
    with transaction.atomic():
        row = ApprovalRequest.objects.select_for_update().filter(key=key, state=State.PENDING).first()
        if row is not None:
            said = f"{row.stated_reason}\n{_plain(reason)}".strip()[:LONGEST_REASON]
            ApprovalRequest.objects.filter(number=row.number).update(stated_reason=said)
            recorder(by=f"agent:{row.agent}", now=at)(fact("approval.explained", row, reason=said))


def _spent(grants: Collection[str]) -> frozenset[str]:
    """One that is gone has no uses left either."""
    left = GrantUse.objects.filter(grant_id__in=grants, used__lt=F("max_uses")).values_list("grant_id", flat=True)
    return frozenset(grants) - {grant.hex for grant in left}


def _give_back(number: int, call_id: UUID) -> None:
    """Not if the same call was asked about again meanwhile, one question is enough; and not without its arguments."""
    consumed = ApprovalRequest.objects.filter(number=number, call_id=call_id, state=State.CONSUMED)
    with suppress(IntegrityError), transaction.atomic():
        consumed.exclude(arguments=b"").update(
            state=State.APPROVED, call_id=None, ended_at=None, revision=F("revision") + 1
        )


def draft_of(asked: Asked) -> ApprovalRequest:
    call, decision, caller = asked.call, asked.decision, asked.call.caller
    connector, frame = call.tool.connector, call.frame
    row = ApprovalRequest(
        agent_id=UUID(caller.agent.id),
        agent=caller.agent.name,
        owner_id=UUID(caller.agent.owner.id),
        owner=caller.agent.owner.email,
        person_id=UUID(caller.credential.person_id) if caller.credential.person_id else None,
        person=caller.person.email if caller.credential.person_id else "",
        credential_id=UUID(caller.credential.id),
        connector_id=UUID(connector.id),
        connector=connector.name,
        tool_id=call.tool.id,
        tool=call.tool.name,
        method=frame.method,
        definition_digest=call.tool.definition_digest,
        secret_version=call.presents,
        bundle_id=UUID(asked.bundle_id),
        bundle=decision.bundle,
        bundle_version=decision.bundle_version,
        session=frame.session_id[:200],
        run=session_of(call),
        asking_call_id=call.id,
        source_ip=frame.source_ip[:64],
        client=_plain(frame.client)[:130],
        asked_digest=asked.digest,
        labels=sorted(asked.seen.labels) if asked.seen is not None else [],
        stated_reason=_plain(frame.stated_reason)[:LONGEST_REASON],
    )
    if decision.restores:
        row.restores = bound_values(call, decision)
    row.call_digest = call_digest(row, call.recorded_arguments)
    row.arguments = sealed(row.key, call.recorded_arguments)
    row.asked_arguments = sealed(row.key, call.recorded_arguments) if decision.records_payload else b""
    return row


def _plain(text: str) -> str:
    """Without what PostgreSQL refuses in text."""
    return text.replace("\0", "\N{REPLACEMENT CHARACTER}")
