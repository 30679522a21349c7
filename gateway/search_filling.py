"""Makes calls findable by their words, labels and findings, some seconds after they ended: never on a call's path.

A page of leaves and the cursor move in one short transaction, which excludes whoever destroys keys or prunes records:
no entry is left of what is gone. Bodies are opened by this process alone and shown to nobody.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from typing import Any, Final
from uuid import UUID

import orjson
from django.db import transaction
from django.db.models import Max

from audit.kinds import CALL_ENDS, TALK_KINDS
from audit.leaves import log_size
from audit.models import EventRow, Leaf, Payload, SearchCursor, SearchEntry
from audit.search_words import fact_term, fingerprint, word_term, words_of
from gateway.sealed_payloads import Seals, Unreadable
from governance.inspection.findings import NAMED
from governance.legal_holds import one_at_a_time
from governance.models import PayloadKey, SubjectKey
from governance.retention import default_class, period_of
from governance.search_keys import search_key
from governance.vault import Keyring, keyring

PAGE: Final = 500
MOST_LEAVES: Final = 20_000
"""In one run; what is left waits for the next."""
FACTS: Final = ("agent", "person", "connector", "tool", "decision", "outcome")
"""Columns that can be asked for beside words."""
MOST_FACTS: Final = 128
FINDABLE: Final = (*CALL_ENDS, *TALK_KINDS)


@dataclass(frozen=True, slots=True)
class Read:
    """What one entry comes from: the end of a call with its beginning, or what was said during one."""

    end: EventRow
    records: tuple[EventRow, ...]
    key_id: str
    bodies: tuple[bytes, ...]

    @property
    def day(self) -> date:
        return day_of(self.end.pk)


def day_of(event_id: UUID) -> date:
    """Ids are time-ordered: this is the day by which the index files it."""
    return datetime.fromtimestamp((event_id.int >> 80) / 1000, UTC).date()


def fill() -> int:
    """Brings the index up to the log, as far as one run may; how many leaves it read."""
    read = 0
    while read < MOST_LEAVES and (found := _fill_page()):
        read += found
    return read


def fill_anew() -> None:
    """Throws the index away; the next runs read from the first leaf."""
    SearchCursor.objects.update(next_leaf=0)
    SearchEntry.objects.all().delete()


def lag() -> int:
    """Leaves that cannot be found by their words yet."""
    return max(0, log_size() - (SearchCursor.objects.values_list("next_leaf", flat=True).first() or 0))


def _fill_page() -> int:
    """0 when everything is in, or another run was faster."""
    start = SearchCursor.objects.values_list("next_leaf", flat=True).first() or 0
    leaves = Leaf.objects.filter(index__gte=start, index__lt=start + PAGE)
    last = leaves.aggregate(last=Max("index"))["last"]
    if last is None:
        return 0
    found = _read(list(EventRow.objects.filter(id__in=leaves.values("event_id"), kind__in=FINDABLE)))
    entries = [_entry(each, keys=_keys(keyring(), default_class().name)) for each in found]
    with transaction.atomic():
        one_at_a_time()
        SearchCursor.objects.get_or_create(id=1)
        if not SearchCursor.objects.filter(next_leaf=start).update(next_leaf=last + 1):
            return 0
        SearchEntry.objects.bulk_create(_still_there(entries), ignore_conflicts=True)
    return int(last) + 1 - start


def _read(ends: Sequence[EventRow]) -> list[Read]:
    calls = [end.call_id for end in ends if end.kind == "call.outcome"]
    intents = {row.call_id: row for row in EventRow.objects.filter(call_id__in=calls, kind="call.intent")}
    both = {end.pk: (intents[end.call_id], end) if end.call_id in intents else (end,) for end in ends}
    ids = [row.pk for rows in both.values() for row in rows]
    payloads, seals = Payload.objects.in_bulk(ids), Seals()
    return [_opened(end, both[end.pk], payloads, seals) for end in ends]


def _opened(end: EventRow, records: tuple[EventRow, ...], payloads: Mapping[UUID, Payload], seals: Seals) -> Read:
    """What cannot be opened any more is found by what its records say in the clear."""
    bodies, key_id = [], ""
    for row in records:
        if (payload := payloads.get(row.pk)) is None:
            continue
        try:
            bodies.append(seals.body(row.pk, bytes(row.header), payload))
        except Unreadable:
            continue
        key_id = key_id or payload.key_id
    return Read(end, records, key_id, tuple(bodies))


def _keys(vault: Keyring, usual: str) -> Callable[[str, date], bytes]:
    known: dict[tuple[str, str], bytes] = {}

    def key(retention: str, day: date) -> bytes:
        place = retention or usual, period_of(datetime(day.year, day.month, day.day, tzinfo=UTC))
        if place not in known:
            known[place] = search_key(*place, vault)
        return known[place]

    return key


def _entry(read: Read, *, keys: Callable[[str, date], bytes]) -> SearchEntry:
    details = [_details(row) for row in read.records]
    key = keys(_retention(details), read.day)
    terms = {*_facts(read.end, details), *map(word_term, words_of(read.bodies))}
    marks = sorted({fingerprint(key, read.day, term) for term in terms})
    return SearchEntry(event_id=read.end.pk, key_id=read.key_id, fingerprints=marks)


def _facts(end: EventRow, details: Sequence[Mapping[str, Any]]) -> list[str]:
    said = [(column, str(getattr(end, column))) for column in FACTS]
    said += [("label", label) for each in details for label in _texts(each.get("labels"))]
    for finding in (finding for each in details for finding in _list(each.get("findings"))):
        if isinstance(finding, dict):
            said += [("finding", name) for name in _names(finding)]
            said += [("value", mark) for mark in _texts(finding.get("fingerprints"))]
    return [fact_term(name, value) for name, value in dict.fromkeys(said) if value][:MOST_FACTS]


def _names(finding: Mapping[str, Any]) -> list[str]:
    """What found it, of what kind it is, and what rules call that."""
    known = _texts([finding.get("rule"), finding.get("kind")])
    return [*known, *(name for name, kinds in NAMED.items() if not kinds.isdisjoint(known))]


def _still_there(entries: Sequence[SearchEntry]) -> list[SearchEntry]:
    """Under the lock: without what was pruned, or whose key was destroyed, since it was read."""
    ids, keys = [entry.event_id for entry in entries], {entry.key_id for entry in entries if entry.key_id}
    left = set(EventRow.objects.filter(id__in=ids).values_list("id", flat=True))
    live = {str(key) for key in SubjectKey.objects.filter(pk__in=keys, destroyed_at=None).values_list("id", flat=True)}
    live |= {str(key) for key in PayloadKey.objects.filter(pk__in=keys - live).values_list("id", flat=True)}
    return [entry for entry in entries if entry.event_id in left and (not entry.key_id or entry.key_id in live)]


def _details(row: EventRow) -> Mapping[str, Any]:
    try:
        details = orjson.loads(bytes(row.header)).get("details", {})
    except (ValueError, AttributeError):
        return {}
    return details if isinstance(details, dict) else {}


def _retention(details: Sequence[Mapping[str, Any]]) -> str:
    return next((text for each in details for text in _texts([each.get("retention")])), "")


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []


def _texts(value: Any) -> list[str]:
    return [text for text in _list(value) if isinstance(text, str) and text]
