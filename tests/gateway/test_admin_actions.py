"""Actions of the admin ask first and touch what they showed; its forms guide."""

import re

import pytest
from django.test import Client

from audit.models import EventRow
from gateway.console import action_previews
from governance.models import AgentCredential, Connector, Freeze, Organization, Role
from tests.gateway.admin_pages import act, connector_form, page, post
from tests.gateway.rows import a_key, a_waiting_definition, an_agent
from tests.gateway.signing_in import sign_in

pytestmark = [pytest.mark.django_db, pytest.mark.plain_sql]


# Actions


def test_a_confirmed_action_touches_only_the_rows_of_its_preview() -> None:
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


def test_the_page_of_a_row_offers_what_its_list_does_to_those_who_may() -> None:
    key = a_key(an_agent(), "gate_ak_a")
    name = "governance_agentcredential_change"
    assert 'value="revoke"' not in page(sign_in("auditor", email="audit@example.com"), name, key.pk).content.decode()
    client = sign_in("it-admin")
    shown = page(client, name, key.pk).content.decode()
    asked = dict(re.findall(r'name="(_selected_action|action)"\s+value="([^"]*)"', shown))
    assert asked == {"_selected_action": str(key.pk), "action": "revoke"}
    post(client, "governance_agentcredential_changelist", **asked, confirmed="yes")
    assert 'value="revoke"' not in page(client, name, key.pk).content.decode()


def test_an_action_across_pages_previews_every_row_it_will_touch() -> None:
    client, agent = sign_in("it-admin"), an_agent()
    keys = [a_key(agent, f"gate_ak_{index}") for index in range(60)]
    choice = {"action": "revoke", "_selected_action": [str(keys[0].pk)], "select_across": "1"}
    question = post(client, "governance_agentcredential_changelist", **choice).content.decode()
    assert set(re.findall(r'name="_selected_action" value="([^"]*)"', question)) == {str(key.pk) for key in keys}


def test_too_many_rows_at_once_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(action_previews, "MOST_ROWS_AT_ONCE", 1)
    client, agent = sign_in("it-admin"), an_agent()
    keys = [a_key(agent, "gate_ak_a"), a_key(agent, "gate_ak_b")]
    answer = act(client, "governance_agentcredential", "revoke", *keys, confirmed=False)
    assert answer.status_code == 302
    assert b"choose at most 1 rows at once" in page(client, "governance_agentcredential_changelist").content


def test_revoking_keys_asks_first_and_says_how_many() -> None:
    client, agent = sign_in("it-admin"), an_agent()
    keys = [a_key(agent, "gate_ak_a"), a_key(agent, "gate_ak_b")]
    question = act(client, "governance_agentcredential", "revoke", *keys, confirmed=False)
    assert b"Revoke 2 agent credentials?" in question.content
    assert AgentCredential.objects.filter(revoked_at=None).count() == 2
    act(client, "governance_agentcredential", "revoke", *keys)
    assert set(AgentCredential.objects.values_list("revoked_by", flat=True)) == {"person:noor@example.com"}


def test_an_auditor_has_no_actions() -> None:
    client, key = sign_in("auditor"), a_key(an_agent())
    act(client, "governance_agentcredential", "revoke", key)
    key.refresh_from_db()
    assert key.revoked_at is None


def test_retiring_an_agent_ends_its_keys() -> None:
    client, agent = sign_in("it-admin"), an_agent()
    key = a_key(agent)
    act(client, "governance_agent", "retire", agent)
    agent.refresh_from_db(), key.refresh_from_db()
    assert (agent.status, key.revoked_by) == ("retired", "person:noor@example.com")
    assert page(client, "governance_agent_delete", agent.pk).status_code == 403


def test_security_pins_a_waiting_definition_and_it_cannot() -> None:
    definition = a_waiting_definition()
    act(sign_in("it-admin"), "governance_tooldefinition", "pin", definition)
    definition.refresh_from_db()
    assert definition.status == "waiting"
    act(sign_in("security", email="sam@example.com"), "governance_tooldefinition", "pin", definition)
    definition.refresh_from_db()
    assert (definition.status, definition.decided_by) == ("pinned", "person:sam@example.com")


def test_a_freeze_names_one_target_and_is_lifted() -> None:
    client, agent = sign_in("it-admin"), an_agent()
    assert post(client, "governance_freeze_add", reason="?").status_code == 200
    assert post(client, "governance_freeze_add", everything="on", agent=agent.pk).status_code == 200
    assert not Freeze.objects.exists()
    assert post(client, "governance_freeze_add", agent=agent.pk, reason="Odd").status_code == 302
    act(client, "governance_freeze", "lift", Freeze.objects.get())
    assert Freeze.objects.get().lifted_by == "person:noor@example.com"
    assert set(EventRow.objects.values_list("kind", flat=True)) >= {"freeze.set", "freeze.lifted"}


# Forms that guide


def test_a_role_keeps_its_weekly_schedule() -> None:
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
def test_a_connector_takes_only_web_addresses(address: str) -> None:
    client = sign_in("it-admin")
    good = "http://127.0.0.1:9100/mcp"
    with_bad = connector_form(urls=f"{good}\n{address}")
    assert post(client, "governance_connector_add", **with_bad).status_code == 200
    assert post(client, "governance_connector_add", **connector_form(urls=f"{good}\n\n")).status_code == 302
    assert Connector.objects.get().urls == [good]


def test_there_is_one_organization(owner: Client) -> None:
    only, _ = Organization.objects.get_or_create()
    assert post(owner, "governance_organization_add", name="Second", timezone="UTC").status_code == 403
    assert post(owner, "governance_organization_delete", only.pk, post="yes").status_code == 403
    assert post(owner, "governance_organization_change", only.pk, name="X", timezone="Mars/Base").status_code == 200
