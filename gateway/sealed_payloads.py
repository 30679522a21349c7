"""Opening what was sealed: the arguments and the result of a call, for somebody with a reason on record."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

import orjson
from django.core.exceptions import ValidationError
from django.db.models import QuerySet

from audit.models import EventRow, Payload
from audit.record import commitment
from gateway.actions import act
from governance.facts import Fact
from governance.models import PayloadKey, SubjectKey
from governance.payload_keys import PayloadSealer, open_sealer
from governance.vault import SealBroken, keyring

BLINDING_BYTES = 32
BROKEN = "The seal is broken: it was altered, or the vault's key is another one."
NOT_COMMITTED = "This is not what the record commits to."
TITLES = {
    "call.refused": "Arguments, as the agent asked",
    "call.intent": "Arguments, as they were sent",
    "call.asked": "What the system asked back",
    "call.told": "What the system was told",
    "call.released": "What the agent was told once people had looked",
    "call.outcome": "Answer, as the agent got it",
}


@dataclass(frozen=True, slots=True)
class Opened:
    """One body. `problem` says why there is none, or why it must not be believed."""

    title: str
    body: bytes = field(default=b"", repr=False)
    problem: str = ""
    event_id: UUID | None = None


def sealed_payloads(events: Sequence[EventRow]) -> QuerySet[Payload]:
    return Payload.objects.filter(event_id__in=[event.pk for event in events])


def open_payloads(events: Sequence[EventRow], *, call_id: UUID, reason: str, by: str) -> list[Opened]:
    """First the record that they were opened, by whom and why, then the bodies."""
    act(lambda record, now: record(opening(events, call_id=call_id, reason=reason)), by=by)
    return opened(events)


def opening(events: Sequence[EventRow], *, call_id: UUID, reason: str) -> Fact:
    details = {"reason": reason, "agent": events[0].agent, "tool": events[0].tool}
    return Fact("payload.opened", f"call:{call_id}", details)


def opening_session(events: Sequence[EventRow], *, session: UUID, reason: str) -> Fact:
    """One record for all bodies of a stretch of a session; it names every call."""
    calls = sorted({str(event.call_id or event.pk) for event in events})
    return Fact("payload.opened", f"session:{session}", {"reason": reason, "agent": events[0].agent, "calls": calls})


def opened(events: Sequence[EventRow]) -> list[Opened]:
    """For whoever has recorded the opening."""
    sealed = {payload.event_id: payload for payload in sealed_payloads(events)}
    seals = Seals()
    return [_open(event, sealed[event.pk], seals) for event in events if event.pk in sealed]


def _open(event: EventRow, payload: Payload, seals: "Seals") -> Opened:
    title = TITLES.get(event.kind, event.kind)
    try:
        return Opened(title, seals.body(event.pk, bytes(event.header), payload), event_id=event.pk)
    except Unreadable as reason:
        return Opened(title, reason.body, str(reason), event.pk)


class Unreadable(Exception):
    """The message says why. `body` is what was sealed, where it can be opened but not believed."""

    def __init__(self, message: str, body: bytes = b"") -> None:
        super().__init__(message)
        self.body = body


class Seals:
    """Opens many bodies, each key once. Who shows one to somebody records it first (`opening`)."""

    def __init__(self) -> None:
        self._sealers: dict[str, PayloadSealer | None] = {}

    def body(self, event_id: UUID, header: bytes, payload: Payload) -> bytes:
        """Raises Unreadable."""
        return self.parts(event_id, header, payload)[1]

    def parts(self, event_id: UUID, header: bytes, payload: Payload) -> tuple[bytes, bytes]:
        """The blinding key, which shows an outsider that this body is the one committed to, and the body. Raises
        Unreadable."""
        sealer = self._sealer(payload.key_id)
        if sealer is None:
            raise Unreadable("Its key is gone: it cannot be opened any more.")
        try:
            plain = sealer.open(bytes(payload.sealed), event_id=event_id)
        except SealBroken:
            raise Unreadable(BROKEN) from None
        blinding, body = plain[:BLINDING_BYTES], plain[BLINDING_BYTES:]
        if commitment(body, blinding).hex() != _committed(header):
            raise Unreadable(NOT_COMMITTED, body)
        return blinding, body

    def _sealer(self, key_id: str) -> PayloadSealer | None:
        if key_id not in self._sealers:
            key = _key(key_id)
            self._sealers[key_id] = _opened_key(key) if key else None
        return self._sealers[key_id]


def asked_of(header: bytes, body: Any) -> Any:
    """The arguments alone, where what the agent's side said of its reasons was sealed with them."""
    details = orjson.loads(header).get("details", {})
    return body["asked"] if "said" in details and isinstance(body, dict) else body


def _key(key_id: str) -> SubjectKey | PayloadKey | None:
    """None also for what is no id."""
    try:
        return SubjectKey.objects.filter(pk=key_id).first() or PayloadKey.objects.filter(pk=key_id).first()
    except (ValidationError, ValueError, TypeError):
        return None


def _opened_key(key: SubjectKey | PayloadKey) -> PayloadSealer:
    if isinstance(key, SubjectKey) and key.destroyed_at is not None:
        why = f"{key.get_cause_display()} on {key.destroyed_at:%Y-%m-%d}"
        raise Unreadable(f"Its key was destroyed, {why}: nobody can open it any more.")
    try:
        return open_sealer(key, keyring())
    except SealBroken:
        raise Unreadable(BROKEN) from None


def _committed(header: bytes) -> str:
    try:
        return str(orjson.loads(header).get("payload_commitment", ""))
    except (ValueError, AttributeError):
        return ""
