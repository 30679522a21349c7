"""A kept checkpoint against evidence that is less than the whole log, and what the verifier leaves open."""

import zipfile
from base64 import b64encode
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from io import BytesIO
from pathlib import Path
from urllib.request import Request, urlopen
from uuid import UUID

import orjson
import pytest
from django.core.management import CommandError, call_command
from hypothesis import given
from hypothesis import strategies as st

from audit import auditverify
from audit.anchors.timestamp import Authority
from audit.bundle import export_log
from audit.checkpoint import Signer
from audit.consistency import prove_consistency
from audit.merkle import consistency_proof, leaf_hash, root_of
from audit.models import AnchorReceipt, Checkpoint, EventRow, Leaf
from audit.proof import prove
from audit.sequencer import Sequencer
from audit.session_bundle import write_session
from tests.audit.test_auditverify import TABLES, run, write_anew
from tests.audit.writing import NOON, lower_guards, record_call
from tests.timestamp_authority import timestamp_authority

SESSION = UUID(int=7)


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


def kept(tmp_path: Path, size: int) -> Path:
    file = tmp_path / f"anchor-{size}.txt"
    file.write_text(Checkpoint.objects.get(size=size).note)
    return file


def joining(tmp_path: Path, old: int, new: int) -> Path:
    proof = prove_consistency(old, new)
    assert proof is not None
    file = tmp_path / f"{old}-{new}.consistency"
    file.write_text(proof.as_text())
    return file


def session(log: Signer, tmp_path: Path, *indexes: int) -> Path:
    events = EventRow.objects.filter(pk__in=Leaf.objects.filter(index__in=indexes).values("event_id"))
    packed = BytesIO()
    write_session(packed, SESSION, list(events), None, verifier=log.verifier, at=NOON)
    file = tmp_path / "session.zip"
    file.write_bytes(packed.getvalue())
    return file


def test_an_older_checkpoint_speaks_for_every_event_of_a_session(log: Signer, tmp_path: Path) -> None:
    bundle, anchor = session(log, tmp_path, 2, 6, 7, 11), kept(tmp_path, 9)
    words = ("bundle", bundle, "--key", log.verifier, "--anchor", anchor)
    code, told = run(*words)
    assert code == 0
    assert "anchor-9.txt, an anchor of 9 leaves: nothing leads from it to checkpoint.txt of 13." in told
    assert "manage.py prove_consistency 9 13, or GET /api/v1/checkpoints/13/consistency/9" in told
    assert "Not checked: No anchor was compared" in told
    code, told = run(*words, "--consistency", joining(tmp_path, 9, 13))
    assert (code, "1 anchors" in told, "anchor was compared" in told) == (0, True, False)
    code, told = run("bundle", bundle, "--key", log.verifier, "--anchor", kept(tmp_path, 13))
    assert (code, "1 anchors" in told) == (0, True), "of the same size roots say it"
    assert "no anchor speaks" not in told


@pytest.mark.parametrize("which", ["its own proof", "the true proof", "same size"])
def test_a_fork_that_the_right_key_signed_is_found_by_an_anchor(log: Signer, tmp_path: Path, which: str) -> None:
    anchors = {size: kept(tmp_path, size) for size in (9, 13)}
    true_proof = joining(tmp_path, 9, 13).rename(tmp_path / "true")
    write_anew(log, changed=5)
    bundle = session(log, tmp_path, 5, 11)
    words = ("bundle", bundle, "--key", log.verifier)
    code, told = run(*words)
    assert (code, "can have written all of it anew" in told) == (0, True), "nothing but an anchor can tell"
    given_along = {
        "its own proof": ("--anchor", anchors[9], "--consistency", joining(tmp_path, 9, 13)),
        "the true proof": ("--anchor", anchors[9], "--consistency", true_proof),
        "same size": ("--anchor", anchors[13]),
    }
    code, told = run(*words, *given_along[which])
    assert code == 1
    assert "0 anchors" in told


def test_a_fork_hidden_behind_the_true_newest_checkpoint_is_no_secret(log: Signer, tmp_path: Path) -> None:
    """Each event could be proved under an older checkpoint of its own, which no anchor was compared with."""
    anchor, note, link = kept(tmp_path, 9), Checkpoint.objects.get(size=13).note, joining(tmp_path, 9, 13)
    write_anew(log, changed=5)
    row = EventRow.objects.get(pk=Leaf.objects.get(index=5).event_id)
    forged = prove(row)
    assert forged is not None
    bundle = tmp_path / "forged.zip"
    with zipfile.ZipFile(bundle, "w") as into:
        into.writestr("bundle.json", orjson.dumps({"format": auditverify.FORMAT, "events": 1}))
        into.writestr("checkpoint.txt", note)
        into.writestr("events.log", b"5 %d %b\n" % (row.epoch, bytes(row.header)))
        into.writestr("proofs/5.tlog-proof", forged.as_text())
    words = ("bundle", bundle, "--key", log.verifier)
    code, told = run(*words, "--anchor", anchor, "--consistency", link)
    assert (code, "checkpoint.txt does not continue proofs/5.tlog-proof" in told) == (1, True)
    (tmp_path / "newest.txt").write_text(note)
    code, told = run(*words, "--anchor", tmp_path / "newest.txt")
    assert (code, "1 events are proved; so no anchor speaks for these events" in told) == (0, True)


def test_a_proof_of_consistency_alone(log: Signer, tmp_path: Path) -> None:
    anchors, link = {size: kept(tmp_path, size) for size in (5, 9, 13)}, joining(tmp_path, 5, 13)
    words = ("consistency", link, "--key", log.verifier)
    code, told = run(*words, "--anchor", anchors[5], "--anchor", anchors[13])
    assert (code, told.splitlines()[-1].startswith("sound: checkpoint 13 of"), "2 anchors" in told) == (0, True, True)
    assert "Not checked: What the log holds" in told
    assert run(*words, "--anchor", anchors[9])[0] == 2, "it says nothing of this one"
    assert run(*words)[0] == 2, "of nothing"
    text = link.read_text()
    for wrong in (
        text.replace("old 5", "old 4"),
        text.replace(text.split("\n")[1] + "\n", "", 1),
        text.replace("\n\n", "\n" + b64encode(bytes(32)).decode() + "\n\n", 1),
        text.replace("\n\n", "\nAAAA\n\n", 1),
        text.replace("\n13\n", "\n14\n"),
        "old 5",
    ):
        link.write_text(wrong)
        assert run(*words, "--anchor", anchors[5])[0] in (1, 2)


def test_the_command_hands_it_out(log: Signer, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    call_command("prove_consistency", "5")
    told = capsys.readouterr().out
    assert told == joining(tmp_path, 5, 13).read_text()
    for words in (("0",), ("14",), ("9", "5"), ("5", "12")):
        with pytest.raises(CommandError, match="no such checkpoint"):
            call_command("prove_consistency", *words)


def test_every_mode_says_what_it_left_open(log: Signer, tmp_path: Path) -> None:
    proof = prove(EventRow.objects.get(pk=Leaf.objects.get(index=6).event_id))
    assert proof is not None
    (tmp_path / "e.tlog-proof").write_text(proof.as_text())
    (tmp_path / "entry").write_bytes(proof.entry)
    key = ("--key", log.verifier)
    of_event = run("proof", tmp_path / "e.tlog-proof", "--entry", tmp_path / "entry", *key)
    of_note = run("checkpoint", kept(tmp_path, 13), *key)
    of_session = run("bundle", session(log, tmp_path, 6), *key)
    for code, told in (of_event, of_note, of_session):
        assert (code, "Not checked: No anchor was compared" in told) == (0, True)
    assert "Not checked: Whether what the events say is true" in of_event[1]
    assert "Not checked: What else the log holds" in of_event[1]
    assert "Not checked: What the log holds" in of_note[1]
    assert "which came along: README.txt, auditverify.py, key.txt. No proof leads to them." in of_session[1]
    joined = ("--anchor", kept(tmp_path, 5), "--consistency", joining(tmp_path, 5, 9))
    code, told = run("proof", tmp_path / "e.tlog-proof", "--entry", tmp_path / "entry", *key, *joined)
    assert (code, "No anchor" in told, "1 anchors" in told) == (0, False, True)


@dataclass(frozen=True)
class Answer:
    status: int
    body: bytes
    headers: Mapping[str, str] = field(default_factory=dict)


def asked(method: str, url: str, *, headers: Sequence[tuple[str, str]] = (), body: bytes = b"") -> Answer:
    with urlopen(Request(url, data=body, headers=dict(headers), method=method), timeout=60) as answer:
        return Answer(answer.status, answer.read())


def test_time_stamps_go_along_and_are_about_the_log(log: Signer, tmp_path: Path) -> None:
    notes = dict(Checkpoint.objects.values_list("size", "note"))
    with timestamp_authority() as authority:
        stamp = Authority(authority.url, authority.root, asked).stamp(notes[9])
    receipt = AnchorReceipt.objects.create(anchor="tsa", size=9, at=NOON, note=notes[9], proof=stamp.proof)
    code, told = run("bundle", session(log, tmp_path, 2, 11), "--key", log.verifier)
    name = f"stamps/9-{receipt.pk}"
    assert code == 0
    assert f"Not checked: That a timestamp authority signed {name}.tsr, which names 20" in told
    assert f"openssl ts -verify -data {name}.txt -in {name}.tsr" in told
    assert "which was stamped" not in told, "the log went on from there"
    export_log(tmp_path / "whole", verifier=log.verifier, at=NOON)
    assert run("bundle", tmp_path / "whole", "--key", log.verifier)[0] == 0
    (tmp_path / "reply").write_bytes(stamp.proof)
    for size, expected in ((9, 0), (13, 1)):
        words = ("checkpoint", kept(tmp_path, size), "--key", log.verifier, "--stamp", tmp_path / "reply")
        assert run(*words)[0] == expected
    write_anew(log, changed=5)
    assert run("bundle", session(log, tmp_path, 2, 11), "--key", log.verifier)[0] == 1, "the stamp is of another log"
    for end in range(0, len(stamp.proof), 7):
        with pytest.raises(auditverify.Bad):
            auditverify.stamp_of(stamp.proof[:end], "cut")


@given(st.binary(max_size=200))
def test_what_is_no_time_stamp_is_refused(reply: bytes) -> None:
    with pytest.raises(auditverify.Bad):
        auditverify.stamp_of(reply, "reply")
    with pytest.raises(auditverify.Bad):
        auditverify.stamp_of(b"\x30\x82%b%b" % (len(reply).to_bytes(2, "big"), reply), "reply")


def test_consistency_is_judged_at_every_size() -> None:
    leaves = [leaf_hash(b"%d" % number) for number in range(40)]
    heads = [head(len(leaves[:size]), root_of(leaves[:size])) for size in range(41)]
    for size in range(41):
        for old in range(size + 1):
            path = consistency_proof(leaves[:size], old)
            assert auditverify.is_consistent(heads[old], heads[size], path)
            assert not auditverify.is_consistent(heads[old], heads[size], [*path, bytes(32)])
            assert not auditverify.is_consistent(head(old, bytes(32)), heads[size], path)
            assert not path or not auditverify.is_consistent(heads[old], heads[size], path[:-1])
            assert old == size or not auditverify.is_consistent(heads[size], heads[old], path)


def head(size: int, root: bytes) -> auditverify.Head:
    return auditverify.Head(f"log\n{size}\n{b64encode(root).decode()}\n\n\u2014 log AAAA\n", "head")
