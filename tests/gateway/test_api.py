"""The REST API through HTTP: who may what, whose name stands in evidence, what is answered and what never is."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import orjson
import pytest
from django.core.cache import cache
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from audit.models import EventRow
from gateway.api import throttling
from gateway.api.idempotency import reserved
from governance.agent_keys import looks_like_key
from governance.models import (
    Agent,
    AgentCredential,
    Bundle,
    Change,
    Connector,
    Freeze,
    Organization,
    Policy,
    Role,
    Secret,
    Team,
    Tool,
    ToolDefinition,
    User,
)
from governance.personal_tokens import revoke_token
from governance.vault import keyring, open_secret_version
from tests.gateway.calling import Api, person

pytestmark = [pytest.mark.django_db, pytest.mark.database]

SECRET_VALUE = "sk-live-6a1f0c2b9d8e"
COLLECTIONS = (
    "people", "teams", "personal-tokens", "agents", "credentials", "roles", "bundles", "policies", "connectors",
    "tools", "definitions", "secrets", "freezes", "events", "changes", "checkpoints", "tallies", "processes",
)  # fmt: skip


@pytest.fixture(autouse=True)
def _empty_cache() -> Iterator[None]:
    cache.clear()
    yield
    cache.clear()


@pytest.fixture
def owner() -> Api:
    return Api(person("owner@example.com", owner=True))


def it_admin() -> Api:
    return Api(person("noor@example.com", "it-admin"))


def security() -> Api:
    return Api(person("sam@example.com", "security"))


def an_agent(name: str = "triage-bot", email: str = "ana@example.com") -> Agent:
    ana, _ = User.objects.get_or_create(email=email)
    return Agent.objects.create(name=name, owner=ana)


def a_waiting_definition() -> ToolDefinition:
    tool = Tool.objects.create(connector=Connector.objects.create(name="helpdesk", urls=["https://a.b/"]), name="get")
    return ToolDefinition.objects.create(tool=tool, digest="d" * 64, body=orjson.dumps({"name": "get"}))


def problem(response: Any, status: int, code: str) -> dict[str, Any]:
    assert response.status_code == status, response.content
    assert response["Content-Type"] == "application/problem+json"
    told: dict[str, Any] = response.json()
    assert (told["code"], told["status"]) == (code, status)
    assert told["title"]
    return told


def fields_of(told: dict[str, Any]) -> set[str]:
    return {error["field"] for error in told["errors"]}


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


def test_somebody_who_shows_wrong_tokens_is_slowed_down(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(throttling, "FAILURES_PER_ADDRESS", 3)
    wrong = {"Authorization": "Bearer gate_pt_wrong"}

    answers = [Client().get("/api/v1/agents", headers=wrong) for _ in range(4)]

    assert [answer.status_code for answer in answers] == [401, 401, 401, 429]
    assert int(answers[-1]["Retry-After"]) > 0


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


# -- what a form would refuse


def test_nobody_but_an_owner_raises_rights() -> None:
    noor = it_admin()
    ana = User.objects.create_user("ana@example.com")

    for wish in ({"owner": True}, {"staff": True}, {"duties": ["security"]}, {"email": "else@example.com"}):
        told = problem(noor.patch(f"people/{ana.pk}", wish), 422, "refused")
        assert fields_of(told) == set(wish)
    told = problem(noor.post("people", {"email": "new@example.com", "owner": True}), 422, "refused")
    assert fields_of(told) == {"owner"}


def test_the_last_owner_stays(owner: Api) -> None:
    told = problem(owner.patch(f"people/{owner.person.pk}", {"active": False}), 422, "refused")

    assert "last active owner" in told["detail"]


def test_it_does_not_free_anybody_of_a_rule() -> None:
    noor = it_admin()
    policy = Policy.objects.create(name="strict")
    team = Team.objects.create(name="support")
    team.policies.add(policy)
    ana = User.objects.create_user("ana@example.com")
    ana.teams.add(team)

    told = problem(noor.patch(f"people/{ana.pk}", {"teams": []}), 422, "refused")
    assert fields_of(told) == {"teams"}
    problem(noor.delete(f"teams/{team.pk}"), 403, "permission_denied")
    assert fields_of(problem(noor.patch(f"teams/{team.pk}", {"policies": []}), 422, "refused")) == {"policies"}


def test_a_stored_secret_is_not_sent_elsewhere_by_it() -> None:
    noor, chief = it_admin(), Api(person("owner@example.com", owner=True))
    stored = chief.post("secrets", {"name": "token", "value": SECRET_VALUE}).json()
    assert stored["value_set_at"]

    told = problem(
        noor.post("connectors", {"name": "mine", "urls": ["https://evil.example/"], "secret": "token"}), 422, "refused"
    )

    assert fields_of(told) == {"urls"}
    assert not Connector.objects.exists()


def test_names_are_given_once(owner: Api) -> None:
    agent = an_agent()

    assert fields_of(problem(owner.patch(f"agents/{agent.pk}", {"name": "other"}), 422, "refused")) == {"name"}
    assert owner.patch(f"agents/{agent.pk}", {"name": agent.name}).status_code == 200


def test_a_taken_name_is_refused(owner: Api) -> None:
    Team.objects.create(name="support")

    told = problem(owner.post("teams", {"name": "support"}), 422, "refused")

    assert told["errors"][0]["code"] == "unique"


def test_what_is_in_use_stays(owner: Api) -> None:
    ana = an_agent().owner
    secret = Secret.objects.create(name="token")
    Connector.objects.create(name="helpdesk", secret=secret, urls=["https://a.b/"])
    bundle = Bundle.objects.create(name="support")
    Role.objects.create(name="agent").bundles.add(bundle)

    problem(owner.delete(f"secrets/{secret.pk}"), 409, "conflict")
    problem(owner.delete(f"bundles/{bundle.pk}"), 409, "conflict")
    problem(owner.delete(f"people/{ana.pk}"), 405, "method_not_allowed")


# -- acts


def test_a_key_is_shown_once(owner: Api) -> None:
    agent = an_agent()
    path = f"agents/{agent.pk}/credentials"

    issued = owner.post(path, {"expires_at": "2100-01-01T00:00:00Z"}, Idempotency_Key="k1")
    again = owner.post(path, {"expires_at": "2100-01-01T00:00:00Z"}, Idempotency_Key="k1")

    assert issued.status_code == 201
    assert looks_like_key(issued.json()["key"])
    assert again.json() == {**issued.json(), "key": None}
    assert again["Idempotency-Replayed"] == "true"
    assert AgentCredential.objects.count() == 1
    shown = owner.get(f"credentials/{issued.json()['key_id']}")
    assert issued.json()["key"] not in shown.content.decode()
    revoked = owner.post(f"credentials/{issued.json()['key_id']}/revoke").json()
    assert revoked["revoked_by"] == "person:owner@example.com"


def test_no_key_for_an_agent_that_is_not_live(owner: Api) -> None:
    agent = an_agent()
    owner.post(f"agents/{agent.pk}/suspend")

    problem(owner.post(f"agents/{agent.pk}/credentials", {}), 422, "refused")
    assert owner.post(f"agents/{agent.pk}/resume").json()["status"] == "live"
    assert owner.post(f"agents/{agent.pk}/credentials", {}).status_code == 201


def test_an_agent_is_handed_over_and_its_keys_end(owner: Api) -> None:
    agent = an_agent()
    owner.post(f"agents/{agent.pk}/credentials", {})

    assert owner.post(f"agents/{agent.pk}/transfer", {"to": "owner@example.com"}).json()["owner"] == "owner@example.com"
    assert not AgentCredential.objects.filter(revoked_at=None).exists()


def test_a_definition_is_pinned_by_security_only_once() -> None:
    definition = a_waiting_definition()
    sam = security()

    body = sam.get(f"definitions/{definition.pk}").json()["definition"]
    assert body == {"name": "get"}
    assert sam.post(f"definitions/{definition.pk}/pin").json()["status"] == "pinned"
    problem(sam.post(f"definitions/{definition.pk}/pin"), 409, "conflict")
    problem(it_admin().post(f"definitions/{definition.pk}/reject"), 403, "permission_denied")


def test_publishing_holds_rules_to_the_same_checks_as_a_manifest() -> None:
    sam = security()
    policy = sam.post("policies", {"name": "refunds"}).json()
    path = f"policies/{policy['id']}/versions"

    told = problem(sam.post(path, {"rules": [{"effect": "deny", "when": "args.amount >"}]}), 422, "refused")
    assert fields_of(told) == {"rules[0].when"}
    rules = {"rules": [{"effect": "deny", "when": "args.amount > 100", "reason": "Too much"}]}
    published = sam.post(path, rules)
    assert (published.status_code, published.json()["number"]) == (201, 1)
    assert published.json()["rules"][0]["when"] == "args.amount > 100"
    assert sam.post(path, rules).status_code == 200
    assert sam.get(f"policies/{policy['id']}").json()["published"] == 1
    assert sam.post(f"policies/{policy['id']}/withdraw").json()["published"] is None
    assert EventRow.objects.filter(kind="policy.published", actor="person:sam@example.com").count() == 1


def test_a_bundle_is_published_and_withdrawn() -> None:
    sam = security()
    Connector.objects.create(name="helpdesk", urls=["https://a.b/"])
    bundle = sam.post("bundles", {"name": "support"}).json()
    path = f"bundles/{bundle['id']}/versions"

    unknown = problem(sam.post(path, {"tools": [{"connector": "helpdsk"}]}), 422, "refused")
    assert "Do you mean" in unknown["detail"] or "helpdesk" in unknown["detail"]
    published = sam.post(path, {"tools": [{"connector": "helpdesk", "allow": ["ticket_*"]}], "recording": "metadata"})
    assert published.json()["tools"] == [{"connector": "helpdesk", "allow": ["ticket_*"], "deny": []}]
    assert sam.post(f"bundles/{bundle['id']}/withdraw").json()["published"] is None


def test_a_freeze_is_set_and_lifted(owner: Api) -> None:
    an_agent()

    problem(owner.post("freezes", {"agent": "triage-bot", "everything": True}), 422, "refused")
    problem(owner.post("freezes", {"agent": "nobody"}), 422, "refused")
    freeze = owner.post("freezes", {"agent": "triage-bot", "reason": "odd calls"}).json()
    assert [row["id"] for row in owner.get("freezes?state=in-force").json()["results"]] == [freeze["id"]]
    assert owner.post(f"freezes/{freeze['id']}/lift").json()["lifted_by"] == "person:owner@example.com"
    problem(owner.post(f"freezes/{freeze['id']}/lift"), 409, "conflict")
    assert Freeze.objects.filter(lifted_at=None).count() == 0


def test_the_organization_is_changed_in_place(owner: Api) -> None:
    Organization.objects.get_or_create(is_only=True)

    assert owner.patch("organization", {"timezone": "Europe/Lisbon"}).json()["timezone"] == "Europe/Lisbon"
    problem(owner.patch("organization", {"timezone": "Mars/Olympus"}), 422, "refused")


def test_a_roles_hours_are_checked(owner: Api) -> None:
    bad = {"name": "night", "schedule": {"from": "08:00", "to": "08:00"}}
    problem(owner.post("roles", bad), 422, "refused")
    ends = {"name": "night", "starts_at": "2026-01-02T00:00:00Z", "ends_at": "2026-01-01T00:00:00Z"}
    problem(owner.post("roles", ends), 422, "refused")

    role = owner.post("roles", {"name": "night", "schedule": {"days": ["tue", "mon"], "from": "22:00", "to": "06:00"}})

    assert role.json()["schedule"] == {"days": ["mon", "tue"], "from": "22:00", "to": "06:00"}


def test_why_is_told(owner: Api) -> None:
    an_agent()

    problem(owner.post("explain", {"agent": "nobody", "tool": "get"}), 422, "refused")


def test_a_person_revokes_her_own_token_without_any_duty() -> None:
    mia = Api(person("mia@example.com", staff=False))
    other = Api(person("other@example.com", staff=False))

    problem(mia.post(f"personal-tokens/{other.row.pk}/revoke"), 404, "not_found")
    assert mia.post(f"personal-tokens/{mia.row.pk}/revoke").status_code == 200
    problem(mia.get("people"), 401, "not_authenticated")


# -- secrets


def test_a_secrets_value_is_in_no_answer(owner: Api) -> None:
    created = owner.post("secrets", {"name": "token", "value": SECRET_VALUE}, Idempotency_Key="s1")
    secret = Secret.objects.get()
    Connector.objects.create(name="helpdesk", secret=secret, urls=["https://a.b/"])
    places = {"helpdesk": ["https://a.b:443"]}
    replaced = owner.post(f"secrets/{secret.pk}/value", {"value": SECRET_VALUE + "2", "destinations": places})

    version = secret.versions.get(retired_at=None)
    assert open_secret_version(version, keyring=keyring()) == SECRET_VALUE + "2"
    answers = [created, replaced, *(owner.get(collection) for collection in COLLECTIONS)]
    answers += [owner.get(f"secrets/{secret.pk}"), owner.get(f"events/{EventRow.objects.latest('id').pk}")]
    for answer in answers:
        assert answer.status_code in (200, 201)
        assert SECRET_VALUE not in answer.content.decode()
        assert not re.search(r"pbkdf2|md5\$|ciphertext\W+\w", answer.content.decode())


def test_a_value_that_cannot_be_presented_is_refused_without_repeating_it(owner: Api) -> None:
    response = owner.post("secrets", {"name": "token", "value": f"{SECRET_VALUE}\nHost: evil"})

    assert fields_of(problem(response, 422, "refused")) == {"value"}
    assert SECRET_VALUE not in response.content.decode()
    assert not Secret.objects.exists()


def test_a_new_value_takes_its_own_scope() -> None:
    api = Api(person("owner@example.com", owner=True), scopes=["read", "secrets:write"])
    secret = api.post("secrets", {"name": "token", "value": SECRET_VALUE}).json()

    problem(api.post(f"secrets/{secret['id']}/value", {"value": "another-one"}), 403, "missing_scope")


def test_answers_are_not_stored_by_anybody(owner: Api) -> None:
    assert owner.get("agents")["Cache-Control"] == "no-store"
    assert "Access-Control-Allow-Origin" not in owner.get("agents")


# -- leaving


def test_an_offboarding_is_seen_before_it_is_done(owner: Api) -> None:
    agent = an_agent()
    wish = {"person": "ana@example.com", "successor": "owner@example.com"}

    seen = owner.post("offboardings", {**wish, "dry_run": True})
    agent.refresh_from_db()
    assert (seen.status_code, seen.json()["counts"]["agent"], agent.owner.email) == (200, 1, "ana@example.com")
    an_agent("late-bot")
    problem(owner.post("offboardings", {**wish, "expected": seen.json()["digest"]}), 409, "conflict")
    begun = owner.post("offboardings", wish)
    agent.refresh_from_db()

    assert (begun.status_code, begun.json()["state"], agent.owner.email) == (201, "enforcing", "owner@example.com")
    followed = owner.get(f"offboardings/{begun.json()['id']}").json()
    assert followed["state"] in ("enforcing", "enforced")
    assert not User.objects.get(email="ana@example.com").is_active


def test_an_offboarding_is_planned_and_cancelled(owner: Api) -> None:
    an_agent()
    planned = owner.post("offboardings", {"person": "ana@example.com", "at": "2100-01-01T00:00:00Z"}).json()

    assert planned["state"] == "scheduled"
    assert owner.post(f"offboardings/{planned['id']}/cancel").json()["state"] == "cancelled"
    problem(owner.post(f"offboardings/{planned['id']}/cancel"), 409, "conflict")


def test_offboarding_keeps_to_the_rules_of_the_screen(owner: Api) -> None:
    noor = it_admin()

    problem(owner.post("offboardings", {"person": "owner@example.com"}), 422, "refused")
    problem(noor.post("offboardings", {"person": "owner@example.com"}), 403, "permission_denied")
    problem(security().post("offboardings", {"person": "noor@example.com"}), 403, "permission_denied")


def test_a_one_time_login_is_shown_once_and_not_for_somebody_who_may_more(owner: Api) -> None:
    noor, ana = it_admin(), User.objects.create_user("ana@example.com")

    first = noor.post(f"people/{ana.pk}/one-time-login", Idempotency_Key="k")
    again = noor.post(f"people/{ana.pk}/one-time-login", Idempotency_Key="k")

    assert "/login/" in first.json()["url"]
    assert again.json() == {"person": "ana@example.com", "url": None}
    problem(noor.post(f"people/{owner.person.pk}/one-time-login"), 403, "permission_denied")


def test_a_page_takes_the_same_queries_however_full_it_is(owner: Api) -> None:
    def queries() -> int:
        with CaptureQueriesContext(connection) as seen:
            assert owner.get("agents").status_code == 200
            assert owner.get("roles").status_code == 200
            assert owner.get("people").status_code == 200
        return len(seen)

    an_agent()
    owner.get("agents")
    for number in range(8):
        agent = an_agent(f"bot-{number}", f"p{number}@example.com")
        role = Role.objects.create(name=f"role-{number}")
        role.agents.add(agent)
        agent.owner.teams.add(Team.objects.create(name=f"team-{number}"))

    assert queries() <= 15
