"""Who an identity provider's accounts are here: binding them to people, once and for good, and ending that.

An account is known by issuer and subject, never by its e-mail address: addresses are given to somebody else one day.
An address counts once, for the first binding, and only when the provider has verified it.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.db.models import QuerySet

from governance.facts import Fact, Recorder
from governance.models import GroupMapping, StaffIdentity, Team, User

SINGLE_SIGN_ON = "system:single sign-on"


class NotBound(Exception):
    """This account signs nobody in. The code is for evidence, the message for whoever stands at the door."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


@dataclass(frozen=True, slots=True)
class Account:
    """What the provider proved of who stands at the door. `email` is empty unless it was verified."""

    protocol: str
    issuer: str
    subject: str
    email: str = ""
    name: str = ""
    groups: Sequence[str] = ()


def person_of(account: Account) -> User | None:
    """Whom it is bound to. Raises NotBound for a binding that was ended: only humans make that one again."""
    row = StaffIdentity.objects.filter(issuer=account.issuer, subject=account.subject).select_related("person").first()
    return None if row is None else _standing(row).person


def held_live(account: Account) -> StaffIdentity:
    """The binding, held until the transaction ends: whoever ends it waits, or was first. Raises NotBound."""
    of_account = StaffIdentity.objects.filter(issuer=account.issuer, subject=account.subject)
    _held_person(of_account.values_list("person_id", flat=True).get())
    return _standing(of_account.select_for_update(of=("self",)).select_related("person").get())


def _standing(row: StaffIdentity) -> StaffIdentity:
    if row.ended_at is not None:
        raise NotBound("identity_ended", "Single sign-on was ended for you here. Ask IT to allow it again.")
    _let_in(row.person)
    return row


def _held_person(person_id: Any) -> User:
    """Always before her accounts, or two acts would wait for each other."""
    return User.objects.select_for_update().get(pk=person_id)


def is_live(identity: str, person: User) -> bool:
    """Whether a session that rests on this account still counts."""
    return live_of_person(person).filter(pk=identity).exists()


def bind_by_email(account: Account, *, record: Recorder) -> User:
    """The first time: by an address that the provider verified. Raises NotBound."""
    if not account.email:
        raise NotBound("email_not_verified", "Your identity provider did not say that your e-mail address is verified.")
    person = User.objects.select_for_update().filter(email__iexact=account.email).first()
    if person is None:
        raise NotBound("unknown_person", "Nobody here has your e-mail address. Ask IT to add you.")
    _let_in(person)
    if person.is_superuser:
        raise NotBound(
            "owner_must_confirm", "You are an owner: sign in as before once, and connect single sign-on on your page."
        )
    if live_of_person(person).filter(issuer=account.issuer).exists():
        raise NotBound("bound_to_another", "Another account of your identity provider is already connected to you.")
    return _bind(person, account, by=SINGLE_SIGN_ON, record=record)


def bind_by_confirmation(person: User, account: Account, *, by: str, record: Recorder) -> User:
    """She is signed in by other means and wants it so; the one way for owners. Raises NotBound."""
    person = _held_person(person.pk)
    _let_in(person)
    row = StaffIdentity.objects.filter(issuer=account.issuer, subject=account.subject).first()
    if row is not None and row.person_id != person.pk:
        raise NotBound("bound_to_another", "This account of your identity provider is connected to somebody else.")
    if row is not None:
        allow_again(row, by=by, record=record)
        return person
    return _bind(person, account, by=by, record=record)


def end_identity(row: StaffIdentity, *, by: str, record: Recorder, now: datetime) -> bool:
    """With what its groups gave. False if it was ended before."""
    settle_groups(row, groups=(), record=record)
    live = StaffIdentity.objects.filter(pk=row.pk, ended_at=None)
    if not live.update(ended_at=now, ended_by=by):
        return False
    record(Fact("identity.ended", f"person:{row.person.email}", _named(row.issuer, row.subject)))
    return True


def allow_again(row: StaffIdentity, *, by: str, record: Recorder) -> bool:
    """A human's word: the account signs the same person in again. False if it was live. Raises NotBound."""
    person = _let_in(_held_person(row.person_id))
    ended = StaffIdentity.objects.filter(pk=row.pk).exclude(ended_at=None)
    if not ended.update(ended_at=None, ended_by=""):
        return False
    record(Fact("identity.linked", f"person:{person.email}", {**_named(row.issuer, row.subject), "again": True}))
    return True


@dataclass(frozen=True, slots=True)
class Given:
    """What the groups of somebody give: teams, and duties and entry to the admin once a second human agreed."""

    teams: frozenset[str]
    duties: frozenset[str]
    admin_access: bool


@dataclass(frozen=True, slots=True)
class Settled:
    """What following the groups did. `has_lost_rights` ends sessions."""

    has_lost_rights: bool


def settle_groups(row: StaffIdentity, *, groups: Iterable[str], record: Recorder) -> Settled:
    """Gives what the groups give now, and takes what they gave and give no more; what humans gave by hand stays."""
    person = _held_person(row.person_id)
    row = StaffIdentity.objects.select_for_update().get(pk=row.pk)
    names = sorted(set(groups))
    wanted, before, elsewhere = given_by(mappings_of(names)), _given_of([row]), _given_of(_others(row))
    given = Given(
        teams=_settle_teams(person, wanted.teams, before.teams, elsewhere.teams),
        duties=_settle_duties(person, wanted.duties, before.duties, elsewhere.duties),
        admin_access=_settle_access(person, wanted, before, elsewhere),
    )
    if (given, names) != (before, row.groups):
        row.groups, row.given_teams, row.given_duties = names, sorted(given.teams), sorted(given.duties)
        row.given_admin_access = given.admin_access
        row.save(update_fields=["groups", "given_teams", "given_duties", "given_admin_access"])
    if given != before:
        record(Fact("identity.groups_followed", f"person:{person.email}", _difference(before, given)))
    lost = bool(before.duties - given.duties or (before.admin_access and not given.admin_access))
    return Settled(has_lost_rights=lost)


def has_lost_last_group(row: StaffIdentity, groups: Iterable[str]) -> bool:
    """She was in a mapped group, and is in none. A mapping that was taken away here is no loss of hers: it counts
    neither before nor now."""
    return bool(mappings_of(row.groups)) and not mappings_of(groups)


def mappings_of(groups: Iterable[str]) -> list[GroupMapping]:
    names = {name.casefold() for name in groups}
    enabled = GroupMapping.objects.filter(directory=None, is_enabled=True).prefetch_related("teams")
    return [mapping for mapping in enabled if mapping.group_name.casefold() in names]


def given_by(mappings: Iterable[GroupMapping]) -> Given:
    chosen = list(mappings)
    agreed = [mapping for mapping in chosen if mapping.approved_at is not None]
    duties = frozenset(duty for mapping in agreed for duty in mapping.duties if duty in User.Duty.values)
    return Given(
        teams=frozenset(str(team.pk) for mapping in chosen for team in mapping.teams.all()),
        duties=duties,
        admin_access=bool(duties) or any(mapping.admin_access for mapping in agreed),
    )


def _given_of(rows: Iterable[StaffIdentity]) -> Given:
    found = list(rows)
    return Given(
        teams=frozenset(team for row in found for team in row.given_teams),
        duties=frozenset(duty for row in found for duty in row.given_duties),
        admin_access=any(row.given_admin_access for row in found),
    )


def _others(row: StaffIdentity) -> QuerySet[StaffIdentity]:
    return StaffIdentity.objects.filter(person_id=row.person_id, ended_at=None).exclude(pk=row.pk)


def _settle_teams(
    person: User, wanted: frozenset[str], before: frozenset[str], elsewhere: frozenset[str]
) -> frozenset[str]:
    """What she had already by hand is not noted as given, so that it is never taken."""
    has = {str(team) for team in person.teams.values_list("pk", flat=True)}
    person.teams.remove(*Team.objects.filter(pk__in=before - wanted - elsewhere))
    person.teams.add(*Team.objects.filter(pk__in=wanted - has))
    return (before & wanted & has) | (wanted - has) | (wanted & elsewhere)


def _settle_duties(
    person: User, wanted: frozenset[str], before: frozenset[str], elsewhere: frozenset[str]
) -> frozenset[str]:
    has = frozenset(person.duties)
    after = (has - (before - wanted - elsewhere)) | wanted
    if after != has:
        person.duties = [duty for duty in User.Duty.values if duty in after]
        person.save(update_fields=["duties"])
    return (before & wanted & has) | (wanted - has) | (wanted & elsewhere)


def _settle_access(person: User, wanted: Given, before: Given, elsewhere: Given) -> bool:
    """After the duties: owners, and who has a duty that humans gave her, enter the admin because of that."""
    has, given = person.is_staff, before.admin_access or elsewhere.admin_access
    by_hand = set(person.duties) - wanted.duties - elsewhere.duties
    keeps_by_hand = has and (not given or person.is_superuser or bool(by_hand))
    after = keeps_by_hand or wanted.admin_access or elsewhere.admin_access
    if after != has:
        person.is_staff = after
        person.save(update_fields=["is_staff"])
    return wanted.admin_access and not keeps_by_hand


def _difference(before: Given, after: Given) -> dict[str, list[str]]:
    """By the names that people know."""
    teams = {
        str(pk): name for pk, name in Team.objects.filter(pk__in=before.teams | after.teams).values_list("pk", "name")
    }

    def told(given: Given) -> set[str]:
        entry = {"may enter the admin"} if given.admin_access else set()
        return {teams.get(team, team) for team in given.teams} | set(given.duties) | entry

    return {"gained": sorted(told(after) - told(before)), "lost": sorted(told(before) - told(after))}


def live_of_person(person: User) -> QuerySet[StaffIdentity]:
    return StaffIdentity.objects.filter(person=person, ended_at=None)


def end_of_person(person: User, *, by: str, record: Recorder, now: datetime) -> int:
    """Returns how many were live until now."""
    rows = live_of_person(person).select_related("person").order_by("pk")
    return sum(end_identity(row, by=by, record=record, now=now) for row in rows)


def _let_in(person: User) -> User:
    if person.break_glass:
        raise NotBound("break_glass", "This account is never signed in by single sign-on.")
    if not person.is_active:
        raise NotBound("inactive", "Your account here is switched off.")
    return person


def _bind(person: User, account: Account, *, by: str, record: Recorder) -> User:
    StaffIdentity.objects.create(
        person=person, protocol=account.protocol, issuer=account.issuer, subject=account.subject, created_by=by
    )
    record(Fact("identity.linked", f"person:{person.email}", _named(account.issuer, account.subject)))
    return person


def _named(issuer: str, subject: str) -> dict[str, str]:
    return {"issuer": issuer, "identity": subject}
