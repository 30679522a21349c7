"""Deleting rows in the admin: seen before it is done, and refused with the reason where something needs the row."""

from typing import Any

import pytest
from django.test import Client

from governance.bundles import publish_bundle
from governance.models import (
    Bundle,
    BundleSelection,
    BundleTool,
    Connector,
    Freeze,
    Policy,
    Role,
    Secret,
    Team,
    Tool,
)
from tests.gateway.admin_pages import act, page, post
from tests.gateway.signing_in import sign_in
from tests.gateway.test_forms import Desk, a_policy_that_denies_all

pytestmark = [pytest.mark.django_db, pytest.mark.database]


@pytest.fixture
def owner() -> Client:
    return sign_in(owner=True)


def published(bundle: Bundle, connector: Connector, *, parents: Any = (), policies: Any = ()) -> Any:
    tools = [BundleTool(connector=connector, allow=["*"], deny=[])]
    rest = {"names": "", "recording": "full", "by": "test", "record": [].append}
    return publish_bundle(bundle, tools=tools, parents=parents, policies=policies, **rest)


def told(answer: Any) -> str:
    return " ".join(answer.content.decode().split())


def test_a_list_tells_how_many_go_who_loses_what_and_what_goes_along(owner: Client) -> None:
    desk = Desk()
    spare = Role.objects.create(name="spare-role")
    seen = told(act(owner, "governance_role", "delete_selected", desk.role, spare, confirmed=False))
    assert "Delete 2 roles?" in seen
    assert "3 agents lose ticket_get" in seen
    assert "This cannot be undone." in seen
    assert Role.objects.count() == 2

    done = told(owner.get(act(owner, "governance_role", "delete_selected", desk.role, spare)["Location"]))
    assert "Deleted: 2 roles." in done
    assert not Role.objects.exists()


def test_leaving_a_team_without_rules_is_seen_before_it_is_deleted(owner: Client) -> None:
    desk = Desk()
    team = Team.objects.create(name="night")
    team.policies.add(a_policy_that_denies_all())
    desk.ana.teams.add(team)
    assert "3 agents gain ticket_get" in told(page(owner, "governance_team_delete", team.pk))
    seen = told(act(owner, "governance_team", "delete_selected", team, confirmed=False))
    assert "Delete 1 team?" in seen
    assert "3 agents gain ticket_get" in seen


def test_of_those_chosen_only_what_nothing_needs_goes(owner: Client) -> None:
    given, free = Bundle.objects.create(name="given"), Bundle.objects.create(name="free")
    Role.objects.create(name="support-agent").bundles.add(given)
    seen = told(act(owner, "governance_bundle", "delete_selected", given, free, confirmed=False))
    assert "Delete 1 bundle?" in seen
    assert "It is given by the role support-agent. Take it off there first." in seen
    act(owner, "governance_bundle", "delete_selected", given, free)
    assert Bundle.objects.get() == given


def _bundle_given() -> Any:
    bundle = Bundle.objects.create(name="support")
    Role.objects.create(name="support-agent").bundles.add(bundle)
    return bundle, "It is given by the role support-agent."


def _bundle_inherited() -> Any:
    connector, base = Connector.objects.create(name="helpdesk"), Bundle.objects.create(name="base")
    published(Bundle.objects.create(name="support"), connector, parents=[base])
    return base, "Its rules are inherited by the bundle support."


def _policy_on_a_bundle() -> Any:
    policy = Policy.objects.create(name="care")
    published(Bundle.objects.create(name="support"), Connector.objects.create(name="helpdesk"), policies=[policy])
    return policy, "It is on the bundle support. Publish without it there first."


def _policy_of_an_earlier_version() -> Any:
    policy, _ = _policy_on_a_bundle()
    published(Bundle.objects.get(), Connector.objects.get())
    return policy, "Earlier versions of the bundle support name it, and history stays. Withdraw it:"


def _policy_of_teams() -> Any:
    policy = Policy.objects.create(name="care")
    for name in ("day", "night"):
        Team.objects.create(name=name).policies.add(policy)
    return policy, "It binds the teams day, night. Take it off there first."


def _team_with_teams_below() -> Any:
    team = Team.objects.create(name="everyone")
    Team.objects.create(name="night", parent=team)
    return team, "Below it stands the team night. Move that elsewhere first."


def _secret_in_use() -> Any:
    secret = Secret.objects.create(name="helpdesk-token", kind=Secret.Kind.BEARER)
    Connector.objects.create(name="helpdesk", secret=secret)
    return secret, "It is what the gateway shows to the connector helpdesk. Choose another secret there first."


def _connector_in_a_bundle() -> Any:
    connector = Connector.objects.create(name="helpdesk")
    published(Bundle.objects.create(name="support"), connector)
    return connector, "It is in the bundle support. Take it out there first."


def _connector_of_an_earlier_version() -> Any:
    connector, _ = _connector_in_a_bundle()
    published(Bundle.objects.get(), Connector.objects.create(name="crm"))
    return (
        connector,
        "Earlier versions of the bundle support hold it, and history stays.",
    )


def _connector_whose_prompts_are_in_a_bundle() -> Any:
    connector = Connector.objects.create(name="helpdesk")
    version = published(Bundle.objects.create(name="support"), Connector.objects.create(name="crm"))
    BundleSelection.objects.create(version=version, connector=connector, kind="prompt")
    return connector, "It is in the bundle support. Take it out there first."


def _connector_frozen() -> Any:
    connector = Connector.objects.create(name="helpdesk")
    Freeze.objects.create(tool=Tool.objects.create(connector=connector, name="ticket_get"), created_by="test")
    return connector, "It, or a tool of it, is frozen. Lift the freeze first."


@pytest.mark.parametrize(
    "needed",
    [
        _bundle_given,
        _bundle_inherited,
        _policy_on_a_bundle,
        _policy_of_an_earlier_version,
        _policy_of_teams,
        _team_with_teams_below,
        _secret_in_use,
        _connector_in_a_bundle,
        _connector_of_an_earlier_version,
        _connector_whose_prompts_are_in_a_bundle,
        _connector_frozen,
    ],
)
def test_what_is_needed_stays_and_says_what_to_do_first(owner: Client, needed: Any) -> None:
    row, reason = needed()
    name = row._meta.label_lower.replace(".", "_")
    answers = [
        page(owner, f"{name}_delete", row.pk),
        post(owner, f"{name}_delete", row.pk, post="yes"),
        act(owner, name, "delete_selected", row, confirmed=False),
        owner.get(act(owner, name, "delete_selected", row)["Location"]),
    ]
    assert [answer.status_code for answer in answers] == [200, 409, 200, 200]
    for answer in answers:
        assert reason in told(answer)
        assert "permission" not in told(answer).lower()
        assert "protected" not in told(answer)
    assert type(row)._default_manager.filter(pk=row.pk).exists()


def test_freezes_that_are_over_go_with_their_connector(owner: Client) -> None:
    connector = Connector.objects.create(name="helpdesk")
    Freeze.objects.create(connector=connector, created_by="test", lifted_at="2026-01-01T00:00Z")
    assert "With it go: 1 freeze." in told(
        act(owner, "governance_connector", "delete_selected", connector, confirmed=False)
    )
    assert "With it go: 1 freeze." in told(page(owner, "governance_connector_delete", connector.pk))
    assert post(owner, "governance_connector_delete", connector.pk, post="yes").status_code == 302
    assert not Connector.objects.exists()


def test_what_somebody_may_not_delete_stays_among_what_she_may() -> None:
    bound, free = Team.objects.create(name="bound"), Team.objects.create(name="free")
    bound.policies.add(Policy.objects.create(name="care"))
    act(sign_in("it-admin"), "governance_team", "delete_selected", bound, free)
    assert Team.objects.get() == bound


def test_nobody_deletes_by_the_list_without_the_duty() -> None:
    role = Role.objects.create(name="support-agent")
    act(sign_in("auditor"), "governance_role", "delete_selected", role)
    assert Role.objects.exists()
