"""The REST API through HTTP: who may what, how it is asked, whose name stands in evidence, what is answered."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import orjson
import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from audit.models import EventRow
from gateway.api import throttling
from gateway.api.idempotency import reserved
from governance.models import Agent, Change, Team, User
from governance.personal_tokens import revoke_token
from tests.gateway.calling import COLLECTIONS, Api, fields_of, it_admin, owner, person, problem
from tests.gateway.rows import a_waiting_definition, an_agent

__all__ = ("owner",)

pytestmark = [pytest.mark.django_db, pytest.mark.database]


# -- who


def test_without_a_token_nothing_is_answered() -> None:
    response = Client().get("/api/v1/agents")

    problem(response, 401, "not_authenticated")
    assert response["WWW-Authenticate"].startswith("Bearer")


@pytest.mark.parametrize("spoil", ["revoke", "deactivate", "forge", "query"])
def test_a_token_that_is_dead_or_in_the_address_opens_nothing(owner: Api, spoil: str) -> None:
    if spoil == "revoke":
        revoke_token(owner.row, by="test", record=lambda fact: None, now=owner.row.created_at)
    if spoil == "deactivate":
        User.objects.filter(pk=owner.person.pk).update(is_active=False)
    headers = {"Authorization": f"Bearer {owner.token[:-1]}_" if spoil == "forge" else f"Bearer {owner.token}"}
    if spoil == "query":
        headers = {}

    response = Client().get(f"/api/v1/agents?access_token={owner.token}", headers=headers)

    problem(response, 401, "not_authenticated")
    assert owner.token not in response.content.decode()


@pytest.mark.parametrize("end", ["revoke", "deactivate"])
def test_a_token_that_ends_while_a_request_is_under_way_does_nothing(
    owner: Api, monkeypatch: pytest.MonkeyPatch, end: str
) -> None:
    @contextmanager
    def in_between(request: Any) -> Iterator[Any]:
        if end == "revoke":
            revoke_token(owner.row, by="test", record=lambda fact: None, now=owner.row.created_at)
        else:
            User.objects.filter(pk=owner.person.pk).update(is_active=False)
        with reserved(request) as reservation:
            yield reservation

    monkeypatch.setattr("gateway.api.resource.reserved", in_between)

    problem(owner.post("teams", {"name": "support"}), 401, "not_authenticated")
    assert not Team.objects.exists()


def test_the_last_use_of_a_token_is_noted(owner: Api) -> None:
    owner.get("agents")

    owner.row.refresh_from_db()
    assert owner.row.last_used_at is not None


@pytest.mark.usefixtures("within_one_minute")
def test_somebody_who_shows_wrong_tokens_is_slowed_down(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(throttling, "FAILURES_PER_ADDRESS", 3)
    wrong = {"Authorization": "Bearer gate_pt_wrong"}

    answers = [Client().get("/api/v1/agents", headers=wrong) for _ in range(4)]

    assert [answer.status_code for answer in answers] == [401, 401, 401, 429]
    assert int(answers[-1]["Retry-After"]) > 0


@pytest.mark.usefixtures("within_one_minute")
def test_a_busy_token_is_slowed_down(owner: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(throttling, "REQUESTS_PER_TOKEN", 2)

    answers = [owner.get("agents") for _ in range(3)]

    assert [answer.status_code for answer in answers] == [200, 200, 429]
    problem(answers[-1], 429, "too_many_requests")


# -- may she


def test_a_token_never_does_what_its_scopes_leave_out() -> None:
    api = Api(person("owner@example.com", owner=True), scopes=["read"])
    agent = an_agent()

    told = problem(api.post(f"agents/{agent.pk}/retire"), 403, "missing_scope")

    assert "agents:retire" in told["detail"]
    assert api.get(f"agents/{agent.pk}").json()["status"] == "live"


def test_a_token_never_does_more_than_its_person() -> None:
    auditor = Api(person("aud@example.com", "auditor"))
    agent = an_agent()

    problem(auditor.post(f"agents/{agent.pk}/retire"), 403, "permission_denied")
    problem(auditor.post("agents", {"name": "x", "owner": "ana@example.com"}), 403, "permission_denied")


def test_duties_count_only_for_those_who_may_enter_the_admin() -> None:
    outside = Api(person("noor@example.com", "it-admin", staff=False))
    agent = an_agent()

    problem(outside.get(f"agents/{agent.pk}"), 404, "not_found")


def test_a_plain_person_sees_herself_and_her_agents_and_nothing_else() -> None:
    mine, other = an_agent(email="mia@example.com"), an_agent("other-bot")
    mia = Api(User.objects.get(email="mia@example.com"))

    assert [row["email"] for row in mia.get("people").json()["results"]] == ["mia@example.com"]
    assert [row["name"] for row in mia.get("agents").json()["results"]] == ["triage-bot"]
    assert mia.get(f"agents/{mine.pk}/credentials").status_code == 200
    problem(mia.get(f"agents/{other.pk}"), 404, "not_found")
    problem(mia.get(f"agents/{other.pk}/credentials"), 404, "not_found")
    problem(mia.post(f"agents/{other.pk}/retire"), 404, "not_found")
    problem(mia.post(f"agents/{mine.pk}/retire"), 403, "permission_denied")
    problem(mia.get("connectors"), 403, "permission_denied")


@pytest.mark.parametrize("collection", COLLECTIONS)
def test_lists_are_pages_of_few_queries_and_never_count(owner: Api, collection: str) -> None:
    an_agent()
    a_waiting_definition()
    with CaptureQueriesContext(
        connection,
    ) as queries:
        answer = owner.get(collection)

    assert answer.status_code == 200, answer.content
    assert set(answer.json()) == {"results", "next"}
    assert len(queries) <= 8
    assert not any("COUNT(" in query["sql"] for query in queries)


def test_pages_lead_through_everything_once(owner: Api) -> None:
    names = [f"bot-{number:02}" for number in range(7)]
    for name in names:
        an_agent(name)
    path, seen = "agents?limit=3&owner=ana@example.com", []
    while path:
        page = owner.get(path).json()
        seen += [row["name"] for row in page["results"]]
        path = page["next"] and page["next"].partition("/api/v1/")[2]

    assert seen == names


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ("limit=0", "limit"), ("limit=201", "limit"), ("limit=x", "limit"), ("cursor=%00", "cursor"),
        ("cursor=WyJ4Il0", "cursor"), ("cursor=!!", "cursor"), ("ownr=a", "ownr"), ("limit=1&limit=2", "limit"),
        ("status=odd", "status"), ("format=xml", "format"),
    ],
)  # fmt: skip
def test_parameters_that_will_not_do_are_named(owner: Api, query: str, field: str) -> None:
    collection = "credentials" if "cursor" in query else "agents"

    told = problem(owner.get(f"{collection}?{query}"), 400, "invalid_parameter")

    assert fields_of(told) == {field}


def test_a_misspelt_parameter_is_told_the_right_one(owner: Api) -> None:
    told = problem(owner.get("agents?ownr=ana@example.com"), 400, "invalid_parameter")

    assert "'owner'" in told["errors"][0]["message"]


# -- bodies


@pytest.mark.parametrize(
    ("body", "code"),
    [
        (b"{", "invalid_json"), (b'{"name": "a", "name": "b"}', "duplicate_key"), (b"[" * 40 + b"]" * 40, "too_deep"),
        (b'{"name": "a\x00"}', "invalid_json"), (b"\xff", "invalid_json"), (b"null", "invalid_input"),
        (b"[]", "invalid_input"), (b'{"n": 99999999999999999999999}', "number_out_of_range"),
    ],
)  # fmt: skip
def test_bodies_are_read_strictly(owner: Api, body: bytes, code: str) -> None:
    problem(owner.post("agents", body), 400, code)


def test_other_content_is_refused(owner: Api) -> None:
    problem(
        owner.post("agents", b"name=x", content_type="application/x-www-form-urlencoded"), 415, "unsupported_media_type"
    )
    problem(owner.post("agents", b" " * (1024 * 1024 + 1)), 413, "too_large")
    problem(owner.post("agents", b"{}", Transfer_Encoding="chunked"), 411, "length_required")
    problem(owner.get("agents", Accept="text/html"), 406, "not_acceptable")
    problem(owner.post("health"), 405, "method_not_allowed")
    problem(owner.delete("agents?limit=5"), 405, "method_not_allowed")
    problem(owner.get("nowhere"), 404, "not_found")


def test_a_member_that_nobody_reads_is_an_error(owner: Api) -> None:
    told = problem(
        owner.post("agents", {"name": "x", "owner": "owner@example.com", "purpos": "y"}), 400, "invalid_input"
    )

    assert told["errors"] == [
        {"field": "purpos", "code": "unknown", "message": "There is no such member here. Do you mean 'purpose'?"}
    ]


def test_a_value_of_another_kind_is_not_bent_into_shape(owner: Api) -> None:
    told = problem(
        owner.post("people", {"email": "x@example.com", "name": 5, "active": "yes", "teams": "support"}),
        400, "invalid_input",
    )  # fmt: skip

    assert fields_of(told) == {"name", "active", "teams"}


def test_what_does_not_exist_is_named_with_the_nearest(owner: Api) -> None:
    Team.objects.create(name="support")

    told = problem(owner.post("people", {"email": "x@example.com", "teams": ["suport"]}), 422, "refused")

    assert told["errors"][0]["message"] == "There is no team 'suport'. Do you mean 'support'?"


def test_what_breaks_inside_stays_inside(owner: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: Any, **__: Any) -> None:
        raise RuntimeError("the password is hunter2")

    monkeypatch.setattr("gateway.api.agents.Agents.narrowed", broken)

    told = problem(owner.get("agents"), 500, "internal_error")

    assert "hunter2" not in orjson.dumps(told).decode()


# -- evidence


def test_a_write_stands_in_evidence_as_if_made_in_the_admin(owner: Api) -> None:
    agent = an_agent()
    browser = Client()
    browser.force_login(owner.person)
    browser.post(
        "/admin/governance/agent/",
        {"action": "retire", "_selected_action": [str(agent.pk)], "confirmed": "yes"},
    )
    by_hand = _told_of(agent)
    twin = an_agent("twin-bot")

    answer = owner.post(f"agents/{twin.pk}/retire")

    assert answer.json()["status"] == "retired"
    by_script = _told_of(twin)
    assert by_hand[0] == by_script[0]
    assert [kind for kind, _ in by_hand[1]] == [kind for kind, _ in by_script[1]]
    assert by_script[1][0][1]["token"] == owner.row.hint


def _told_of(agent: Agent) -> tuple[list[Any], list[Any]]:
    changes = Change.objects.filter(object_id__in=[str(agent.pk), agent.pk.hex]).order_by("id")
    rows = [(change.actor, change.operation, change.relation) for change in changes]
    events = EventRow.objects.filter(agent=agent.name).order_by("id")
    return rows[-1:], [
        (event.kind, orjson.loads(bytes(event.header))["details"]) for event in events if "retired" in event.kind
    ]


def test_a_plain_change_is_recorded_in_the_persons_name() -> None:
    noor, agent = it_admin(), an_agent()

    answer = noor.patch(f"agents/{agent.pk}", {"title": "Triage"})

    assert answer.json()["title"] == "Triage"
    assert Change.objects.latest("id").actor == "person:noor@example.com"


# -- entity tags


def test_a_change_says_which_state_it_saw(owner: Api) -> None:
    agent = an_agent()
    path = f"agents/{agent.pk}"
    seen = owner.get(path)["ETag"]

    problem(owner.patch(path, {"title": "A"}, **{"If-Match": ""}), 428, "precondition_required")
    assert owner.patch(path, {"title": "A"}, **{"If-Match": seen}).status_code == 200
    problem(owner.patch(path, {"title": "B"}, **{"If-Match": seen}), 412, "precondition_failed")
    problem(owner.post(f"{path}/retire", **{"If-Match": seen}), 412, "precondition_failed")
    assert owner.get(path, **{"If-None-Match": seen}).status_code == 200
    now = owner.get(path)["ETag"]
    unchanged = owner.get(path, **{"If-None-Match": now})
    assert (unchanged.status_code, unchanged.content) == (304, b"")


def test_the_tag_of_an_answer_is_the_tag_of_what_is_read_then(owner: Api) -> None:
    created = owner.post("teams", {"name": "support", "title": "Support"})

    assert created.status_code == 201
    path = created["Location"].partition("/api/v1/")[2]
    assert owner.get(path)["ETag"] == created["ETag"]
    assert owner.delete(path, **{"If-Match": created["ETag"]}).status_code == 204
    problem(owner.get(path), 404, "not_found")
