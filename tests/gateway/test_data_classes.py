"""Data classes through every door: the admin, the API, a manifest, and the rules that name them."""

from dataclasses import replace
from typing import Any

import orjson
import pytest
from django.test import Client
from django.urls import reverse

from gateway.pipeline import run
from governance.inspection.class_description import DataClass as Described
from governance.manifest.plan import Refused, plan
from governance.models import DataClass, Epoch, Reaction
from governance.rule_checks import check_policy
from governance.rule_texts import RuleText
from governance.rule_world import read_world
from governance.snapshot_builder import build_snapshot
from tests import factories as make
from tests.fakes import FakePorts
from tests.fresh_database import fresh_database
from tests.gateway.admin_pages import post
from tests.gateway.calling import fields_of, problem
from tests.gateway.calling import security as security_api
from tests.gateway.test_content_rules import details, nothing_kept, rule, says
from tests.gateway.test_pipeline import code_of, frame, text_of, world
from tests.governance.manifests import manifest, stored

__all__ = ("fresh_database",)
PATIENT = Described("patient", 4, (r"\bP-[0-9]{6,8}\b",))
FORM = {
    "name": "patients",
    "severity": "high",
    "patterns": r"\bP-[0-9]{6,8}\b",
    "tests-TOTAL_FORMS": "2",
    "tests-INITIAL_FORMS": "0",
    "tests-0-text": "patient P-123456",
    "tests-0-found": "on",
    "tests-1-text": "part P-1",
}
BODY = {
    "name": "patients",
    "patterns": [r"\bP-[0-9]{6,8}\b"],
    "tests": [{"text": "patient P-123456", "found": True}],
}


def ports_with(*rules: Any, described: tuple[Described, ...] = (PATIENT,)) -> FakePorts:
    return FakePorts(replace(world(*rules), data_classes={each.name: each for each in described}))


# -- rules that name them


async def test_a_rule_names_a_class_and_no_other_one_is_looked_for() -> None:
    other = Described("other", 1, ("hello",))
    ports = ports_with(rule("deny", "data_class:patient"), described=(PATIENT, other))
    assert text_of(await run(frame(arguments={"note": "hello"}), ports)) == "done"
    assert code_of(await run(frame(arguments={"note": "see P-123456"}), ports)) == "denied_by_rule"
    (found,) = details(ports, -1)["findings"]
    assert (found["rule"], found["version"], found["kind"], found["path"]) == (
        "patient",
        4,
        "data_class",
        "/arguments/note",
    )
    assert nothing_kept(ports, "P-123456")


async def test_it_is_masked_in_what_is_sent_and_in_what_comes_back() -> None:
    ports = ports_with(rule("mask", "data_class:patient"), rule("mask", "data_class:patient", on="result", position=2))
    ports.upstream = lambda _: says("P-654321 was seen")
    assert text_of(await run(frame(arguments={"note": "P-123456"}), ports)) == "[PATIENT] was seen"
    assert orjson.loads(ports.sent[0]) == {"note": "[PATIENT]"}
    assert nothing_kept(ports, "P-123456", "P-654321")


async def test_a_condition_reads_it_by_name() -> None:
    reading = make.rule("deny", "findings.exists(f, f.kind == 'data_class:patient' && f.severity == 'medium')")
    ports = ports_with(reading)
    assert code_of(await run(frame(arguments={"note": "P-123456"}), ports)) == "denied_by_rule"
    assert text_of(await run(frame(arguments={"note": "P-12"}), ports)) == "done"


async def test_a_new_version_is_looked_for_from_the_next_call_on() -> None:
    ports = ports_with(rule("deny", "data_class:patient"))
    assert code_of(await run(frame(arguments={"note": "P-123456"}), ports)) == "denied_by_rule"
    ports.views = [replace(ports.views[0], data_classes={"patient": Described("patient", 5, ("hello",))})]
    assert text_of(await run(frame(arguments={"note": "P-123456"}), ports)) == "done"
    assert code_of(await run(frame(arguments={"note": "hello"}), ports)) == "denied_by_rule"


async def test_one_that_nobody_describes_any_more_counts_as_found() -> None:
    ports = ports_with(rule("deny", "data_class:patient"), described=())
    assert code_of(await run(frame(arguments={"note": "nothing"}), ports)) == "denied_by_rule"
    ports = ports_with(rule("deny", "data_class:patient", is_open=True), described=())
    assert text_of(await run(frame(arguments={"note": "nothing"}), ports)) == "done"


# -- the admin


@pytest.mark.django_db
def test_it_is_saved_when_its_tests_pass(security: Client) -> None:
    broken = post(security, "governance_dataclass_add", **{**FORM, "tests-1-found": "on"})
    assert "2: it should be found" in broken.context["adminform"].form.errors["tests"][0]
    endless = post(security, "governance_dataclass_add", **{**FORM, "patterns": "P-[0-9]+"})
    assert "'+' has no end; write a bound" in endless.context["adminform"].form.errors["patterns"][0]
    assert not DataClass.objects.exists()
    assert post(security, "governance_dataclass_add", **FORM).status_code == 302
    row = DataClass.objects.get()
    assert (row.number, row.tests[1]) == (1, {"text": "part P-1", "found": False})
    assert post(security, "governance_dataclass_change", row.pk, **FORM, words="falcon").status_code == 302
    row.refresh_from_db()
    assert (row.number, row.words) == (2, ["falcon"])
    shown = security.get(reverse("admin:governance_dataclass_changelist")).content.decode()
    assert "1 pattern, 1 word" in shown
    assert "data_class:patients" in shown


@pytest.mark.django_db
def test_a_rule_and_a_reaction_can_choose_it_and_then_it_stays(security: Client) -> None:
    row = DataClass.objects.create(**BODY)
    form = security.get(reverse("admin:governance_policy_add")).content.decode()
    assert "data_class:patients" in form
    reaction = {
        "name": "seen",
        "trigger": "finding",
        "findings": ["data_class:patients"],
        "count": "1",
        "minutes": "10",
        "action": "hold_run",
        "lasting_minutes": "60",
        "approver_count": "1",
    }
    assert post(security, "governance_reaction_add", **reaction).status_code == 302
    assert Reaction.objects.get().findings == ["data_class:patients"]
    kept = post(security, "governance_dataclass_delete", row.pk, post="yes")
    assert kept.status_code == 409
    assert "reaction seen" in kept.content.decode()


@pytest.mark.django_db
def test_a_rule_cannot_name_what_nobody_described() -> None:
    rules = (RuleText("deny", findings=("data_class:patients",)),)
    faults = {fault.code: fault.message for fault in check_policy("p", rules=rules, world=read_world())}
    assert "there is no data class 'patients'" in faults["no_such_finding"]
    DataClass.objects.create(**BODY)
    assert "no_such_finding" not in {each.code for each in check_policy("p", rules=rules, world=read_world())}


# -- the API


@pytest.mark.django_db
def test_the_api_says_what_is_wrong_by_field() -> None:
    api = security_api()
    assert fields_of(problem(api.post("data-classes", {**BODY, "patterns": ["(?=x)"]}), 422, "refused")) == {"patterns"}
    assert fields_of(problem(api.post("data-classes", {**BODY, "tests": []}), 422, "refused")) == {"tests"}
    made = api.post("data-classes", BODY)
    assert (made.status_code, made.json()["version"]) == (201, 1)
    path = f"data-classes/{made.json()['id']}"
    assert fields_of(problem(api.patch(path, {"validator": "luhn"}), 422, "refused")) == {"tests"}
    changed = api.patch(path, {"words": ["falcon"]}).json()
    assert (changed["version"], changed["words"]) == (2, ["falcon"])
    Reaction.objects.create(name="seen", trigger="finding", action="hold_run", findings=["data_class:patients"])
    problem(api.delete(path), 409, "conflict")
    Reaction.objects.all().delete()
    assert api.delete(path).status_code == 204


# -- the snapshot and the manifest


@pytest.mark.database
def test_a_change_moves_the_epoch_and_reaches_the_snapshot(fresh_database: None) -> None:
    DataClass.objects.create(**BODY)
    before = build_snapshot()
    assert before.data_classes["patients"].version == 1
    row = DataClass.objects.get()
    row.words = ["falcon"]
    row.save()
    after = build_snapshot(before)
    assert (after.epoch > before.epoch, after.data_classes["patients"].words) == (True, ("falcon",))
    assert Epoch.objects.get().number == after.epoch


def test_a_manifest_names_what_it_describes() -> None:
    text = "policies:\n  - {name: p, rules: [{effect: deny, findings: ['data_class:patients']}]}\n"
    described = "data_classes:\n  - {name: patients, words: [falcon], tests: [{text: the falcon}]}\n"
    empty = stored("")
    with pytest.raises(Refused, match="there is no data class 'patients'"):
        plan(manifest(text), empty, new_values=(), prune=False)
    both = manifest(described + text)
    assert [step.kind for step in plan(both, empty, new_values=(), prune=False).steps] == ["policies", "data_classes"]
    with pytest.raises(Refused, match="data class patients is still used here"):
        plan(manifest("data_classes: []"), stored(described + text), new_values=(), prune=True)
