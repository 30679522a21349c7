"""What is done through the REST API, what it refuses as a form would, and what it never answers."""

import re

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from audit.models import EventRow
from governance.agent_keys import looks_like_key
from governance.models import (
    AgentCredential,
    Bundle,
    Connector,
    Freeze,
    Offboarding,
    Organization,
    Policy,
    RateLimit,
    Role,
    Secret,
    Team,
    User,
)
from governance.vault import keyring, open_secret_version
from tests.gateway.calling import COLLECTIONS, Api, fields_of, it_admin, owner, person, problem, security
from tests.gateway.rows import HOSTILE, SECRET_VALUE, a_waiting_definition, an_agent

__all__ = ("owner",)

pytestmark = [pytest.mark.django_db, pytest.mark.database]


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


def test_what_is_frozen_stays_or_its_freeze_would_go_along(owner: Api) -> None:
    connector = Connector.objects.create(name="helpdesk", urls=["https://a.b/"])
    frozen = Freeze.objects.create(connector=connector, created_by="test")
    problem(owner.delete(f"connectors/{connector.pk}"), 409, "conflict")

    Freeze.objects.filter(pk=frozen.pk).update(lifted_at=timezone.now(), lifted_by="test")

    assert owner.delete(f"connectors/{connector.pk}").status_code == 204


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
    assert body == {"name": "ticket_get", "description": HOSTILE}
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


def test_a_version_gives_resources_and_prompts_too(owner: Api) -> None:
    Connector.objects.create(name="helpdesk", urls=["https://a.b/"])
    bundle = owner.post("bundles", {"name": "support"}).json()
    path = f"bundles/{bundle['id']}/versions"
    content = {
        "resources": [{"connector": "helpdesk", "allow": ["file:///a/*"], "deny": ["*/b/*"]}],
        "prompts": [{"connector": "helpdesk", "allow": ["greet"]}],
    }
    published = owner.post(path, content)
    assert published.status_code == 201
    assert published.json()["resources"] == content["resources"]
    assert published.json()["prompts"] == [{"connector": "helpdesk", "allow": ["greet"], "deny": []}]
    assert owner.post(path, content).status_code == 200
    assert (
        "there is no connector"
        in problem(owner.post(path, {"prompts": [{"connector": "x"}]}), 422, "refused")["errors"][0]["message"]
    )


def test_what_a_connector_may_ask_and_do_at_once(owner: Api) -> None:
    wish = {"name": "desk", "urls": ["https://a.b/"], "relays": ["roots", "elicitation"], "max_running": 3}
    made = owner.post("connectors", wish).json()
    assert (made["relays"], made["max_running"], made["max_waiting"]) == (["elicitation", "roots"], 3, 256)
    assert (made["timeout_seconds"], made["command"]) == (60.0, [])
    problem(owner.post("connectors", {**wish, "name": "other", "relays": ["everything"]}), 400, "invalid_input")
    problem(owner.post("connectors", {**wish, "name": "other", "command": ["sh"]}), 400, "invalid_input")


def test_limits_are_made_changed_and_removed(owner: Api) -> None:
    problem(owner.post("limits", {"name": "calm"}), 422, "refused")
    made = owner.post("limits", {"name": "calm", "requests": 600, "tools": ["ticket_*"]}).json()
    assert (made["per"], made["window_seconds"], made["requests"], made["bytes"]) == ("agent", 60, 600, None)
    path = f"limits/{made['id']}"
    assert owner.patch(path, {"running": 2, "requests": None}).json()["requests"] is None
    problem(owner.patch(path, {"running": None}), 422, "refused")
    assert made["labels"] == []
    assert owner.patch(path, {"labels": ["flagged"]}).json()["labels"] == ["flagged"]
    problem(owner.patch(path, {"labels": ["Not a label"]}), 400, "invalid_input")
    assert owner.delete(path).status_code == 204
    assert not RateLimit.objects.exists()


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
    wish = {"value": SECRET_VALUE + "2", "destinations": places, "even_if_refused": True}
    replaced = owner.post(f"secrets/{secret.pk}/value", wish)

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


def test_nobody_keeps_herself_or_an_owner_in(owner: Api) -> None:
    noor = it_admin()
    second = User.objects.create_superuser("second@example.com")
    later = {"at": "2100-01-01T00:00:00Z"}
    planned = [
        owner.post("offboardings", {"person": email, **later}).json() for email in ("noor@example.com", second.email)
    ]
    for each in planned:
        problem(noor.post(f"offboardings/{each['id']}/cancel"), 403, "permission_denied")
    assert {row.state for row in Offboarding.objects.all()} == {"scheduled"}


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
