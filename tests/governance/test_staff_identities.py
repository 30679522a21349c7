"""Accounts of an identity provider, the people they are bound to, and what their groups give and take."""

from typing import Any

import pytest
from django.db import IntegrityError, connection, transaction
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from governance.facts import Fact
from governance.models import GroupMapping, StaffIdentity, Team, User
from governance.staff_identities import (
    Account,
    NotBound,
    allow_again,
    bind_by_confirmation,
    bind_by_email,
    end_of_person,
    has_lost_last_group,
    held_live,
    live_of_person,
    person_of,
    settle_groups,
)

pytestmark = [pytest.mark.django_db, pytest.mark.database]

ISSUER = "https://id.example.com"
NOW = timezone.now()


@pytest.fixture
def facts() -> list[Fact]:
    return []


@pytest.fixture
def ana() -> User:
    return User.objects.create_user("ana@example.com")


def account(subject: str = "a-1", email: str = "ana@example.com", **values: Any) -> Account:
    return Account("oidc", ISSUER, subject, email, **values)


def bound(facts: list[Fact], **values: Any) -> StaffIdentity:
    bind_by_email(account(**values), record=facts.append)
    return StaffIdentity.objects.get(subject=account(**values).subject)


def refused(code: str) -> Any:
    return pytest.raises(NotBound, check=lambda refusal: refusal.code == code)


def mapping(group: str, *, is_agreed: bool = True, teams: tuple[Team, ...] = (), **values: Any) -> GroupMapping:
    row = GroupMapping.objects.create(group_name=group, approved_at=NOW if is_agreed else None, **values)
    row.teams.set(teams)
    return row


def rights(person: User) -> tuple[bool, list[str], list[str]]:
    fresh = User.objects.get(pk=person.pk)
    return fresh.is_staff, fresh.duties, sorted(fresh.teams.values_list("name", flat=True))


# Who is who


def test_the_first_time_a_verified_address_counts_and_then_only_the_subject(ana: User, facts: list[Fact]) -> None:
    assert person_of(account()) is None
    assert bind_by_email(account(email="ANA@example.com"), record=facts.append) == ana
    assert person_of(account(email="")) == ana
    assert person_of(account(email="somebody.else@example.com")) == ana
    assert person_of(account("a-2")) is None
    assert [fact.kind for fact in facts] == ["identity.linked"]


def test_an_address_that_came_to_somebody_else_is_not_her(ana: User, facts: list[Fact]) -> None:
    bound(facts)
    with refused("bound_to_another"):
        bind_by_email(account("her-successor"), record=facts.append)


@pytest.mark.parametrize(
    ("changes", "email", "code"),
    [
        ({}, "", "email_not_verified"),
        ({}, "nobody@example.com", "unknown_person"),
        ({"is_active": False}, "ana@example.com", "inactive"),
        ({"is_superuser": True}, "ana@example.com", "owner_must_confirm"),
        ({"is_superuser": True, "break_glass": True}, "ana@example.com", "break_glass"),
    ],
)
def test_who_is_not_bound_by_an_address(
    ana: User, facts: list[Fact], changes: dict[str, bool], email: str, code: str
) -> None:
    User.objects.filter(pk=ana.pk).update(**changes)
    with refused(code):
        bind_by_email(account(email=email), record=facts.append)
    assert not StaffIdentity.objects.exists()


def test_an_owner_is_bound_by_her_own_word(ana: User, facts: list[Fact]) -> None:
    User.objects.filter(pk=ana.pk).update(is_superuser=True)
    bind_by_confirmation(ana, account(email=""), by="person:ana@example.com", record=facts.append)
    assert person_of(account()) == ana


def test_nobody_takes_over_anothers_account_by_confirming(ana: User, facts: list[Fact]) -> None:
    bound(facts)
    lee = User.objects.create_user("lee@example.com")
    with refused("bound_to_another"):
        bind_by_confirmation(lee, account(), by="person:lee@example.com", record=facts.append)


def test_nobody_binds_the_break_glass_account(ana: User, facts: list[Fact]) -> None:
    User.objects.filter(pk=ana.pk).update(is_superuser=True, break_glass=True)
    with refused("break_glass"):
        bind_by_confirmation(ana, account(), by="person:ana@example.com", record=facts.append)


def test_who_is_switched_off_is_nobody(ana: User, facts: list[Fact]) -> None:
    bound(facts)
    User.objects.filter(pk=ana.pk).update(is_active=False)
    with refused("inactive"):
        person_of(account())


def test_what_was_ended_stays_ended_until_she_confirms(ana: User, facts: list[Fact]) -> None:
    bound(facts)
    assert end_of_person(ana, by="person:noor@example.com", record=facts.append, now=NOW) == 1
    assert end_of_person(ana, by="person:noor@example.com", record=facts.append, now=NOW) == 0
    assert not live_of_person(ana).exists()
    for again in (lambda: person_of(account()), lambda: person_of(account(email=ana.email))):
        with refused("identity_ended"):
            again()
    bind_by_confirmation(ana, account(), by="person:ana@example.com", record=facts.append)
    assert person_of(account()) == ana
    assert [fact.kind for fact in facts] == ["identity.linked", "identity.ended", "identity.linked"]


def test_there_is_one_break_glass_account_and_it_is_an_owner(ana: User) -> None:
    lee = User.objects.create_user("lee@example.com", is_superuser=True, break_glass=True)
    for wrong in ({"break_glass": True}, {"is_superuser": True, "break_glass": True}):
        with pytest.raises(IntegrityError), transaction.atomic():
            User.objects.filter(pk=ana.pk).update(**wrong)
    with pytest.raises(IntegrityError), transaction.atomic():
        User.objects.filter(pk=lee.pk).update(is_superuser=False)


# Groups


def test_groups_give_and_take(ana: User, facts: list[Fact]) -> None:
    support = Team.objects.create(name="support")
    mapping("IT", duties=["it-admin"], admin_access=True)
    mapping("Support", teams=(support,))
    row = bound(facts)
    for groups, expected in (
        (["it", "support"], (True, ["it-admin"], ["support"])),
        (["support"], (False, [], ["support"])),
        ([], (False, [], [])),
    ):
        settle_groups(row, groups=groups, record=facts.append)
        assert rights(ana) == expected
    assert [fact.details for fact in facts[1:]] == [
        {"gained": ["it-admin", "may enter the admin", "support"], "lost": []},
        {"gained": [], "lost": ["it-admin", "may enter the admin"]},
        {"gained": [], "lost": ["support"]},
    ]


def test_what_humans_gave_stays(ana: User, facts: list[Fact]) -> None:
    support = Team.objects.create(name="support")
    User.objects.filter(pk=ana.pk).update(is_staff=True, duties=["auditor"])
    ana.teams.add(support)
    mapping("everything", teams=(support,), duties=["auditor", "security"], admin_access=True)
    row = bound(facts)
    settle_groups(row, groups=["everything"], record=facts.append)
    assert rights(ana) == (True, ["security", "auditor"], ["support"])
    settled = settle_groups(row, groups=[], record=facts.append)
    assert rights(ana) == (True, ["auditor"], ["support"])
    assert settled.has_lost_rights


def test_a_mapping_that_is_taken_away_here_is_no_loss_of_hers(ana: User, facts: list[Fact]) -> None:
    everything, support = mapping("everything"), mapping("support")
    row = bound(facts)
    assert not has_lost_last_group(row, []), "she was in none"
    settle_groups(row, groups=["everything", "support"], record=facts.append)
    row.refresh_from_db()
    assert not has_lost_last_group(row, ["support"])
    assert has_lost_last_group(row, ["elsewhere"])
    GroupMapping.objects.filter(pk__in=(everything.pk, support.pk)).update(is_enabled=False)
    assert not has_lost_last_group(row, [])


def test_what_raises_rights_waits_for_a_second_human(ana: User, facts: list[Fact]) -> None:
    waiting = mapping("IT", is_agreed=False, duties=["it-admin"], admin_access=True)
    row = bound(facts)
    settle_groups(row, groups=["IT"], record=facts.append)
    assert rights(ana) == (False, [], [])
    GroupMapping.objects.filter(pk=waiting.pk).update(approved_at=NOW)
    settle_groups(row, groups=["IT"], record=facts.append)
    assert rights(ana) == (True, ["it-admin"], [])
    GroupMapping.objects.filter(pk=waiting.pk).update(is_enabled=False)
    assert settle_groups(row, groups=["IT"], record=facts.append).has_lost_rights
    assert rights(ana) == (False, [], [])


def test_what_another_account_of_hers_gives_stays(ana: User, facts: list[Fact]) -> None:
    mapping("IT", duties=["it-admin"], admin_access=True)
    rows = [bound(facts)]
    other = Account("saml", "https://other.example.com", "a-1", ana.email)
    bind_by_email(other, record=facts.append)
    rows.append(StaffIdentity.objects.get(protocol="saml"))
    for row in rows:
        settle_groups(row, groups=["IT"], record=facts.append)
    settle_groups(rows[0], groups=[], record=facts.append)
    assert rights(ana) == (True, ["it-admin"], [])
    settle_groups(rows[1], groups=[], record=facts.append)
    assert rights(ana) == (False, [], [])


def test_who_has_a_duty_may_enter_the_admin(ana: User, facts: list[Fact]) -> None:
    mapping("IT", duties=["it-admin"])
    row = bound(facts)
    settle_groups(row, groups=["IT"], record=facts.append)
    assert rights(ana) == (True, ["it-admin"], [])
    User.objects.filter(pk=ana.pk).update(duties=["it-admin", "auditor"])
    settle_groups(row, groups=[], record=facts.append)
    assert rights(ana) == (True, ["auditor"], [])


def test_an_owner_stays_one_whatever_groups_say(ana: User, facts: list[Fact]) -> None:
    row = bound(facts)
    mapping("IT", admin_access=True)
    settle_groups(row, groups=["IT"], record=facts.append)
    User.objects.filter(pk=ana.pk).update(is_superuser=True)
    settle_groups(row, groups=[], record=facts.append)
    assert rights(ana)[0]


def test_an_ended_account_takes_what_its_groups_gave(ana: User, facts: list[Fact]) -> None:
    mapping("IT", duties=["it-admin"], admin_access=True)
    settle_groups(bound(facts), groups=["IT"], record=facts.append)
    end_of_person(ana, by="test", record=facts.append, now=NOW)
    assert rights(ana) == (False, [], [])


@pytest.mark.parametrize("what", ["ended", "switched off"])
def test_what_ended_since_it_was_looked_up_is_followed_no_more(ana: User, facts: list[Fact], what: str) -> None:
    """Else an end that came in between would be undone: the groups would give anew what it took."""
    bound(facts)
    assert person_of(account()) == ana
    if what == "ended":
        end_of_person(ana, by="test", record=facts.append, now=NOW)
    else:
        User.objects.update(is_active=False)
    with refused("identity_ended" if what == "ended" else "inactive"):
        held_live(account())


def test_an_ended_account_is_allowed_again_once_and_for_the_same_person(ana: User, facts: list[Fact]) -> None:
    row = bound(facts)
    assert not allow_again(row, by="person:noor@example.com", record=facts.append)
    end_of_person(ana, by="test", record=facts.append, now=NOW)
    assert allow_again(row, by="person:noor@example.com", record=facts.append)
    assert person_of(account()) == ana
    assert [fact.kind for fact in facts] == ["identity.linked", "identity.ended", "identity.linked"]


def test_nobody_who_is_switched_off_is_allowed_again(ana: User, facts: list[Fact]) -> None:
    row = bound(facts)
    end_of_person(ana, by="test", record=facts.append, now=NOW)
    User.objects.update(is_active=False)
    with refused("inactive"):
        allow_again(row, by="test", record=facts.append)


def test_following_the_same_groups_again_writes_nothing(ana: User, facts: list[Fact]) -> None:
    row = bound(facts)
    mapping("IT", duties=["it-admin"])
    settle_groups(row, groups=["IT"], record=facts.append)
    told = len(facts)
    with CaptureQueriesContext(connection) as queries:
        settle_groups(row, groups=["IT"], record=facts.append)
    assert not [query for query in queries.captured_queries if query["sql"].startswith(("UPDATE", "INSERT", "DELETE"))]
    assert len(facts) == told
