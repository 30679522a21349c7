"""Sinks over the REST API: set up, tested, replayed, followed, and removed only once nothing waits."""

from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import pytest

from audit import cursors
from audit.models import DeadLetter, EventRow, Leaf, SinkCursor
from gateway import sink_acts
from governance.fence.actor import governed_change
from governance.models import Connector, Secret, Sink
from governance.vault import put_secret_value
from tests.gateway.calling import Api, fields_of, owner, person, problem, security

__all__ = ("owner",)

pytestmark = pytest.mark.django_db
HOOK = {"name": "soc", "kind": "webhook", "settings": {"url": "https://soc.example.com/in"}, "secret": "hook-key"}


@pytest.fixture
def sam() -> Api:
    return security()


def stored(by: Api, name: str = "hook-key") -> Secret:
    with governed_change(by=f"person:{by.person.email}"):
        secret = Secret.objects.create(name=name)
        put_secret_value(secret, value="s3cr3t", by="x", record=[].append, now=datetime.now(UTC))
    return secret


@pytest.fixture
def soc(sam: Api) -> Sink:
    stored(sam)
    made = sam.post("sinks", HOOK)
    assert made.status_code == 201, made.content
    return Sink.objects.get(pk=made.json()["id"])


def letters(sink: Sink, *indexes: int) -> None:
    for index in indexes:
        cursors.bury(sink.pk, index, UUID(int=index), "too large")


def events(kind: str) -> list[EventRow]:
    return list(EventRow.objects.filter(kind=kind))


def test_a_sink_is_made_changed_and_removed(sam: Api, soc: Sink) -> None:
    shown = sam.get(f"sinks/{soc.pk}")
    assert shown.json() == {
        **HOOK,
        "id": str(soc.pk),
        "title": "",
        "format": "native",
        "redaction": "as_is",
        "enabled": True,
    }

    changed = sam.patch(f"sinks/{soc.pk}", {"format": "ocsf", "enabled": False}, If_Match=shown["ETag"])
    assert (changed.json()["format"], changed.json()["enabled"]) == ("ocsf", False)
    problem(sam.patch(f"sinks/{soc.pk}", {"title": "SOC"}, If_Match=shown["ETag"]), 412, "precondition_failed")
    assert fields_of(problem(sam.patch(f"sinks/{soc.pk}", {"name": "noc"}), 422, "refused")) == {"name"}

    cursors.begin(soc.pk, at=0)
    assert sam.delete(f"sinks/{soc.pk}").status_code == 204
    assert not Sink.objects.exists()
    assert not SinkCursor.objects.exists()


@pytest.mark.parametrize(
    ("wish", "field"),
    [
        ({"settings": {}}, "settings.url"),
        ({"settings": {"url": "https://x:y@soc.example.com"}}, "settings.url"),
        ({"settings": {"url": "https://soc.example.com", "colour": "red"}}, "settings.colour"),
        ({"format": "cef"}, "format"),
        ({"secret": None}, "secret"),
        ({"kind": "pigeon"}, "kind"),
    ],
    ids=["no-url", "user-in-url", "unknown-setting", "format", "no-secret", "kind"],
)
def test_what_its_kind_does_not_take_is_named(sam: Api, wish: dict[str, Any], field: str) -> None:
    stored(sam)
    told = sam.post("sinks", {**HOOK, **wish}).json()
    assert told["code"] in ("refused", "invalid_input")
    assert fields_of(told) == {field}
    assert not Sink.objects.exists()


def test_no_token_has_the_secret_of_others_shown_somewhere_new(owner: Api, sam: Api) -> None:
    secret = stored(sam)
    told = problem(owner.post("sinks", HOOK), 422, "refused")
    assert fields_of(told) == {"secret"}
    with governed_change(by="test"):
        Connector.objects.create(name="helpdesk", urls=["https://helpdesk.example.com"], secret=secret)
    assert "another system" in problem(sam.post("sinks", HOOK), 422, "refused")["detail"]


def test_moving_it_shows_its_secret_anew(owner: Api, soc: Sink) -> None:
    there = {"settings": {"url": "https://evil.example.com/in"}}
    assert fields_of(problem(owner.patch(f"sinks/{soc.pk}", there), 422, "refused")) == {"secret"}
    assert owner.patch(f"sinks/{soc.pk}", {"title": "SOC"}).status_code == 200


@pytest.mark.parametrize(
    ("wish", "kind"),
    [
        ("send-sample", "sink.tested"),
        ("resume", "sink.resumed"),
        ("retry-dead-letters", "sink.retried"),
    ],
)
def test_what_is_asked_of_it_is_on_record_and_waits_for_the_worker(sam: Api, soc: Sink, wish: str, kind: str) -> None:
    assert sam.post(f"sinks/{soc.pk}/{wish}").status_code == 202
    (event,) = events(kind)
    assert event.actor == f"person:{sam.person.email}"


def test_a_replay_begins_at_a_leaf_or_a_moment_of_the_log(sam: Api, soc: Sink) -> None:
    now = datetime.now(UTC)
    for index in range(3):
        Leaf.objects.create(index=index, event_id=UUID(int=(int(now.timestamp() * 1000) << 80) + index), hash=bytes(32))
    cursors.begin(soc.pk, at=3)

    assert sam.post(f"sinks/{soc.pk}/replay", {"since": "1"}).status_code == 202
    assert SinkCursor.objects.get().acked_index == 1
    assert sam.post(f"sinks/{soc.pk}/replay", {"since": "2026-01-01T00:00:00Z"}).status_code == 202
    assert SinkCursor.objects.get().acked_index == 0
    assert fields_of(problem(sam.post(f"sinks/{soc.pk}/replay", {"since": "4"}), 422, "refused")) == {"since"}
    problem(sam.post(f"sinks/{soc.pk}/replay", {"since": "yesterday"}), 422, "refused")
    assert [event.kind for event in events("sink.replayed")] == ["sink.replayed"] * 2


def test_its_progress_tells_what_has_not_arrived(sam: Api, soc: Sink) -> None:
    assert sam.get(f"sinks/{soc.pk}/progress").json()["state"] == "not begun"
    cursors.begin(soc.pk, at=0)
    Leaf.objects.create(index=0, event_id=events("governance.changed")[0].pk, hash=bytes(32))
    letters(soc, 7)
    SinkCursor.objects.update(refused_version="v", last_error="Wrong token.")

    told = sam.get(f"sinks/{soc.pk}/progress").json()

    assert (told["state"], told["behind"], told["sent"], told["dead_letters"]) == ("refused", 1, 0, 1)
    assert told["last_error"] == "Wrong token."


def test_dead_letters_are_listed_page_by_page_and_keep_the_sink(sam: Api, soc: Sink) -> None:
    letters(soc, 4, 2, 9)
    page = sam.get(f"sinks/{soc.pk}/dead-letters?limit=2").json()
    assert [(letter["leaf"], letter["error"]) for letter in page["results"]] == [(2, "too large"), (4, "too large")]
    rest = sam.get(page["next"].partition("/api/v1/")[2]).json()
    assert [letter["leaf"] for letter in rest["results"]] == [9]
    assert rest["next"] is None

    assert "3 leaves" in problem(sam.delete(f"sinks/{soc.pk}"), 409, "conflict")["detail"]

    assert sam.post(f"sinks/{soc.pk}/give-up-dead-letters").status_code == 200
    (event,) = events("sink.gave_up")
    assert b'"leaves":[2,4,9]' in bytes(event.header)
    assert sam.delete(f"sinks/{soc.pk}").status_code == 204
    assert not DeadLetter.objects.exists()


def test_a_token_without_the_scope_changes_none(soc: Sink) -> None:
    reader = Api(person("rita@example.com", "security"), scopes=("read",))
    assert reader.get("sinks").json()["results"][0]["name"] == "soc"
    problem(reader.post(f"sinks/{soc.pk}/resume"), 403, "missing_scope")


def test_who_sends_while_its_sink_is_deleted_leaves_no_letter(sam: Api, soc: Sink) -> None:
    cursors.begin(soc.pk, at=0)
    lease = cursors.take(soc.pk, version="1", now=datetime.now(UTC))
    assert lease is not None
    assert sam.delete(f"sinks/{soc.pk}").status_code == 204
    with pytest.raises(cursors.LeaseLost):
        lease.bury(0, UUID(int=0), "too large")
    assert not DeadLetter.objects.exists()
    assert sink_acts.retention_may_not_pass() is None
