"""What anchors still say of the log: read back from there. Only stamps, which prove themselves, come from here."""

from collections.abc import Iterator
from dataclasses import dataclass

from audit.anchors.base import AnchorFailed, Kept
from audit.anchors.timestamp import check
from audit.models import AnchorReceipt
from gateway.anchoring.keeping import look_ahead
from gateway.anchoring.ways import bucket_of
from governance.models import Anchor


@dataclass(frozen=True, slots=True)
class ReadBack:
    """`unread` says of which anchor nothing could be had, and why."""

    kept: tuple[Kept, ...]
    unread: tuple[str, ...]


def read_back(log: str) -> ReadBack:
    """From every anchor, also those that are switched off."""
    kept: list[Kept] = []
    unread: list[str] = []
    for anchor in Anchor.objects.order_by("name"):
        try:
            kept += bucket_of(anchor).kept(log) if anchor.kind == Anchor.Kind.S3 else _stamped(anchor)
        except AnchorFailed as failure:
            unread.append(f"anchor {anchor.name}: {failure}")
    return ReadBack(tuple(kept), tuple(unread))


def look_for_newer(log: str) -> dict[str, int]:
    """Anchor -> the smallest size kept there that this database has never got to. Notes it on the anchor's row."""
    found: dict[str, int] = {}
    for anchor in Anchor.objects.filter(is_enabled=True, kind=Anchor.Kind.S3):
        try:
            ahead = look_ahead(anchor, log)
        except AnchorFailed:
            continue
        Anchor.objects.filter(pk=anchor.pk).update(ahead_size=ahead)
        if ahead:
            found[anchor.name] = ahead
    return found


def _stamped(anchor: Anchor) -> Iterator[Kept]:
    """The authority keeps nothing. Its signature in our database vouches for the checkpoint beside it, as long as it
    is there."""
    for receipt in AnchorReceipt.objects.filter(anchor=anchor.name).order_by("size"):
        where = f"time stamp {receipt.reference} of {anchor.name}"
        try:
            check(bytes(receipt.proof), receipt.note.encode(), trust=anchor.trust)
        except AnchorFailed as failure:
            raise AnchorFailed(f"{where}: {failure}") from None
        yield Kept(where, receipt.note)
