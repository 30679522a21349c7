"""Events of one session as a .zip that an outsider checks alone: each with its proof, and the verifier beside it.

The files are those of `auditverify.py bundle`: `events.log` and `payloads.log` a line each, in the order of the log,
and `proofs/INDEX.tlog-proof` for every event, all under the one checkpoint of the bundle: so a proof that an older
checkpoint, which an auditor kept, is the beginning of that one speaks for every event.
"""

import zipfile
from base64 import b64encode
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import IO
from uuid import UUID

import orjson

from audit import auditverify
from audit.bundle import VERIFIER, CannotExport, rotations
from audit.checkpoint import Verifier
from audit.models import Checkpoint, EventRow
from audit.proof import Proof, prove_all, prove_under
from audit.stamps import stamp_files
from audit.subset_proof import LeavesMissing

READ_ME = """\
Evidence of one session of the log {log}: {events:,} events, exported {at:%Y-%m-%d %H:%M} UTC.
Session {session}

    python3 auditverify.py bundle THIS.zip --key KEY [--anchor CHECKPOINT --consistency PROOF]

KEY is the log's verifier key. The one in key.txt came with these files: compare it with the one you were given when
the installation was set up. auditverify.py came with them, too: take it from a release of Gatehouse to be sure of it.
It needs Python 3.9 or newer and nothing else, and it says what it did not check.

An older checkpoint that was kept where the operator cannot reach shows that the log was not written anew since. The
proof that leads from it to the one in checkpoint.txt is made by `manage.py prove_consistency OLD-SIZE {size}`, by
GET /api/v1/checkpoints/{size}/consistency/OLD-SIZE, or on the page of the older checkpoint in the admin. stamps/ holds
what timestamp authorities answered, where any is set up.

Each event is proved to be in the signed log. That these are all events of the session is not: only the whole log,
which `manage.py export_audit` writes, shows what is between.
{left_out}"""
LEFT_OUT = "{many:,} newer events are under no signature yet and were left out.\n"
MOST_PLAIN = (auditverify.MAX_LINE - 1024) * 3 // 4
"""Of one payload: the verifier reads no longer line."""
MOST_PLAIN_IN_ALL = 512 * 1024 * 1024
NO_LEAF = "None of these events is under a signature yet: wait a second, or start the sequencer."


@dataclass(frozen=True, slots=True)
class Body:
    """An opened payload: with the blinding key it is shown to be what the event commits to."""

    blinding: bytes = field(repr=False)
    plain: bytes = field(repr=False)


Bodies = Callable[[Sequence[UUID]], Iterator[tuple[UUID, Body]]]
"""Opens those of these events that can be opened, one after the other."""


@dataclass(frozen=True, slots=True)
class Told:
    events: int
    left_out: int


def write_session(
    file: IO[bytes],
    session: UUID,
    events: Sequence[EventRow],
    bodies: Bodies | None,
    *,
    verifier: Verifier | None,
    at: datetime,
) -> Told:
    """Without `bodies` it holds no payloads. Raises CannotExport if nothing of it is signed yet."""
    newest = Checkpoint.objects.order_by("-size").first()
    proofs = sorted(_proofs(events, newest), key=lambda each: each[0].index)
    if not proofs or newest is None or verifier is None:
        raise CannotExport(NO_LEAF)
    told = Told(len(proofs), len(events) - len(proofs))
    rows = {event.pk: event for event in events}
    about = {"format": auditverify.FORMAT, "log": verifier.name, "at": at, "session": session, "events": told.events}
    left_out = LEFT_OUT.format(many=told.left_out) if told.left_out else ""
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as into:
        into.writestr("bundle.json", orjson.dumps(about, option=orjson.OPT_UTC_Z) + b"\n")
        into.writestr("checkpoint.txt", newest.note)
        into.writestr("key.txt", f"{verifier}\n")
        into.writestr(auditverify.ROTATIONS, b"".join(rotations(newest.size)))
        into.writestr(
            "README.txt",
            READ_ME.format(
                log=verifier.name, events=told.events, at=at, session=session, left_out=left_out, size=newest.size
            ),
        )
        into.writestr(VERIFIER.name, VERIFIER.read_bytes())
        into.writestr("events.log", b"".join(_line(proof, rows[by]) for proof, by in proofs))
        if bodies is not None:
            with into.open("payloads.log", "w") as lines:
                for line in _payloads({by: proof.index for proof, by in proofs}, bodies):
                    lines.write(line)
        for proof, _ in proofs:
            into.writestr(f"proofs/{proof.index}.tlog-proof", proof.as_text())
        for name, content in stamp_files(newest.size):
            into.writestr(name, content)
    return told


def _proofs(events: Sequence[EventRow], newest: Checkpoint | None) -> list[tuple[Proof, UUID]]:
    """Under the newest checkpoint; in a damaged log each under the first that covers it, as far as that can be read."""
    try:
        proofs = prove_under(newest, events) if newest else {}
    except LeavesMissing:
        proofs = prove_all(events)
    return [(proof, by) for by, proof in proofs.items()]


def _line(proof: Proof, event: EventRow) -> bytes:
    return b"%d %d %b\n" % (proof.index, event.epoch, bytes(event.header).replace(b"\n", b" "))


def _payloads(indexes: Mapping[UUID, int], bodies: Bodies) -> Iterator[bytes]:
    """What is too large stays out; the verifier counts it."""
    left = MOST_PLAIN_IN_ALL
    for by, body in bodies(list(indexes)):
        if len(body.plain) <= min(MOST_PLAIN, left):
            left -= len(body.plain)
            told = {"index": indexes[by], "blinding": b64encode(body.blinding).decode()}
            yield orjson.dumps({**told, "payload": b64encode(body.plain).decode()}) + b"\n"
