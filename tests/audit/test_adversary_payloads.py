"""Somebody with every right on the database, some with the vault's key as well, and the bodies beside the log: what
`verify_audit --payloads` says of each of her acts, and `auditverify` of a session's bundle.
"""

import subprocess
import sys
import zipfile
from collections.abc import Callable
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import NamedTuple
from uuid import UUID

import orjson
import pytest
from django.utils import timezone

from audit import auditverify
from audit.checkpoint import Signer
from audit.event import AuditEvent, uuid7
from audit.models import EventRow, Leaf, Payload
from audit.record import SealedPayload, commit_to, record
from audit.session_bundle import write_session
from audit.verify import Report, verify
from gateway.erasing import erase_person
from gateway.keeping import empty_destroyed_keys, expire_keys
from gateway.payload_check import check_payloads
from gateway.session_bundles import _bodies
from governance.models import RetentionClass, SubjectKey, User
from governance.payload_keys import Place, sealer_at, subject_of
from governance.retention import period_of
from governance.vault import keyring
from tests.audit.writing import lower_guards, seal

pytestmark = pytest.mark.django_db
SESSION = UUID(int=11)
LONG_AGO = datetime(2025, 6, 15, tzinfo=UTC)


class Bodies(NamedTuple):
    """Sealed records: 0 to 5 of Ana, 6 and 7 of Ben. Other leaves stand before them."""

    signer: Signer
    ana: User
    ben: User


@pytest.fixture
def log(signer: Signer) -> Bodies:
    ana, ben = (User.objects.create_user(f"{name}@example.com") for name in ("ana", "ben"))
    for person, many in ((ana, 6), (ben, 2)):
        for number in range(many):
            record_with_body(person, b'{"number":%d}' % number)
    seal(signer)
    for table in ("audit_event", "audit_payload"):
        lower_guards(table)
    return Bodies(signer, ana, ben)


def record_with_body(person: User, body: bytes, *, at: datetime | None = None) -> None:
    now = at or timezone.now()
    event_id = uuid7(int(now.timestamp() * 1000))
    sealed, commitment = sealed_for(person, event_id, body, now)
    told = AuditEvent(
        kind="call.told",
        id=event_id,
        at=now,
        actor="agent:triage-bot",
        agent="triage-bot",
        person=person.email,
        session=SESSION,
        payload_commitment=commitment,
        details={"retention": "standard"},
    )
    record(told, payload=sealed)


def sealed_for(person: User, event_id: UUID, body: bytes, at: datetime) -> tuple[SealedPayload, bytes]:
    sealer = sealer_at(Place(subject_of(person.pk), "standard", period_of(at)), keyring())
    commitment, blinding = commit_to(body)
    return SealedPayload(sealer.key_id, sealer.seal(blinding + body, event_id=event_id)), commitment


def record_number(number: int) -> EventRow:
    return EventRow.objects.filter(kind="call.told").order_by("id")[number]


def leaf_of(number: int) -> int:
    return Leaf.objects.get(event_id=record_number(number).pk).index


def body_of(number: int) -> Payload:
    return Payload.objects.get(pk=record_number(number).pk)


def write(number: int, **values: object) -> None:
    Payload.objects.filter(pk=record_number(number).pk).update(**values)


def swap(log: Bodies) -> None:
    one, other = body_of(2), body_of(4)
    write(2, sealed=other.sealed, key_id=other.key_id)
    write(4, sealed=one.sealed, key_id=one.key_id)


def move(log: Bodies) -> None:
    """To the place of another, which is gone."""
    sealed = body_of(5).sealed
    Payload.objects.filter(pk=record_number(5).pk).delete()
    write(3, sealed=sealed)


def move_to_nowhere(log: Bodies) -> None:
    """No row is deleted, and none is under a wrong event: one record misses its body."""
    Payload.objects.filter(pk=body_of(3).pk).update(event_id=uuid7())


def edit(log: Bodies) -> None:
    sealed = bytes(body_of(3).sealed)
    write(3, sealed=sealed[:-1] + bytes([sealed[-1] ^ 1]))


def seal_anew(log: Bodies) -> None:
    """With the stolen vault's key: all is well but what the record commits to."""
    event_id = body_of(3).pk
    write(3, sealed=sealed_for(log.ana, event_id, b"never asked", timezone.now())[0].sealed)


def put_under_a_destroyed_key(log: Bodies) -> None:
    """Her own key is destroyed as if by retention, and no record says so."""
    SubjectKey.objects.filter(subject=subject_of(log.ben.pk)).update(
        destroyed_at=timezone.now(), cause="expired", key_id="", wrapped_key=b"", ciphertext=b""
    )


def move_under_an_expired_key(log: Bodies) -> None:
    """Of another month: that one went on record, but not with this in it."""
    key = SubjectKey.objects.create(subject=subject_of(log.ana.pk), retention="standard", period="2025-06")
    RetentionClass.objects.create(name="standard", payload_days=30, is_default=True)
    expire_keys(timezone.now())
    write(1, key_id=str(key.pk))


Act = Callable[[Bodies], None]

ACTS: dict[str, tuple[Act, int]] = {
    "two bodies swapped": (swap, 2),
    "a body moved to another record": (move, 3),
    "a body moved to no record": (move_to_nowhere, 3),
    "a body edited": (edit, 3),
    "a body cut off": (lambda _: write(3, sealed=b"short"), 3),
    "a body emptied": (lambda _: write(3, sealed=b""), 3),
    "a body put under another's key": (lambda _: write(3, key_id=body_of(6).key_id), 3),
    "a body put under no key": (lambda _: write(3, key_id="nobody's"), 3),
    "a body sealed anew, with the vault's key": (seal_anew, 3),
    "a body deleted": (lambda _: Payload.objects.filter(pk=body_of(5).pk).delete(), 5),
    "all bodies deleted": (lambda _: Payload.objects.all().delete(), 0),
    "a key deleted": (lambda log: SubjectKey.objects.filter(subject=subject_of(log.ben.pk)).delete(), 6),
    "a key destroyed": (put_under_a_destroyed_key, 6),
    "a body put under a key that expired": (move_under_an_expired_key, 1),
}
"""Act -> the first record whose body is bad."""


def checked(log: Bodies) -> Report:
    seal(log.signer)
    return verify(log.signer.verifier, check_payloads=check_payloads)


@pytest.mark.parametrize("name", ACTS)
def test_it_is_found_and_the_first_bad_leaf_named(log: Bodies, name: str) -> None:
    do, first_bad = ACTS[name]
    do(log)
    report = checked(log)
    assert (report.is_sound, report.first_bad_leaf) == (False, leaf_of(first_bad)), report.problems


def test_untouched_bodies_are_all_compared(log: Bodies) -> None:
    report = checked(log)
    assert report.is_sound, report.problems
    assert "8 were opened and compared" in report.not_checked[-1]


@pytest.mark.parametrize("emptied", [False, True], ids=["keys", "keys and bodies"])
def test_what_went_on_record_is_not_missed(log: Bodies, *, emptied: bool) -> None:
    for number in range(2):
        record_with_body(log.ben, b"%d" % number, at=LONG_AGO)
    RetentionClass.objects.create(name="standard", payload_days=30, is_default=True)
    assert expire_keys(timezone.now()) == 1
    erase_person(log.ana, reason="Request 7", by="test")
    if emptied:
        assert empty_destroyed_keys() == 8
    report = checked(log)
    assert report.is_sound, report.problems
    assert "8 are gone or have lost their key as records of this log say; 0 may" in report.not_checked[-1]
    assert "2 were opened and compared" in report.not_checked[-1]


def test_an_erasure_covers_nobody_else(log: Bodies) -> None:
    erase_person(log.ana, reason="Request 7", by="test")
    Payload.objects.filter(pk=body_of(6).pk).delete()
    report = checked(log)
    assert "1 may have gone" in report.not_checked[-1], "she may have had another address"
    SubjectKey.objects.filter(subject=subject_of(log.ana.pk)).update(retention="other")
    assert checked(log).first_bad_leaf == leaf_of(0), "her key is not where the records of her say"


def test_who_erased_her_and_changed_her_address_is_not_called_a_liar(log: Bodies) -> None:
    User.objects.filter(pk=log.ana.pk).update(email="ana.lima@example.com")
    erase_person(User.objects.get(pk=log.ana.pk), reason="Request 7", by="test")
    empty_destroyed_keys()
    report = checked(log)
    assert report.is_sound, report.problems
    assert "6 may have gone" in report.not_checked[-1]


def bundled(log: Bodies, into: Path) -> Path:
    events = list(EventRow.objects.filter(session=SESSION).order_by("id"))
    opens = partial(_bodies, {event.pk: bytes(event.header) for event in events})
    with into.open("wb") as file:
        write_session(file, SESSION, events, opens, verifier=log.signer.verifier, at=timezone.now())
    return into


def audited(log: Bodies, bundle: Path) -> tuple[int, str]:
    words = (sys.executable, "-I", "-S", auditverify.__file__, "bundle", str(bundle), "--key", str(log.signer.verifier))
    done = subprocess.run(words, capture_output=True, text=True, timeout=120, check=False)
    return done.returncode, done.stdout + done.stderr


def test_an_outsider_gets_no_swapped_body_and_is_told_that_some_are_missing(log: Bodies, tmp_path: Path) -> None:
    swap(log)
    code, told = audited(log, bundled(log, tmp_path / "session.zip"))
    assert code == 0
    assert "Not checked: 2 payloads that are not in the bundle." in told


def test_bodies_swapped_in_a_bundle_are_found_by_the_outsider(log: Bodies, tmp_path: Path) -> None:
    with zipfile.ZipFile(bundled(log, tmp_path / "session.zip")) as bundle:
        members = {name: bundle.read(name) for name in bundle.namelist()}
    lines = [orjson.loads(line) for line in members["payloads.log"].splitlines()]
    places = {line["index"]: line for line in lines}
    places[leaf_of(2)]["index"], places[leaf_of(4)]["index"] = leaf_of(4), leaf_of(2)
    members["payloads.log"] = b"".join(orjson.dumps(line) + b"\n" for line in lines)
    with zipfile.ZipFile(tmp_path / "forged.zip", "w") as forged:
        for name, content in members.items():
            forged.writestr(name, content)
    code, told = audited(log, tmp_path / "forged.zip")
    assert code == 1
    assert f"first bad leaf {leaf_of(2)};" in told
