"""Agents that a directory brings, hands over, suspends and retires; where it may."""

from typing import Any

import pytest

from audit.models import EventRow
from governance.agent_keys import issue_key
from governance.fence.actor import governed_change
from governance.models import Agent, AgentCredential, Directory, DirectoryMessage, User
from tests.gateway.scim.messages import Provider

pytestmark = [pytest.mark.django_db, pytest.mark.database]

SCHEMA = "urn:ietf:params:scim:schemas:core:2.0:Agent"


@pytest.fixture
def idp() -> Provider:
    found = Provider()
    with governed_change(by="test"):
        Directory.objects.update(manages_agents=True)
    return found


@pytest.fixture
def ana(idp: Provider) -> str:
    return idp.adds("ana@example.com")


@pytest.fixture
def lee(idp: Provider) -> str:
    return idp.adds("lee@example.com")


def an_agent(owner: str, name: str = "triage-bot", **more: Any) -> dict[str, Any]:
    return {"schemas": [SCHEMA], "agentUserName": name, "owners": [{"value": owner}], **more}


def made(idp: Provider, owner: str) -> str:
    """Where the agent is that was just made."""
    return f"/Agents/{idp.sends('POST', '/Agents', an_agent(owner)).body['id']}"


def set_active(active: bool) -> dict[str, Any]:
    return {"op": "replace", "path": "active", "value": active}


def test_where_it_was_not_allowed_there_is_no_such_thing() -> None:
    idp = Provider()
    assert idp.gets("/Agents").status == 404
    assert idp.sends("POST", "/Agents", an_agent("1")).status == 404
    kinds = [kind["name"] for kind in idp.gets("/ResourceTypes").body["Resources"]]
    assert kinds == ["User", "Group"]


def test_it_is_announced_where_it_is_allowed(idp: Provider) -> None:
    assert {"name": "Agent", "endpoint": "/Agents"}.items() <= idp.gets("/ResourceTypes/Agent").body.items()
    assert idp.gets(f"/Schemas/{SCHEMA}").status == 200


def test_an_agent_arrives_live_owned_and_without_a_role(idp: Provider, ana: str) -> None:
    answer = idp.sends("POST", "/Agents", an_agent(ana, displayName="Triage bot", description="Sorts tickets"))
    assert answer.status == 201
    agent = Agent.objects.get(name="triage-bot")
    assert (agent.title, agent.purpose, agent.status) == ("Triage bot", "Sorts tickets", "live")
    assert agent.owner.email == "ana@example.com"
    assert not agent.roles.exists()
    assert EventRow.objects.filter(kind="directory.agent_added").count() == 1
    assert idp.gets(f"/Agents/{answer.body['id']}").body["agentUserName"] == "triage-bot"
    assert DirectoryMessage.objects.filter(path="/Agents", status=201).count() == 1


@pytest.mark.parametrize(
    "asked", ['agentUserName eq "TRIAGE-BOT"', 'externalId eq "a-1"', "active eq true", 'displayName sw "T"']
)
def test_it_is_found(idp: Provider, ana: str, asked: str) -> None:
    idp.sends("POST", "/Agents", an_agent(ana, externalId="a-1", displayName="T"))
    idp.sends("POST", "/Agents", an_agent(ana, "other-bot", active=False))
    names = [agent["agentUserName"] for agent in idp.finds("Agents", asked).body["Resources"]]
    assert names == ["triage-bot"]


def test_off_and_on_again(idp: Provider, ana: str) -> None:
    address = f"/Agents/{idp.sends('POST', '/Agents', an_agent(ana)).body['id']}"
    idp.patches(address, set_active(False))
    assert Agent.objects.get().status == "suspended"
    idp.patches(address, set_active(True))
    assert Agent.objects.get().status == "live"


def test_who_was_suspended_here_is_not_woken_by_a_repetition(idp: Provider, ana: str) -> None:
    address = f"/Agents/{idp.sends('POST', '/Agents', an_agent(ana)).body['id']}"
    with governed_change(by="test"):
        Agent.objects.update(status="suspended")
    idp.patches(address, set_active(True))
    assert Agent.objects.get().status == "suspended"
    idp.patches(address, set_active(False))
    idp.patches(address, set_active(True))
    assert Agent.objects.get().status == "suspended", "off and on is no way around it"


def test_a_new_owner_takes_over_and_the_keys_end(idp: Provider, ana: str, lee: str) -> None:
    address = f"/Agents/{idp.sends('POST', '/Agents', an_agent(ana)).body['id']}"
    a_key()
    assert idp.sends("PUT", address, an_agent(lee)).status == 200
    assert Agent.objects.get().owner.email == "lee@example.com"
    assert AgentCredential.objects.get().revoked_at is not None


def test_an_agent_whose_owner_left_can_still_be_switched_off(idp: Provider, ana: str) -> None:
    address = f"/Agents/{idp.sends('POST', '/Agents', an_agent(ana)).body['id']}"
    with governed_change(by="test"):
        User.objects.filter(email="ana@example.com").update(is_active=False)
    assert idp.patches(address, set_active(False)).status in (200, 204)
    assert Agent.objects.get().status == "suspended"
    idp.patches(address, set_active(True))
    assert Agent.objects.get().status == "suspended", "nobody answers for it"


def test_deleted_is_retired_for_good(idp: Provider, ana: str) -> None:
    address = f"/Agents/{idp.sends('POST', '/Agents', an_agent(ana)).body['id']}"
    a_key()
    assert idp.sends("DELETE", address).status == 204
    assert idp.gets(address).status == 404
    assert Agent.objects.get().status == "retired"
    assert AgentCredential.objects.get().revoked_at is not None
    assert idp.sends("POST", "/Agents", an_agent(ana)).status == 409, "evidence knows the name"


@pytest.mark.parametrize(
    ("body", "status", "told"),
    [
        ({"owners": []}, 400, "owners"),
        ({"owners": [{"value": "nobody"}]}, 400, "owners"),
        ({"agentUserName": "Bot With Spaces"}, 400, "agentUserName"),
        ({"agentUserName": ""}, 400, "agentUserName"),
        ({"description": "x" * 4001}, 400, "4000"),
    ],
    ids=["no owner", "an owner nobody knows", "a name with spaces", "no name", "an endless description"],
)
def test_what_is_refused_says_why_and_leaves_nothing(
    idp: Provider, ana: str, body: dict[str, Any], status: int, told: str
) -> None:
    answer = idp.sends("POST", "/Agents", {**an_agent(ana), **body})
    assert (answer.status, told.lower() in answer.body["detail"].lower()) == (status, True)
    assert not Agent.objects.exists()


def test_an_agent_that_is_here_is_not_taken_over(idp: Provider, ana: str) -> None:
    with governed_change(by="test"):
        Agent.objects.create(name="triage-bot", owner=User.objects.get(email="ana@example.com"))
    assert idp.sends("POST", "/Agents", an_agent(ana)).status == 409
    assert idp.gets("/Agents").body["totalResults"] == 0


def test_its_name_never_changes(idp: Provider, ana: str) -> None:
    address = f"/Agents/{idp.sends('POST', '/Agents', an_agent(ana)).body['id']}"
    assert idp.sends("PUT", address, an_agent(ana, "other-bot")).status == 400
    assert Agent.objects.get().name == "triage-bot"


def test_another_directory_sees_none_of_them(idp: Provider, ana: str) -> None:
    address = made(idp, ana)
    other = Provider(name="other")
    with governed_change(by="test"):
        Directory.objects.update(manages_agents=True)
    assert other.gets(address).status == 404
    assert other.sends("DELETE", address).status == 404
    assert Agent.objects.get().status == "live"


def a_key() -> None:
    with governed_change(by="test"):
        agent = Agent.objects.get()
        issue_key(agent, by="test", record=[].append, now=agent.created_at, expires_at=None)
