"""Where changes of rules need a second person: how nobody gets round it by taking the rules off whom they bind."""

from collections.abc import Iterable

from governance.facts import Fact, Recorder
from governance.house_rules import RuleBroken
from governance.lifecycle import review_is_required
from governance.models import Organization, Policy, Team, User
from governance.people import binding_policies

SWITCHED_OFF = "organization.review_off"


def note_switch(*, was_required: bool, is_required: bool, record: Recorder) -> None:
    """That it was switched off is a fact of its own: the home page tells of it for a week."""
    if was_required and not is_required:
        record(Fact(SWITCHED_OFF, "organization"))


def check_organization_policies(row: Organization, after: Iterable[Policy], *, acting: User) -> None:
    """Raises RuleBroken when somebody but an owner would take a policy off everybody."""
    if not row._state.adding:
        lost = set(row.policies.values_list("name", flat=True)) - {policy.name for policy in after}
        _refuse(lost, "the organization", acting)


def check_team_policies(row: Team, after: Iterable[Policy], parent: Team | None, *, acting: User) -> None:
    """As above for a team; its place in the tree counts, as the policies of those above bind it too."""
    if row._state.adding:
        return
    kept = {policy.pk for policy in after} | binding_policies([parent] if parent else [])
    lost = Policy.objects.filter(pk__in=binding_policies([row]) - kept)
    _refuse(set(lost.values_list("name", flat=True)), f"the team {row.name}", acting)


def may_let_team_go(row: Team, *, acting: User) -> bool:
    """Its members would be free of its policies."""
    return acting.is_superuser or not review_is_required() or not binding_policies([row])


def _refuse(lost: Iterable[str], whom: str, acting: User) -> None:
    names = sorted(lost)
    if names and not acting.is_superuser and review_is_required():
        which = f"the policy {names[0]}" if len(names) == 1 else f"the policies {', '.join(names)}"
        message = f"Changes of rules need a second person here, so only an owner may take {which} off {whom}."
        raise RuleBroken("policies", message)
