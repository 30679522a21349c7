"""What stays as it is in the admin: names that evidence goes by, and whom rules bind."""

import pytest
from django.test import Client

from governance.models import Bundle, BundleVersion, Connector, Organization, Policy, Role, Team, User
from tests.gateway.admin_pages import HELPDESK, PERSON, act, connector_form, no_inlines, post
from tests.gateway.rows import an_agent
from tests.gateway.signing_in import sign_in

pytestmark = [pytest.mark.django_db, pytest.mark.plain_sql]


# Names that evidence goes by


def test_an_it_admin_cannot_take_the_name_of_another_person() -> None:
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


def test_it_cannot_move_or_delete_a_team_that_rules_bind() -> None:
    client, (parent, team) = sign_in("it-admin"), a_bound_team()
    post(client, "governance_team_change", team.pk, title="Support", parent="")
    assert post(client, "governance_team_delete", team.pk, post="yes").status_code == 403
    act(client, "governance_team", "delete_selected", team)
    team.refresh_from_db()
    assert (team.title, team.parent) == ("Support", parent)


def test_it_deletes_a_team_without_rules() -> None:
    team = Team.objects.create(name="support")
    assert post(sign_in("it-admin"), "governance_team_delete", team.pk, post="yes").status_code == 302
    assert not Team.objects.exists()


def test_security_moves_a_team() -> None:
    _, team = a_bound_team()
    post(sign_in("security"), "governance_team_change", team.pk, parent="")
    team.refresh_from_db()
    assert team.parent is None


def test_it_cannot_take_a_person_out_of_the_reach_of_rules() -> None:
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
    assert post(owner, "governance_policy_delete", policy.pk, post="yes").status_code == 409
    act(owner, "governance_policy", "delete_selected", policy)
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
    assert answers == [409, 409, 302]
