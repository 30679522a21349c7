"""Policies that come with Gatehouse: they hold their own tests, and are added by a click or a command."""

import io
import json
from pathlib import Path

import pytest
from django.core.management import call_command
from django.db.models import F
from django.test import Client
from django.urls import reverse

from audit.models import EventRow
from governance import ready_policies
from governance.models import Epoch, Organization, Policy, PolicyVersion, RateLimit, Rule
from governance.rule_tests import run_tests
from governance.snapshot_builder import build_snapshot
from tests.gateway.admin_pages import post
from tests.gateway.signing_in import let_time_pass, sign_in

PAGE = "ready_policies"


@pytest.mark.parametrize("name", ready_policies.NAMES)
def test_each_says_what_its_tests_want(name: str) -> None:
    entry = ready_policies.shipped(name)
    assert entry.name == name
    assert [result.sentence for result in run_tests(entry.texts(), entry.plain_tests(), []) if not result.passed] == []
    assert {test.rule for test in entry.tests}


@pytest.mark.parametrize("name", ready_policies.NAMES)
def test_each_keeps_secrets_in_and_holds_after_orders(name: str) -> None:
    entry = ready_policies.shipped(name)
    about = [{"findings": ["secret"], "expect": "deny"}, {"labels": ["flagged"], "expect": "ask"}]
    cases = [{"name": str(number), "tool": "example_update", **each} for number, each in enumerate(about)]
    assert [result.got for result in run_tests(entry.texts(), cases, [])] == ["deny", "ask"]


@pytest.mark.parametrize("name", ready_policies.NAMES)
def test_each_has_a_lower_rate_for_runs_that_have_met_something(name: str) -> None:
    rates = {label: limit.requests or 0 for limit in ready_policies.limits_of(name) for label in limit.labels}
    assert 0 < rates["flagged"] < rates["untrusted"]


@pytest.mark.parametrize("name", ready_policies.NAMES)
def test_each_says_something_of_what_is_unusual(name: str) -> None:
    entry = ready_policies.shipped(name)
    case = {"name": "1", "tool": "example_update", "findings": ["anomaly"], "expect": "flag"}
    (result,) = run_tests(entry.texts(), [case], [])
    assert result.got in ("flag", "ask")


@pytest.mark.django_db
class TestAdding:
    def test_by_a_click(self, security: Client) -> None:
        text = security.get(reverse(PAGE)).content.decode()
        assert text.count("not here") == len(ready_policies.NAMES)
        security.post(reverse(PAGE), {"name": "strict", "act": "add"})
        version = PolicyVersion.objects.get(policy__name="strict")
        assert (version.state, version.rules.count()) == ("published", len(ready_policies.shipped("strict").rules))
        assert not Organization.objects.filter(policies__name="strict").exists()
        assert EventRow.objects.filter(kind="policy.published", actor="person:sam@example.com").exists()

    def test_the_shipped_edition_comes_back(self, security: Client) -> None:
        security.post(reverse(PAGE), {"name": "strict", "act": "add"})
        Rule.objects.filter(version__policy__name="strict", position=1).delete()
        assert "other than shipped" in security.get(reverse(PAGE)).content.decode()
        security.post(reverse(PAGE), {"name": "strict", "act": "add"})
        assert "other than shipped" not in security.get(reverse(PAGE)).content.decode()
        assert PolicyVersion.objects.filter(policy__name="strict").count() == 2

    def test_for_everybody(self, owner: Client) -> None:
        owner.post(reverse(PAGE), {"name": "baseline", "act": "bind"})
        assert build_snapshot().organization_policies == {Policy.objects.get().pk.hex}
        assert "binds everybody" in owner.get(reverse(PAGE)).content.decode()

    def test_runs_that_have_met_something_get_a_lower_rate_while_it_binds_everybody(self, owner: Client) -> None:
        owner.post(reverse(PAGE), {"name": "baseline", "act": "add"})
        assert not RateLimit.objects.exists()
        for _ in range(2):
            owner.post(reverse(PAGE), {"name": "baseline", "act": "bind"})
            assert {limit.name: (limit.labels, limit.max_requests) for limit in RateLimit.objects.all()} == {
                "baseline-after-orders": (["flagged"], 20),
                "baseline-after-strangers": (["untrusted"], 120),
            }
            owner.post(reverse(PAGE), {"name": "baseline", "act": "free"})
            assert not RateLimit.objects.exists()
            assert not Organization.objects.get().policies.exists()
        assert Policy.objects.filter(name="baseline").exists()

    def test_limits_that_somebody_changed_stay_as_they_are(self, owner: Client) -> None:
        owner.post(reverse(PAGE), {"name": "baseline", "act": "bind"})
        RateLimit.objects.filter(labels=["flagged"]).update(max_requests=3)
        owner.post(reverse(PAGE), {"name": "baseline", "act": "bind"})
        owner.post(reverse(PAGE), {"name": "baseline", "act": "free"})
        assert [limit.max_requests for limit in RateLimit.objects.all()] == [3]

    def test_where_rules_need_a_second_person_only_an_owner_takes_one_off(
        self, owner: Client, security: Client
    ) -> None:
        owner.post(reverse(PAGE), {"name": "baseline", "act": "bind"})
        Organization.objects.update(requires_review=True)
        security.post(reverse(PAGE), {"name": "baseline", "act": "free"})
        assert Organization.objects.get().policies.exists()
        assert RateLimit.objects.count() == 2
        owner.post(reverse(PAGE), {"name": "baseline", "act": "free"})
        assert not Organization.objects.get().policies.exists()

    def test_not_by_others(self) -> None:
        assert sign_in("auditor").post(reverse(PAGE), {"name": "strict", "act": "add"}).status_code == 403
        assert not Policy.objects.exists()

    def test_by_the_command_and_only_once(self) -> None:
        for told in ("Applied.", "Nothing to do."):
            out = io.StringIO()
            call_command("apply", "baseline", "engineering", stdout=out)
            assert out.getvalue().strip().endswith(told)
        assert {policy.name for policy in Policy.objects.all()} == {"baseline", "engineering"}
        assert RateLimit.objects.filter(name="baseline-after-orders").exists()

    def test_a_new_installation_has_the_baseline_and_its_export_says_so(self, tmp_path: Path) -> None:
        said = io.StringIO()
        call_command("create_owner", "first@example.com", stdout=said)
        assert "The policy baseline binds everybody" in said.getvalue()
        assert build_snapshot().organization_policies == {Policy.objects.get(name="baseline").pk.hex}
        assert RateLimit.objects.filter(labels=["flagged"]).exists()
        assert {"owner.created", "policy.published"} <= set(EventRow.objects.values_list("kind", flat=True))
        out = io.StringIO()
        call_command("export", "--json", stdout=out)
        assert json.loads(out.getvalue())["organization"]["policies"] == ["baseline"]
        file = tmp_path / "export.json"
        file.write_text(out.getvalue())
        again = io.StringIO()
        call_command("apply", str(file), stdout=again)
        assert again.getvalue() == "Nothing to do.\n"

    def test_one_that_somebody_has_set_up_keeps_its_rules(self) -> None:
        for email in ("first@example.com", "second@example.com"):
            call_command("create_owner", email, stdout=io.StringIO())
            Organization.objects.get().policies.clear()
            Epoch.objects.update(number=F("number") + 1)  # as PostgreSQL does in COMMIT, which a test never reaches
        assert PolicyVersion.objects.count() == 1
        assert not build_snapshot().organization_policies

    def test_who_takes_it_off_everybody_has_just_signed_in(self, owner: Client) -> None:
        owner.post(reverse(PAGE), {"name": "baseline", "act": "bind"})
        only = Organization.objects.get()
        let_time_pass(owner, 16 * 60)
        assert post(owner, "governance_organization_change", only.pk, name="Example", timezone="UTC").status_code == 403
        assert only.policies.exists()
