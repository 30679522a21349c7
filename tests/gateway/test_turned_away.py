"""Who is turned away at a door other than MCP leaves a record, and a flood of them leaves few."""

import json
from typing import Any

import pytest
from django.db import Error
from django.test import Client

from audit.models import EventRow
from config import settings as shipped
from tests.gateway.calling import Api, person, problem

pytestmark = pytest.mark.django_db
WRONG = {"Authorization": "Bearer gate_pt_not-one-of-ours"}


@pytest.fixture(autouse=True)
def as_shipped(settings: Any) -> None:
    settings.MIDDLEWARE = list(shipped.MIDDLEWARE)
    assert "gateway.turned_away.RecordRefusals" in settings.MIDDLEWARE


def refusals(kind: str) -> list[EventRow]:
    return list(EventRow.objects.filter(kind=kind).order_by("id"))


def details(event: EventRow) -> Any:
    assert (event.decision, event.outcome) == ("deny", "refused")
    return content(event)["details"]


def content(event: EventRow) -> Any:
    return json.loads(bytes(event.header or b""))


@pytest.mark.parametrize(
    ("door", "ask"),
    [
        ("api", lambda client: client.get("/api/v1/agents", headers=WRONG)),
        ("scim", lambda client: client.get("/scim/v2/Users", headers=WRONG)),
        ("oauth", lambda client: client.post("/oauth/token", {"grant_type": "client_credentials", "client_id": "x"})),
        ("oauth", lambda client: client.post("/oauth/introspect", {"token": "x", "client_id": "x"})),
        ("ssf", lambda client: client.post("/ssf/events", b"x", "application/secevent+jwt")),
    ],
    ids=["rest", "scim", "token", "introspection", "security events"],
)
def test_a_stranger_at_any_door_is_counted(door: str, ask: Any) -> None:
    response = ask(Client(REMOTE_ADDR="203.0.113.9"))
    assert response.status_code in (400, 401, 403)
    [event] = refusals("strangers.refused")
    assert details(event) == {
        "door": door,
        "total": 1,
        "sources": [{"reason": str(response.status_code), "source_ip": "203.0.113.9", "count": 1}],
    }
    assert "not-one-of-ours" not in str(content(event))


def test_somebody_without_the_right_is_named() -> None:
    api = Api(person(), scopes=("read",))
    problem(api.post("agents", {"name": "x"}), 403, "missing_scope")
    [event] = refusals("act.refused")
    assert (event.actor, event.person) == (f"person:{api.person.email}", api.person.email)
    assert details(event)["route"] == "api/v1/agents"


def test_a_flood_is_seen_and_written_seldom() -> None:
    for _ in range(20):
        assert Client().get("/api/v1/agents", headers=WRONG).status_code == 401
    assert [details(event)["total"] for event in refusals("strangers.refused")] == [1, 1, 2, 4, 8]


def test_of_many_addresses_only_some_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gateway.turned_away.ADDRESSES_A_MINUTE", 3)
    for number in range(8):
        Client(REMOTE_ADDR=f"203.0.113.{number}").get("/api/v1/agents", headers=WRONG)
    named = [details(event)["sources"][0] for event in refusals("strangers.refused")]
    assert [(each["source_ip"], each["count"]) for each in named[3:]] == [("others", 1), ("others", 1), ("others", 2)]


def test_what_cannot_be_recorded_is_refused_all_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    def lost(*_: Any, **__: Any) -> None:
        raise Error

    monkeypatch.setattr("gateway.turned_away.record", lost)
    assert Client().get("/api/v1/agents", headers=WRONG).status_code == 401
