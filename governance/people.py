"""Rules about people and teams that hold at every door: forms, the API, screens."""

from collections.abc import Iterable
from uuid import UUID

from governance.house_rules import RuleBroken
from governance.models import StaffIdentity, Team, User

OWNERS_ONLY = ("is_staff", "is_superuser", "duties", "same_as", "break_glass")


def fields_locked_for(acting: User, *, is_new: bool) -> tuple[str, ...]:
    """Nobody raises rights but an owner; nobody else renames a person, who would act under another's name."""
    return () if acting.is_superuser else raising_rights(is_new=is_new)


def raising_rights(*, is_new: bool) -> tuple[str, ...]:
    """Whoever can rename a person has her password reset mailed elsewhere."""
    return OWNERS_ONLY if is_new else (*OWNERS_ONLY, "email")


def may_change_person(acting: User, person: User) -> bool:
    """Owners are changed by owners only."""
    return acting.is_superuser or not person.is_superuser


def check_teams(person: User, after: Iterable[Team], *, acting: User) -> None:
    """Raises RuleBroken when somebody without a say in rules would free the person of one."""
    if may_unbind(acting):
        return
    kept = list(after)
    before = list(person.teams.all())
    lost = binding_policies(before) - binding_policies(kept)
    left = [team.name for team in before if team not in kept and binding_policies([team]) & lost]
    if left:
        message = f"Only security or an owner may take somebody out of teams with rules: {', '.join(left)}."
        raise RuleBroken("teams", message)


def check_last_owner(person: User, *, stays_owner: bool) -> None:
    """Locks the owners, so that two of them cannot end each other at once. Raises RuleBroken."""
    if stays_owner:
        return
    owners = User.objects.select_for_update().filter(is_superuser=True, is_active=True)
    if [owner.pk for owner in owners] == [person.pk]:
        raise RuleBroken("", "This is the last active owner. Make another person an owner first.")


def check_break_glass(person: User, *, stays_owner: bool, has_second_factor: bool) -> None:
    """What the break-glass account must be. Raises RuleBroken."""
    if not stays_owner:
        raise RuleBroken("break_glass", "The break-glass account is an owner.")
    if not has_second_factor:
        message = "It needs a passkey or an authenticator app. Sign in with it, add one, and come back."
        raise RuleBroken("break_glass", message)
    if StaffIdentity.objects.filter(person=person, ended_at=None).exists():
        raise RuleBroken("break_glass", "Single sign-on is connected to this account. Choose one that it never was.")
    if User.objects.filter(break_glass=True).exclude(pk=person.pk).exists():
        raise RuleBroken("break_glass", "There is one already. Take it from that one first.")


def team_fields_locked_for(acting: User, *, is_new: bool) -> tuple[str, ...]:
    """Who is in a team is IT's; which rules bind it, also by its place in the tree, and what they read of it is
    security's."""
    names = () if acting.has_perm("governance.add_team") else ("name", "title")
    place = () if is_new else ("parent",)
    return names if may_unbind(acting) else (*names, *place, "policies", "attributes")


def may_delete_team(acting: User, team: Team) -> bool:
    return may_unbind(acting) or not binding_policies([team])


def may_unbind(acting: User) -> bool:
    """Rules are security's: who only sorts people into teams must not free somebody of a rule by it."""
    return acting.has_perm("governance.change_policy")


def binding_policies(teams: Iterable[Team]) -> set[UUID]:
    """Of these teams and all above them."""
    path: set[UUID] = set()
    step = {team.pk for team in teams}
    while step:
        path |= step
        step = set(Team.objects.filter(children__in=step).values_list("pk", flat=True)) - path
    return set(Team.policies.through.objects.filter(team_id__in=path).values_list("policy_id", flat=True))
