"""Forms of versioned rows ask the database as often for a long history and many rules as for short ones."""

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse

from governance.bundles import publish_bundle
from governance.facts import Fact
from governance.models import Bundle, BundleSelection, BundleTool, Connector, Policy, Rule, Team, Tool
from governance.policies import publish_policy
from tests.gateway.signing_in import person

pytestmark = [pytest.mark.django_db, pytest.mark.database]

FACTS: list[Fact] = []
MOST_FOR_A_POLICY = 13
MOST_FOR_A_BUNDLE = 17
"""Its form has six pickers, and each reads what it offers; what is chosen is read once for each relation."""


@pytest.fixture
def security() -> Client:
    client = Client()
    client.force_login(person("sam@example.com", is_staff=True, duties=["security"]))
    return client


def queries_for(client: Client, view: str, row: Bundle | Policy) -> int:
    """The fewest of three: what is written once a minute (when somebody was last seen) is not the form's."""
    address = reverse(f"admin:governance_{view}_change", args=[row.pk])
    return min(queries_of_one(client, address) for _ in range(3))


def queries_of_one(client: Client, address: str) -> int:
    with CaptureQueriesContext(connection) as queries:
        assert client.get(address).status_code == 200
    return len(queries)


def versions_of_policy(policy: Policy, *, count: int, rules: int) -> None:
    for _ in range(count):
        asks = [Rule(effect="ask", approvers={"team": "leads", "count": 1}) for _ in range(rules)]
        publish_policy(policy, rules=asks, by="test", record=FACTS.append)


def versions_of_bundle(bundle: Bundle, *, count: int, systems: int) -> None:
    connectors = [Connector.objects.create(name=f"system-{number}") for number in range(systems)]
    others = [Bundle.objects.create(name=f"base-{number}") for number in range(systems)]
    policies = [Policy.objects.create(name=f"care-{number}") for number in range(systems)]
    for connector in connectors:
        Tool.objects.create(connector=connector, name="get")
    for _ in range(count):
        kinds = BundleSelection.Kind.values
        publish_bundle(
            bundle,
            tools=[BundleTool(connector=each, allow=["get"], deny=[]) for each in connectors],
            selections=[BundleSelection(connector=each, kind=kind) for each in connectors for kind in kinds],
            parents=others,
            policies=policies,
            names="",
            recording="full",
            by="test",
            record=FACTS.append,
        )


def test_a_policy_of_many_rules(security: Client) -> None:
    Team.objects.create(name="leads")
    policy = Policy.objects.create(name="care")
    versions_of_policy(policy, count=1, rules=1)
    few = queries_for(security, "policy", policy)
    versions_of_policy(policy, count=4, rules=6)
    assert queries_for(security, "policy", policy) == few <= MOST_FOR_A_POLICY


def test_a_bundle_of_many_systems(security: Client) -> None:
    small, large = Bundle.objects.create(name="small"), Bundle.objects.create(name="large")
    versions_of_bundle(small, count=1, systems=1)
    few = queries_for(security, "bundle", small)
    Connector.objects.all().update(name="renamed")
    Bundle.objects.filter(name__startswith="base").update(name="other")
    Policy.objects.all().update(name="other")
    versions_of_bundle(large, count=4, systems=5)
    assert queries_for(security, "bundle", large) == few <= MOST_FOR_A_BUNDLE
