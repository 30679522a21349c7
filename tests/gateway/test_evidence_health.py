"""Who looks after the evidence is told when something is wrong with it, once, and sees it wherever she looks."""

import secrets
import shutil
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any
from uuid import UUID, uuid4

import pytest
from django.urls import reverse

from audit import cursors
from audit.anchors.base import AnchorFailed
from audit.event import first_id_at
from audit.leaves import log_size
from audit.models import Checkpoint, EventRow, Leaf, Pending, SinkCursor
from audit.record import record
from gateway.anchoring import reading
from gateway.database_size import DatabaseSize, database_size
from gateway.evidence_alarms import look
from gateway.evidence_gauges import families
from gateway.evidence_health import EvidenceHealth, read_health, sentence_of_end
from gateway.exposition import text
from gateway.models import EvidenceIncident, Notice
from governance.models import Anchor, NotificationChannel, Sink
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


def test_that_it_is_over_is_told_once_when_it_stays_away() -> None:
    anchor = an_anchor(failures=3)
    look(NOW)
    Anchor.objects.filter(pk=anchor.pk).update(failures=0)
    for minutes in (1, 15, 17, 18):
        look(NOW + minutes * MINUTE)
    told = [notice.body["lines"] for notice in Notice.objects.order_by("id")]
    assert told[1:] == [["The anchor tsa keeps checkpoints again, or is not used any more."]]
    assert not EvidenceIncident.objects.exists()


def a_sink(**place: object) -> Sink:
    sink = Sink.objects.create(name="soc", kind="webhook", settings={"url": "https://soc.example.com"})
    place_all()
    cursors.begin(sink.pk, at=0)
    SinkCursor.objects.update(acked_index=log_size(), next_index=log_size(), **place)
    return sink


def test_a_sink_that_is_refused_is_told_and_that_it_is_over() -> None:
    a_sink(refused_version="v", last_error="Wrong token.")
    look(NOW)
    SinkCursor.objects.update(refused_version="", last_error="")
    look(NOW + MINUTE)
    look(NOW + 20 * MINUTE)
    [(begun,), (over,)] = [notice.body["lines"] for notice in Notice.objects.order_by("id")]
    assert "The sink soc was refused" in begun
    assert "Wrong token." in begun
    assert over == "The sink soc is not refused any more."


@pytest.mark.parametrize(("after", "found"), [(14 * MINUTE, []), (16 * MINUTE, ["sink-behind:soc"])])
def test_a_sink_that_stays_behind(after: timedelta, found: list[str]) -> None:
    a_sink()
    told = event()
    record(told)
    place_all()
    recorded = EventRow.objects.get(pk=told.id).at
    assert troubles(recorded + after) == found


def test_a_sink_with_dead_letters_and_one_that_is_off() -> None:
    sink = a_sink(refused_version="v")
    Sink.objects.update(is_enabled=False)
    place_all()
    assert troubles() == []
    cursors.bury(sink.pk, 3, uuid4(), "too large")
    assert troubles() == ["sink-letters:soc"]


def unknown_outcomes(count: int, *, at: datetime) -> None:
    for _ in range(count):
        id_ = UUID(int=first_id_at(at).int + secrets.randbits(64))
        EventRow.objects.create(id=id_, kind="call.outcome", at=at, actor="x", outcome="unknown", header=b"{}", epoch=0)


@pytest.mark.parametrize(("before", "lately", "found"), [(0, 9, []), (0, 10, ["unknown"]), (92, 11, [])])
def test_more_unknown_outcomes_than_usual(before: int, lately: int, found: list[str]) -> None:
    unknown_outcomes(before, at=NOW - 5 * HOUR)
    unknown_outcomes(lately, at=NOW - 5 * MINUTE)
    assert troubles() == found


@pytest.mark.database
def test_a_database_near_its_bound(settings: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    assert 0 < database_size().bytes < 2**30
    settings.DATABASE_LIMIT_GIB = 1
    assert troubles() == []
    monkeypatch.setattr("gateway.evidence_health.database_size", lambda: DatabaseSize(95, 100))
    assert troubles() == ["database"]


def test_each_trouble_has_words_for_its_end() -> None:
    an_anchor(ahead_size=9, kept_at=NOW)
    sink = a_sink(refused_version="v")
    cursors.bury(sink.pk, 3, uuid4(), "too large")
    names = (*troubles(), "unknown", "database", "disk", "sink-behind:soc", "older:signed")
    assert not [name for name in names if "is over" in sentence_of_end(name)]
    assert "anchor" not in sentence_of_end("older:signed")


def test_numbers_of_sinks() -> None:
    sink = a_sink()
    cursors.bury(sink.pk, 3, uuid4(), "too large")
    told = text(list(families(read_health(NOW)))).decode()
    assert 'gatehouse_sink_state{sink="soc",state="sends"} 1' in told
    assert 'gatehouse_sink_dead_letters{sink="soc"} 1' in told
    assert 'gatehouse_sink_behind_events{sink="soc"} 0' in told
    assert 'gatehouse_sink_lag_seconds{sink="soc"} 0' in told
    assert f'gatehouse_sink_delivered_events{{sink="soc"}} {log_size()}' in told


def test_home_tells_of_a_sink_that_is_refused() -> None:
    a_sink(refused_version="v", last_error="Wrong token.")
    Checkpoint.objects.create(size=1, root=bytes(32), frontier=bytes(32), at=NOW, note="")
    home = sign_in("auditor").get(reverse("admin:index")).content.decode()
    assert "Evidence does not arrive" in home
    assert "(refused)" in home


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
    assert f"gatehouse_search_behind_events{{}} {log_size()}" in told
    assert "gatehouse_disk_free_bytes" in told


def test_an_anchor_out_of_reach_says_nothing_about_the_database(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its row keeps what was known."""

    def away(*_: object) -> int:
        raise AnchorFailed("away")

    monkeypatch.setattr(reading, "look_ahead", away)
    assert reading.look_for_newer("log") == {}
    assert isinstance(read_health(NOW), EvidenceHealth)
