"""The log's key is replaced: whoever holds any of its keys follows the others, and no other key gets in."""

import subprocess
import sys
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

import orjson
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from django.core.management import call_command
from pytest_django import Settings

from audit import auditverify
from audit.anchors.base import Kept
from audit.bundle import export_log
from audit.checkpoint import BadNote, InstallationKeys, Signer, Verifier, installation_signer
from audit.event import AuditEvent
from audit.key_chain import ROTATED, stored_chain
from audit.merkle import Frontier
from audit.models import Checkpoint, EventRow, Leaf
from audit.proof import prove
from audit.record import record
from audit.sequencer import LogDamaged, Sequencer
from audit.verify import verify
from tests.audit.writing import NOON, event, lower_guards, record_call

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def _key_file(settings: Settings, tmp_path: Path) -> None:
    settings.AUDIT_SIGNING_KEY_FILE = tmp_path / "audit-signing.key"
    settings.PUBLIC_URL = "https://gw.corp.example"


@dataclass
class Running:
    """A sequencer as `serve` runs it; each step signs."""

    sequencer: Sequencer
    minutes: int = 0

    def step(self) -> None:
        record_call()
        self.sequencer.advance(NOON + timedelta(minutes=self.minutes), sign_every=timedelta(0))
        self.minutes += 1


def a_sequencer() -> Running:
    return Running(Sequencer(installation_signer(), InstallationKeys()))


def rotate() -> None:
    call_command("rotate", "--signing-key", verbosity=0)


@pytest.fixture
def keys() -> list[Signer]:
    """A log that was signed by three keys, one after another."""
    running, found = a_sequencer(), []
    for _ in range(2):
        running.step()
        found.append(installation_signer())
        rotate()
        running.step()
    running.step()
    return [*found, installation_signer()]


def sizes() -> list[int]:
    return list(Checkpoint.objects.order_by("size").values_list("size", flat=True))


def signers_of(size: int, keys: list[Signer]) -> list[int]:
    note = Checkpoint.objects.get(size=size).note
    return [number for number, key in enumerate(keys) if key.verifier.has_signed(note)]


def audit(folder: Path, key: Verifier, *words: str) -> tuple[int, str]:
    command = [sys.executable, "-I", "-S", auditverify.__file__, "bundle", str(folder), "--key", str(key), *words]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert "Traceback" not in done.stderr
    return done.returncode, done.stdout + done.stderr


@pytest.fixture
def exported(keys: list[Signer], tmp_path: Path) -> Path:
    export_log(tmp_path / "export", verifier=keys[-1].verifier, at=NOON)
    return tmp_path / "export"


def test_the_checkpoint_after_the_event_is_signed_by_both(keys: list[Signer]) -> None:
    assert [signers_of(size, keys) for size in sizes()] == [[0], [0, 1], [1], [1, 2], [2]]
    told = EventRow.objects.filter(kind=ROTATED).order_by("id").first()
    assert told is not None
    details = orjson.loads(bytes(told.header))["details"]
    assert (details["old"], details["new"]) == (str(keys[0].verifier), str(keys[1].verifier))


def test_the_older_private_keys_are_gone(keys: list[Signer], tmp_path: Path) -> None:
    assert [path.name for path in tmp_path.iterdir()] == ["audit-signing.key"]
    assert len({str(key.verifier) for key in keys}) == 3


@pytest.mark.parametrize("held", [0, 1, 2], ids=["oldest", "middle", "newest"])
def test_whoever_holds_any_of_the_keys_follows_the_others(keys: list[Signer], exported: Path, held: int) -> None:
    oldest = Checkpoint.objects.order_by("size").first()
    assert oldest is not None
    report = verify(keys[held].verifier, [Kept("kept", oldest.note)])
    assert report.problems == ()
    assert (report.checkpoint, report.anchors) == (sizes()[-1], 1)
    (exported.parent / "kept").write_text(oldest.note)
    code, told = audit(exported, keys[held].verifier, "--anchor", str(exported.parent / "kept"))
    assert code == 0, told


def test_without_the_rotations_another_key_is_another_key(keys: list[Signer], exported: Path) -> None:
    (exported / "rotations.jsonl").unlink()
    assert audit(exported, keys[0].verifier)[0] == 1
    assert audit(exported, keys[2].verifier)[0] == 0


def test_a_proof_and_a_checkpoint_alone_take_the_rotations_along(keys: list[Signer], exported: Path) -> None:
    last = Leaf.objects.order_by("-index").first()
    assert last is not None
    proof = prove(EventRow.objects.get(pk=last.event_id))
    assert proof is not None
    (exported / "one.tlog-proof").write_text(proof.as_text())
    (exported / "one.entry").write_bytes(proof.entry)
    words = ["proof", str(exported / "one.tlog-proof"), "--entry", str(exported / "one.entry")]
    words += ["--key", str(keys[0].verifier)]
    assert auditverify.main(words) == 1
    assert auditverify.main([*words, "--rotations", str(exported / "rotations.jsonl")]) == 0


def forge(signer: Signer, *, size: int) -> None:
    """Whoever holds the database puts another signature under a checkpoint."""
    lower_guards("audit_checkpoint")
    row = Checkpoint.objects.get(size=size)
    Checkpoint.objects.filter(size=size).update(note=signer.sign(size=size, root=bytes(row.root)))


@pytest.mark.parametrize("thief", ["stranger", "retired"])
def test_a_key_that_the_chain_does_not_introduce_or_has_retired_signs_nothing(
    keys: list[Signer], tmp_path: Path, thief: str
) -> None:
    signer = keys[0] if thief == "retired" else Signer(keys[0].name, Ed25519PrivateKey.generate())
    forge(signer, size=sizes()[-1])
    assert "not signed by" in str(verify(keys[2].verifier).problems[0])
    assert not verify(keys[0].verifier).is_sound
    export_log(tmp_path / "export", verifier=keys[2].verifier, at=NOON)
    assert audit(tmp_path / "export", keys[0].verifier)[0] == 1


def test_an_event_alone_introduces_no_key(keys: list[Signer], tmp_path: Path) -> None:
    """With the database and a key of her own, but none of the log's."""
    thief = Signer(keys[2].name, Ed25519PrivateKey.generate())
    names = {"old": str(keys[2].verifier), "new": str(thief.verifier)}
    record(AuditEvent(kind=ROTATED, at=NOON, actor="system", details=names))
    Sequencer(keys[2]).advance(NOON + timedelta(hours=1), sign_every=timedelta(0))
    size = sizes()[-1]
    forge(thief, size=size)
    assert "not signed by" in str(verify(keys[0].verifier).problems[0])
    with pytest.raises(BadNote):
        stored_chain(keys[0].verifier).open(thief.sign(size=size + 1, root=Frontier().root()))
    export_log(tmp_path / "export", verifier=keys[2].verifier, at=NOON)
    assert audit(tmp_path / "export", keys[0].verifier)[0] == 1


def test_a_rotation_that_was_tampered_with_in_the_export_is_refused(exported: Path, keys: list[Signer]) -> None:
    first, second = (exported / "rotations.jsonl").read_text().splitlines()
    told = orjson.loads(first)
    (exported / "rotations.jsonl").write_bytes(orjson.dumps({**told, "proof": orjson.loads(second)["proof"]}) + b"\n")
    assert audit(exported, keys[0].verifier)[0] == 1


def test_a_standby_follows_and_one_that_has_only_the_older_key_stops(settings: Settings, tmp_path: Path) -> None:
    leader, standby = a_sequencer(), a_sequencer()
    alone = Sequencer(installation_signer())
    leader.step()
    standby.step()
    rotate()
    leader.step()
    standby.minutes = 10
    standby.step()
    note = Checkpoint.objects.get(size=sizes()[-1]).note
    assert installation_signer().verifier.has_signed(note)
    record(event())
    with pytest.raises(LogDamaged, match="another"):
        alone.advance(NOON + timedelta(hours=1))
    assert verify(installation_signer().verifier).is_sound


def test_a_crash_between_checkpoint_and_file_is_made_good(monkeypatch: pytest.MonkeyPatch) -> None:
    leader = a_sequencer()
    leader.step()
    old = installation_signer()
    rotate()
    with monkeypatch.context() as patch:
        patch.setattr(InstallationKeys, "hand_over", lambda self: None)
        leader.step()
    assert installation_signer().verifier == old.verifier
    again = a_sequencer()
    again.minutes = 5
    again.step()
    assert installation_signer().verifier != old.verifier
    assert verify(old.verifier).is_sound


def test_asked_twice_it_is_one_rotation() -> None:
    leader = a_sequencer()
    leader.step()
    rotate()
    rotate()
    leader.step()
    assert EventRow.objects.filter(kind=ROTATED).count() == 1
