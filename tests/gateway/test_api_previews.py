"""What the API says a change would do is what it does."""

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pytest

from audit.models import EventRow
from gateway.hostile_text import visible
from governance.models import Agent, Bundle, BundleVersion, Policy, PolicyVersion, Role
from governance.shifts import difference
from governance.snapshot_builder import build_snapshot
from tests.gateway.calling import Api, it_admin, owner, problem
from tests.gateway.test_access import bot, desk

__all__ = ("bot", "desk", "owner")

pytestmark = [pytest.mark.django_db, pytest.mark.database]

ALL = [{"connector": "helpdesk"}]
DENIES = [{"effect": "deny", "tools": ["helpdesk/ticket_*"]}]
LATER = "2100-01-01T00:00:00Z"


def bundle(api: Api) -> str:
    return f"bundles/{Bundle.objects.get().pk}"


def policy(api: Api) -> str:
    return f"policies/{Policy.objects.get().pk}"


def role(api: Api) -> str:
    return f"roles/{Role.objects.get().pk}"


CHANGES: dict[str, tuple[Callable[[Api], str], str, dict[str, Any]]] = {
    "a bundle gives more": (bundle, "versions", {"tools": ALL}),
    "a bundle gives nothing": (bundle, "versions", {}),
    "a bundle gives resources": (
        bundle,
        "versions",
        {"tools": ALL, "resources": [{**ALL[0], "allow": ["file:///a/*"]}]},
    ),
    "a bundle gives prompts": (bundle, "versions", {"prompts": ALL}),
    "a bundle loses its rules": (bundle, "versions", {"tools": [{"connector": "helpdesk", "allow": ["billing_*"]}]}),
    "a policy denies": (policy, "versions", {"rules": DENIES}),
    "a policy says nothing": (policy, "versions", {"rules": []}),
    "a role has no bundle": (role, "", {"bundles": []}),
    "a role has no agent": (role, "", {"agents": []}),
    "a role begins later": (role, "", {"starts_at": LATER}),
    "a role has hours": (role, "", {"schedule": {"from": "08:00", "to": "09:00"}}),
    "a role has another title": (role, "", {"title": "Support"}),
}


@pytest.mark.parametrize("change", CHANGES)
def test_a_preview_is_true_and_changes_nothing(owner: Api, desk: Role, change: str) -> None:
    path_of, versions, body = CHANGES[change]
    path, before, events = path_of(owner), build_snapshot(), EventRow.objects.count()

    preview = owner.post(f"{path}/preview", body)
    assert preview.status_code == 200
    assert (EventRow.objects.count(), build_snapshot().epoch) == (events, before.epoch)
    done = owner.post(f"{path}/{versions}", body) if versions else owner.patch(path, body)
    assert done.status_code in (200, 201)

    found = difference(before, build_snapshot(), now=datetime.now(UTC))
    assert [shift["text"] for shift in preview.json()["shifts"]] == [visible(str(shift)) for shift in found.shifts]
    assert bool(found) == (change != "a role has another title")


def test_a_role_that_is_not_there_yet(owner: Api, desk: Role) -> None:
    night = Agent.objects.create(name="night-bot", owner=Agent.objects.get().owner)

    told = owner.post("roles/preview", {"name": "night", "bundles": ["support"], "agents": [night.name]}).json()

    gained = {tool for shift in told["shifts"] for tool in shift["tools"]}
    assert gained == {"helpdesk/ticket_get", "helpdesk/billing_refund"}
    assert all(shift["agents"] == ["night-bot"] and shift["widens"] for shift in told["shifts"])
    assert Role.objects.count() == 1


def test_a_preview_is_checked_as_publishing_is(owner: Api, desk: Role) -> None:
    problem(owner.post(f"{bundle(owner)}/preview", {"tools": [{"connector": "nowhere"}]}), 422, "refused")
    problem(owner.post(f"{policy(owner)}/preview", {"rules": [{"effect": "deny", "when": "1 +"}]}), 422, "refused")
    problem(owner.post(f"{role(owner)}/preview", {"bundles": ["none"]}), 422, "refused")
    problem(owner.post(f"{role(owner)}/preview", {"hours": {}}), 400, "invalid_input")
    assert (BundleVersion.objects.count(), PolicyVersion.objects.count()) == (1, 1)


def test_it_is_for_those_who_may_change_it(desk: Role) -> None:
    noor = it_admin()

    problem(noor.post(f"{bundle(noor)}/preview", {}), 403, "permission_denied")
    assert noor.post(f"{role(noor)}/preview", {}).status_code == 200
