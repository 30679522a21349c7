"""Finding calls by what they said: words of arguments and answers, values that were masked, labels, findings.

Everything that is asked for at once stands in one entry of the index, so the database meets it by index alone: newest
days first, a few more with each step, until a page is full. What a search costs is bounded whatever it finds.
"""

import hmac
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time, timedelta
from functools import reduce
from operator import or_
from typing import Final
from uuid import UUID

from django.db import connection
from django.db.models import Q, TextField
from django.db.models.functions import Cast

from audit.event import first_id_at
from audit.models import SearchEntry
from audit.search_words import MOST_ASKED, fact_term, fingerprint, word_term, words_in
from gateway.inspecting import fingerprint as value_fingerprint
from gateway.search_filling import day_of
from governance.facts import Fact
from governance.retention import days_of, default_class, period_of
from governance.search_keys import search_key, search_keys
from governance.vault import keyring

DAY: Final = timedelta(days=1)
CLOCKS: Final = timedelta(minutes=5)
"""By which another machine's may be ahead."""
STRIDES: Final = (1, 2, 4, 8)
"""Days that one query looks at; the last again and again."""
LONGEST_TEXT: Final = 500
LOOKED_THROUGH: Final = 2_000
PLACE: Final = Cast("event_id", TextField())
"""The order of ids by no index: a planner that sees one walks it through all entries rather than ask for the words."""


@dataclass(frozen=True, slots=True)
class Question:
    """`facts` are (name, value): a column of the event, `label` or `finding`. All must be true of one call."""

    text: str = field(default="", repr=False)
    facts: tuple[tuple[str, str], ...] = ()
    since: datetime | None = None
    until: datetime | None = None

    @property
    def is_by_index(self) -> bool:
        """Whether it asks for anything that no column of the events answers."""
        return bool(self.text) or any(name in ("label", "finding") for name, _ in self.facts)

    def alternatives(self) -> list[list[str]]:
        """Sets of terms; a call that has all of any one set is meant. A value that rules took out of what was recorded
        is known by its mark alone, so each piece of the text may also be one."""
        asked = [fact_term(name, value) for name, value in self.facts]
        text = self.text.strip()
        if not text:
            return [asked] if asked else []
        pieces = text.split()[:MOST_ASKED]
        found = [[*asked, *words] for words in [_words(pieces)] if words]
        found.append([*asked, _value(text)])
        if len(pieces) > 1:
            for place, piece in enumerate(pieces):
                found.append([*asked, _value(piece), *_words(pieces[:place] + pieces[place + 1 :])])
        return found


@dataclass(frozen=True, slots=True)
class Matches:
    """Ids of the events that ended the calls, newest first; with `more`, older ones may follow."""

    ids: tuple[UUID, ...]
    more: bool


def find(question: Question, *, most: int, before: UUID | None = None) -> Matches:
    alternatives, keys = question.alternatives(), search_keys(keyring())
    if not alternatives or not keys:
        return Matches((), more=False)
    found, before = _newest(question, alternatives, keys, most, before)
    for first, last in _stretches(question, keys, before) if len(found) <= most else ():
        meant = _meant(alternatives, keys, first, last)
        if meant is None:
            continue
        rows = SearchEntry.objects.annotate(place=PLACE).filter(meant, **_bounds(question, first, last, before))
        found += rows.order_by("-place").values_list("event_id", flat=True)[: most + 1 - len(found)]
        if len(found) > most:
            break
    return Matches(tuple(found[:most]), more=len(found) > most)


def _newest(
    question: Question,
    alternatives: Sequence[Sequence[str]],
    keys: Mapping[str, Sequence[bytes]],
    most: int,
    before: UUID | None,
) -> tuple[list[UUID], UUID | None]:
    """What is often said is said in the newest entries: those are looked at one by one before any day's are gathered.
    With where to go on."""
    end = first_id_at(question.until) if question.until else None
    end = min(filter(None, (end, before)), default=None)
    entries = SearchEntry.objects.filter(event_id__lt=end) if end else SearchEntry.objects.all()
    ids = entries.order_by("-event_id").values_list("event_id", flat=True)
    newest, floor = ids.first(), ids[LOOKED_THROUGH : LOOKED_THROUGH + 1].first()
    if newest is None or floor is None:
        return [], before
    low = max(floor, first_id_at(question.since)) if question.since else floor
    meant = _meant(alternatives, keys, day_of(low), day_of(newest)) if low <= newest else None
    if meant is None:
        return [], before
    rows = entries.filter(meant, event_id__gte=low).order_by("-event_id").values_list("event_id", flat=True)
    return list(rows[: most + 1]), low


def searching(question: Question, *, now: datetime) -> Fact:
    """What must be on record before anything is shown. The text may be a secret: of it there is only a mark, keyed as
    its words in the index are, by which the same search of the same month is known again."""
    key = search_key(default_class().name, period_of(now), keyring())
    mark = hmac.digest(key, b"search\0" + question.text.strip().encode("utf-8", "surrogatepass"), "sha256")
    details = {
        "text": mark.hex()[:32],
        "words": len(list(words_in(question.text))),
        "filters": dict(question.facts),
        "since": question.since,
        "until": question.until,
    }
    return Fact("payload.searched", "evidence", details)


def _words(pieces: Sequence[str]) -> list[str]:
    """Different ones, the first few."""
    return [word_term(word) for word in dict.fromkeys(words_in(" ".join(pieces)))][:MOST_ASKED]


def _value(text: str) -> str:
    return fact_term("value", value_fingerprint(text))


def _stretches(
    question: Question, keys: Mapping[str, Sequence[bytes]], before: UUID | None
) -> Iterator[tuple[date, date]]:
    """First and last days, the newest first."""
    oldest, newest = days_of(min(keys))[0], days_of(max(keys))[1]
    if question.since is not None:
        oldest = max(oldest, question.since.astimezone(UTC).date())
    if question.until is not None:
        newest = min(newest, question.until.astimezone(UTC).date())
    if before is not None:
        newest = min(newest, day_of(before))
    newest = min(newest, (datetime.now(UTC) + CLOCKS).date())
    for step in range((newest - oldest).days + 1):
        if newest < oldest:
            return
        first = max(oldest, newest - DAY * (STRIDES[min(step, len(STRIDES) - 1)] - 1))
        yield first, newest
        newest = first - DAY


def _meant(
    alternatives: Sequence[Sequence[str]], keys: Mapping[str, Sequence[bytes]], first: date, last: date
) -> Q | None:
    """None where no key of those days is left: what was said then is forgotten."""
    days = [first + DAY * n for n in range((last - first).days + 1)]
    sets = [
        Q(fingerprints__holds=[fingerprint(key, day, term) for term in terms])
        for day in days
        for key in keys.get(f"{day.year}-{day.month:02}", ())
        for terms in alternatives
    ]
    return reduce(or_, sets) if sets else None


def _bounds(question: Question, first: date, last: date, before: UUID | None) -> dict[str, str]:
    """Of ids, which are of their time."""
    low = datetime.combine(first, time(), UTC)
    high = datetime.combine(last + DAY, time(), UTC)
    low = max(low, question.since) if question.since else low
    high = min(high, question.until) if question.until else high
    end = first_id_at(high)
    end = min(end, before) if before else end
    return {"place__gte": _text(first_id_at(low)), "place__lt": _text(end)}


def _text(event_id: UUID) -> str:
    """As its column reads when cast."""
    return str(event_id) if connection.vendor == "postgresql" else event_id.hex
