"""What a form says before it is saved is what saving it does: the proposed snapshot gives what the real one gives."""

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pytest
from django.db.models import Model
from django.test import Client
from django.urls import reverse

from gateway.console import deleting, impact_panel
from gateway.console.impact import Impact, Proposal
from governance.models import Freeze, Organization, Policy, Team
from governance.shifts import difference
from governance.snapshot import Snapshot
from governance.snapshot_builder import build_snapshot
from tests.gateway.admin_pages import HELPDESK, HOUSE, HOW_TO_REACH, post
from tests.gateway.test_forms import Desk, a_policy_that_denies_all, rules_form

pytestmark = [pytest.mark.django_db, pytest.mark.database]

Form = tuple[Model, dict[str, Any]]
OFF = {**HOW_TO_REACH, "urls": HELPDESK, "is_enabled": ""}


def denying() -> list[str]:
    return [str(a_policy_that_denies_all().pk)]


def ana_s_team(desk: Desk) -> Team:
    team = Team.objects.create(name="support")
    desk.ana.teams.add(team)
    return team


CHANGES: dict[str, Callable[[Desk], Form]] = {
    "a bundle gives more": lambda desk: (desk.bundle, desk.bundle_form(desk.read, desk.delete)),
    "a bundle gives something else": lambda desk: (desk.bundle, desk.bundle_form(desk.refund)),
    "a bundle takes on rules": lambda desk: (desk.bundle, desk.bundle_form(desk.read, policies=denying())),
    "a bundle is withdrawn": lambda desk: (desk.bundle, desk.bundle_form(desk.read) | {"is_published": ""}),
    "a role has fewer agents": lambda desk: (
        desk.role,
        {"title": "", "bundles": [str(desk.bundle.pk)], "agents": [str(desk.agents[0].pk)]},
    ),
    "a role has no bundle": lambda desk: (desk.role, {"title": "", "agents": [str(agent.pk) for agent in desk.agents]}),
    "a person is switched off": lambda desk: (desk.ana, {"email": desk.ana.email, "name": ""}),
    "a policy denies": lambda desk: (desk.policy, rules_form({"reason": "No."})),
    "a policy asks sometimes": lambda desk: (
        desk.policy,
        rules_form({"effect": "ask", "condition": "args.amount > 100"}),
    ),
    "a team gets rules": lambda desk: (ana_s_team(desk), {"policies": denying()}),
    "the organization gets rules": lambda desk: (
        Organization.objects.create(),
        {**HOUSE, "policies": denying()},
    ),
    "a connector is switched off": lambda desk: (desk.connector, OFF),
    "an agent is suspended": lambda desk: (
        desk.agents[0],
        {"title": "", "purpose": "", "owner": str(desk.ana.pk), "status": "suspended"},
    ),
}


@pytest.fixture
def proposed(monkeypatch: pytest.MonkeyPatch) -> list[Snapshot | None]:
    """The snapshots that forms propose."""
    seen: list[Snapshot | None] = []
    real = impact_panel.impact_of

    def overheard(proposal: Proposal) -> Impact | None:
        seen.append(proposal(build_snapshot()))
        return real(proposal)

    for module in (impact_panel, deleting):
        monkeypatch.setattr(module, "impact_of", overheard)
    return seen


def told(before: Snapshot, after: Snapshot | None) -> str:
    assert after is not None
    return difference(before, after, now=datetime.now(UTC)).summary(shown=100)


@pytest.mark.parametrize("change", CHANGES)
def test_saving_does_what_was_shown(change: str, owner: Client, proposed: list[Snapshot | None]) -> None:
    row, fields = CHANGES[change](Desk())
    before = build_snapshot()
    answer = post(owner, f"governance_{row._meta.model_name}_change", row.pk, **fields)
    assert answer.status_code == 302, answer.context["errors"]
    (shown,), after = proposed, build_snapshot()
    assert told(before, after), "the change is one of reach"
    assert told(before, shown) == told(before, after)
    assert shown is not None
    assert told(shown, after) == ""


def test_a_new_freeze_does_what_was_shown(owner: Client, proposed: list[Snapshot | None]) -> None:
    desk = Desk()
    before = build_snapshot()
    answer = post(owner, "governance_freeze_add", connector=str(desk.connector.pk), reason="Drill")
    assert answer.status_code == 302
    (shown,) = proposed
    assert Freeze.objects.count() == 1
    assert told(before, shown) == told(before, build_snapshot()) != ""


def a_team_whose_rules_end(desk: Desk) -> Team:
    """Below one whose rules end for its members, too."""
    above = Team.objects.create(name="everyone")
    above.policies.add(a_policy_that_denies_all())
    team = Team.objects.create(name="night", parent=above)
    desk.ana.teams.add(team)
    return team


DELETIONS: dict[str, Callable[[Desk], Any]] = {"role": lambda desk: desk.role, "team": a_team_whose_rules_end}


@pytest.mark.parametrize("deletion", DELETIONS)
def test_deleting_does_what_was_shown(deletion: str, owner: Client, proposed: list[Snapshot | None]) -> None:
    row = DELETIONS[deletion](Desk())
    before = build_snapshot()
    answer = owner.post(reverse(f"admin:governance_{deletion}_delete", args=[row.pk]), {"post": "yes"})
    assert answer.status_code == 302
    assert told(before, proposed[-1]) == told(before, build_snapshot()) != ""


def test_a_policy_bound_nowhere_changes_nothing(owner: Client, proposed: list[Snapshot | None]) -> None:
    Desk()
    unbound = Policy.objects.create(name="unbound")
    before = build_snapshot()
    post(owner, "governance_policy_change", unbound.pk, **rules_form({"reason": "No."}))
    assert told(before, proposed[-1]) == told(before, build_snapshot()) == ""
