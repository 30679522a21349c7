"""Who looks after the evidence is told when something is wrong with it, once, and sees it wherever she looks."""

import shutil
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace

import pytest
from django.urls import reverse

from audit.anchors.base import AnchorFailed
from audit.models import Checkpoint, Leaf, Pending
from audit.record import record
from gateway.anchoring import reading
from gateway.evidence_alarms import look
from gateway.evidence_gauges import families
from gateway.evidence_health import EvidenceHealth, read_health
from gateway.exposition import text
from gateway.models import EvidenceIncident, Notice
from governance.models import Anchor, NotificationChannel
from tests.audit.writing import event
from tests.gateway.signing_in import sign_in

pytestmark = pytest.mark.django_db
NOW = datetime.now(UTC)
MINUTE, HOUR = timedelta(minutes=1), timedelta(hours=1)


def place_all() -> None:
    """Nothing waits for its place in the log: that would be another trouble."""
    for index, event_id in enumerate(Pending.objects.values_list("event_id", flat=True), start=Leaf.objects.count()):
        Leaf.objects.create(index=index, event_id=event_id, hash=bytes(32))
    Pending.objects.all().delete()


@pytest.fixture(autouse=True)
def _channel() -> None:
    NotificationChannel.objects.create(name="ops", kind="webhook", url="https://ops.example/hook")
    place_all()


def an_anchor(**fields: object) -> Anchor:
    anchor = Anchor.objects.create(name="tsa", kind="rfc3161", url="https://tsa.example", trust="PEM", **fields)
    place_all()
    return anchor


def troubles(now: datetime = NOW) -> list[str]:
    return [name for name, _ in read_health(now).troubles()]


def test_a_new_installation_is_well() -> None:
    assert troubles() == []
    assert look(NOW) == 0


def test_events_that_get_no_place_in_the_log() -> None:
    told = event()
    record(told)
    recorded = datetime.fromtimestamp((told.id.int >> 80) / 1000, UTC)
    assert troubles(recorded + MINUTE / 2) == []
    assert troubles(recorded + 2 * MINUTE) == ["sealing"]


def test_no_checkpoint_for_more_than_an_hour() -> None:
    Checkpoint.objects.create(size=1, root=bytes(32), frontier=bytes(32), at=NOW, note="")
    assert troubles(NOW + HOUR) == []
    assert troubles(NOW + 2 * HOUR) == ["signing"]


@pytest.mark.parametrize(
    ("fields", "found"),
    [
        ({"failures": 2}, []),
        ({"failures": 3}, ["anchor:tsa"]),
        ({"kept_at": NOW - 3 * HOUR}, []),
        ({"kept_at": NOW - 4 * HOUR}, ["anchor:tsa"]),
        ({"ahead_size": 9, "kept_at": NOW}, ["older:tsa"]),
        ({"failures": 3, "is_enabled": False}, []),
    ],
    ids=["two failures", "three failures", "in time", "late", "database is older", "off"],
)
def test_an_anchor_that_fails_is_late_or_knows_more(fields: dict[str, object], found: list[str]) -> None:
    an_anchor(**fields)
    assert troubles() == found


def test_a_disk_that_is_nearly_full(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(total=2**40, free=2**34))
    assert troubles() == ["disk"]


def test_it_is_told_once_while_it_lasts_and_again_when_it_comes_back_later() -> None:
    anchor = an_anchor(failures=3)
    assert [look(NOW), look(NOW + MINUTE), look(NOW + 2 * MINUTE)] == [1, 0, 0]
    [notice] = Notice.objects.all()
    assert (notice.kind, notice.body["lines"]) == ("evidence", ["The anchor tsa keeps no new checkpoint."])
    Anchor.objects.filter(pk=anchor.pk).update(failures=0)
    look(NOW + 3 * MINUTE)
    assert EvidenceIncident.objects.get().ended_at == NOW + 3 * MINUTE
    Anchor.objects.filter(pk=anchor.pk).update(failures=3)
    assert look(NOW + 4 * MINUTE) == 0
    Anchor.objects.filter(pk=anchor.pk).update(failures=0)
    look(NOW + 5 * MINUTE)
    Anchor.objects.filter(pk=anchor.pk).update(failures=3)
    assert look(NOW + 2 * HOUR) == 1
    assert Notice.objects.count() == 2


def test_home_says_it_and_where_checkpoints_are_kept() -> None:
    Checkpoint.objects.create(size=1, root=bytes(32), frontier=bytes(32), at=NOW, note="")
    home = sign_in("auditor").get(reverse("admin:index")).content.decode()
    assert "Kept nowhere else" in home
    an_anchor(ahead_size=9)
    home = sign_in("security", email="sec@example.com").get(reverse("admin:index")).content.decode()
    assert "this database is older" in home


def test_the_numbers_are_those_of_the_health() -> None:
    an_anchor(failures=2, kept_at=NOW - HOUR, ahead_size=9)
    told = text(list(families(read_health(NOW)))).decode()
    assert 'gatehouse_anchor_failures{anchor="tsa"} 2' in told
    assert 'gatehouse_anchor_ahead{anchor="tsa"} 1' in told
    assert "gatehouse_evidence_lag_seconds{} 0" in told
    assert "gatehouse_disk_free_bytes" in told


def test_an_anchor_out_of_reach_says_nothing_about_the_database(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its row keeps what was known."""

    def away(*_: object) -> int:
        raise AnchorFailed("away")

    monkeypatch.setattr(reading, "look_ahead", away)
    assert reading.look_for_newer("log") == {}
    assert isinstance(read_health(NOW), EvidenceHealth)
