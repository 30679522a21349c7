"""Emergency rotation: what it finds, what it ends, and that nothing comes in behind it."""

import json
from datetime import UTC, datetime
from io import StringIO
from typing import Any

import pytest
from django.core.management import CommandError, call_command

from audit.models import EventRow
from gateway import actions, rotations
from governance import emergency
from governance.agent_keys import NotIssuable, key_digest
from governance.emergency import NoSuchTarget, Target
from governance.models import (
    Agent,
    AgentCredential,
    Connector,
    Epoch,
    Organization,
    PersonalToken,
    RotationTask,
    Secret,
    Team,
    User,
)
from governance.snapshot_builder import build_snapshot
from governance.vault import put_secret_value
from tests.gateway.rows import a_key, an_agent

BY = "person:owner@example.com"
NOW = datetime.now(UTC)


@pytest.fixture
def world() -> None:
    """Two teams with an agent each, the second below a third, and a connector with a secret."""
    User.objects.create_superuser("owner@example.com")
    top, support, sales = (Team.objects.create(name=name) for name in ("top", "support", "sales"))
    Team.objects.filter(pk=support.pk).update(parent=top)
    for name, team in (("triage-bot", support), ("sales-bot", sales)):
        agent = an_agent(name, f"{team.name}@example.com")
        agent.owner.teams.add(team)
        a_key(agent, f"gate_ak_{name}")
        a_key(agent, f"gate_cs_{name}", kind="client_secret")
    PersonalToken.objects.create(person=agent.owner, name="t", digest=b"t", hint="gate_pt_a", created_by="t")
    secret = Secret.objects.create(name="helpdesk-token")
    put_secret_value(secret, value="sk-live-0123456789", by=BY, record=[].append, now=NOW)
    for name in ("helpdesk", "helpdesk-eu"):
        Connector.objects.create(name=name, secret=secret)


def live_keys() -> set[str]:
    return {key.agent.name for key in AgentCredential.objects.filter(revoked_at=None).select_related("agent")}


def statuses() -> dict[str, str]:
    return dict(Agent.objects.values_list("name", "status"))


def cut(**target: str) -> rotations.Cut:
    return rotations.in_emergency(Target(**target), reason="key on a public page", by=BY)


pytestmark = [pytest.mark.django_db, pytest.mark.database]


def test_one_agent_loses_all_and_goes_on_with_one_new_key(world: None) -> None:
    done = rotations.in_emergency(Target(agent="triage-bot"), reason="leaked", by=BY, issues_key=True)

    assert done.issued is not None
    assert done.found.counts() == {"client_secret": 1, "key": 1}
    assert build_snapshot().credentials.keys() == {key_digest(done.issued.key), key_digest("gate_ak_sales-bot")}
    assert statuses() == {"triage-bot": "live", "sales-bot": "live"}
    assert not RotationTask.objects.filter(state="open").exists(), "it has a credential again"
    assert done.issued.key not in repr(done)


def test_a_team_takes_the_teams_below_it_and_its_agents_are_suspended(world: None) -> None:
    done = cut(team="top")

    assert done.found.agents == ("triage-bot",)
    assert (live_keys(), statuses()) == ({"sales-bot"}, {"triage-bot": "suspended", "sales-bot": "live"})
    task = RotationTask.objects.get()
    assert (task.subject_name, task.reason, task.owner.email) == ("triage-bot", "emergency", "support@example.com")
    with pytest.raises(NotIssuable, match="not live"):
        actions.issue_key(Agent.objects.get(name="triage-bot"), by=BY, expires_in=None)
    actions.resume_agent(Agent.objects.get(name="triage-bot"), by=BY)
    actions.issue_key(Agent.objects.get(name="triage-bot"), by=BY, expires_in=None)
    task.refresh_from_db()
    assert task.state == "done"


def test_a_connectors_secret_is_gone_at_once_for_all_that_present_it(world: None) -> None:
    done = cut(connector="helpdesk")

    assert (done.found.secrets, done.found.connectors) == (("helpdesk-token",), ("helpdesk", "helpdesk-eu"))
    assert all(each.secret_missing for each in build_snapshot().connectors.values())
    assert live_keys() == {"triage-bot", "sales-bot"}
    secret = Secret.objects.get()
    actions.act(
        lambda record, now: put_secret_value(secret, value="sk-new-0123456789", by=BY, record=record, now=now), by=BY
    )
    assert not any(each.secret_missing for each in build_snapshot().connectors.values())
    assert RotationTask.objects.get().state == "done"


def test_everything_is_everything_and_is_told_with_its_reason(world: None) -> None:
    done = cut()

    assert done.found.counts() == {
        "client_secret": 2,
        "key": 2,
        "secrets": 1,
        "personal_tokens": 1,
        "agents_suspended": 2,
    }
    assert not build_snapshot().credentials
    assert not PersonalToken.objects.filter(revoked_at=None).exists()
    (event,) = EventRow.objects.filter(kind="rotation.emergency")
    told = json.loads(bytes(event.header))["details"]
    assert (told["reason"], told["target"], told["agents_in_all"]) == ("key on a public page", "everything", 2)
    assert emergency.find(Target(), now=datetime.now(UTC)).counts() == {"agents_suspended": 2}


def test_to_look_is_to_change_nothing(world: None) -> None:
    before = Epoch.objects.get().number
    found = emergency.find(Target(), now=datetime.now(UTC))
    assert found.agents == ("sales-bot", "triage-bot")
    assert Epoch.objects.get().number == before


def test_a_cut_costs_as_many_statements_for_many_agents_as_for_few(
    world: None, django_assert_max_num_queries: Any
) -> None:
    owner = User.objects.get(email="support@example.com")
    agents = Agent.objects.bulk_create(Agent(name=f"bot-{number}", owner=owner) for number in range(200))
    AgentCredential.objects.bulk_create(
        AgentCredential(agent=agent, digest=f"{agent.name}".encode(), hint="h", created_by="t") for agent in agents
    )
    with django_assert_max_num_queries(60):
        assert len(cut(team="support").found.agents) == 201


@pytest.mark.parametrize("target", [{"agent": "nobody"}, {"team": "nobody"}, {"connector": "nobody"}])
def test_an_unknown_target_ends_nothing(world: None, target: dict[str, str]) -> None:
    with pytest.raises(NoSuchTarget, match="nobody"):
        cut(**target)
    assert len(live_keys()) == 2


# -- planned


def test_planned_rotation_of_an_agent_gives_a_successor_for_each(world: None) -> None:
    agent = Agent.objects.get(name="triage-bot")
    first, second = rotations.replace_keys(agent, by=BY)
    assert {first.credential.kind, second.credential.kind} == {"key", "client_secret"}
    old = AgentCredential.objects.get(successors=first.credential)
    assert old.expires_at is not None
    again = {each.credential.successor_of for each in rotations.replace_keys(agent, by=BY)}
    assert again == {first.credential, second.credential}, "what is being replaced is not replaced twice"


def test_planned_rotation_of_a_team_asks_its_owners(world: None) -> None:
    Organization.objects.create(rotation_warn_days=7)
    assert rotations.ask(Target(team="support"), note="yearly", by=BY) == 2
    assert rotations.ask(Target(team="support"), note="yearly", by=BY) == 2
    assert RotationTask.objects.count() == 2, "what is asked for is not asked for twice"
    assert live_keys() == {"triage-bot", "sales-bot"}


# -- by command


def rotate(*arguments: str) -> dict[str, Any]:
    out = StringIO()
    call_command("rotate", *arguments, "--json", "--actor", "owner@example.com", stdout=out)
    answer: dict[str, Any] = json.loads(out.getvalue())
    return answer


def test_the_command_looks_first_and_then_cuts(world: None) -> None:
    seen = rotate("--everything", "--emergency", "--dry-run")
    assert seen["dry_run"]
    assert len(live_keys()) == 2
    done = rotate("--agent", "sales-bot", "--emergency", "--reason", "leaked")
    assert done["counts"] == {"client_secret": 1, "key": 1}
    (new,) = done["issued"]
    assert build_snapshot().credentials[key_digest(new["key"])]
    assert rotate("--everything", "--emergency")["counts"] == {**seen["counts"], "client_secret": 1}


def test_the_command_replaces_with_an_overlap(world: None) -> None:
    done = rotate("--agent", "sales-bot")
    assert len(done["issued"]) == 2
    assert all(each["follows"] and each["follows_until"] for each in done["issued"])
    assert rotate("--connector", "helpdesk") == {"target": "connector:helpdesk", "asked_for": 1}


def test_the_command_asks_who_may(world: None) -> None:
    User.objects.create_user("plain@example.com", is_staff=True, duties=["approver"])
    for arguments in (["--everything", "--emergency"], ["--agent", "sales-bot"], ["--team", "sales"]):
        with pytest.raises(CommandError, match="may not do this"):
            call_command("rotate", *arguments, "--actor", "plain@example.com")
    with pytest.raises(CommandError, match="no such target"):
        call_command("rotate", "--team", "nobody", "--emergency", "--actor", "owner@example.com")
    assert len(live_keys()) == 2
