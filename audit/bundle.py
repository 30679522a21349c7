"""The signed log as files that an outsider checks alone: what `auditverify.py` reads, and that verifier beside it.

`events.log` has a line for each event, `index epoch header`, the header byte for byte as it was hashed. `leaves.bin` is
the stored hash of every leaf, 32 bytes each. Both end where the newest checkpoint does. Nothing is mended on the way:
what is damaged here is damaged there, and found there.
"""

import os
from base64 import b64encode
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from shutil import copyfile

import orjson

from audit import auditverify
from audit.checkpoint import Verifier
from audit.key_chain import stored_handovers
from audit.models import Checkpoint, EventRow, Leaf
from audit.pages import Row, Unreadable, by_id, each, pages
from audit.proof import prove
from audit.stamps import stamp_files

MOST_MISSING = 1_000_000
"""Leaves in a row whose places are kept; a log that lost more has nothing to show."""
VERIFIER = Path(auditverify.__file__)
READ_ME = """\
Evidence of the log {log}, up to the checkpoint of {size:,} leaves, exported {at:%Y-%m-%d %H:%M} UTC.

    python3 auditverify.py bundle . --key KEY [--anchor OLDER-CHECKPOINT]

KEY is the log's verifier key. The one in key.txt came with these files: compare it with the one you were given when
the installation was set up. auditverify.py came with them, too: take it from a release of Gatehouse to be sure of it.
It needs Python 3.9 or newer and nothing else, and it says what it did not check.
"""


class CannotExport(Exception):
    """The message says why and what to do."""


@dataclass(frozen=True, slots=True)
class Exported:
    """How much a bundle holds."""

    leaves: int
    events: int


def export_log(folder: Path, *, verifier: Verifier | None, at: datetime) -> Exported:
    """Writes the log up to its newest checkpoint into a new or empty folder, in pages, beside a running gateway.

    Raises CannotExport if nothing is signed or the folder is in use; OSError if it cannot be written.
    """
    newest = Checkpoint.objects.order_by("-size").first()
    if newest is None or verifier is None:
        raise CannotExport("Nothing is under a signature yet: start the sequencer, or wait a second.")
    folder.mkdir(mode=0o700, exist_ok=True)
    if any(folder.iterdir()):
        raise CannotExport(f"{folder} is not empty: name a new folder.")
    told = _write_leaves_and_events(folder, size=newest.size)
    with (folder / "checkpoints.jsonl").open("wb") as file:
        for note in _notes(newest.size):
            file.write(orjson.dumps({"note": note}) + b"\n")
    with (folder / auditverify.ROTATIONS).open("wb") as file:
        file.writelines(rotations(newest.size))
    write_stamps(folder, newest.size)
    (folder / "checkpoint.txt").write_text(newest.note)
    (folder / "key.txt").write_text(f"{verifier}\n")
    (folder / "README.txt").write_text(READ_ME.format(log=verifier.name, size=newest.size, at=at))
    copyfile(VERIFIER, folder / VERIFIER.name)
    about = {"format": auditverify.FORMAT, "log": verifier.name, "at": at, "events": told.events}
    (folder / "bundle.json").write_bytes(orjson.dumps(about, option=orjson.OPT_UTC_Z) + b"\n")
    return told


def write_stamps(folder: Path, size: int) -> None:
    """What timestamp authorities answered about this log, where any is set up."""
    for name, content in stamp_files(size):
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_bytes(content)


def _write_leaves_and_events(folder: Path, *, size: int) -> Exported:
    """Leaf by leaf as they stand; one that is missing or cannot be read leaves its place empty."""
    leaves = events = 0
    with (folder / "leaves.bin").open("wb") as hashes, (folder / "events.log").open("wb") as lines:
        for page in pages(Leaf.objects.filter(index__gte=0, index__lt=size), "index", "event_id", "hash"):
            readable = [row for row in page if not isinstance(row, Unreadable)]
            found = by_id(EventRow.objects.all(), [row[1] for row in readable], "epoch", "header")
            for index, event_id, stored in readable:
                if index - leaves > MOST_MISSING:
                    raise CannotExport(f"Leaves {leaves} to {index - 1} are missing: run verify_audit.")
                hashes.write(bytes(auditverify.HASH * (index - leaves)) + _of_32_bytes(stored))
                leaves = index + 1
                line = _line(index, found.get(event_id))
                lines.write(line)
                events += bool(line)
        for file in (hashes, lines):
            file.flush()
            os.fsync(file.fileno())
    return Exported(leaves=leaves, events=events)


def _line(index: int, event: Row | Unreadable | None) -> bytes:
    """Nothing for what is gone or is no event any more: then its place is empty there, too."""
    if event is None or isinstance(event, Unreadable):
        return b""
    _, epoch, header = event
    if not isinstance(epoch, int) or not isinstance(header, bytes | memoryview):
        return b""
    return b"%d %d %b\n" % (index, epoch, bytes(header).replace(b"\n", b" "))


def _notes(size: int) -> Iterator[str]:
    for row in each(Checkpoint.objects.filter(size__lt=size), "size", "note"):
        if not isinstance(row, Unreadable):
            yield row[1]


def rotations(size: int) -> Iterator[bytes]:
    """Of the log's key: each event with its proof under the checkpoint that both keys signed."""
    for handover in stored_handovers():
        proof = prove(EventRow.objects.get(pk=handover.event_id)) if handover.size <= size else None
        if proof is not None:
            told = {"entry": b64encode(proof.entry).decode(), "proof": proof.as_text()}
            yield orjson.dumps(told) + b"\n"


def _of_32_bytes(stored: object) -> bytes:
    """A damaged hash keeps its place."""
    raw = bytes(stored) if isinstance(stored, bytes | memoryview) else b""
    return raw[: auditverify.HASH].ljust(auditverify.HASH, b"\0")
