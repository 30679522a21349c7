"""What ten million events look like to the search index: words as people use them, few often and most hardly ever."""

import random
from bisect import bisect
from collections.abc import Iterator, Sequence
from datetime import date
from functools import lru_cache
from itertools import accumulate
from typing import Any, Final, NamedTuple
from uuid import UUID

from django.db import connection

from audit.models import EventRow
from audit.search_words import fact_term, fingerprint, word_term
from gateway.search_filling import FACTS, day_of
from governance.retention import default_class
from governance.search_keys import search_key
from governance.vault import keyring

VOCABULARY: Final = 20_000
WORDS: Final = 12
"""Of the vocabulary, of each call; beside them its own, such as the number of an order."""
OWN: Final = 3
PAGE: Final = 50_000
WEIGHTS: Final = tuple(accumulate(1 / (rank + 10) for rank in range(VOCABULARY)))


class Searchable(NamedTuple):
    """Words of some calls, to look for them: `own` is of one call only."""

    own: str
    common: str
    second: str
    seldom: str


LOOKED_FOR: Final = Searchable("order0nemillion", "word0", "word1", "word15000")


def fill_search() -> int:
    """Behind `scale.fill`; how many entries there are. The index is built afterwards."""
    with connection.cursor() as cursor:
        cursor.execute("DROP INDEX audit_search_by_fingerprint")
    filler = _Filler(random.Random(7))
    filled = sum(_copy([filler.entry(row) for row in page]) for page in _pages())
    with connection.cursor() as cursor:
        cursor.execute("CREATE INDEX audit_search_by_fingerprint ON audit_search_entry USING gin (fingerprints)")
        cursor.execute("ANALYZE audit_search_entry")
    return filled


class _Filler:
    def __init__(self, chance: random.Random) -> None:
        self._chance = chance
        self._marks: dict[date, list[int]] = {}
        self._fact = lru_cache(100_000)(self._mark)
        self._number = 0

    def entry(self, row: dict[str, Any]) -> tuple[UUID, str, list[int]]:
        day, chance = day_of(row["id"]), self._chance
        self._number += 1
        marks = self._of(day)
        held = {marks[bisect(WEIGHTS, chance.random() * WEIGHTS[-1])] for _ in range(WORDS)}
        held.update(chance.getrandbits(63) for _ in range(OWN))
        held.update(self._fact(day, fact_term(name, row[name])) for name in FACTS if row[name])
        if self._number == 100:
            held.add(self._fact(day, word_term(LOOKED_FOR.own)))
        return row["id"], f"key-of-{row['person']}-{day:%Y-%m}", list(held)

    def _of(self, day: date) -> list[int]:
        if day not in self._marks:
            self._marks[day] = [self._mark(day, word_term(f"word{rank}")) for rank in range(VOCABULARY)]
        return self._marks[day]

    def _mark(self, day: date, term: str) -> int:
        return fingerprint(_key(f"{day.year}-{day.month:02}"), day, term)


@lru_cache(8)
def _key(period: str) -> bytes:
    return search_key(default_class().name, period, keyring())


def _pages() -> Iterator[list[dict[str, Any]]]:
    ends = EventRow.objects.filter(kind__in=("call.outcome", "call.refused")).order_by("id").values("id", *FACTS)
    page = list(ends[:PAGE])
    while page:
        yield page
        page = list(ends.filter(id__gt=page[-1]["id"])[:PAGE])


def _copy(entries: Sequence[tuple[UUID, str, list[int]]]) -> int:
    connection.ensure_connection()
    with (
        connection.connection.cursor() as cursor,
        cursor.copy("COPY audit_search_entry (event_id, key_id, fingerprints) FROM STDIN") as copy,
    ):
        for entry in entries:
            copy.write_row(entry)
    return len(entries)
