"""Time stamps of checkpoints that go along with evidence: by somebody else's clock the log was that long then."""

from collections.abc import Iterator

from django.db.models import Max

from audit.consistency import prove_consistency
from audit.models import AnchorReceipt
from audit.subset_proof import LeavesMissing

MOST_STAMPS = 8


def stamp_files(size: int) -> Iterator[tuple[str, bytes]]:
    """Of each authority the newest stamp that the checkpoint of `size` leaves covers: the answer (`.tsr`), the note
    that was stamped (`.txt`), and the proof that leads from it to that checkpoint (`.consistency`)."""
    stamped = AnchorReceipt.objects.filter(size__gt=0, size__lte=size).exclude(proof=b"")
    newest = stamped.values("anchor").annotate(newest=Max("size")).order_by("-newest")[:MOST_STAMPS]
    for each in list(newest):
        receipt = stamped.filter(anchor=each["anchor"], size=each["newest"]).first()
        if receipt is not None:
            name = f"stamps/{receipt.size}-{receipt.pk}"
            yield f"{name}.tsr", bytes(receipt.proof)
            yield f"{name}.txt", receipt.note.encode()
            yield from ((f"{name}.consistency", text) for text in _proofs(receipt.size, size))


def _proofs(old_size: int, size: int) -> Iterator[bytes]:
    """None where the log is damaged: the verifier then says that nothing leads from the stamp to the checkpoint."""
    try:
        proof = prove_consistency(old_size, size) if old_size < size else None
    except LeavesMissing:
        return
    if proof is not None:
        yield proof.as_text().encode()
