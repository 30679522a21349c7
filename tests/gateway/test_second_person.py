"""Where changes of rules need a second person: what only an owner may do then, at every door."""

from pathlib import Path
from typing import Any

import pytest
from django.core.management import call_command

from audit.models import EventRow
from governance.models import Organization, Policy, Team, User
from tests.gateway.admin_pages import HOUSE
from tests.gateway.calling import Api, person, problem
from tests.gateway.signing_in import browser_of

pytestmark = [pytest.mark.django_db, pytest.mark.plain_sql]


@pytest.fixture
def sam() -> User:
    return person("sam@example.com", "security", "it-admin")


@pytest.fixture
def olga() -> User:
    return person("olga@example.com", owner=True)


@pytest.fixture
def care() -> Policy:
    """Binds everybody, and the team."""
    care = Policy.objects.create(name="care")
    organization, _ = Organization.objects.update_or_create(defaults={"requires_review": True})
    organization.policies.add(care)
    Team.objects.create(name="leads").policies.add(care)
    return care


def save(who: User, address: str, **fields: Any) -> str:
    answer = browser_of(who).post(f"/admin/governance/{address}/change/", fields)
    return "" if answer.status_code == 302 else str(answer.content.decode())


def organization_form(**fields: Any) -> dict[str, Any]:
    return {**HOUSE, "requires_review": "on", **fields}


def test_nobody_but_an_owner_takes_a_policy_off_the_organization(sam: User, olga: User, care: Policy) -> None:
    address = f"organization/{Organization.objects.get().pk}"
    refused = "only an owner may take the policy care off the organization"
    assert refused in save(sam, address, **organization_form())
    assert refused in problem(Api(sam).patch("organization", {"policies": []}), 422, "refused")["errors"][0]["message"]
    more = Policy.objects.create(name="more")
    assert not save(sam, address, **organization_form(policies=[care.pk, more.pk]))
    assert not save(olga, address, **organization_form())
    assert not Organization.objects.get().policies.exists()


def test_nobody_but_an_owner_takes_a_policy_off_a_team(sam: User, olga: User, care: Policy) -> None:
    team = Team.objects.get()
    refused = "only an owner may take the policy care off the team leads"
    assert refused in save(sam, f"team/{team.pk}", name="leads", title="", attributes="")
    assert (
        refused in problem(Api(sam).patch(f"teams/{team.pk}", {"policies": []}), 422, "refused")["errors"][0]["message"]
    )
    problem(Api(sam).delete(f"teams/{team.pk}"), 403, "permission_denied")
    assert not save(olga, f"team/{team.pk}", name="leads", title="", attributes="")
    assert not team.policies.exists()
    assert Api(sam).delete(f"teams/{team.pk}").status_code == 204


def test_a_place_in_the_tree_binds_too(sam: User, care: Policy) -> None:
    below = Team.objects.create(name="below", parent=Team.objects.get(name="leads"))
    refused = "only an owner may take the policy care off the team below"
    answer = problem(Api(sam).patch(f"teams/{below.pk}", {"parent": None}), 422, "refused")
    assert refused in answer["errors"][0]["message"]


def test_without_the_second_person_security_takes_them_off(sam: User, care: Policy) -> None:
    Organization.objects.update(requires_review=False)
    assert Api(sam).patch("organization", {"policies": []}).status_code == 200
    assert Api(sam).patch(f"teams/{Team.objects.get().pk}", {"policies": []}).status_code == 200


def test_that_it_was_switched_off_is_on_record_and_at_home(sam: User, olga: User, care: Policy) -> None:
    address = f"organization/{Organization.objects.get().pk}"
    off = organization_form(policies=[care.pk], requires_review="")
    assert not save(sam, address, **off)
    assert Organization.objects.get().requires_review, "she cannot"
    problem(Api(olga).patch("organization", {"requires_review": False}), 400, "invalid_input")
    assert "Review is switched off" not in browser_of(sam).get("/admin/").content.decode()
    del off["requires_review"]
    assert not save(olga, address, **off)
    assert not Organization.objects.get().requires_review
    assert EventRow.objects.get(kind="organization.review_off").actor == "person:olga@example.com"
    home = browser_of(sam).get("/admin/").content.decode()
    assert "switched off by olga@example.com" in home
    assert not save(olga, address, **organization_form(policies=[care.pk]))
    assert "Review is switched off" not in browser_of(sam).get("/admin/").content.decode()


def test_a_manifest_that_switches_it_off_is_on_record(olga: User, care: Policy, tmp_path: Path) -> None:
    manifest = tmp_path / "organization.yaml"
    manifest.write_text("apiVersion: gatehouse/v1\norganization: {name: Example Corp, review: optional}\n")
    call_command("apply", str(manifest), "--actor", "olga@example.com")
    assert not Organization.objects.get().requires_review
    assert EventRow.objects.get(kind="organization.review_off").actor == "person:olga@example.com"
