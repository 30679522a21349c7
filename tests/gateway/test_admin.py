"""The admin through its URLs: who may what, whose name stands beside a change, what never comes out."""

import re
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import orjson
import pytest
from django.contrib import admin
from django.db import OperationalError, connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse

from audit.event import AuditEvent
from audit.models import Checkpoint, EventRow, Leaf
from audit.record import record
from gateway.console import action_previews, base
from gateway.models import GatewayProcess
from governance.agent_keys import key_digest
from governance.bundles import publish_bundle
from governance.fence.actor import governed_change
from governance.models import (
    Agent,
    AgentCredential,
    Bundle,
    BundleVersion,
    Change,
    Connector,
    Freeze,
    Organization,
    PersonalToken,
    Policy,
    Role,
    Rule,
    Secret,
    SecretVersion,
    Team,
    Tool,
    ToolDefinition,
    User,
)
from governance.policies import publish_policy
from governance.vault import keyring, open_secret_version, put_secret_value

pytestmark = [pytest.mark.django_db, pytest.mark.database]

SECRET_VALUE = "sk-live-6a1f0c2b9d8e"
HOSTILE = "harmless\u202etext\u200b<script>alert(1)</script>"
MODELS = sorted((model._meta.app_label, model._meta.model_name) for model in admin.site._registry)
READ_ONLY = (
    "governance_agentcredential",
    "governance_tooldefinition",
    "governance_bundleversion",
    "governance_policyversion",
    "governance_secretversion",
    "governance_change",
    "audit_eventrow",
    "audit_leaf",
    "audit_checkpoint",
    "gateway_gatewayprocess",
)

SignIn = Callable[..., Client]


@pytest.fixture
def sign_in() -> SignIn:
    """A browser of a new person with these duties; `owner` makes her one."""

    def sign_in(*duties: str, owner: bool = False, email: str = "noor@example.com") -> Client:
        person = User.objects.create_user(email, is_staff=True, is_superuser=owner, duties=list(duties))
        client = Client()
        client.force_login(person)
        return client

    return sign_in


@pytest.fixture
def owner(sign_in: SignIn) -> Client:
    return sign_in(owner=True, email="owner@example.com")


def page(client: Client, name: str, *arguments: Any) -> Any:
    return client.get(reverse(f"admin:{name}", args=arguments))


def post(client: Client, name: str, /, *arguments: Any, **fields: Any) -> Any:
    return client.post(reverse(f"admin:{name}", args=arguments), fields)


def act(client: Client, name: str, action: str, *rows: Any, confirmed: bool = True) -> Any:
    choice = {"action": action, "_selected_action": [str(row.pk) for row in rows]}
    return post(client, f"{name}_changelist", **choice, **({"confirmed": "yes"} if confirmed else {}))


def no_inlines(*prefixes: str) -> dict[str, str]:
    return {f"{prefix}-{count}_FORMS": "0" for prefix in prefixes for count in ("TOTAL", "INITIAL")}


def an_agent(name: str = "triage-bot") -> Agent:
    ana, _ = User.objects.get_or_create(email="ana@example.com")
    return Agent.objects.create(name=name, owner=ana)


def a_key(agent: Agent, text: str = "gate_ak_abc") -> AgentCredential:
    return AgentCredential.objects.create(agent=agent, digest=key_digest(text), hint=text, created_by="test")


def a_waiting_definition() -> ToolDefinition:
    tool = Tool.objects.create(connector=Connector.objects.create(name="helpdesk"), name="ticket_get")
    body = orjson.dumps({"name": "ticket_get", "description": HOSTILE})
    return ToolDefinition.objects.create(tool=tool, digest="d" * 64, body=body)


def record_one() -> EventRow:
    event = AuditEvent(
        kind="call.refused",
        at=datetime.now(UTC),
        actor="agent:triage-bot",
        agent="triage-bot",
        tool=HOSTILE,
        decision="deny",
        outcome="refused",
        details={"asked_for": HOSTILE},
    )
    record(event)
    return EventRow.objects.get(pk=event.id)


def one_of_each() -> list[Any]:
    """A row of every model that has a screen."""
    now, definition, event = datetime.now(UTC), a_waiting_definition(), record_one()
    secret = Secret.objects.create(name="helpdesk-token")
    with governed_change(by="test"):
        put_secret_value(secret, value=SECRET_VALUE, by="test", record=[].append, now=now)
    policy, bundle = Policy.objects.create(name="no-refunds"), Bundle.objects.create(name="support")
    rule = Rule(effect="deny", tools=["billing_*"])
    organization, _ = Organization.objects.get_or_create()
    return [
        *(definition, definition.tool, definition.tool.connector, event, secret, secret.versions.get()),
        *(policy, publish_policy(policy, rules=[rule], by="test", record=[].append), bundle, organization),
        a_key(agent := an_agent()),
        agent,
        agent.owner,
        publish_bundle(
            bundle, tools=[], parents=[], policies=[policy], names="", recording="full", by="test", record=[].append
        ),
        Role.objects.create(name="support-agent", schedule={"from": "08:00", "to": "19:00"}),
        Team.objects.create(name="support"),
        PersonalToken.objects.create(person=agent.owner, name="report", digest=bytes(32), hint="gate_pt_a"),
        Freeze.objects.create(agent=agent, created_by="test"),
        Change.objects.latest("id"),
        Leaf.objects.create(index=0, event_id=event.id, hash=bytes(32)),
        Checkpoint.objects.create(size=1, root=bytes(32), frontier=b"", at=now, note="signed"),
        GatewayProcess.objects.create(host="gw1", pid=1, started_at=now, beat_at=now),
    ]


# Who may what


@pytest.mark.parametrize(
    ("duty", "may_view", "may_add"),
    [
        (
            "it-admin",
            "user team agent agentcredential connector secret secretversion tool tooldefinition role freeze bundle"
            " bundleversion organization gatewayprocess personaltoken",
            "user team agent connector secret role freeze",
        ),
        (
            "security",
            "policy policyversion bundle bundleversion tool tooldefinition role freeze team organization connector"
            " agent user",
            "policy bundle role freeze",
        ),
        ("approver", "agent", ""),
        (
            "auditor",
            "user team agent agentcredential connector tool tooldefinition bundle bundleversion policy policyversion"
            " role freeze organization change eventrow leaf checkpoint gatewayprocess personaltoken",
            "",
        ),
    ],
)
def test_each_duty_opens_its_screens_and_no_other(sign_in: SignIn, duty: str, may_view: str, may_add: str) -> None:
    client = sign_in(duty)
    lists = {model for app, model in MODELS if page(client, f"{app}_{model}_changelist").status_code == 200}
    forms = {model for app, model in MODELS if page(client, f"{app}_{model}_add").status_code == 200}
    assert lists == set(may_view.split())
    assert forms == set(may_add.split())


def test_without_a_duty_nothing_opens(sign_in: SignIn) -> None:
    client = sign_in()
    assert {page(client, f"{app}_{model}_changelist").status_code for app, model in MODELS} == {403}


def test_somebody_deactivated_is_out_at_the_next_request(owner: Client) -> None:
    assert page(owner, "index").status_code == 200
    User.objects.filter(email="owner@example.com").update(is_active=False)
    assert page(owner, "index").status_code == 302


def test_somebody_deactivated_has_no_permission_left() -> None:
    person = User(email="noor@example.com", duties=["it-admin", "no-such-duty"])
    assert person.has_perm("governance.add_agent")
    person.is_active = False
    assert (person.get_all_permissions(), person.has_module_perms("governance")) == (set(), False)


def test_an_owner_sees_every_list_and_every_row(owner: Client) -> None:
    rows = one_of_each()
    assert {row._meta.model for row in rows} == set(admin.site._registry)
    for row in rows:
        screen = row._meta.label_lower.replace(".", "_")
        assert page(owner, f"{screen}_changelist").status_code == 200
        assert page(owner, f"{screen}_change", row.pk).status_code == 200


PERSON = {"email": "mallory@example.com", "name": "Mallory", "is_active": "on"}


def test_an_it_admin_cannot_raise_rights(sign_in: SignIn) -> None:
    client = sign_in("it-admin")
    mallory = User.objects.create_user("mallory@example.com")
    answer = post(
        client,
        "governance_user_change",
        mallory.pk,
        **PERSON,
        is_staff="on",
        is_superuser="on",
        duties=["security", "auditor"],
    )
    mallory.refresh_from_db()
    assert answer.status_code == 302
    assert (mallory.name, mallory.is_staff, mallory.is_superuser, mallory.duties) == ("Mallory", False, False, [])


def test_an_it_admin_cannot_touch_an_owner(sign_in: SignIn) -> None:
    client = sign_in("it-admin")
    boss = User.objects.create_superuser("boss@example.com")
    answer = post(client, "governance_user_change", boss.pk, email="mallory@example.com")
    boss.refresh_from_db()
    assert (answer.status_code, boss.email, boss.is_active) == (403, "boss@example.com", True)


def test_the_last_owner_stays(owner: Client) -> None:
    me = User.objects.get(email="owner@example.com")
    answer = post(owner, "governance_user_change", me.pk, email=me.email, is_active="on", is_staff="on")
    me.refresh_from_db()
    assert b"last active owner" in answer.content
    assert me.is_superuser


def test_an_owner_gives_duties(owner: Client) -> None:
    answer = post(owner, "governance_user_add", **PERSON, is_staff="on", duties=["security", "auditor"])
    mallory = User.objects.get(email="mallory@example.com")
    assert answer.status_code == 302
    assert (mallory.duties, mallory.has_usable_password()) == (["security", "auditor"], False)


def test_whoever_has_a_duty_may_enter_the_admin(owner: Client) -> None:
    post(owner, "governance_user_add", **PERSON, duties=["security"])
    assert User.objects.get(email="mallory@example.com").is_staff


def test_a_person_without_a_duty_may_not_enter_the_admin(owner: Client) -> None:
    post(owner, "governance_user_add", **PERSON)
    assert not User.objects.get(email="mallory@example.com").is_staff


def test_it_decides_who_is_in_a_team_and_security_which_rules_bind_it(sign_in: SignIn) -> None:
    it, security = sign_in("it-admin"), sign_in("security", email="sam@example.com")
    assert post(it, "governance_team_add", name="support").status_code == 302
    team = Team.objects.get()
    post(security, "governance_team_change", team.pk, name="renamed", title="renamed")
    team.refresh_from_db()
    assert (team.name, team.title) == ("support", "")


# What is written


def test_a_change_carries_the_name_of_the_person(sign_in: SignIn) -> None:
    client, ana = sign_in("it-admin"), User.objects.create_user("ana@example.com")
    fields = {"name": "night-bot", "owner": ana.pk, "status": "live", **no_inlines("credentials")}
    assert post(client, "governance_agent_add", **fields).status_code == 302
    change = Change.objects.filter(relation="governance_agent").latest("id")
    assert (change.actor, change.operation) == ("person:noor@example.com", "insert")


def test_looking_writes_nothing(owner: Client) -> None:
    definition = a_waiting_definition()
    pages = [f"{app}_{model}_changelist" for app, model in MODELS]
    page(owner, "index")  # the first page of a few minutes notes when the session was last seen
    with CaptureQueriesContext(connection) as queries:
        for name in pages:
            page(owner, name)
        page(owner, "governance_tooldefinition_change", definition.pk)
    written = [sql["sql"] for sql in queries if not sql["sql"].startswith("SELECT")]
    assert written == []


def test_a_busy_fence_says_that_nothing_was_saved(owner: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    def busy(*, by: str) -> Any:
        raise OperationalError("lock timeout")

    monkeypatch.setattr(base, "governed_change", busy)
    answer = post(owner, "governance_team_add", name="support")
    assert answer.status_code == 503
    assert b"nothing of it was saved" in answer.content


def test_read_only_lists_have_no_door_to_change_anything(owner: Client) -> None:
    rows = {row._meta.label_lower.replace(".", "_"): row for row in one_of_each()}
    for name in READ_ONLY:
        refused = [
            post(owner, f"{name}_add"),
            post(owner, f"{name}_change", rows[name].pk),
            post(owner, f"{name}_delete", rows[name].pk, post="yes"),
        ]
        assert {answer.status_code for answer in refused} == {403}
        act(owner, name, "delete_selected", rows[name])
        assert type(rows[name]).objects.filter(pk=rows[name].pk).exists()


# Secrets


def secret_form(**fields: str) -> dict[str, str]:
    return {
        "name": "helpdesk-token",
        "kind": "bearer",
        "header_name": "",
        "description": "",
        **no_inlines("versions", "connectors"),
        **fields,
    }


def test_a_secret_goes_in_and_never_comes_out(sign_in: SignIn) -> None:
    client = sign_in("it-admin")
    answers = [
        post(client, "governance_secret_add", **secret_form(name="Not A Name", new_value=SECRET_VALUE)),
        post(client, "governance_secret_add", **secret_form(new_value=f"two\nlines{SECRET_VALUE}")),
        post(client, "governance_secret_add", **secret_form(new_value=SECRET_VALUE)),
    ]
    assert [answer.status_code for answer in answers] == [200, 200, 302]
    secret, version = Secret.objects.get(), SecretVersion.objects.get()
    assert open_secret_version(version, keyring=keyring()) == SECRET_VALUE
    answers += [
        page(client, "governance_secret_change", secret.pk),
        page(client, "governance_secret_changelist"),
        page(client, "governance_secret_history", secret.pk),
        page(client, "governance_secretversion_change", version.pk),
        page(client, "governance_secretversion_changelist"),
    ]
    assert not any(SECRET_VALUE.encode() in answer.content for answer in answers)
    assert EventRow.objects.get(kind="secret.value_set").actor == "person:noor@example.com"


def test_saving_a_secret_without_a_value_keeps_the_one_it_has(sign_in: SignIn) -> None:
    client = sign_in("it-admin")
    post(client, "governance_secret_add", **secret_form(new_value=SECRET_VALUE))
    secret = Secret.objects.get()
    fields = secret_form(description="Of the helpdesk") | {"versions-TOTAL_FORMS": "0"}
    assert post(client, "governance_secret_change", secret.pk, **fields).status_code == 302
    assert SecretVersion.objects.get().number == 1


def test_another_kind_of_secret_needs_another_value(sign_in: SignIn) -> None:
    client = sign_in("it-admin")
    post(client, "governance_secret_add", **secret_form(new_value=SECRET_VALUE))
    fields = secret_form(kind="basic")
    assert post(client, "governance_secret_change", Secret.objects.get().pk, **fields).status_code == 200
    assert Secret.objects.get().kind == "bearer"


HELPDESK = "https://helpdesk.example.com/mcp"
LISTENER = "https://mallory.example/mcp"


def connector_form(**fields: Any) -> dict[str, Any]:
    return {"name": "crm", "new_tools": "review", "timeout_seconds": "30", "is_enabled": "on", **fields}


def a_connector_with_secret() -> Connector:
    secret = Secret.objects.create(name="helpdesk-token")
    with governed_change(by="person:ana@example.com"):
        put_secret_value(
            secret, value=SECRET_VALUE, by="person:ana@example.com", record=[].append, now=datetime.now(UTC)
        )
    return Connector.objects.create(name="helpdesk", urls=[HELPDESK], secret=secret)


@pytest.mark.parametrize("address", [LISTENER, f"{HELPDESK}\n{LISTENER}", "http://helpdesk.example.com/mcp"])
def test_an_it_admin_cannot_send_a_stored_secret_elsewhere(sign_in: SignIn, address: str) -> None:
    client, connector = sign_in("it-admin"), a_connector_with_secret()
    fields = connector_form(urls=address, secret=connector.secret_id)
    answers = [
        post(client, "governance_connector_change", connector.pk, **fields),
        post(client, "governance_connector_add", **fields),
    ]
    assert all(b"Only an owner may send a stored secret to another address" in answer.content for answer in answers)
    assert [row.urls for row in Connector.objects.all()] == [[HELPDESK]]


def test_a_secret_taken_off_its_connector_is_no_freer(sign_in: SignIn) -> None:
    client, connector = sign_in("it-admin"), a_connector_with_secret()
    post(client, "governance_connector_change", connector.pk, **connector_form(urls=HELPDESK, secret=""))
    fields = connector_form(name="other", urls=LISTENER, secret=connector.secret_id)
    assert not Secret.objects.get().connectors.exists()
    assert b"Only an owner" in post(client, "governance_connector_add", **fields).content
    assert not Secret.objects.get().connectors.exists()


def test_who_stored_a_secret_says_where_it_goes(sign_in: SignIn) -> None:
    client = sign_in("it-admin")
    post(client, "governance_secret_add", **secret_form(new_value=SECRET_VALUE))
    fields = connector_form(urls=HELPDESK, secret=Secret.objects.get().pk)
    assert post(client, "governance_connector_add", **fields).status_code == 302


def test_a_stored_secret_goes_on_to_where_it_went(sign_in: SignIn) -> None:
    client, connector = sign_in("it-admin"), a_connector_with_secret()
    fields = connector_form(urls="https://HELPDESK.example.com:443/v2", secret=connector.secret_id)
    assert post(client, "governance_connector_change", connector.pk, **fields).status_code == 302


def test_an_owner_sends_a_stored_secret_elsewhere(owner: Client) -> None:
    connector = a_connector_with_secret()
    fields = connector_form(urls="https://new.example.com/mcp", secret=connector.secret_id)
    assert post(owner, "governance_connector_change", connector.pk, **fields).status_code == 302


@pytest.mark.parametrize(
    ("screen", "lookup"),
    [
        ("user", "password__startswith=p"),
        ("user", "manager__password__startswith=p"),
        ("agent", "owner__password__startswith=p"),
        ("agentcredential", "digest__gt=0"),
        ("secret", "versions__ciphertext__gt=0"),
        ("secretversion", "wrapped_key__gt=0"),
    ],
)
def test_no_lookup_guesses_at_what_is_sealed(sign_in: SignIn, screen: str, lookup: str) -> None:
    client = sign_in("it-admin")
    a_key(an_agent())
    assert client.get(reverse(f"admin:governance_{screen}_changelist") + "?" + lookup).status_code == 400


# Names that evidence goes by


def test_an_it_admin_cannot_take_the_name_of_another_person(sign_in: SignIn) -> None:
    client, ana = sign_in("it-admin"), User.objects.create_user("ana@example.com")
    post(client, "governance_user_change", ana.pk, **PERSON)
    ana.refresh_from_db()
    assert (ana.name, ana.email) == ("Mallory", "ana@example.com")


def test_an_owner_corrects_an_address(owner: Client) -> None:
    ana = User.objects.create_user("ana@example.com")
    post(owner, "governance_user_change", ana.pk, **PERSON)
    ana.refresh_from_db()
    assert ana.email == "mallory@example.com"


def test_names_are_given_once(owner: Client) -> None:
    agent = an_agent()
    rows = [
        agent,
        Connector.objects.create(name="crm"),
        Team.objects.create(name="support"),
        Policy.objects.create(name="no-refunds"),
        Bundle.objects.create(name="support"),
    ]
    fields = connector_form(title="New", owner=agent.owner_id, status="live", urls=HELPDESK)
    inlines = {**no_inlines("credentials", "versions", "rules"), "recording": "full"}
    for row in rows:
        was = row.name
        answer = post(
            owner, f"governance_{row._meta.model_name}_change", row.pk, **{**fields, **inlines, "name": "other"}
        )
        row.refresh_from_db()
        assert (answer.status_code, row.name, row.title) == (302, was, "New")


# Rules that bind


def a_bound_team() -> tuple[Team, Team]:
    """A team whose parent carries a policy."""
    parent = Team.objects.create(name="everyone")
    parent.policies.add(Policy.objects.create(name="no-refunds"))
    return parent, Team.objects.create(name="support", parent=parent)


def test_it_cannot_move_or_delete_a_team_that_rules_bind(sign_in: SignIn) -> None:
    client, (parent, team) = sign_in("it-admin"), a_bound_team()
    post(client, "governance_team_change", team.pk, title="Support", parent="")
    assert post(client, "governance_team_delete", team.pk, post="yes").status_code == 403
    choice = {"action": "delete_selected", "_selected_action": [str(team.pk)], "post": "yes"}
    assert post(client, "governance_team_changelist", **choice).status_code == 403
    team.refresh_from_db()
    assert (team.title, team.parent) == ("Support", parent)


def test_it_deletes_a_team_without_rules(sign_in: SignIn) -> None:
    team = Team.objects.create(name="support")
    assert post(sign_in("it-admin"), "governance_team_delete", team.pk, post="yes").status_code == 302
    assert not Team.objects.exists()


def test_security_moves_a_team(sign_in: SignIn) -> None:
    _, team = a_bound_team()
    post(sign_in("security"), "governance_team_change", team.pk, parent="")
    team.refresh_from_db()
    assert team.parent is None


def test_it_cannot_take_a_person_out_of_the_reach_of_rules(sign_in: SignIn) -> None:
    client, (_, team) = sign_in("it-admin"), a_bound_team()
    free = Team.objects.create(name="free")
    deeper = Team.objects.create(name="night-support", parent=team)
    ana = User.objects.create_user("ana@example.com")
    ana.teams.set([team, free])
    refused = post(client, "governance_user_change", ana.pk, is_active="on", teams=[free.pk])
    assert b"out of teams with rules: support." in refused.content
    assert set(ana.teams.all()) == {team, free}
    assert post(client, "governance_user_change", ana.pk, is_active="on", teams=[deeper.pk]).status_code == 302
    assert set(ana.teams.all()) == {deeper}


@pytest.mark.parametrize("holder", ["bundle version", "team", "organization"])
def test_nobody_deletes_a_policy_in_use(owner: Client, holder: str) -> None:
    policy = Policy.objects.create(name="no-refunds")
    holders = {
        "bundle version": lambda: BundleVersion.objects.create(
            bundle=Bundle.objects.create(name="support"), number=1, created_by="test"
        ),
        "team": lambda: Team.objects.create(name="support"),
        "organization": lambda: Organization.objects.get_or_create()[0],
    }
    holders[holder]().policies.add(policy)
    assert post(owner, "governance_policy_delete", policy.pk, post="yes").status_code == 403
    choice = {"action": "delete_selected", "_selected_action": [str(policy.pk)], "post": "yes"}
    assert post(owner, "governance_policy_changelist", **choice).status_code == 403
    assert Policy.objects.exists()


def test_nobody_deletes_a_bundle_in_use(owner: Client) -> None:
    base_bundle, given, unused = (Bundle.objects.create(name=name) for name in ("base", "given", "unused"))
    child = BundleVersion.objects.create(bundle=unused, number=1, created_by="test")
    child.parents.add(base_bundle)
    Role.objects.create(name="support-agent").bundles.add(given)
    answers = [
        post(owner, "governance_bundle_delete", bundle.pk, post="yes").status_code
        for bundle in (base_bundle, given, unused)
    ]
    assert answers == [403, 403, 302]


# Actions


def test_a_confirmed_action_touches_only_the_rows_of_its_preview(sign_in: SignIn) -> None:
    client, agent = sign_in("it-admin"), an_agent()
    shown = a_key(agent, "gate_ak_a")
    choice = {"action": "revoke", "_selected_action": [str(shown.pk)], "select_across": "1"}
    question = post(client, "governance_agentcredential_changelist", **choice)
    later = a_key(agent, "gate_ak_b")
    asked = dict(re.findall(r'name="(\w+)" value="([^"]*)"', question.content.decode()))
    assert (asked["_selected_action"], asked["select_across"]) == (str(shown.pk), "0")
    post(client, "governance_agentcredential_changelist", **choice, confirmed="yes")
    shown.refresh_from_db(), later.refresh_from_db()
    assert (shown.revoked_at is None, later.revoked_at) == (False, None)


def test_an_action_across_pages_previews_every_row_it_will_touch(sign_in: SignIn) -> None:
    client, agent = sign_in("it-admin"), an_agent()
    keys = [a_key(agent, f"gate_ak_{index}") for index in range(60)]
    choice = {"action": "revoke", "_selected_action": [str(keys[0].pk)], "select_across": "1"}
    question = post(client, "governance_agentcredential_changelist", **choice).content.decode()
    assert set(re.findall(r'name="_selected_action" value="([^"]*)"', question)) == {str(key.pk) for key in keys}


def test_too_many_rows_at_once_are_refused(sign_in: SignIn, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(action_previews, "MOST_ROWS_AT_ONCE", 1)
    client, agent = sign_in("it-admin"), an_agent()
    keys = [a_key(agent, "gate_ak_a"), a_key(agent, "gate_ak_b")]
    answer = act(client, "governance_agentcredential", "revoke", *keys, confirmed=False)
    assert answer.status_code == 302
    assert b"choose at most 1 rows at once" in page(client, "governance_agentcredential_changelist").content


def test_revoking_keys_asks_first_and_says_how_many(sign_in: SignIn) -> None:
    client, agent = sign_in("it-admin"), an_agent()
    keys = [a_key(agent, "gate_ak_a"), a_key(agent, "gate_ak_b")]
    question = act(client, "governance_agentcredential", "revoke", *keys, confirmed=False)
    assert b"Revoke 2 agent keys?" in question.content
    assert AgentCredential.objects.filter(revoked_at=None).count() == 2
    act(client, "governance_agentcredential", "revoke", *keys)
    assert set(AgentCredential.objects.values_list("revoked_by", flat=True)) == {"person:noor@example.com"}


def test_an_auditor_has_no_actions(sign_in: SignIn) -> None:
    client, key = sign_in("auditor"), a_key(an_agent())
    act(client, "governance_agentcredential", "revoke", key)
    key.refresh_from_db()
    assert key.revoked_at is None


def test_retiring_an_agent_ends_its_keys(sign_in: SignIn) -> None:
    client, agent = sign_in("it-admin"), an_agent()
    key = a_key(agent)
    act(client, "governance_agent", "retire", agent)
    agent.refresh_from_db(), key.refresh_from_db()
    assert (agent.status, key.revoked_by) == ("retired", "person:noor@example.com")
    assert page(client, "governance_agent_delete", agent.pk).status_code == 403


def test_security_pins_a_waiting_definition_and_it_cannot(sign_in: SignIn) -> None:
    definition = a_waiting_definition()
    act(sign_in("it-admin"), "governance_tooldefinition", "pin", definition)
    definition.refresh_from_db()
    assert definition.status == "waiting"
    act(sign_in("security", email="sam@example.com"), "governance_tooldefinition", "pin", definition)
    definition.refresh_from_db()
    assert (definition.status, definition.decided_by) == ("pinned", "person:sam@example.com")


def test_a_freeze_names_one_target_and_is_lifted(sign_in: SignIn) -> None:
    client, agent = sign_in("it-admin"), an_agent()
    assert post(client, "governance_freeze_add", reason="?").status_code == 200
    assert post(client, "governance_freeze_add", everything="on", agent=agent.pk).status_code == 200
    assert not Freeze.objects.exists()
    assert post(client, "governance_freeze_add", agent=agent.pk, reason="Odd").status_code == 302
    act(client, "governance_freeze", "lift", Freeze.objects.get())
    assert Freeze.objects.get().lifted_by == "person:noor@example.com"
    assert set(EventRow.objects.values_list("kind", flat=True)) >= {"freeze.set", "freeze.lifted"}


# Forms that guide


def test_a_role_keeps_its_weekly_schedule(sign_in: SignIn) -> None:
    client = sign_in("it-admin")
    fields = {"name": "night", "days": ["fri", "mon"], "opens": "22:00", "closes": "06:00"}
    assert post(client, "governance_role_add", **fields).status_code == 302
    role = Role.objects.get()
    assert role.schedule == {"days": ["mon", "fri"], "from": "22:00", "to": "06:00"}
    assert post(client, "governance_role_change", role.pk, **fields, title="Night shift").status_code == 302
    role.refresh_from_db()
    assert role.schedule["from"] == "22:00"
    assert post(client, "governance_role_change", role.pk, name="night").status_code == 302
    role.refresh_from_db()
    assert role.schedule == {}


@pytest.mark.parametrize(
    "address", ["ftp://a.example", "//a.example", "https://user:word@a.example/mcp", "https://a.example/#x", "nonsense"]
)
def test_a_connector_takes_only_web_addresses(sign_in: SignIn, address: str) -> None:
    fields = {"name": "crm", "new_tools": "review", "timeout_seconds": "30", "is_enabled": "on"}
    client = sign_in("it-admin")
    good = "http://127.0.0.1:9100/mcp"
    assert post(client, "governance_connector_add", **fields, urls=f"{good}\n{address}").status_code == 200
    assert post(client, "governance_connector_add", **fields, urls=f"{good}\n\n").status_code == 302
    assert Connector.objects.get().urls == [good]


def test_there_is_one_organization(owner: Client) -> None:
    only, _ = Organization.objects.get_or_create()
    assert post(owner, "governance_organization_add", name="Second", timezone="UTC").status_code == 403
    assert post(owner, "governance_organization_delete", only.pk, post="yes").status_code == 403
    assert post(owner, "governance_organization_change", only.pk, name="X", timezone="Mars/Base").status_code == 200


# Hostile text and what a page may load


def test_hostile_text_is_escaped_and_made_visible(owner: Client) -> None:
    pages = [
        page(owner, "governance_tooldefinition_change", a_waiting_definition().pk),
        page(owner, "audit_eventrow_change", record_one().pk),
        page(owner, "audit_eventrow_changelist"),
    ]
    for answer in pages:
        text = answer.content.decode()
        assert "⟦U+202E⟧" in text
        assert not any(bad in text for bad in ("\u202e", "\u200b", "<script>alert"))


def test_pages_load_only_our_own_files(owner: Client) -> None:
    admin_policy, plain_policy = (
        page(owner, "index")["Content-Security-Policy"],
        owner.get("/me/")["Content-Security-Policy"],
    )
    assert "script-src 'self' 'unsafe-eval';" in admin_policy
    assert "unsafe" not in plain_policy
    assert all("frame-ancestors 'none'" in policy for policy in (admin_policy, plain_policy))
    assert not re.search(rb'(src|href)="(https?:)?//', page(owner, "index").content)
