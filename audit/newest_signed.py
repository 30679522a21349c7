"""The newest checkpoint that was signed here, in a file beside the signing key: what a database can be compared with.

It is written after the checkpoint is committed, so a database that does not hold it is older, or went another way: a
backup or a snapshot was put in its place, or a server took over that had not got everything yet. Nothing is signed
then.
"""

import os
from base64 import b64encode
from pathlib import Path
from tempfile import NamedTemporaryFile

from django.conf import settings
from django.db.models import Max

from audit.checkpoint import MAX_NOTE_CHARS, BadNote, TreeHead
from audit.models import Checkpoint, Leaf

DAMAGED = "the file {} is damaged, so nobody knows what was signed here"
OLDER = "it holds {:,} records, and a checkpoint of {:,} was signed here (root {})"
OTHER = "its log is not the one of which a checkpoint of {:,} records was signed here (root {})"


class NewestSigned:
    """Several may write; one that comes too late with an older checkpoint changes nothing."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def contradicts(self) -> str:
        """How this database cannot be the one, the same words each time; empty if it can, or nothing is known here."""
        try:
            head = self._head()
        except BadNote:
            return DAMAGED.format(self._path.name)
        if head is None:
            return ""
        stored = Checkpoint.objects.filter(size=head.size).values_list("root", flat=True).first()
        if stored is not None and bytes(stored) == head.root:
            return ""
        last = Leaf.objects.aggregate(last=Max("index"))["last"]
        leaves = 0 if last is None else last + 1
        root = b64encode(head.root).decode()
        return OLDER.format(leaves, head.size, root) if leaves < head.size else OTHER.format(head.size, root)

    def keep(self, note: str) -> None:
        """OSError if it cannot be written."""
        head = self._head()
        if head is None or head.size < _head_of(note).size:
            self._write(note)

    def set_aside(self) -> None:
        """Somebody has decided that this database counts. What it contradicted is kept for whoever asks."""
        try:
            head = self._head()
            ending = str(head.size) if head else ""
        except BadNote:
            ending = "damaged"
        if ending:
            self._path.replace(self._path.with_name(f"{self._path.name}.before-restore-{ending}"))

    def _head(self) -> TreeHead | None:
        """None where there is none, or it is not for us to read. Raises BadNote."""
        try:
            with self._path.open("rb") as file:
                text = file.read(MAX_NOTE_CHARS + 1).decode("utf-8", "replace")
        except (FileNotFoundError, PermissionError):
            return None
        return _head_of(text)

    def _write(self, note: str) -> None:
        with NamedTemporaryFile("w", dir=self._path.parent, prefix=self._path.name, delete=False) as beside:
            beside.write(note)
            beside.flush()
            os.fsync(beside.fileno())
        os.replace(beside.name, self._path)


def newest_signed() -> NewestSigned:
    """Of this installation."""
    key = Path(settings.AUDIT_SIGNING_KEY_FILE)
    return NewestSigned(key.with_name(f"{key.name}.newest"))


def _head_of(note: str) -> TreeHead:
    """Raises BadNote. Whoever can write the file has the key as well, so no signature is asked for."""
    return TreeHead.parse(note.partition("\n\n")[0] + "\n")
