"""Proof that a signed size of the log only added to an older one: what an auditor with an old checkpoint asks for."""

from base64 import b64encode
from dataclasses import dataclass
from typing import Any

from audit.models import Checkpoint
from audit.stored_tree import StoredTree


@dataclass(frozen=True, slots=True)
class ConsistencyProof:
    """RFC 6962: the first `old_size` leaves of the tree that `note` signs are those of the older tree."""

    old_size: int
    size: int
    root: bytes
    path: tuple[bytes, ...]
    note: str

    def as_text(self) -> str:
        """As a witness of C2SP is sent it (tlog-witness): `old SIZE`, the path, the newer checkpoint."""
        path = "".join(f"{b64encode(node).decode()}\n" for node in self.path)
        return f"old {self.old_size}\n{path}\n{self.note}"

    def as_json(self) -> dict[str, Any]:
        return {
            "format": "RFC 6962 consistency proof, SHA-256; C2SP checkpoint",
            "old_size": self.old_size,
            "tree_size": self.size,
            "root_hash": self.root.hex(),
            "path": [node.hex() for node in self.path],
            "checkpoint": self.note,
            "file": self.as_text(),
        }


def prove_consistency(old_size: int, size: int | None = None) -> ConsistencyProof | None:
    """From any older size to a signed one, else to the newest. None if there is no such checkpoint, or it is not newer.

    Raises LeavesMissing where the log is damaged.
    """
    signed = Checkpoint.objects.order_by("-size") if size is None else Checkpoint.objects.filter(size=size)
    checkpoint = signed.first()
    if checkpoint is None or not 0 < old_size <= checkpoint.size:
        return None
    path = StoredTree().consistency_path(old_size, checkpoint.size)
    return ConsistencyProof(old_size, checkpoint.size, bytes(checkpoint.root), tuple(path), checkpoint.note)
