"""Sinks as people configure them: from the row and its secret to the destination."""

from collections.abc import Callable
from concurrent.futures import Future
from datetime import UTC, datetime
from typing import Any
from unittest.mock import Mock

import pytest
from django.urls import reverse

from audit import cursors
from audit.checkpoint import installation_signer
from audit.formats import FORMATS
from audit.models import DeadLetter, EventRow, SinkCursor
from audit.redaction import PROFILES
from audit.sequencer import Sequencer
from audit.sinks import SINK_KINDS, SinkKind
from audit.sinks.base import Refused
from audit.sinks.fields import SETTINGS
from audit.wishes import ARRIVED
from gateway import sink_acts
from gateway.exporting import Exporting, Outlet, Turn
from gateway.recorder import recorder
from gateway.sinks import check_sink, configured
from governance.fence.actor import governed_change
from governance.models import Directory, Secret, Sink
from governance.vault import put_secret_value
from tests.audit.exporting import FakeSink
from tests.gateway.signing_in import sign_in

pytestmark = pytest.mark.django_db
NOW = datetime(2026, 11, 21, 12, tzinfo=UTC)
KEY = "whsec_c2VjcmV0LW9mLXRlc3Rz"


@pytest.fixture
def fake(monkeypatch: pytest.MonkeyPatch) -> FakeSink:
    """Takes the place of every webhook, and keeps the secret that it was built with."""
    sink = FakeSink(max_records=100)

    def build(settings: object, secret: str | None, way: object) -> FakeSink:
        sink.secret = secret  # type: ignore[attr-defined]
        return sink

    monkeypatch.setattr(SinkKind, "build", lambda self, settings, secret, way: build(settings, secret, way))
    return sink


@pytest.fixture
def soc() -> Sink:
    with governed_change(by="test"):
        secret = Secret.objects.create(name="hook-key")
        put_secret_value(secret, value=KEY, by="test", record=[].append, now=NOW)
        return Sink.objects.create(
            name="soc", kind="webhook", settings={"url": "https://soc.example.com/in"}, secret=secret
        )


def seal() -> int:
    return Sequencer(installation_signer()).advance(datetime.now(UTC))


def turn(outlet: Outlet | None = None) -> None:
    (sink,) = configured(only_enabled=False)
    cursors.begin(sink.destination.id, at=0)
    (outlet or Outlet()).take_turn(sink, Turn(sink.destination.version))


def record(name: str) -> list[EventRow]:
    return list(EventRow.objects.filter(kind=name))


def test_evidence_of_the_sink_itself_reaches_it_with_the_secret_of_the_vault(fake: FakeSink, soc: Sink) -> None:
    size = seal()
    turn()
    assert fake.taken == list(range(size))
    assert fake.secret == KEY  # type: ignore[attr-defined]
    assert any(header["kind"] == "governance.changed" for header in fake.headers)
    assert KEY.encode() not in b"".join(each.body for each in fake.records)


def test_a_sink_that_is_off_gets_its_sample_and_nothing_else(fake: FakeSink, soc: Sink) -> None:
    seal()
    Sink.objects.update(is_enabled=False)
    with governed_change(by="test"):
        sink_acts.test(soc, record=recorder(by="test", now=NOW))
    turn()
    assert (fake.taken, len(fake.checkpoints)) == ([], 1)
    assert SinkCursor.objects.get().sample_said == ARRIVED
    assert record("sink.tested")


def test_dead_letters_are_tried_again_as_the_sink_is_now(fake: FakeSink, soc: Sink) -> None:
    seal()
    fake._poison = b'"leaf_index":0,'
    outlet = Outlet()
    turn(outlet)
    assert list(DeadLetter.objects.values_list("index", flat=True)) == [0]
    listed = sign_in("security").get(reverse("admin:audit_deadletter_changelist")).content.decode()
    assert f'/{soc.pk}/change/">{soc.name}</a>' in listed
    with governed_change(by="test"):
        sink_acts.retry(soc, record=recorder(by="test", now=NOW))
    turn(outlet)
    assert DeadLetter.objects.get().attempts == 2
    fake._poison = b"\0"
    with governed_change(by="test"):
        sink_acts.retry(soc, record=recorder(by="test", now=NOW))
    turn(outlet)
    assert not DeadLetter.objects.exists()
    assert fake.taken[-1] == 0


def test_a_new_value_of_its_secret_is_a_new_try(fake: FakeSink, soc: Sink) -> None:
    seal()
    fake._failures = iter([Refused("wrong token")])
    turn()
    turn()
    assert fake.taken == []
    assert soc.secret is not None
    with governed_change(by="test"):
        put_secret_value(soc.secret, value="another", by="test", record=[].append, now=NOW)
    turn()
    assert fake.taken
    assert fake.secret == "another"  # type: ignore[attr-defined]


def test_a_replay_is_evidence_and_happens(fake: FakeSink, soc: Sink) -> None:
    size = seal()
    turn()
    with governed_change(by="test"):
        sink_acts.replay(soc, leaf=sink_acts.leaf_of("1"), record=recorder(by="test", now=NOW))
    turn()
    assert fake.taken[size] == 1
    assert record("sink.replayed")


def test_whatever_goes_wrong_stands_in_the_row(fake: FakeSink, soc: Sink) -> None:
    seal()
    fake.send = lambda records: 1 / 0  # type: ignore[assignment]
    turn()
    assert SinkCursor.objects.get().last_error == "Unforeseen: ZeroDivisionError"


def test_retention_stops_before_the_slowest_that_is_on(fake: FakeSink, soc: Sink) -> None:
    seal()
    assert sink_acts.retention_may_not_pass() is None
    cursors.begin(soc.pk, at=0)
    assert sink_acts.retention_may_not_pass() == 0
    Sink.objects.update(is_enabled=False)
    assert sink_acts.retention_may_not_pass() is None


@pytest.mark.parametrize("wrong", ["", "-1", "soon", "99999999", "2026-13-01"], ids=str)
def test_a_place_to_begin_again_is_a_leaf_or_a_moment(wrong: str) -> None:
    with pytest.raises(ValueError):  # noqa: PT011
        sink_acts.leaf_of(wrong)


@pytest.mark.parametrize(
    ("kind", "format_name", "has_secret", "said"),
    [
        ("carrier-pigeon", "native", False, r"^kind: .*there are kafka, .*webhook"),
        ("webhook", "cef", True, "^format: "),
        ("webhook", "native", False, "^secret: "),
    ],
    ids=["kind", "format", "secret"],
)
def test_what_is_wrong_is_named(kind: str, format_name: str, has_secret: bool, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        check_sink(kind, format_name, {"url": "https://x.example"}, has_secret=has_secret)


def test_what_can_be_configured_is_what_there_is() -> None:
    assert set(Sink.KINDS) == set(SINK_KINDS)
    assert set(Sink.Format.values) == set(FORMATS)
    assert set(Sink.Redaction.values) == set(PROFILES)


def test_nobody_reads_a_secret_by_sending_evidence_to_a_listener_of_hers(soc: Sink) -> None:
    client = sign_in("security")
    page = reverse("admin:governance_sink_change", args=[soc.pk])
    entered = {"title": "", "format": "native", "redaction": "as_is", "secret": soc.secret_id, "is_enabled": "on"}
    answer = client.post(page, {**entered, "setting_url": "https://hers.example/in"})
    assert "Only an owner may send a stored secret to another address" in answer.content.decode()
    answer = client.post(page, {**entered, "title": "SOC", "setting_url": "https://soc.example.com/in"})
    assert answer.status_code == 302, "where nothing is sent anywhere else, it may be changed"
    new = {**entered, "name": "hers", "kind": "webhook", "setting_url": "https://hers.example/in"}
    answer = client.post(reverse("admin:governance_sink_add"), new)
    assert "Only an owner" in answer.content.decode()
    soc.refresh_from_db()
    assert (soc.title, soc.settings) == ("SOC", {"url": "https://soc.example.com/in"})
    assert Sink.objects.count() == 1


def test_a_form_with_a_wrong_setting_says_which(soc: Sink) -> None:
    client = sign_in(owner=True)
    entered = {"name": "other", "kind": "webhook", "format": "native", "redaction": "as_is", "secret": soc.secret_id}
    answer = client.post(reverse("admin:governance_sink_add"), {**entered, "setting_url": "ftp://x"})
    assert "Write a plain address" in answer.content.decode()
    client.post(reverse("admin:governance_sink_add"), {**entered, "setting_url": "https://x.example/in"})
    assert Sink.objects.get(name="other").settings == {"url": "https://x.example/in"}
    Directory.objects.create(name="okta", pull_secret=soc.secret)
    entered |= {"name": "third", "setting_url": "https://x.example/in"}
    answer = client.post(reverse("admin:governance_sink_add"), entered)
    assert "shown to another system" in answer.content.decode()
    assert not Sink.objects.filter(name="third").exists()
    listed = client.get(reverse("admin:governance_sink_changelist"))
    assert "not begun" in listed.content.decode()


@pytest.mark.parametrize("kind", sorted(SINK_KINDS))
def test_the_form_asks_for_what_the_kind_takes(kind: str) -> None:
    with pytest.raises(ValueError, match=r"^no-such-setting: ") as told:
        SINK_KINDS[kind].check({"no-such-setting": 1})
    known = str(told.value).partition("there are ")[2].split(", ")
    assert sorted(setting.name for setting in SETTINGS[kind]) == sorted(known)


@pytest.mark.parametrize("kind", sorted(SINK_KINDS))
def test_what_a_field_says_is_usual_is_so(kind: str) -> None:
    needed = {
        "brokers": "k1:9093",
        "topic": "audit",
        "bucket": "audit",
        "url": "https://x.example",
        "host": "x.example",
        "endpoint": "https://x.example",
        "dcr": f"dcr-{'0' * 32}",
        "stream": "Custom-Audit",
        "tenant": "x.example",
        "client_id": "00000000-0000-0000-0000-000000000000",
    }
    settings = {each.name: needed[each.name] if each.usual is None else each.usual for each in SETTINGS[kind]}
    SINK_KINDS[kind].check(settings)
    SINK_KINDS[kind].check({each.name: needed[each.name] for each in SETTINGS[kind] if each.usual is None})
    for each in SETTINGS[kind]:
        if each.shape == "whole":
            for value in (each.least, each.most):
                SINK_KINDS[kind].check({**settings, each.name: value})
            for value in (each.least - 1, each.most + 1):
                with pytest.raises(ValueError, match=f"^{each.name}: "):
                    SINK_KINDS[kind].check({**settings, each.name: value})
        if each.shape == "choice":
            for choice in each.choices:
                SINK_KINDS[kind].check({**settings, each.name: choice})


def test_the_form_of_a_kind_keeps_what_differs_from_the_usual(soc: Sink) -> None:
    client, add = sign_in(owner=True), reverse("admin:governance_sink_add")
    assert "?kind=splunk" in client.get(add).content.decode()
    page = client.get(f"{add}?kind=splunk").content.decode()
    assert "Seconds to wait" in page
    assert 'name="settings"' not in page
    assert "CEF" not in page
    entered = {"name": "hec", "kind": "splunk", "format": "ocsf", "redaction": "as_is", "secret": soc.secret_id}
    entered |= {"setting_url": "https://hec.example:8088", "setting_acknowledge": "on", "is_enabled": "on"}
    late = client.post(add, {**entered, "setting_acknowledge_seconds": "301"}).content.decode()
    assert "less than or equal to 300" in late
    client.post(add, {**entered, "setting_acknowledge_seconds": "60", "setting_index": "ai"})
    made = Sink.objects.get(name="hec").settings
    assert made == {"url": "https://hec.example:8088", "index": "ai", "acknowledge_seconds": 60, "compress": False}
    kept = client.get(reverse("admin:governance_sink_change", args=[Sink.objects.get(name="hec").pk])).content.decode()
    assert 'value="https://hec.example:8088"' in kept


def test_who_only_looks_sees_the_settings(soc: Sink) -> None:
    page = sign_in("auditor").get(reverse("admin:governance_sink_change", args=[soc.pk])).content.decode()
    assert "Address: https://soc.example.com/in" in page


class AtOnce:
    """In place of the loop's threads: this one sees the rows of a test."""

    def submit(self, work: Callable[..., None], *args: Any) -> Future[None]:
        work(*args)
        done: Future[None] = Future()
        done.set_result(None)
        return done


def test_the_loop_sends_what_is_due_and_lets_go(fake: FakeSink, soc: Sink, monkeypatch: pytest.MonkeyPatch) -> None:
    size = seal()
    monkeypatch.setattr("gateway.exporting.connection", Mock())
    exporting = Exporting()
    exporting._threads = AtOnce()  # type: ignore[assignment]
    exporting.look()
    exporting.look()
    assert fake.taken == list(range(size))
    assert SinkCursor.objects.get().leased_until is None
    fake.attempts.clear()
    exporting.look()
    assert fake.attempts == []
