"""Is each kept body the one that its record commits to, and is each that is gone gone on record?

Opens them with the vault's keys and shows them to nobody. Rows and keys may be damaged in any way.
"""

from dataclasses import dataclass
from typing import Any
from uuid import UUID

from django.core.exceptions import ValidationError

from audit.models import EventRow, Leaf, Payload
from audit.pages import UNREADABLE, Row, Unreadable, pages
from audit.verify import Findings
from gateway.let_go import LetGo, Record, Word, record_of
from gateway.sealed_payloads import BROKEN, NOT_COMMITTED, Seals
from gateway.sealed_payloads import Unreadable as CannotBeOpened
from governance.models import SubjectKey
from governance.vault import VaultError

NOT_THE_ONE = "its body is not the one that was recorded"
NO_KEY = "its body lies under a key that is nowhere"
NO_REASON = "no record says that its body may be gone"
UNCHECKED = (
    "Bodies that cannot be opened: {gone:,} are gone or have lost their key as records of this log say; {unclear:,} may"
    " have gone with what an erasure took of the same class and month, if they were of that person under another"
    " address; {orphans:,} are of records that were pruned. {opened:,} were opened and compared."
)


@dataclass(slots=True)
class Counts:
    """Of bodies: opened, gone on record, gone with something on record, and without a record to be compared with."""

    opened: int = 0
    gone: int = 0
    unclear: int = 0
    orphans: int = 0


def check_payloads(findings: Findings) -> str:
    """What was not checked, in a sentence."""
    check = PayloadCheck(findings)
    try:
        check.run()
    except UNREADABLE as error:
        findings.add(f"the bodies could not be read to their end: {type(error).__name__}")
    return UNCHECKED.format(
        opened=check.counts.opened,
        gone=check.counts.gone,
        unclear=check.counts.unclear,
        orphans=check.counts.orphans,
    )


class PayloadCheck:
    """Every record that commits to a body, then every body that has no record."""

    def __init__(self, findings: Findings) -> None:
        self.counts = Counts()
        self._findings = findings
        self._seals = Seals()
        self._let_go = LetGo()

    def run(self) -> None:
        for events in pages(EventRow.objects.all(), "id", "header"):
            self._check_page([row for row in events if not isinstance(row, Unreadable)])
        for bodies in pages(Payload.objects.all(), "event_id", "key_id"):
            self._check_orphans([row.key if isinstance(row, Unreadable) else row[0] for row in bodies])

    def _check_page(self, events: list[Row]) -> None:
        ids = [row[0] for row in events]
        bodies = _bodies(ids)
        wrong: list[tuple[UUID, str]] = []
        for event_id, header in events:
            record = record_of(header)
            if event_id in bodies:
                fault = self._fault_of(event_id, header, record, bodies[event_id])
            else:
                fault = self._fault_of_missing(record) if record.commitment else ""
            if fault:
                wrong.append((event_id, fault))
        self._tell(wrong)

    def _tell(self, wrong: list[tuple[UUID, str]]) -> None:
        places = dict(Leaf.objects.filter(event_id__in=[each for each, _ in wrong]).values_list("event_id", "index"))
        for event_id, fault in wrong:
            self._findings.add(f"{fault} (event {event_id})", leaf=places.get(event_id))

    def _fault_of(self, event_id: UUID, header: Any, record: Record, body: Row | Unreadable) -> str:
        if isinstance(body, Unreadable) or not isinstance(body[2], bytes | memoryview):
            return "its body cannot be read"
        _, key_id, sealed = body
        try:
            self._seals.body(event_id, _bytes(header), Payload(event_id=event_id, key_id=key_id, sealed=sealed))
        except CannotBeOpened as reason:
            if str(reason) in (BROKEN, NOT_COMMITTED):
                return NOT_THE_ONE
            return self._fault_of_key(record, key_id)
        except VaultError as error:
            return f"its body cannot be opened: {error}"
        self.counts.opened += 1
        return ""

    def _fault_of_missing(self, record: Record) -> str:
        return self._judge(self._let_go.word_on(record))

    def _fault_of_key(self, record: Record, key_id: Any) -> str:
        key = _destroyed_key(key_id)
        return NO_KEY if key is None else self._judge(self._let_go.word_on(record, key))

    def _judge(self, word: Word) -> str:
        self.counts.gone += word is Word.SAYS_SO
        self.counts.unclear += word is Word.MAY_SAY_SO
        return NO_REASON if word is Word.NONE else ""

    def _check_orphans(self, event_ids: list[UUID]) -> None:
        """A body that names no record. Its record may be pruned; that it was moved shows where it is missing."""
        known = EventRow.objects.filter(id__in=event_ids).values_list("id", flat=True)
        for event_id in set(event_ids) - set(known):
            body = _bodies([event_id]).get(event_id)
            if body is None or isinstance(body, Unreadable):
                continue
            self.counts.orphans += 1
            self._check_orphan(event_id, body)

    def _check_orphan(self, event_id: UUID, body: Row) -> None:
        try:
            self._seals.body(event_id, b"", Payload(event_id=event_id, key_id=body[1], sealed=_bytes(body[2])))
        except CannotBeOpened as reason:
            if str(reason) == BROKEN:
                self._tell([(event_id, "a body that was sealed for another record")])
        except VaultError:
            return


def _bodies(event_ids: list[UUID]) -> dict[UUID, Row | Unreadable]:
    """The one that cannot be read stands alone."""
    rows = Payload.objects.filter(event_id__in=event_ids)
    try:
        return {row[0]: row for row in rows.values_list("event_id", "key_id", "sealed")}
    except UNREADABLE:
        if len(event_ids) == 1:
            return {event_ids[0]: Unreadable(event_ids[0])}
    half = len(event_ids) // 2
    return _bodies(event_ids[:half]) | _bodies(event_ids[half:])


def _destroyed_key(key_id: Any) -> SubjectKey | None:
    """None for one that is nowhere, or that never was somebody's own."""
    try:
        return SubjectKey.objects.exclude(destroyed_at=None).filter(pk=key_id).first()
    except (ValidationError, *UNREADABLE):
        return None


def _bytes(stored: Any) -> bytes:
    return bytes(stored) if isinstance(stored, bytes | memoryview) else b""
