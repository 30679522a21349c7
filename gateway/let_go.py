"""What the log itself says of bodies that are gone: whose were erased, and which classes of which months expired."""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import Enum
from typing import Any, NamedTuple

import orjson

from audit.models import EventRow
from governance.models import SubjectKey
from governance.retention import period_of

ERASED, EXPIRED = "audit.subject_erased", "audit.payloads_expired"
SLACK = timedelta(days=1)
"""Of clocks: between an event's time and the month its body was sealed in."""


class Word(Enum):
    """Whether a record says of a body that it went."""

    SAYS_SO = "says so"
    MAY_SAY_SO = "may say so"
    NONE = "none"


class Record(NamedTuple):
    """What of a record's header tells whether its body may be gone."""

    commitment: str
    person: str
    retention: str
    at: datetime | None

    @property
    def months(self) -> set[str]:
        return {period_of(self.at + by) for by in (-SLACK, timedelta(0), SLACK)} if self.at else set()


@dataclass(frozen=True, slots=True)
class Expiry:
    """Of these classes, all months from the first to the last."""

    classes: frozenset[str]
    first: str
    last: str

    def covers(self, retention: str, months: set[str]) -> bool:
        return retention in self.classes and any(self.first <= month <= self.last for month in months)


@dataclass(frozen=True, slots=True)
class Erased:
    """Somebody, by id as keys name her and by the address she had then."""

    subject: str
    email: str
    at: datetime

    def covers(self, record: Record) -> bool:
        return record.person == self.email and record.at is not None and record.at <= self.at + SLACK


class LetGo:
    """Asked record by record; read again before it says no, as retention may be at work meanwhile."""

    def __init__(self) -> None:
        self._seen = -1
        self._expiries: list[Expiry] = []
        self._erased: dict[str, list[Erased]] = {}
        self._read()

    def word_on(self, record: Record, key: SubjectKey | None = None) -> Word:
        """`key` is the destroyed one that the body lies under, where it is still there."""
        word = self._word_on(record, key)
        if word is Word.NONE and self._read():
            word = self._word_on(record, key)
        return word

    def _word_on(self, record: Record, key: SubjectKey | None) -> Word:
        if key is not None and (key.retention != record.retention or key.period not in record.months):
            return Word.NONE
        if any(expiry.covers(record.retention, record.months) for expiry in self._expiries):
            return Word.SAYS_SO
        erased = self._erased if key is None else {key.subject: self._erased.get(key.subject, [])}
        if any(each.covers(record) for several in erased.values() for each in several):
            return Word.SAYS_SO
        return Word.MAY_SAY_SO if self._took_of_this(record, erased) else Word.NONE

    def _took_of_this(self, record: Record, erased: dict[str, list[Erased]]) -> bool:
        """Addresses change; keys go by the person."""
        subjects = [subject for subject, several in erased.items() if several]
        if not subjects:
            return False
        keys = SubjectKey.objects.filter(cause=SubjectKey.Cause.ERASED, retention=record.retention)
        return keys.filter(subject__in=subjects, period__in=record.months).exclude(destroyed_at=None).exists()

    def _read(self) -> bool:
        """Whether there was anything new."""
        rows = EventRow.objects.filter(kind__in=(ERASED, EXPIRED), call_id=None).values_list("header", flat=True)
        headers = list(rows)
        if len(headers) == self._seen:
            return False
        self._seen, self._expiries, self._erased = len(headers), [], {}
        for header in headers:
            self._learn(header)
        return True

    def _learn(self, header: Any) -> None:
        """Nothing of what is not well formed."""
        try:
            told = orjson.loads(bytes(header) if isinstance(header, memoryview) else header)
            details, at = told["details"], datetime.fromisoformat(told["at"]).astimezone(UTC)
            if told["kind"] == EXPIRED:
                first, last = details["months"]
                self._expiries.append(Expiry(frozenset(map(str, details["classes"])), str(first), str(last)))
            elif told["kind"] == ERASED:
                erased = Erased(str(details["subject"]), str(told["person"]), at)
                self._erased.setdefault(erased.subject, []).append(erased)
        except (ValueError, TypeError, KeyError):
            return


def record_of(header: Any) -> Record:
    """Of whatever stands there. What is no header commits to nothing; the walk over the leaves names it."""
    try:
        told = orjson.loads(bytes(header) if isinstance(header, memoryview) else header)
        at = datetime.fromisoformat(told["at"]).astimezone(UTC)
        retention = told["details"].get("retention", "")
        return Record(str(told.get("payload_commitment") or ""), str(told["person"]), str(retention), at)
    except (ValueError, TypeError, KeyError, AttributeError):
        return Record("", "", "", None)
