"""The file an auditor runs alone: an adversary with all rights on the database, and what it finds in an export."""

import subprocess
import sys
import zipfile
from base64 import b64encode
from datetime import timedelta
from pathlib import Path
from shutil import make_archive

import orjson
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given, settings
from hypothesis import strategies as st

from audit import auditverify
from audit.bundle import CannotExport, export_log
from audit.checkpoint import Signer
from audit.event import leaf_entry
from audit.merkle import leaf_hash, root_of
from audit.models import Checkpoint, EventRow, Leaf
from audit.proof import prove
from audit.record import commit_to
from audit.sequencer import Sequencer
from tests.audit.writing import NOON, execute, lower_guards, record_call

VECTOR = """\
gw.corp.example/audit/org1
3
NmQuc8JUCrEh46a/lUWwokmCzYMOsT080Z3jzmwCHsE=

— gw.corp.example/audit/org1 \
qmk0n64lo0DvkbB1jrJU/fslKIhnbwQ12QtF6x1VRz3IZYXbUwzzTjIa9q/WpdclDVP+fy72eyaLXwRHSofMRko05QQ=
"""
VECTOR_KEY = "gw.corp.example/audit/org1+aa69349f+AYqI4910CfGV/VLbLTy6XXLKZwm/HZQSG/N0iAG0D29c"
TABLES = ("audit_event", "audit_payload", "audit_pending", "audit_leaf", "audit_checkpoint")

database = pytest.mark.usefixtures("db")


def run(*words: object) -> tuple[int, str]:
    """As an auditor runs it: a process of its own that finds no other module of ours or anybody's."""
    command = [sys.executable, "-I", "-S", auditverify.__file__, *map(str, words)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert "Traceback" not in done.stderr
    return done.returncode, done.stdout + done.stderr


@pytest.fixture
def log(signer: Signer, db: None) -> Signer:
    """Leaves 0..12 under checkpoints 5, 9 and 13, guards lowered."""
    running = Sequencer(signer)
    for minute in range(3):
        for _ in range(2):
            record_call()
        running.advance(NOON + timedelta(minutes=minute), sign_every=timedelta(0))
    for table in TABLES:
        lower_guards(table)
    return signer


@pytest.fixture
def anchor(log: Signer, tmp_path: Path) -> Path:
    """A checkpoint of nine leaves that somebody kept elsewhere."""
    kept = tmp_path / "anchor.txt"
    kept.write_text(Checkpoint.objects.get(size=9).note)
    return kept


def exported(log: Signer, folder: Path) -> Path:
    export_log(folder, verifier=log.verifier, at=NOON)
    return folder


def write_anew(signer: Signer, changed: int) -> None:
    """Who holds database and key: one event is another, and all leaves and checkpoints after it fit."""
    event = EventRow.objects.get(pk=Leaf.objects.get(index=changed).event_id)
    event.header = bytes(event.header).replace(b"triage-bot", b"nobody-bot")
    EventRow.objects.filter(pk=event.pk).update(header=event.header)
    Leaf.objects.filter(index=changed).update(hash=leaf_hash(leaf_entry(event.epoch, event.header)))
    hashes = [bytes(row) for row in Leaf.objects.order_by("index").values_list("hash", flat=True)]
    for checkpoint in Checkpoint.objects.filter(size__gt=changed):
        root = root_of(hashes[: checkpoint.size])
        note = signer.sign(size=checkpoint.size, root=root)
        Checkpoint.objects.filter(pk=checkpoint.pk).update(root=root, note=note)


def test_an_export_is_sound_and_tells_what_was_not_checked(log: Signer, anchor: Path, tmp_path: Path) -> None:
    folder = exported(log, tmp_path / "out")
    code, told = run("bundle", folder, "--key", log.verifier, "--anchor", anchor)
    assert (code, told.splitlines()[-1][:40]) == (0, "sound: 13 events, 13 leaves, 0 payloads,")
    assert "anchor" not in told.replace("1 anchors", "")
    code, told = run("bundle", folder)
    assert code == 0
    assert "Not checked: Whose log this is" in told
    assert "Not checked: No anchor was compared" in told


def test_the_verifier_goes_with_the_files_and_reads_a_zip(log: Signer, tmp_path: Path) -> None:
    folder = exported(log, tmp_path / "out")
    assert (folder / "auditverify.py").read_bytes() == Path(auditverify.__file__).read_bytes()
    packed = make_archive(str(tmp_path / "evidence"), "zip", folder)
    assert run("bundle", packed, "--key", log.verifier)[0] == 0


@pytest.mark.parametrize(
    ("damage", "first_bad"),
    [
        ("DELETE FROM audit_event WHERE id = {at_5}", 5),
        ("UPDATE audit_event SET header = 'text' WHERE id = {at_5}", 5),
        ("UPDATE audit_event SET epoch = epoch + 1 WHERE id = {at_5}", 5),
        ("UPDATE audit_event SET header = (SELECT header FROM audit_event WHERE id = {at_2}) WHERE id = {at_5}", 5),
        ('DELETE FROM audit_leaf WHERE "index" = 7', 7),
        ('UPDATE audit_leaf SET "index" = 99 WHERE "index" = 7', 7),
        ("DELETE FROM audit_event WHERE id IN ({at_3}, {at_4}, {at_5})", 3),
    ],
    ids=["deleted", "no bytes", "another epoch", "another header", "leaf deleted", "leaf moved", "a run deleted"],
)
def test_an_adversary_is_found_and_the_first_bad_leaf_named(
    log: Signer, tmp_path: Path, damage: str, first_bad: int
) -> None:
    places = {f"at_{index}": f'(SELECT event_id FROM audit_leaf WHERE "index" = {index})' for index in range(13)}
    execute(damage.format(**places))
    code, told = run("bundle", exported(log, tmp_path / "out"), "--key", log.verifier)
    assert code == 1
    assert f"first bad leaf {first_bad};" in told


def test_leaves_that_fit_their_events_are_found_between_checkpoints(log: Signer, tmp_path: Path) -> None:
    """Leaf 11 was made to fit its changed event, no note was."""
    event = EventRow.objects.get(pk=Leaf.objects.get(index=11).event_id)
    header = bytes(event.header).replace(b"triage-bot", b"nobody-bot")
    EventRow.objects.filter(pk=event.pk).update(header=header)
    Leaf.objects.filter(index=11).update(hash=leaf_hash(leaf_entry(event.epoch, header)))
    code, told = run("bundle", exported(log, tmp_path / "out"), "--key", log.verifier)
    assert code == 1
    assert "leaf 9: it, or one before 13" in told


def test_a_log_written_anew_with_its_key_is_found_by_an_anchor_only(log: Signer, anchor: Path, tmp_path: Path) -> None:
    write_anew(log, changed=5)
    folder = exported(log, tmp_path / "out")
    code, told = run("bundle", folder, "--key", log.verifier)
    assert code == 0
    assert "whoever holds the log's database and its key can have written all of it anew" in told
    code, told = run("bundle", folder, "--key", log.verifier, "--anchor", anchor)
    assert code == 1
    assert "is not what" in told


def test_a_log_cut_back_or_of_an_older_backup_is_found_by_a_newer_anchor(log: Signer, tmp_path: Path) -> None:
    kept = tmp_path / "anchor.txt"
    kept.write_text(Checkpoint.objects.get(size=13).note)
    execute("DELETE FROM audit_checkpoint WHERE size = 13")
    code, told = run("bundle", exported(log, tmp_path / "out"), "--key", log.verifier, "--anchor", kept)
    assert code == 1
    assert "leaf 9: missing" in told
    assert "is of 13 leaves, the bundle has 9: the log was cut back, or the bundle is older" in told


def test_another_s_signature_or_log_is_refused(log: Signer, tmp_path: Path) -> None:
    folder = exported(log, tmp_path / "out")
    stranger = Signer(log.name, Ed25519PrivateKey.generate())
    assert run("bundle", folder, "--key", stranger.verifier)[0] == 1
    elsewhere = Signer("other.example/audit", log.key)
    code, told = run("bundle", folder, "--key", elsewhere.verifier)
    assert code == 1
    assert "speaks of the log gw.corp.example/audit" in told


def test_what_comes_after_the_checkpoint_is_never_sound(log: Signer, tmp_path: Path) -> None:
    """Somebody without the key adds an event at the end, with a leaf that fits it."""
    folder = exported(log, tmp_path / "out")
    header = b'{"kind":"call.outcome"}'
    for name, more in (("leaves.bin", leaf_hash(leaf_entry(3, header))), ("events.log", b"13 3 %b\n" % header)):
        (folder / name).write_bytes((folder / name).read_bytes() + more)
    (folder / "bundle.json").write_bytes(orjson.dumps({"format": auditverify.FORMAT, "events": 14}))
    code, told = run("bundle", folder, "--key", log.verifier)
    assert code == 1
    assert "first bad leaf 13;" in told


@pytest.mark.parametrize("line", [b"0 %d {}" % (1 << 70), b"-1 0 {}", b"nothing", b"%d 0 {}" % (1 << 70)])
def test_lines_that_are_none_are_said_to_be(log: Signer, tmp_path: Path, line: bytes) -> None:
    folder = exported(log, tmp_path / "out")
    (folder / "events.log").write_bytes(line + b"\n")
    code, told = run("bundle", folder, "--key", log.verifier)
    assert (code, "not a line of an event" in told) == (2, True)


@pytest.mark.parametrize("name", ["events.log", "leaves.bin", "checkpoint.txt", "checkpoints.jsonl", "bundle.json"])
def test_files_that_are_cut_off_are_never_sound(log: Signer, tmp_path: Path, name: str) -> None:
    folder = exported(log, tmp_path / "out")
    whole = (folder / name).read_bytes()
    (folder / name).write_bytes(whole[: len(whole) * 2 // 3])
    assert run("bundle", folder, "--key", log.verifier)[0] in (1, 2)


def test_what_was_never_an_export_cannot_be_checked(tmp_path: Path) -> None:
    assert run("bundle", tmp_path / "nowhere")[0] == 2
    assert run("bundle", tmp_path)[0] == 2
    (tmp_path / "text.zip").write_text("not a zip")
    assert run("bundle", tmp_path / "text.zip")[0] == 2
    with zipfile.ZipFile(tmp_path / "empty.zip", "w"):
        pass
    assert run("bundle", tmp_path / "empty.zip")[0] == 2
    assert run("checkpoint", tmp_path / "text.zip", "--key", "not a key")[0] == 2


def test_single_events_with_their_proofs(log: Signer, tmp_path: Path) -> None:
    lines, folder = [], tmp_path / "session"
    (folder / "proofs").mkdir(parents=True)
    for leaf in Leaf.objects.filter(index__in=(2, 7, 11)).order_by("index"):
        event = EventRow.objects.get(pk=leaf.event_id)
        proof = prove(event)
        assert proof is not None
        (folder / "proofs" / f"{leaf.index}.tlog-proof").write_text(proof.as_text())
        lines.append(b"%d %d %b\n" % (leaf.index, event.epoch, bytes(event.header)))
    (folder / "events.log").write_bytes(b"".join(lines))
    (folder / "checkpoint.txt").write_text(Checkpoint.objects.get(size=13).note)
    (folder / "bundle.json").write_bytes(orjson.dumps({"format": auditverify.FORMAT, "events": 3}))
    code, told = run("bundle", folder, "--key", log.verifier)
    assert (code, "3 events" in told) == (0, True)
    kept = tmp_path / "anchor.txt"
    kept.write_text(Checkpoint.objects.get(size=9).note)
    assert "No anchor was compared" in run("bundle", folder, "--key", log.verifier, "--anchor", kept)[1]
    (folder / "events.log").write_bytes(b"".join([*lines, lines[0]]))
    assert run("bundle", folder, "--key", log.verifier)[0] == 1, "one event counts once"
    (folder / "events.log").write_bytes(b"".join(lines).replace(b"triage-bot", b"nobody-bot"))
    code, told = run("bundle", folder, "--key", log.verifier)
    assert code == 1
    assert "first bad leaf 2" in told


def test_a_proof_alone(log: Signer, tmp_path: Path) -> None:
    event = EventRow.objects.get(pk=Leaf.objects.get(index=6).event_id)
    proof = prove(event)
    assert proof is not None
    (tmp_path / "e.tlog-proof").write_text(proof.as_text())
    (tmp_path / "entry").write_bytes(proof.entry)
    words = ("proof", tmp_path / "e.tlog-proof", "--entry", tmp_path / "entry", "--key", log.verifier)
    assert run(*words)[0] == 0
    (tmp_path / "entry").write_bytes(proof.entry + b" ")
    assert run(*words)[0] == 1


def test_payloads_are_those_that_were_recorded(log: Signer, tmp_path: Path) -> None:
    folder = exported(log, tmp_path / "out")
    body = b'{"ticket": 7}'
    commitment, blinding = commit_to(body)
    header = orjson.dumps({"kind": "call.intent", "payload_commitment": commitment.hex()})
    leaf = leaf_hash(leaf_entry(3, header))
    (folder / "events.log").write_bytes(b"0 3 %b\n" % header)
    (folder / "leaves.bin").write_bytes(leaf)
    (folder / "checkpoints.jsonl").unlink()
    (folder / "checkpoint.txt").write_text(log.sign(size=1, root=leaf))
    (folder / "bundle.json").write_bytes(orjson.dumps({"format": auditverify.FORMAT, "events": 1}))
    for told_body, code in ((body, 0), (b'{"ticket": 8}', 1)):
        row = {"index": 0, "blinding": b64encode(blinding).decode(), "payload": b64encode(told_body).decode()}
        (folder / "payloads.log").write_bytes(orjson.dumps(row) + b"\n")
        assert run("bundle", folder, "--key", log.verifier)[0] == code


@database
def test_nothing_signed_nothing_exported_and_no_folder_is_overwritten(signer: Signer, tmp_path: Path) -> None:
    with pytest.raises(CannotExport, match="under a signature"):
        export_log(tmp_path / "out", verifier=signer.verifier, at=NOON)
    record_call()
    Sequencer(signer).advance(NOON, sign_every=timedelta(0))
    (tmp_path / "hers").write_text("keep")
    with pytest.raises(CannotExport, match="not empty"):
        export_log(tmp_path, verifier=signer.verifier, at=NOON)


def test_a_note_of_another_implementation(tmp_path: Path) -> None:
    (tmp_path / "note").write_text(VECTOR)
    assert run("checkpoint", tmp_path / "note", "--key", VECTOR_KEY)[0] == 0
    (tmp_path / "note").write_text(VECTOR.replace("\n3\n", "\n4\n"))
    assert run("checkpoint", tmp_path / "note", "--key", VECTOR_KEY)[0] == 1


@given(message=st.binary(max_size=200), flip=st.integers(0, 511), seed=st.binary(min_size=32, max_size=32))
@settings(max_examples=25, deadline=None)
def test_signatures_are_judged_as_the_library_judges_them(message: bytes, flip: int, seed: bytes) -> None:
    key = Ed25519PrivateKey.from_private_bytes(seed)
    public, signature = key.public_key().public_bytes_raw(), key.sign(message)
    assert auditverify.is_signed(public, message, signature)
    wrong = bytearray(signature)
    wrong[flip // 8] ^= 1 << flip % 8
    assert not auditverify.is_signed(public, message, bytes(wrong))
    assert not auditverify.is_signed(public, message + b"x", signature)


@given(cuts=st.lists(st.integers(0, 9000), max_size=6))
@settings(max_examples=20, deadline=None)
def test_the_tree_is_the_one_of_the_log(cuts: list[int]) -> None:
    leaves = [leaf_hash(number.to_bytes(4, "big")) for number in range(max(cuts, default=0))]
    tree = auditverify.Tree()
    for cut in sorted(cuts):
        tree.extend(leaves[tree.size : cut])
        assert tree.root() == root_of(leaves[:cut])
