"""A call that waits for humans, between its row and the call path: what is bound, what is sealed, who is woken."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final
from uuid import UUID

from gateway.bus import topic_of
from gateway.sealing import NotOurs, seal, unseal
from governance import canonical
from governance.approval_rows import Verdict, approval_digest, asks_of, subject_of, votes_of
from governance.approvers import Subject, Vote
from governance.decision import Ask
from governance.models import ApprovalRequest

PURPOSE: Final = "approval"
TOPIC_KIND: Final = "approval"


@dataclass(frozen=True, slots=True)
class HeldCall:
    """An `ApprovalRequest` as the call path reads it. `arguments` are what runs, as they were recorded; empty once they
    are forgotten. `shown` is the digest that humans say yes or no to. `ended_because` of a denial is what the one who
    denied it wrote."""

    number: int
    key: UUID
    name: str
    state: str
    call_digest: bytes
    shown: bytes
    arguments: bytes = field(repr=False)
    asks: tuple[Ask, ...]
    votes: tuple[Vote, ...]
    subject: Subject
    definition_digest: str
    secret_version: str
    bundle_id: str
    bundle_version: int
    expires_at: datetime
    use_before: datetime | None
    ended_at: datetime | None
    ended_because: str
    has_reason: bool
    is_new: bool = False
    answer: bytes = field(default=b"", repr=False)
    """What a call that has run would be told, once humans let it go; empty where it is not what they were asked."""
    asking_call_id: UUID | None = None

    @property
    def rules(self) -> frozenset[str]:
        return frozenset(ask.rule for ask in self.asks)


def held_call(row: ApprovalRequest, *, is_new: bool = False) -> HeldCall:
    return HeldCall(
        number=row.number,
        key=row.key,
        name=row.name,
        state=row.state,
        call_digest=bytes(row.call_digest),
        shown=approval_digest(row),
        arguments=opened(row, bytes(row.arguments)),
        asks=asks_of(row),
        votes=tuple(votes_of(row)),
        subject=subject_of(row),
        definition_digest=row.definition_digest,
        secret_version=row.secret_version,
        bundle_id=_hex(row.bundle_id),
        bundle_version=row.bundle_version,
        expires_at=row.expires_at,
        use_before=row.use_before,
        ended_at=row.ended_at,
        ended_because=_because(row),
        has_reason=bool(row.stated_reason),
        is_new=is_new,
        answer=answer_of(row) if row.state == ApprovalRequest.State.APPROVED else b"",
        asking_call_id=row.asking_call_id,
    )


def answer_of(row: ApprovalRequest) -> bytes:
    """In the clear; empty where none is kept, and where it is not the one that humans are asked about."""
    body = opened(row, bytes(row.answer)) if row.answer is not None else b""
    is_it = bool(body) and answer_digest(row, opened(row, bytes(row.arguments)), body) == bytes(row.call_digest)
    return body if is_it else b""


def answer_digest(row: ApprovalRequest, arguments: bytes, answer: bytes) -> bytes:
    """Of the call that the row tells of, and what it got."""
    return canonical.digest(b"gatehouse/answer/v1", call_digest(row, arguments), answer)


def call_digest(row: ApprovalRequest, arguments: bytes) -> bytes:
    """Of the call that the row holds, with these arguments in canonical JSON: what humans agree to and the intent
    consumes."""
    return canonical.call_digest(
        organization="",
        agent=_hex(row.agent_id),
        person=_hex(row.person_id),
        connector=_hex(row.connector_id),
        tool=row.tool_id,
        definition=row.definition_digest,
        arguments=with_values(arguments, row.restores),
        bundle_version=f"{_hex(row.bundle_id)} v{row.bundle_version}",
    )


def with_values(arguments: bytes, restores: Iterable[Mapping[str, str]]) -> bytes:
    """What is bound of a call into which real values are put: its arguments, and for each of their tokens which value.
    An approver who narrows an argument may leave a token out."""
    bound = sorted((each["token"], each["fingerprint"]) for each in restores if each["token"].encode() in arguments)
    if not bound:
        return arguments
    return canonical.digest(b"gatehouse/restored/v1", arguments, *(part.encode() for pair in bound for part in pair))


def sealed(key: UUID, arguments: bytes) -> bytes:
    return seal(PURPOSE, arguments, bound_to=str(key))


def opened(row: ApprovalRequest, body: bytes) -> bytes:
    """Empty where nothing is kept, and for what was altered or was sealed under another key."""
    try:
        return unseal(PURPOSE, body, bound_to=str(row.key)) if body else b""
    except NotOurs:
        return b""


def topic_of_request(key: UUID) -> str:
    """Letters to it wake whoever waits for the row."""
    return topic_of(TOPIC_KIND, str(key))


def changed_members(before: Mapping[str, Any], after: Mapping[str, Any]) -> tuple[str, ...]:
    """Names of the members that differ, or that only one has."""
    absent = object()
    names = before.keys() | after.keys()
    return tuple(sorted(name for name in names if before.get(name, absent) != after.get(name, absent)))


def _because(row: ApprovalRequest) -> str:
    if row.state != ApprovalRequest.State.DENIED:
        return row.ended_because
    denial = row.decisions.filter(verdict=Verdict.DENY).order_by("-at").first()
    return denial.reason if denial is not None else ""


def _hex(row_id: UUID | None) -> str:
    return row_id.hex if row_id is not None else ""
