"""The log's keys one after another: how a checkpoint is judged when the signing key was replaced meanwhile.

A rotation is an event in the log that names both keys; the first checkpoint after it is signed by both. So whoever
holds any of the keys can follow the others, and after that checkpoint the older key's signature counts no more.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from uuid import UUID

import orjson

from audit.checkpoint import BadNote, TreeHead, Verifier
from audit.models import Checkpoint, EventRow, Leaf

ROTATED = "signing_key.rotated"


@dataclass(frozen=True, slots=True)
class Handover:
    """From one key to the next, by the event that says so and the checkpoint of `size` leaves, which both signed."""

    event_id: UUID
    old: Verifier
    new: Verifier
    size: int


class KeyChain:
    """Opens notes by the keys whose time it was. `trusted` is the key that somebody holds, old or new."""

    def __init__(self, trusted: Verifier, handovers: Sequence[Handover] = ()) -> None:
        self.name = trusted.name
        self._handovers = _linked(trusted, handovers)
        self._first = self._handovers[0].old if self._handovers else trusted

    @property
    def newest(self) -> Verifier:
        return self._handovers[-1].new if self._handovers else self._first

    def open(self, note: str) -> TreeHead:
        """What the checkpoint states, if each key whose turn it was signed it. Raises BadNote."""
        head, *_ = [key.open(note) for key in self._signers_of(_size(note))]
        return head

    def _signers_of(self, size: int) -> list[Verifier]:
        """Two at a handover, else one."""
        ends = [each.size for each in self._handovers]
        keys = [self._first, *(each.new for each in self._handovers)]
        spans = pairwise([0, *ends, None])
        return [
            key
            for key, (start, end) in zip(keys, spans, strict=True)
            if (start is None or size >= start) and (end is None or size <= end)
        ]


def stored_chain(trusted: Verifier) -> KeyChain:
    return KeyChain(trusted, stored_handovers())


def stored_handovers() -> list[Handover]:
    """That this database tells of, in their order; whether they were recorded is for the log to show."""
    found = (_handover(event) for event in EventRow.objects.filter(kind=ROTATED, call_id=None))
    return sorted((each for each in found if each), key=lambda each: each.size)


def _linked(trusted: Verifier, handovers: Sequence[Handover]) -> tuple[Handover, ...]:
    """Those that lead to the trusted key or on from it; what others tell of is no rotation of this log."""
    linked: list[Handover] = []
    first = last = trusted
    for each in handovers:
        if each.old == last:
            linked.append(each)
            last = each.new
    for each in reversed(handovers):
        if each.new == first and each not in linked:
            linked.insert(0, each)
            first = each.old
    return tuple(linked)


def _handover(event: EventRow) -> Handover | None:
    """None unless the checkpoint after it is signed by both keys: before that it is only announced."""
    leaf = Leaf.objects.filter(event_id=event.pk).first()
    checkpoint = Checkpoint.objects.filter(size__gt=leaf.index).order_by("size").first() if leaf else None
    if checkpoint is None:
        return None
    try:
        old, new = keys_of(bytes(event.header))
        if old.open(checkpoint.note) == new.open(checkpoint.note):
            return Handover(event.pk, old, new, checkpoint.size)
    except (ValueError, TypeError, KeyError):
        return None
    return None


def keys_of(header: bytes) -> tuple[Verifier, Verifier]:
    """Old and new, as the event of a rotation names them. Raises ValueError, TypeError, KeyError."""
    details = orjson.loads(header)["details"]
    return Verifier.parse(details["old"]), Verifier.parse(details["new"])


def _size(note: str) -> int:
    lines = note.split("\n", 2)
    if len(lines) < 2 or not lines[1].isascii() or not lines[1].isdecimal() or len(lines[1]) > 19:
        raise BadNote("not a checkpoint")
    return int(lines[1])
