"""Detectors of somebody else's through every door: the admin, the page that tries one, the API, a manifest, rules."""

import pytest
from django.test import Client
from django.urls import reverse

from audit.models import EventRow
from gateway import detector_setup
from gateway.detector_setup import Trial
from gateway.detectors import Answered
from gateway.manifests import read_wish
from governance.manifest.plan import Refused, plan
from governance.manifest.reader import BadManifest
from governance.manifest.schema import Source
from governance.models import ExternalDetector, Reaction
from governance.rule_checks import check_policy
from governance.rule_texts import RuleText
from governance.rule_world import read_world
from governance.snapshot_builder import build_snapshot
from tests.fresh_database import fresh_database
from tests.gateway.admin_pages import post
from tests.gateway.calling import fields_of, problem
from tests.gateway.calling import security as security_api
from tests.governance.manifests import manifest, stored

__all__ = ("fresh_database",)
FORM = {
    "name": "people",
    "kind": "presidio",
    "setting_url": "http://presidio:5002",
    "setting_language": "en",
    "side": "both",
    "timeout_ms": "800",
    "most_bytes": "5000",
    "severity": "high",
    "least_confidence": "0.5",
    "is_enabled": "on",
}
BODY = {"name": "people", "kind": "presidio", "settings": {"url": "http://presidio:5002"}}


@pytest.mark.django_db
def test_it_is_set_up_field_by_field_and_says_what_does_not_fit(security: Client) -> None:
    chosen = security.get(reverse("admin:governance_externaldetector_add")).content.decode()
    assert "?kind=presidio" in chosen
    broken = post(security, "governance_externaldetector_add", **{**FORM, "setting_url": "ftp://x"})
    assert "Write a plain address" in str(broken.context["adminform"].form.errors["setting_url"])
    much = post(security, "governance_externaldetector_add", **{**FORM, "kind": "bedrock", "most_bytes": "26000"})
    assert much.context["adminform"].form.errors.keys() >= {"secret", "setting_region"}
    assert post(security, "governance_externaldetector_add", **FORM).status_code == 302
    row = ExternalDetector.objects.get()
    assert (row.settings, row.number, row.timeout_ms) == ({"url": "http://presidio:5002"}, 1, 800)
    changed = {**FORM, "setting_entities": "PERSON"}
    assert post(security, "governance_externaldetector_change", row.pk, **changed).status_code == 302
    row.refresh_from_db()
    assert (row.settings["entities"], row.number) == ("PERSON", 2)
    shown = security.get(reverse("admin:governance_externaldetector_changelist")).content.decode()
    assert "detector:people" in shown


@pytest.mark.django_db
def test_it_is_tried_with_a_text_of_nobodys(security: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    row = ExternalDetector.objects.create(**BODY)
    page = reverse("try_detector", args=[row.pk])
    assert "Ask it now" in security.get(page).content.decode()
    monkeypatch.setattr(
        "gateway.console.detecting.pages.try_detector",
        lambda row: Trial(row.name, Answered("timeout", message="It did not answer in time.")),
    )
    told = security.post(page).content.decode()
    assert "No answer (timeout)" in told
    event = EventRow.objects.get(kind="detector.tested")
    assert b'"outcome":"timeout"' in bytes(event.header)


@pytest.mark.django_db
def test_the_api_says_what_is_wrong_by_field_and_keeps_what_rules_name() -> None:
    api = security_api()
    wrong = api.post("detectors", {**BODY, "settings": {"url": "x"}, "most_bytes": 1})
    assert fields_of(problem(wrong, 422, "refused")) == {"settings.url"}
    assert fields_of(problem(api.post("detectors", {**BODY, "kind": "nightfall"}), 422, "refused")) == {"secret"}
    made = api.post("detectors", BODY)
    assert (made.status_code, made.json()["version"], made.json()["enabled"]) == (201, 1, True)
    path = f"detectors/{made.json()['id']}"
    assert api.patch(path, {"timeout_ms": 300}).json()["version"] == 2
    Reaction.objects.create(name="seen", trigger="finding", action="hold_run", findings=["detector:people"])
    problem(api.delete(path), 409, "conflict")
    Reaction.objects.all().delete()
    assert api.delete(path).status_code == 204


@pytest.mark.django_db
def test_a_rule_names_what_is_there_and_where_it_is_asked() -> None:
    rules = (RuleText("deny", findings=("detector:people",)),)
    faults = {fault.code: fault.message for fault in check_policy("p", rules=rules, world=read_world())}
    assert "there is no detector 'people'" in faults["no_such_finding"]
    row = ExternalDetector.objects.create(**BODY)
    assert not {each.code for each in check_policy("p", rules=rules, world=read_world())} & {
        "no_such_finding",
        "never_found",
    }
    row.side = "result"
    row.save()
    faults = {fault.code: fault.message for fault in check_policy("p", rules=rules, world=read_world())}
    assert "only asked about on: result" in faults["never_found"]


@pytest.mark.database
def test_a_change_moves_the_epoch_and_reaches_the_snapshot(fresh_database: None) -> None:
    ExternalDetector.objects.create(**BODY)
    before = build_snapshot()
    row = ExternalDetector.objects.get()
    row.is_enabled = False
    row.save()
    after = build_snapshot(before)
    assert after.epoch > before.epoch
    assert (before.detectors["people"].is_enabled, after.detectors["people"].is_enabled) == (True, False)
    assert (before.detectors["people"].version, after.detectors["people"].version) == (1, 2)


def test_a_manifest_names_what_it_sets_up() -> None:
    text = "policies:\n  - {name: p, rules: [{effect: deny, findings: ['detector:people']}]}\n"
    described = "detectors:\n  - {name: people, kind: presidio, settings: {url: 'http://presidio:5002'}}\n"
    empty = stored("")
    with pytest.raises(Refused, match="there is no detector 'people'"):
        plan(manifest(text), empty, new_values=(), prune=False)
    steps = plan(manifest(described + text), empty, new_values=(), prune=False).steps
    assert [step.kind for step in steps] == ["policies", "detectors"]
    with pytest.raises(Refused, match="detector people is still used here"):
        plan(manifest("detectors: []"), stored(described + text), new_values=(), prune=True)


def test_a_manifest_is_told_what_a_kind_says_to_its_settings() -> None:
    text = "apiVersion: gatehouse/v1\ndetectors: [{name: people, kind: presidio, settings: {url: 'ftp://x'}}]\n"
    with pytest.raises(BadManifest, match=r"settings\.url.*write a plain address"):
        read_wish([Source("m.yaml", text.encode())])


def test_the_model_knows_the_kinds_that_can_be_asked() -> None:
    assert set(ExternalDetector.KINDS) == set(detector_setup.DETECTOR_KINDS)
