"""Signed notes against the published formats, and the key file."""

import stat
from base64 import b64decode, b64encode
from pathlib import Path
from threading import Barrier, Thread

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given
from hypothesis import strategies as st
from pytest_django import Settings

from audit.checkpoint import (
    BadKey,
    BadNote,
    Signer,
    TreeHead,
    installation_signer,
    installation_verifier,
    load_signer,
    log_name,
)

ROOT = b64decode("NmQuc8JUCrEh46a/lUWwokmCzYMOsT080Z3jzmwCHsE=")
VECTOR = """\
gw.corp.example/audit/org1
3
NmQuc8JUCrEh46a/lUWwokmCzYMOsT080Z3jzmwCHsE=

— gw.corp.example/audit/org1 \
qmk0n64lo0DvkbB1jrJU/fslKIhnbwQ12QtF6x1VRz3IZYXbUwzzTjIa9q/WpdclDVP+fy72eyaLXwRHSofMRko05QQ=
"""
OURS = Signer("gw.corp.example/audit/org1", Ed25519PrivateKey.from_private_bytes(b"\x01" * 32))
FOREIGN = Signer("witness.example/w1", Ed25519PrivateKey.from_private_bytes(b"\x02" * 32))


def test_the_vector_is_what_we_sign() -> None:
    assert OURS.sign(size=3, root=ROOT) == VECTOR
    assert str(OURS.verifier) == "gw.corp.example/audit/org1+aa69349f+AYqI4910CfGV/VLbLTy6XXLKZwm/HZQSG/N0iAG0D29c"


def test_the_vector_opens() -> None:
    assert OURS.verifier.open(VECTOR) == TreeHead("gw.corp.example/audit/org1", 3, ROOT)


@given(st.integers(0, 10**18), st.binary(min_size=32, max_size=32))
def test_what_is_signed_opens(size: int, root: bytes) -> None:
    assert OURS.verifier.open(OURS.sign(size=size, root=root)) == TreeHead(OURS.name, size, root)


def test_a_witness_may_sign_as_well() -> None:
    cosignature = FOREIGN.sign(size=3, root=ROOT).splitlines()[-1]
    assert OURS.verifier.open(f"{VECTOR}{cosignature}\n").size == 3


def test_our_name_under_another_key_is_no_signature_of_ours() -> None:
    impostor = Signer(OURS.name, FOREIGN.key)
    with pytest.raises(BadNote, match="not signed by"):
        OURS.verifier.open(impostor.sign(size=3, root=ROOT))


def test_one_failing_signature_of_ours_rejects_the_note() -> None:
    bad = b64encode(OURS.verifier.key_id + bytes(64)).decode()
    with pytest.raises(BadNote, match="wrong"):
        OURS.verifier.open(f"{VECTOR}— {OURS.name} {bad}\n")


@pytest.mark.parametrize(
    "note",
    [
        "",
        "\n\n",
        VECTOR.rstrip("\n"),
        VECTOR.replace("\n3\n", "\n4\n"),
        VECTOR.replace("\n3\n", "\n03\n"),
        VECTOR.replace("\n\n", "\nextension\n\n"),
        VECTOR.replace("—", "-"),
        VECTOR.replace("\n", "\r\n"),
        VECTOR + "\n",
        VECTOR + "trailing\n",
        VECTOR.replace("QQ=\n", "QR=\n"),
        VECTOR * 100,
    ],
)
def test_anything_else_is_refused(note: str) -> None:
    with pytest.raises(BadNote):
        OURS.verifier.open(note)


@given(st.data())
def test_no_edit_of_a_note_opens(data: st.DataObject) -> None:
    start = data.draw(st.integers(0, len(VECTOR) - 1))
    end = data.draw(st.integers(start, len(VECTOR)))
    edited = VECTOR[:start] + data.draw(st.text(max_size=20)) + VECTOR[end:]
    if edited != VECTOR:
        with pytest.raises(BadNote):
            OURS.verifier.open(edited)


@given(st.text(max_size=200))
def test_any_text_is_refused_in_one_way(note: str) -> None:
    with pytest.raises(BadNote):
        OURS.verifier.open(note)


def test_the_private_key_is_in_no_repr() -> None:
    assert "key" not in repr(OURS)


@pytest.mark.parametrize(
    ("url", "name"),
    [
        ("http://127.0.0.1:8000", "127.0.0.1:8000/audit"),
        ("https://gw.corp.example/", "gw.corp.example/audit"),
        ("https://user:secret@gw.corp.example", "gw.corp.example/audit"),
    ],
)
def test_a_log_is_named_after_the_public_address(url: str, name: str) -> None:
    assert log_name(url) == name


@pytest.fixture
def key_file(settings: Settings, tmp_path: Path) -> Path:
    settings.AUDIT_SIGNING_KEY_FILE = tmp_path / "audit-signing-key"
    settings.PUBLIC_URL = "https://gw.corp.example"
    return settings.AUDIT_SIGNING_KEY_FILE


def test_the_key_is_made_once_and_for_its_owner_only(key_file: Path, settings: Settings) -> None:
    assert installation_verifier() is None
    made = installation_signer().verifier
    assert stat.S_IMODE(key_file.stat().st_mode) == 0o600
    settings.PUBLIC_URL = "https://moved.example"
    assert installation_signer().verifier == installation_verifier() == made
    assert made.name == "gw.corp.example/audit"
    assert list(key_file.parent.iterdir()) == [key_file]


def test_processes_that_start_together_agree_on_one_key(key_file: Path) -> None:
    start, found = Barrier(8), []

    def begin() -> None:
        start.wait()
        found.append(installation_signer().verifier)

    threads = [Thread(target=begin) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=10)
    assert len(found) == 8
    assert len(set(found)) == 1


@pytest.mark.parametrize("change", ["", "x", "PRIVATE+KEY+a+00000000+AQ==", "renamed"])
def test_a_damaged_key_file_is_named_but_not_shown(key_file: Path, change: str) -> None:
    installation_signer()
    whole = key_file.read_text()
    key_file.write_text(whole.replace("gw.corp", "gw.crop") if change == "renamed" else change)
    with pytest.raises(BadKey, match=str(key_file)) as caught:
        load_signer(key_file)
    assert whole.split("+", 4)[4].strip() not in str(caught.value)


def test_bytes_that_are_no_text_are_a_bad_key(key_file: Path) -> None:
    key_file.write_bytes(b"\xff\x00")
    with pytest.raises(BadKey):
        load_signer(key_file)
