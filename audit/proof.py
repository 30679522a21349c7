"""Proof that one event is in the signed log, small enough to hand to somebody outside.

Between two checkpoints lie few leaves. The frontier stored with the checkpoint before the leaf stands for everything
to its left, so the path to the next checkpoint's root is found without reading the log.
"""

from base64 import b64encode
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from audit.event import leaf_entry
from audit.merkle import Frontier, is_included, leaf_hash, root_of
from audit.models import Checkpoint, EventRow, Leaf
from audit.stored_tree import StoredTree

MOST_LEAVES = 100_000
"""Read for one proof; a log that was signed as it grew needs far fewer."""


@dataclass(frozen=True, slots=True)
class Proof:
    """RFC 6962 inclusion of `leaf` in the tree that `note` signs."""

    event_id: UUID
    index: int
    leaf: bytes
    entry: bytes
    size: int
    root: bytes
    path: tuple[bytes, ...]
    note: str

    @property
    def holds(self) -> bool:
        """Is the stored record what the leaf commits to, and does the path lead to the signed root?"""
        is_same = leaf_hash(self.entry) == self.leaf
        return is_same and is_included(self.leaf, self.index, self.size, self.root, self.path)

    def as_text(self) -> str:
        """As a file `.tlog-proof` of C2SP."""
        path = "".join(f"{b64encode(node).decode()}\n" for node in self.path)
        return f"c2sp.org/tlog-proof@v1\nindex {self.index}\n{path}\n{self.note}"

    def as_json(self) -> dict[str, Any]:
        return {
            "format": "RFC 6962 inclusion proof, SHA-256; C2SP checkpoint",
            "event": str(self.event_id),
            "leaf_index": self.index,
            "leaf_entry": b64encode(self.entry).decode(),
            "leaf_hash": self.leaf.hex(),
            "tree_size": self.size,
            "root_hash": self.root.hex(),
            "path": [node.hex() for node in self.path],
            "checkpoint": self.note,
        }


@dataclass(frozen=True, slots=True)
class _Stretch:
    """The leaves between a checkpoint and the next one, which signs them; `left` is the tree before them."""

    left: Frontier
    hashes: list[bytes]
    signed: Checkpoint

    def path(self, index: int) -> tuple[bytes, ...]:
        at = index - self.left.size
        return path_from(self.left.extend(self.hashes[:at]), self.hashes[at:])


def prove(event: EventRow) -> Proof | None:
    """None until a checkpoint covers the event, or when the log around it is damaged."""
    return prove_all([event]).get(event.pk)


def prove_all(events: Iterable[EventRow]) -> dict[UUID, Proof]:
    """Of each event that can be proved; what lies between two checkpoints is read once for all its events."""
    by_id = {event.pk: event for event in events}
    proofs: dict[UUID, Proof] = {}
    stretch: _Stretch | None = None
    for leaf in Leaf.objects.filter(event_id__in=by_id).order_by("index"):
        if stretch is None or stretch.signed.size <= leaf.index:
            stretch = _stretch_around(leaf.index)
        if stretch is not None:
            proofs[leaf.event_id] = _proof(by_id[leaf.event_id], leaf, stretch)
    return proofs


def prove_under(signed: Checkpoint, events: Iterable[EventRow]) -> dict[UUID, Proof]:
    """All in the tree of one checkpoint, those that it covers. Raises LeavesMissing where the log is damaged."""
    by_id = {event.pk: event for event in events}
    tree = StoredTree()
    proofs: dict[UUID, Proof] = {}
    for leaf in Leaf.objects.filter(event_id__in=by_id, index__gte=0, index__lt=signed.size).order_by("index"):
        path = tuple(tree.inclusion_path(leaf.index, signed.size))
        proofs[leaf.event_id] = _with_path(by_id[leaf.event_id], leaf, signed, path)
    return proofs


def _proof(event: EventRow, leaf: Leaf, stretch: _Stretch) -> Proof:
    return _with_path(event, leaf, stretch.signed, stretch.path(leaf.index))


def _with_path(event: EventRow, leaf: Leaf, signed: Checkpoint, path: tuple[bytes, ...]) -> Proof:
    return Proof(
        event_id=event.pk,
        index=leaf.index,
        leaf=bytes(leaf.hash),
        entry=leaf_entry(event.epoch, bytes(event.header)),
        size=signed.size,
        root=bytes(signed.root),
        path=path,
        note=signed.note,
    )


def _stretch_around(index: int) -> _Stretch | None:
    """None if no checkpoint covers it, or leaves are missing or too many."""
    signed = Checkpoint.objects.filter(size__gt=index).order_by("size").first()
    before = Checkpoint.objects.filter(size__lte=index).order_by("-size").first()
    start = before.size if before else 0
    if signed is None or signed.size - start > MOST_LEAVES:
        return None
    rows = Leaf.objects.filter(index__gte=start, index__lt=signed.size).order_by("index")
    hashes = [bytes(row) for row in rows.values_list("hash", flat=True)]
    if len(hashes) != signed.size - start:
        return None
    try:
        known = Frontier.from_bytes(start, bytes(before.frontier)) if before else Frontier()
    except ValueError:
        return None
    return _Stretch(known, hashes, signed)


def path_from(left: Frontier, rest: list[bytes]) -> tuple[bytes, ...]:
    """The path of the leaf `rest[0]`, right after the tree `left`, in the tree of `left` and `rest`.

    Every sibling on the left of that path is a peak of `left`: the one that begins at leaf `low` has as many peaks
    before it as `low` has bits set.
    """
    index, size = left.size, left.size + len(rest)

    def walk(low: int, high: int) -> list[bytes]:
        if high - low == 1:
            return []
        middle = low + (1 << (high - low - 1).bit_length() - 1)
        if index < middle:
            return [*walk(low, middle), root_of(rest[middle - index : high - index])]
        return [*walk(middle, high), left.peaks[low.bit_count()]]

    return tuple(walk(0, size))
