"""What follows here from what a directory says: people, teams, duties; and what it cannot do."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from audit.models import EventRow
from gateway.actions import act
from gateway.directories import adopt, drop_losses, release_losses
from gateway.models import Notice
from governance import group_mappings
from governance.agent_keys import issue_key
from governance.directories import forget_messages
from governance.directory_gifts import reshaped
from governance.house_rules import RuleBroken
from governance.models import (
    Agent,
    AgentCredential,
    Directory,
    DirectoryLoss,
    DirectoryMessage,
    DirectoryToken,
    DirectoryUser,
    GroupMapping,
    NotificationChannel,
    Offboarding,
    Team,
    User,
)
from tests.gateway.scim.messages import GROUP, Provider, group, okta_user

pytestmark = [pytest.mark.django_db, pytest.mark.database]

OFF = {"op": "replace", "path": "active", "value": False}
ON = {"op": "replace", "path": "active", "value": True}


@pytest.fixture
def idp() -> Provider:
    return Provider()


@pytest.fixture
def owner() -> User:
    return User.objects.create_superuser("owner@corp.test")


@pytest.fixture
def it() -> User:
    return User.objects.create_user("it@corp.test", duties=["it-admin"], is_staff=True)


def mapped(idp: Provider, name: str, **gives: Any) -> GroupMapping:
    mapping = GroupMapping.objects.create(
        directory=idp.directory,
        group_name=name,
        group=idp.directory.groups.filter(display_name=name).first(),
        duties=gives.get("duties", []),
        proposed_by=gives.get("by"),
    )
    with reshaped(mapping):
        mapping.teams.set(gives.get("teams", ()))
    return mapping


def person(email: str = "mia.o@corp.test") -> User:
    return User.objects.get(email=email)


def teams_of(email: str = "mia.o@corp.test") -> set[str]:
    return set(person(email).teams.values_list("name", flat=True))


# -- groups give


def test_a_group_gives_its_teams_and_takes_them_and_what_was_given_by_hand_stays(idp: Provider) -> None:
    leads, own = Team.objects.create(name="leads"), Team.objects.create(name="own")
    mapped(idp, "gw-leads", teams=[leads])
    user = idp.adds()
    person().teams.add(own)
    people = idp.adds_group("gw-leads", user)
    assert teams_of() == {"leads", "own"}
    idp.patches(f"/Groups/{people}", {"op": "remove", "path": f'members[value eq "{user}"]'})
    assert teams_of() == {"own"}
    idp.patches(f"/Groups/{people}", {"op": "add", "path": "members", "value": [{"value": user}]})
    assert teams_of() == {"leads", "own"}
    assert idp.sends("DELETE", f"/Groups/{people}").status == 204
    assert teams_of() == {"own"}


def test_who_is_in_two_groups_keeps_what_one_of_them_still_gives(idp: Provider) -> None:
    team, user = Team.objects.create(name="leads"), idp.adds()
    for name in ("one", "two"):
        mapped(idp, name, teams=[team])
    one = idp.adds_group("one", user)
    idp.adds_group("two", user)
    idp.patches(f"/Groups/{one}", {"op": "remove", "path": "members"})
    assert teams_of() == {"leads"}


def test_renaming_a_group_to_a_mapped_name_gives_nothing(idp: Provider) -> None:
    mapped(idp, "gw-admins", teams=[Team.objects.create(name="leads")])
    idp.adds_group("gw-admins")
    printers = idp.adds_group("printers", idp.adds())
    idp.patches(f"/Groups/{printers}", {"op": "replace", "path": "displayName", "value": "gw-admins-2"})
    assert teams_of() == set()


def test_duties_come_only_after_a_second_human_agreed_one_of_them_an_owner(
    idp: Provider, owner: User, it: User
) -> None:
    user = idp.adds()
    auditors = idp.adds_group("gw-auditors", user)
    mapping = mapped(idp, "gw-auditors", duties=["auditor"], by=it)
    assert person().duties == []
    other = User.objects.create_user("it2@corp.test", duties=["it-admin"], is_staff=True)
    for wrong in (it, other):
        with pytest.raises(RuleBroken):
            act(lambda r, n, who=wrong: group_mappings.approve(mapping, acting=who, record=r, now=n), by="test")
    assert person().duties == []
    act(lambda r, n: group_mappings.approve(mapping, acting=owner, record=r, now=n), by="person:owner@corp.test")
    assert (person().duties, person().is_staff) == (["auditor"], True)
    idp.patches(f"/Groups/{auditors}", {"op": "remove", "path": "members"})
    assert (person().duties, person().is_staff) == ([], False)


def test_coming_back_gives_what_groups_give_and_nothing_else(idp: Provider) -> None:
    team, own = Team.objects.create(name="leads"), Team.objects.create(name="own")
    mapped(idp, "gw-leads", teams=[team])
    user = idp.adds()
    idp.adds_group("gw-leads", user)
    mia = person()
    mia.teams.add(own)
    agent = Agent.objects.create(name="bot", owner=mia)
    act(lambda r, n: issue_key(agent, by="test", record=r, now=n, expires_at=None), by="test")
    idp.patches(f"/Users/{user}", OFF)
    assert (person().is_active, teams_of()) == (False, set())
    idp.patches(f"/Users/{user}", ON)
    assert (person().is_active, teams_of()) == (True, {"leads"})
    assert not AgentCredential.objects.filter(revoked_at=None).exists()
    agent.refresh_from_db()
    assert agent.status == Agent.Status.SUSPENDED


def test_agents_pass_to_the_manager_whom_the_directory_names(idp: Provider) -> None:
    boss = idp.adds("boss@corp.test")
    enterprise = "urn:ietf:params:scim:schemas:extension:enterprise:2.0:User"
    user = idp.adds(**{enterprise: {"manager": boss}})
    agent = Agent.objects.create(name="bot", owner=person())
    idp.patches(f"/Users/{user}", OFF)
    agent.refresh_from_db()
    assert agent.owner == person("boss@corp.test")


def test_losing_the_last_group_ends_a_person_where_it_is_set_so(idp: Provider) -> None:
    for name in ("one", "two"):
        mapped(idp, name, teams=[Team.objects.create(name=name)])
    user = idp.adds()
    groups = [idp.adds_group(name, user) for name in ("one", "two")]
    Directory.objects.update(ends_without_groups=True)
    idp.patches(f"/Groups/{groups[0]}", {"op": "remove", "path": "members"})
    assert person().is_active
    idp.patches(f"/Groups/{groups[1]}", {"op": "remove", "path": "members"})
    assert not person().is_active
    assert Offboarding.objects.count() == 1


# -- what it cannot do


def test_who_was_ended_here_is_not_brought_back_by_a_directory_that_repeats_itself(idp: Provider) -> None:
    user = idp.adds()
    User.objects.update(is_active=False)
    assert idp.sends("PUT", f"/Users/{user}", okta_user(title="Boss")).status == 200
    assert not person().is_active


def test_a_directory_sees_and_changes_nothing_of_another(idp: Provider) -> None:
    other = Provider("entra")
    user, people = idp.adds(), idp.adds_group("people")
    assert other.gets("/Users").body["totalResults"] == other.gets("/Groups").body["totalResults"] == 0
    assert other.gets(f"/Users/{user}").status == 404
    assert other.patches(f"/Users/{user}", OFF).status == 404
    assert other.sends("DELETE", f"/Groups/{people}").status == 404
    foreign = other.sends("POST", "/Groups", group("theirs", user))
    assert foreign.status == 400
    assert person().is_active


def test_a_person_of_another_directory_is_not_taken_over_by_her_address(idp: Provider) -> None:
    idp.adds()
    other = Provider("entra")
    user = other.adds()
    assert DirectoryUser.objects.get(id=user).person is None
    assert other.patches(f"/Users/{user}", OFF).status in (200, 204)
    assert person().is_active


def test_people_who_were_here_are_nobodys_until_a_human_confirms(idp: Provider, it: User) -> None:
    User.objects.create_user("mia.o@corp.test")
    user = idp.adds()
    row = DirectoryUser.objects.get(id=user)
    assert (row.person, "Confirm" in row.problem) == (None, True)
    idp.sends("DELETE", f"/Users/{user}")
    assert person().is_active
    row = DirectoryUser.objects.get(id=idp.adds())
    adopt(row, person(), acting=it)
    idp.patches(f"/Users/{row.id}", OFF)
    assert not person().is_active


def test_owners_and_people_with_more_duties_are_not_given_away(idp: Provider, owner: User, it: User) -> None:
    auditor = User.objects.create_user("auditor@corp.test", duties=["auditor"], is_staff=True)
    for whom in (owner, auditor):
        row = DirectoryUser.objects.get(id=idp.adds(whom.email))
        with pytest.raises(RuleBroken):
            adopt(row, whom, acting=it)
        assert DirectoryUser.objects.get(id=row.id).person is None


def test_somebody_else_is_not_confirmed_as_her(idp: Provider, it: User) -> None:
    User.objects.create_user("mia.o@corp.test")
    row, other = DirectoryUser.objects.get(id=idp.adds()), User.objects.create_user("other@corp.test")
    with pytest.raises(RuleBroken):
        adopt(row, other, acting=it)


def test_an_address_by_which_somebody_with_rights_signs_in_stays(idp: Provider) -> None:
    user = idp.adds()
    User.objects.update(duties=["auditor"], is_staff=True)
    new = {"op": "replace", "path": 'emails[type eq "work"].value', "value": "thief@corp.test"}
    assert idp.patches(f"/Users/{user}", new).status in (200, 204)
    assert person().duties == ["auditor"]
    assert "owner changes it" in DirectoryUser.objects.get().problem


def test_an_owner_is_ended_by_a_human_only(idp: Provider, owner: User) -> None:
    user = idp.adds()
    User.objects.filter(email="mia.o@corp.test").update(is_superuser=True, is_staff=True)
    assert idp.patches(f"/Users/{user}", OFF).status in (200, 204)
    assert person().is_active
    assert DirectoryLoss.objects.get().state == "held"


# -- the brake


def test_the_brake_holds_what_is_beyond_and_a_human_lets_it_go(idp: Provider, it: User) -> None:
    NotificationChannel.objects.create(name="ops", kind="webhook", url="https://ops.corp.test/hook")
    Directory.objects.update(brake_number=2)
    users = [idp.adds(f"u{n}@corp.test") for n in range(5)]
    for user in users:
        assert idp.patches(f"/Users/{user}", OFF).status in (200, 204)
        assert idp.gets(f"/Users/{user}").body["active"] is False
    assert User.objects.filter(is_active=False).count() == 2
    held = DirectoryLoss.objects.filter(state="held")
    assert held.count() == 3
    assert Notice.objects.filter(kind="directory").count() == 1
    idp.patches(f"/Users/{users[4]}", ON)
    assert held.count() == 2
    kept, let_go = held
    assert release_losses(idp.directory, [let_go], acting=it) == 1
    assert drop_losses(idp.directory, [kept], acting=it) == 1
    assert release_losses(idp.directory, [let_go, kept], acting=it) == 0
    gone = set(User.objects.filter(is_active=False).values_list("email", flat=True))
    assert gone == {"u0@corp.test", "u1@corp.test", let_go.user.user_name}
    kinds = set(EventRow.objects.values_list("kind", flat=True))
    assert {"directory.losses_held", "directory.losses_released", "directory.losses_dropped"} <= kinds


def test_an_emptied_group_is_held_whole_and_nobody_loses_anything(idp: Provider, it: User) -> None:
    Directory.objects.update(brake_number=2)
    mapped(idp, "gw-leads", teams=[Team.objects.create(name="leads")])
    users = [idp.adds(f"u{n}@corp.test") for n in range(4)]
    people = idp.adds_group("gw-leads", *users)
    assert idp.sends("PUT", f"/Groups/{people}", group("gw-leads")).status == 200
    assert Team.objects.get().members.count() == 4
    held = list(DirectoryLoss.objects.filter(state="held"))
    assert len(held) == 4
    assert release_losses(idp.directory, held[:1], acting=it) == 1
    assert Team.objects.get().members.count() == 3
    assert idp.sends("PUT", f"/Groups/{people}", group("gw-leads", *users)).status == 200
    assert not DirectoryLoss.objects.filter(state="held").exists()
    assert Team.objects.get().members.count() == 4


def test_the_brake_is_loose_again_after_ten_minutes(idp: Provider) -> None:
    Directory.objects.update(brake_number=1)
    users = [idp.adds(f"u{n}@corp.test") for n in range(3)]
    idp.patches(f"/Users/{users[0]}", OFF)
    DirectoryLoss.objects.update(at=datetime.now(UTC) - timedelta(minutes=11))
    idp.patches(f"/Users/{users[1]}", OFF)
    assert User.objects.filter(is_active=True).count() == 1


# -- tokens and messages


def test_a_third_token_a_revoked_one_and_a_foreign_address(idp: Provider) -> None:
    second = Provider()
    with pytest.raises(RuleBroken):
        Provider()
    DirectoryToken.objects.filter(id=idp.token.id).update(revoked_at=datetime.now(UTC), revoked_by="test")
    assert idp.gets("/Users").status == 401
    assert second.gets("/Users").status == 200
    Directory.objects.update(networks=["203.0.113.0/24"])
    assert second.gets("/Users").status == 401
    second.address = "203.0.113.9"
    assert second.gets("/Users").status == 200
    Directory.objects.update(is_enabled=False)
    assert second.gets("/Users").status == 401


def test_every_message_is_kept_with_what_it_changed_and_refused_ones_with_why(idp: Provider) -> None:
    user = idp.adds()
    idp.patches(f"/Users/{user}", {"op": "replace", "value": {"title": "Boss", "password": "hunter2-hunter2"}})
    idp.sends("POST", "/Users", okta_user())
    taken, changed, added = DirectoryMessage.objects.all()
    assert (added.status, changed.status, taken.status) == (201, 204, 409)
    assert changed.changes[0]["fields"] == {"title": [None, "Boss"]}
    assert taken.problem
    assert not taken.changes
    assert "hunter2" not in str(list(DirectoryMessage.objects.values()))
    assert idp.issued.token not in str(list(DirectoryMessage.objects.values()))


def test_a_body_that_is_too_large_is_not_read(idp: Provider) -> None:
    assert idp.sends("POST", "/Users", raw=b" " * (1024 * 1024 + 1)).status == 413
    assert idp.sends("POST", "/Users", okta_user(displayName="x" * 400)).status == 400
    assert idp.sends("POST", "/Users", okta_user(displayName="x\x00")).status == 400
    many = [{"op": "add", "path": "title", "value": "x"}] * 2001
    assert idp.patches(f"/Users/{idp.adds()}", *many).status == 413


def test_a_group_put_with_a_stranger_in_it_changes_nothing(idp: Provider) -> None:
    people = idp.adds_group("people", idp.adds())
    body = {"schemas": [GROUP], "displayName": "renamed", "members": [{"value": "nobody"}]}
    assert idp.sends("PUT", f"/Groups/{people}", body).status == 400
    assert idp.gets(f"/Groups/{people}").body["displayName"] == "people"


def test_messages_are_forgotten_once_they_are_old(idp: Provider) -> None:
    idp.adds()
    idp.gets("/Users")
    DirectoryMessage.objects.filter(method="POST").update(at=datetime.now(UTC) - timedelta(days=91))
    assert forget_messages(datetime.now(UTC)) == 1
    assert DirectoryMessage.objects.get().method == "GET"
