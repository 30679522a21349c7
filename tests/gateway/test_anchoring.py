"""Checkpoints kept where an adversary with everything of ours cannot reach: a real bucket, a real authority."""

import subprocess
from collections.abc import Iterator
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from io import StringIO
from ipaddress import ip_network
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError
from django.core.management import CommandError, call_command
from django.urls import reverse
from pytest_django import Settings

from audit.checkpoint import Signer, installation_signer
from audit.models import AnchorReceipt, Checkpoint, EventRow, Leaf
from gateway.anchoring.keeping import is_due, keep_due
from gateway.anchoring.reading import look_for_newer, read_back
from gateway.management.commands.verify_audit import Command
from governance.models import Anchor, Secret
from governance.vault import put_secret_value
from tests.audit.writing import execute, lower_guards, record_call, seal
from tests.gateway.signing_in import sign_in
from tests.object_store import ACCESS_KEY, SECRET_KEY, ObjectStore, object_store
from tests.offering import offered
from tests.timestamp_authority import TimestampAuthority, timestamp_authority

pytestmark = pytest.mark.django_db
LOG = "gw.corp.example/audit"
NOW = datetime.now(UTC).replace(microsecond=0)


@pytest.fixture(scope="module")
def store() -> Iterator[ObjectStore]:
    yield from offered(object_store())


@pytest.fixture(scope="module")
def authority() -> Iterator[TimestampAuthority]:
    with timestamp_authority() as found:
        yield found


@pytest.fixture(autouse=True)
def _allowed(settings: Settings, tmp_path: Path) -> None:
    settings.AUDIT_SIGNING_KEY_FILE = tmp_path / "key"
    settings.PUBLIC_URL = "https://gw.corp.example"
    settings.UPSTREAM_ALLOWED_NETWORKS = [ip_network("127.0.0.0/8")]


@pytest.fixture
def signer(_allowed: None) -> Signer:
    record_call()
    made = installation_signer()
    seal(made)
    return made


@pytest.fixture(scope="module")
def locked(store: ObjectStore) -> str:
    return store.locked_bucket("anchors")


@pytest.fixture
def bucket(store: ObjectStore, locked: str, request: pytest.FixtureRequest) -> Anchor:
    """A folder of the test's own: what is locked stays for its retention."""
    secret = Secret.objects.create(name="archive", kind="basic")
    put_secret_value(secret, value=f"{ACCESS_KEY}:{SECRET_KEY}", by="test", record=[].append, now=NOW)
    where = {"url": store.url, "bucket": locked, "prefix": request.node.name}
    return Anchor.objects.create(name="archive", kind="s3", secret=secret, retention_days=1, **where)


@pytest.fixture
def stamps(authority: TimestampAuthority) -> Anchor:
    authority.broken = False
    return Anchor.objects.create(name="tsa", kind="rfc3161", url=authority.url, trust=authority.root)


def verified(*words: str) -> tuple[bool, str]:
    output = StringIO()
    try:
        call_command(Command(stdout=output), *words)
    except SystemExit:
        return False, output.getvalue()
    return True, output.getvalue()


def test_the_newest_checkpoint_is_kept_under_lock_and_read_back(
    signer: Signer, bucket: Anchor, store: ObjectStore
) -> None:
    assert keep_due(NOW) == 1
    newest = Checkpoint.objects.get()
    kept = read_back(LOG)
    assert ([each.note for each in kept.kept], kept.unread) == ([newest.note], ())
    [version] = store.client.list_object_versions(Bucket=bucket.bucket, Prefix=bucket.prefix)["Versions"]
    with pytest.raises(ClientError, match="AccessDenied"):
        store.client.delete_object(Bucket=bucket.bucket, Key=version["Key"], VersionId=version["VersionId"])
    bucket.refresh_from_db()
    assert (bucket.kept_size, bucket.failures, bucket.error) == (newest.size, 0, "")
    assert AnchorReceipt.objects.get().reference.endswith("/gw.corp.example/audit/00000000000000000003.txt")
    assert EventRow.objects.filter(kind="checkpoint.anchored").count() == 1
    is_sound, told = verified("--anchors")
    assert is_sound
    assert "1 anchors met" in told


def test_a_second_worker_and_a_repetition_keep_the_same(signer: Signer, bucket: Anchor, store: ObjectStore) -> None:
    keep_due(NOW)
    Anchor.objects.update(kept_at=None, kept_size=0, tried_at=None)
    assert keep_due(NOW) == 1
    assert len(read_back(LOG).kept) == 1
    assert Anchor.objects.get().error == ""


def test_neither_a_delete_marker_nor_a_newer_object_hides_what_was_kept(
    signer: Signer, bucket: Anchor, store: ObjectStore
) -> None:
    keep_due(NOW)
    [version] = store.client.list_object_versions(Bucket=bucket.bucket, Prefix=bucket.prefix)["Versions"]
    store.client.put_object(Bucket=bucket.bucket, Key=version["Key"], Body=b"another")
    store.client.delete_object(Bucket=bucket.bucket, Key=version["Key"])
    assert Checkpoint.objects.get().note in [each.note for each in read_back(LOG).kept]
    is_sound, told = verified("--anchors")
    assert not is_sound
    assert "Problem: anchor s3://anchors/" in told


def rewrite(signer: Signer) -> None:
    """Who holds database and key: all of it anew, and sound by itself."""
    for table in ("audit_event", "audit_payload", "audit_pending", "audit_leaf", "audit_checkpoint"):
        lower_guards(table)
        execute(f"DELETE FROM {table}")
    record_call()
    seal(signer)


def test_a_log_written_anew_with_its_key_is_found_by_the_bucket_and_cannot_be_kept_there(
    signer: Signer, bucket: Anchor
) -> None:
    keep_due(NOW)
    rewrite(signer)
    is_sound, told = verified()
    assert is_sound
    assert "No anchor outside" in told
    is_sound, told = verified("--anchors")
    assert not is_sound
    assert "first bad leaf 0" in told
    Anchor.objects.update(kept_at=None, kept_size=0, tried_at=None)
    keep_due(NOW)
    assert "another checkpoint of the same size" in Anchor.objects.get().error


def test_an_older_backup_is_found_and_said_on_the_row_and_at_home(signer: Signer, bucket: Anchor) -> None:
    record_call()
    seal(signer, now=NOW)
    keep_due(NOW)
    cut = Checkpoint.objects.order_by("size").first()
    assert cut is not None
    for table in ("audit_leaf", "audit_checkpoint"):
        lower_guards(table)
    Leaf.objects.filter(index__gte=cut.size).delete()
    Checkpoint.objects.filter(size__gt=cut.size).delete()
    assert look_for_newer(LOG) == {"archive": AnchorReceipt.objects.get().size}
    is_sound, told = verified("--anchors")
    assert not is_sound
    assert f"first bad leaf {cut.size}" in told
    assert "older backup" in told


def test_what_cannot_be_reached_is_told_tried_again_and_never_taken_for_sound(signer: Signer, bucket: Anchor) -> None:
    Anchor.objects.update(url="http://127.0.0.1:9")
    assert keep_due(NOW) == 1
    failing = Anchor.objects.get()
    assert (failing.failures, failing.kept_at) == (1, None)
    assert "connect_failed" in failing.error
    assert keep_due(NOW + timedelta(seconds=5)) == 0
    assert keep_due(NOW + timedelta(seconds=20)) == 1
    assert EventRow.objects.filter(kind="anchor.failed").count() == 1
    with pytest.raises(CommandError, match="nothing was read back from anchor archive"):
        verified("--anchors")
    assert SECRET_KEY not in repr(failing.__dict__) + str(list(EventRow.objects.values_list("header", flat=True)))


def test_addresses_of_our_own_network_are_refused(signer: Signer, bucket: Anchor, settings: Settings) -> None:
    settings.UPSTREAM_ALLOWED_NETWORKS = []
    keep_due(NOW)
    assert "UPSTREAM_ALLOWED_NETWORKS" in Anchor.objects.get().error


def test_a_bucket_without_lock_is_no_anchor(signer: Signer, bucket: Anchor, store: ObjectStore) -> None:
    with suppress(ClientError):
        store.client.create_bucket(Bucket="unlocked")
    Anchor.objects.update(bucket="unlocked")
    keep_due(NOW)
    assert Anchor.objects.get().failures == 1


def test_an_authority_stamps_and_its_answer_is_believed_under_the_pinned_root_only(
    signer: Signer, stamps: Anchor, authority: TimestampAuthority, tmp_path: Path
) -> None:
    assert keep_due(NOW) == 1
    receipt = AnchorReceipt.objects.get()
    assert len(read_back(LOG).kept) == 1
    assert "1 anchors met" in verified("--anchors")[1]
    (tmp_path / "note").write_text(receipt.note)
    (tmp_path / "tsr").write_bytes(receipt.proof)
    (tmp_path / "root").write_text(authority.root)
    words = ["openssl", "ts", "-verify", "-data", "note", "-in", "tsr", "-CAfile", "root"]
    assert subprocess.run(words, cwd=tmp_path, capture_output=True, check=False).returncode == 0
    with timestamp_authority() as stranger:
        Anchor.objects.update(trust=stranger.root)
    assert "does not hold" in read_back(LOG).unread[0]
    AnchorReceipt.objects.update(note=receipt.note.replace("\n3\n", "\n4\n"))
    Anchor.objects.update(trust=authority.root)
    assert "does not hold" in read_back(LOG).unread[0]


def test_an_authority_that_is_down_is_tried_again(
    signer: Signer, stamps: Anchor, authority: TimestampAuthority
) -> None:
    authority.broken = True
    keep_due(NOW)
    assert "answered 503" in Anchor.objects.get().error
    authority.broken = False
    keep_due(NOW + timedelta(minutes=1))
    found = Anchor.objects.get()
    assert (found.error, found.failures, found.kept_size) == ("", 0, 3)


@pytest.mark.parametrize(
    ("fields", "size", "due"),
    [
        ({}, 5, True),
        ({"kept_at": NOW, "kept_size": 3}, 5, False),
        ({"kept_at": NOW, "kept_size": 3}, 2_000, True),
        ({"kept_at": NOW - timedelta(hours=1), "kept_size": 3}, 5, True),
        ({"kept_at": NOW - timedelta(hours=1), "kept_size": 5}, 5, False),
        ({"kept_at": NOW + timedelta(hours=2), "kept_size": 3}, 5, True),
        ({"is_enabled": False}, 5, False),
        ({"is_enabled": False, "wanted_at": NOW}, 5, True),
        ({"failures": 3, "tried_at": NOW - timedelta(seconds=50)}, 5, False),
        ({"failures": 30, "tried_at": NOW - timedelta(minutes=16)}, 5, True),
    ],
    ids=["new", "fresh", "many events", "an hour", "nothing new", "clock set back", "off", "wanted", "pause", "again"],
)
def test_when_it_is_due(fields: dict[str, Any], size: int, due: bool) -> None:
    assert is_due(Anchor(every_leaves=1000, **fields), size, NOW) is due


def test_security_sets_one_up_and_asks_for_it_now() -> None:
    client = sign_in("security")
    add = reverse("admin:governance_anchor_add")
    fields = {"name": "tsa", "kind": "rfc3161", "url": "https://tsa.example", "is_enabled": "on", "region": "us-east-1"}
    fields |= {"retention_days": "400", "every_minutes": "60", "every_leaves": "1000"}
    assert "only these are believed" in client.post(add, fields).content.decode()
    client.post(add, fields | {"trust": "-----BEGIN CERTIFICATE-----\n"})
    anchor = Anchor.objects.get()
    chosen = {"action": "keep", "_selected_action": str(anchor.pk), "confirmed": "yes"}
    client.post(reverse("admin:governance_anchor_changelist"), chosen)
    anchor.refresh_from_db()
    assert anchor.wanted_at is not None


def test_a_checkpoint_is_a_file_to_keep_elsewhere(signer: Signer) -> None:
    checkpoint = Checkpoint.objects.get()
    answer = sign_in("auditor").get(reverse("checkpoint_note", args=[checkpoint.size]))
    assert answer.content.decode() == checkpoint.note
    assert "attachment" in answer["Content-Disposition"]
