"""The sidebar folds: open is where one is, and nothing that waits is hidden by it."""

import re

import pytest
from django.core.cache import cache
from django.test import Client
from django.urls import reverse

from gateway.console.navigation import GROUPS
from governance.models import Bundle, Connector, Policy
from tests.gateway.signing_in import person

pytestmark = [pytest.mark.django_db, pytest.mark.plain_sql]

GROUP = re.compile(r'<details class="gh-group[^"]*"( open)?>\s*<summary[^>]*>\s*([^<]+?)\s*<')


@pytest.fixture
def owner() -> Client:
    client = Client()
    client.force_login(person("noor@example.com", is_staff=True, is_superuser=True))
    return client


def groups(client: Client, view: str) -> dict[str, bool]:
    """Title -> whether it lies open."""
    page = client.get(reverse(view)).content.decode()
    return {title: bool(is_open) for is_open, title in GROUP.findall(page)}


@pytest.mark.parametrize(("title", "entries"), [(title, entries) for title, entries in GROUPS.items() if title])
def test_a_page_lies_in_the_one_open_group(owner: Client, title: str, entries: tuple[object, ...]) -> None:
    for entry in GROUPS[title]:
        if entry.permission:
            assert {name for name, is_open in groups(owner, entry.view).items() if is_open} == {title}, entry.view


def test_at_home_all_lie_open(owner: Client) -> None:
    found = groups(owner, "admin:index")
    assert list(found) == [title for title in GROUPS if title]
    assert all(found.values())


def test_a_folded_group_counts_what_waits_in_it(owner: Client) -> None:
    cache.clear()
    Connector.objects.create(name="crm", last_error="down")
    page = owner.get(reverse("admin:governance_policy_changelist")).content.decode()
    summary = re.search(r"<summary[^>]*>\s*Systems(.*?)</summary>", page, re.DOTALL)
    assert summary
    assert re.search(r">\s*1\s*<", summary[1])


def test_the_page_one_is_on_is_told_to_those_who_hear_it(owner: Client) -> None:
    page = owner.get(reverse("admin:governance_policy_changelist")).content.decode()
    here = re.findall(r'<a href="([^"]+)"\s+aria-current="page"', page)
    assert here == [reverse("admin:governance_policy_changelist")]


@pytest.mark.parametrize(
    ("view", "way"),
    [
        ("admin:governance_policy_changelist", ["Rules", "Policies"]),
        ("admin:governance_agent_add", ["Agents and roles", "Agents"]),
        ("admin:audit_checkpoint_changelist", ["Evidence", "Checkpoints"]),
        ("admin:gateway_gatewayprocess_changelist", ["Operations", "Gateway processes"]),
    ],
)
def test_the_way_to_a_page_begins_with_its_group(owner: Client, view: str, way: list[str]) -> None:
    page = owner.get(reverse(view)).content.decode()
    shown = re.findall(r'align-middle inline-block leading-5 min-w-0 truncate tracking-tight">([^<]*)<', page)
    assert shown == way


@pytest.mark.parametrize(("view", "noun"), [("bundleversion", "bundle"), ("policyversion", "policy")])
def test_versions_in_review_are_counted_beside_their_list(owner: Client, view: str, noun: str) -> None:
    cache.clear()
    subject = (Bundle if noun == "bundle" else Policy).objects.create(name="care")
    subject.versions.create(number=1, state="review", created_by="test")
    page = owner.get(reverse("admin:index")).content.decode()
    link = reverse(f"admin:governance_{view}_changelist")
    beside = re.search(rf'<a href="{link}".*?</a>', page, re.DOTALL)
    assert beside
    assert re.search(r">\s*1\s*<", beside[0])
