"""A saved form says in which epoch it took effect; here commits are real."""

import pytest
from django.db import transaction
from django.test import Client

from governance import shifts
from governance.facts import Fact
from governance.models import Epoch, Policy, Rule, Team
from governance.policies import publish_policy
from tests.fresh_database import fresh_database
from tests.gateway.admin_pages import post
from tests.gateway.signing_in import sign_in
from tests.gateway.test_forms import Desk, impact, told

__all__ = ("fresh_database",)

pytestmark = [pytest.mark.database, pytest.mark.usefixtures("fresh_database")]


@pytest.fixture
def security(fresh_database: None) -> Client:
    return sign_in("security", email="sam@example.com")


def test_the_effect_and_its_epoch_are_told(security: Client) -> None:
    desk = Desk()
    post(security, "governance_bundle_change", desk.bundle.pk, **desk.bundle_form(desk.read, desk.delete))
    epoch = Epoch.objects.get().number
    assert f"In force since epoch {epoch:,}: 3 agents gain ticket_delete (high risk)." in told(security)


def test_the_epoch_is_that_of_the_change_and_no_later_one(security: Client) -> None:
    desk = Desk()
    post(security, "governance_bundle_change", desk.bundle.pk, **desk.bundle_form(desk.read, title="Support"))
    epoch = Epoch.objects.get().number
    Team.objects.create(name="later")
    assert f"In force since epoch {epoch:,}: no agent gains or loses a tool." in told(security)


def test_a_save_that_changes_nothing_has_no_epoch(security: Client) -> None:
    desk = Desk()
    post(security, "governance_bundle_change", desk.bundle.pk, **desk.bundle_form(desk.read))
    assert not any("epoch" in message for message in told(security))


def test_an_effect_that_is_too_much_to_list_is_not_called_none(
    security: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    desk = Desk()
    monkeypatch.setattr(shifts, "MOST_VERDICTS", 0)
    rule = Rule(effect="deny", condition="agent.name.contains(tool.name)")
    with transaction.atomic():
        publish_policy(policy := Policy.objects.create(name="never"), rules=[rule], by="t", record=list[Fact]().append)
    fields = {**desk.bundle_form(desk.read), "policies": [str(policy.pk)]}
    assert "cannot be listed now" in impact(security, "bundle", desk.bundle, **fields)
    post(security, "governance_bundle_change", desk.bundle.pk, **fields)
    assert f"In force since epoch {Epoch.objects.get().number:,}." in told(security)
