"""Who may say what a group gives. What raises rights takes two humans, one of them an owner: no directory, and no
single admin with one, makes anybody an admin."""

from collections.abc import Collection, Iterable
from datetime import datetime

from django.db.models import Q, QuerySet

from governance.directory_gifts import reshaped
from governance.facts import Fact, Recorder
from governance.house_rules import RuleBroken
from governance.models import GroupMapping, Team, User
from governance.people import binding_policies, may_unbind

RAISING = frozenset({"directory", "group_name", "duties", "admin_access", "is_enabled"})
"""A change of one of these is another mapping than the one that was agreed to."""


def proposed(mapping: GroupMapping, changed: Collection[str], *, acting: User) -> None:
    """Before it is saved: whoever changes it asks for it anew."""
    if mapping._state.adding or RAISING & set(changed):
        mapping.proposed_by, mapping.approved_by, mapping.approved_at = acting, None, None
    if mapping.group is None and mapping.directory is not None and mapping._state.adding:
        groups = mapping.directory.groups.filter(deleted_at=None, display_name__iexact=mapping.group_name)
        mapping.group = groups.first()


def awaiting_approval() -> QuerySet[GroupMapping]:
    """Enabled, raising rights, and not agreed to by a second human."""
    raising = Q(admin_access=True) | ~Q(duties=[])
    return GroupMapping.objects.filter(raising, is_enabled=True, approved_by=None)


def why_not_approvable(mapping: GroupMapping, acting: User) -> str:
    """Empty if `acting` may agree to it."""
    if not mapping.raises_rights:
        return "It gives teams only, which takes no second person."
    if mapping.approved_by_id is not None:
        return "Somebody agreed to it already."
    proposer = mapping.proposed_by
    if proposer is None:
        return "Nobody knows who proposed it. Save it once more first."
    if proposer.human_id == acting.human_id:
        return "You proposed it yourself. Somebody else has to agree."
    if not (acting.is_superuser or proposer.is_superuser):
        return "It raises rights, so one of the two has to be an owner."
    return ""


def approve(mapping: GroupMapping, *, acting: User, record: Recorder, now: datetime) -> None:
    """In force at once, for all who are in the group. Raises RuleBroken."""
    mapping = GroupMapping.objects.select_for_update(of=("self",)).get(id=mapping.id)
    if why := why_not_approvable(mapping, acting):
        raise RuleBroken("", why)
    with reshaped(mapping):
        mapping.approved_by, mapping.approved_at = acting, now
        mapping.save(update_fields=["approved_by", "approved_at"])
    told = {"duties": mapping.duties, "admin_access": mapping.admin_access}
    record(Fact("mapping.approved", f"mapping:{mapping.group_name}", told))


def check_teams(mapping: GroupMapping, after: Iterable[Team], *, acting: User) -> None:
    """Whoever has no say in rules frees nobody of them by what a group gives. Raises RuleBroken."""
    if mapping._state.adding or may_unbind(acting):
        return
    kept = list(after)
    lost = [team for team in mapping.teams.all() if team not in kept]
    if binding_policies(lost) - binding_policies(kept):
        names = ", ".join(team.name for team in lost)
        raise RuleBroken("teams", f"Only security or an owner may take a group out of teams with rules: {names}.")
