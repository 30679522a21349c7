"""Drafts, review, staged rollout and trials, as people and scripts meet them."""

import json
from datetime import UTC, datetime, timedelta
from io import StringIO
from pathlib import Path
from typing import Any

import orjson
import pytest
from django.core.management import CommandError, call_command
from django.test import Client
from django.urls import reverse

from audit.event import AuditEvent, uuid7
from audit.models import EventRow
from audit.record import SealedPayload, commit_to, record
from gateway.models import Notice
from governance.bundles import BundleContent, publish_bundle
from governance.facts import Fact
from governance.fence.actor import governed_change
from governance.lifecycle import save_draft
from governance.models import (
    Agent,
    Bundle,
    BundleTool,
    BundleVersion,
    Connector,
    Organization,
    Policy,
    PolicyVersion,
    Role,
    Rule,
    Tool,
    ToolDefinition,
    User,
)
from governance.payload_keys import Place, sealer_at
from governance.personal_tokens import SCOPES, issue_token
from governance.policies import PolicyContent, publish_policy
from governance.vault import keyring
from tests.gateway.signing_in import browser_of, person, sign_in

pytestmark = pytest.mark.django_db
FACTS: list[Fact] = []
TOLD: dict[str, Any] = {"by": "person:sam@example.com", "record": FACTS.append}


def a_tool(connector: Connector, name: str, **fields: Any) -> Tool:
    tool = Tool.objects.create(connector=connector, name=name, **fields)
    schema = {"type": "object", "properties": {"amount": {"type": "number"}, "id": {"type": "string"}}}
    body = orjson.dumps({"name": name, "inputSchema": schema})
    ToolDefinition.objects.create(tool=tool, digest=f"{name:x<64}"[:64], body=body, status=ToolDefinition.Status.PINNED)
    return tool


class Desk:
    """A helpdesk; its bundle gives all tools but one to an agent, under a policy that asks above 100."""

    def __init__(self) -> None:
        self.connector = Connector.objects.create(name="helpdesk", last_seen_at=datetime.now(UTC))
        for name, fields in (("ticket_get", {"is_read_only": True}), ("ticket_delete", {"risk": "high"})):
            a_tool(self.connector, name, **fields)
        a_tool(self.connector, "billing_refund")
        self.sam = person("sam@example.com", is_staff=True, duties=["security"])
        self.policy = Policy.objects.create(name="refunds")
        self.bundle = Bundle.objects.create(name="support")
        publish_policy(self.policy, rules=[self.rule(100)], **TOLD)
        self.publish(["billing_*", "ticket_get"])
        self.agent = Agent.objects.create(name="triage-bot", owner=person("ana@example.com"))
        role = Role.objects.create(name="support-agent")
        role.bundles.add(self.bundle)
        role.agents.add(self.agent)

    def rule(self, above: int, effect: str = "ask") -> Rule:
        return Rule(
            effect=effect, tools=["billing_refund"], condition=f"args.amount > {above}", reason="Refunds need a lead"
        )

    def publish(self, allow: list[str]) -> None:
        content = self.content(allow)
        publish_bundle(
            self.bundle, tools=content.tools, parents=[], policies=[self.policy], names="", recording="full", **TOLD
        )

    def content(self, allow: list[str]) -> BundleContent:
        tools = [BundleTool(connector=self.connector, allow=allow)]
        return BundleContent(tools, [], [], [self.policy], "", "full")

    def bundle_draft(self, *allow: str) -> BundleVersion:
        draft: BundleVersion = save_draft(self.bundle, self.content(list(allow)), **TOLD)
        return draft

    def policy_draft(self, *rules: Rule, tests: Any = ()) -> PolicyVersion:
        draft: PolicyVersion = save_draft(self.policy, PolicyContent(rules, tests), **TOLD)
        return draft

    def called(self, tool: str, arguments: Any = None, *, ago: timedelta = timedelta(hours=1), **details: Any) -> None:
        """A call in the evidence; without arguments those were not recorded."""
        event_id, payload, commitment = uuid7(int((datetime.now(UTC) - ago).timestamp() * 1000)), None, b""
        if arguments is not None:
            sealer, body = sealer_at(Place("person:1", "standard", "2026-11"), keyring()), orjson.dumps(arguments)
            commitment, blinding = commit_to(body)
            payload = SealedPayload(sealer.key_id, sealer.seal(blinding + body, event_id=event_id))
        event = AuditEvent(
            kind="call.intent",
            id=event_id,
            at=datetime.now(UTC) - ago,
            actor="agent:triage-bot",
            call_id=uuid7(),
            agent="triage-bot",
            person="ana@example.com",
            connector="helpdesk",
            tool=tool,
            decision="permit",
            payload_commitment=commitment,
            details={"code": "permitted", "bundle": "support v1", **details},
        )
        record(event, payload=payload)


@pytest.fixture
def desk() -> Desk:
    with governed_change(by="test"):
        return Desk()


@pytest.fixture
def sam(desk: Desk) -> Client:
    return browser_of(desk.sam)


def page_of(version: Any, page: str = "review") -> str:
    noun = "bundle" if isinstance(version, BundleVersion) else "policy"
    return reverse(f"{noun}_version_{page}", args=[version.pk])


def step(client: Client, version: Any, name: str, **fields: Any) -> str:
    version.refresh_from_db()
    answer = client.post(page_of(version), {"step": name, "seen": version.revision, **fields}, follow=True)
    version.refresh_from_db()
    return str(answer.content.decode())


def test_the_review_page_tells_what_changes_in_words(desk: Desk, sam: Client) -> None:
    shown = sam.get(page_of(desk.policy_draft(desk.rule(500)))).content.decode()
    assert "Refunds need a lead: condition amount over 100" in shown
    assert "Refunds need a lead: condition amount over 500" in shown
    shown = sam.get(page_of(desk.bundle_draft("*"))).content.decode()
    assert "gives helpdesk/ticket_delete" in shown
    assert "high risk" in shown
    assert "triage-bot gains ticket_delete" in shown


def test_where_changes_are_reviewed_it_takes_another_human(desk: Desk, sam: Client) -> None:
    Organization.objects.update_or_create(defaults={"requires_review": True})
    draft = desk.bundle_draft("*")
    assert "Submit it for review first" in step(sam, draft, "publish")
    step(sam, draft, "submit", summary="Deletes too")
    assert draft.state == "review"
    assert "You have written a part of it" in step(sam, draft, "publish")
    disguised = person("sam-admin@example.com", is_staff=True, is_superuser=True, same_as=desk.sam)
    assert "You have written a part of it" in step(browser_of(disguised), draft, "publish")
    assert draft.state == "review"
    step(sign_in("security", email="kim@example.com"), draft, "publish")
    assert (draft.state, draft.reviewed_by) == ("published", "person:kim@example.com")


def test_whoever_may_agree_hears_of_it_and_who_wrote_it_does_not(desk: Desk, sam: Client, settings: Any) -> None:
    settings.EMAIL_HOST = "mail.example.com"
    kim = person("kim@example.com", is_staff=True, duties=["security"])
    person("sam-admin@example.com", is_staff=True, is_superuser=True, same_as=desk.sam)
    draft = desk.bundle_draft("*")
    step(sam, draft, "submit", summary="Deletes too")
    told = Notice.objects.get()
    assert (told.person_id, told.subject) == (kim.pk, f"Review wanted: bundle {draft}")
    assert told.body["path"] == page_of(draft)
    assert told.body["lines"] == [f"sam@example.com asks for a review of bundle {draft}.", "Deletes too"]
    line = "1 draft waits for somebody else to agree"
    assert line in browser_of(kim).get("/admin/").content.decode()
    assert line not in sam.get("/admin/").content.decode()
    step(browser_of(kim), draft, "send_back", note="Why?")
    assert line not in browser_of(kim).get("/admin/").content.decode()


def test_no_door_leads_around_the_review(desk: Desk, sam: Client) -> None:
    Organization.objects.update_or_create(defaults={"requires_review": True})
    form = sam.get(reverse("admin:governance_policy_change", args=[desk.policy.pk])).content.decode()
    assert "Somebody else reviews it" in form
    fields = {
        "title": "", "is_in_force": "on", "seen": "1", "seen_revision": "0", "rules-TOTAL_FORMS": "0",
        "rules-INITIAL_FORMS": "0", "versions-TOTAL_FORMS": "0", "versions-INITIAL_FORMS": "0",
    }  # fmt: skip
    sam.post(reverse("admin:governance_policy_change", args=[desk.policy.pk]), fields)
    assert desk.policy.versions.get(state="published").rules.count() == 1
    assert desk.policy.versions.filter(state="draft").exists()
    fields["is_in_force"] = ""
    sam.post(reverse("admin:governance_policy_change", args=[desk.policy.pk]), {**fields, "seen": "2"})
    assert desk.policy.versions.filter(state="published").exists()


def test_an_outdated_draft_goes_on_only_on_what_is_published_now(desk: Desk, sam: Client) -> None:
    draft = desk.bundle_draft("*")
    desk.publish(["ticket_get"])
    assert "Something else is in force by now" in sam.get(page_of(draft)).content.decode()
    step(sam, draft, "publish")
    assert draft.state == "draft"
    step(sam, draft, "take_over")
    again = BundleVersion.objects.get(state="draft")
    assert (draft.state, again.based_on, again.tools.get().allow) == ("discarded", 3, ["*"])
    step(sam, again, "publish")
    assert again.state == "published"


def test_some_agents_first_then_all_or_none(desk: Desk, sam: Client) -> None:
    draft = desk.bundle_draft("*")
    assert "Choose the agents" in step(sam, draft, "stage")
    step(sam, draft, "stage", agents="triage-bot")
    assert (draft.state, desk.bundle.versions.get(state="published").number) == ("staged", 1)
    shown = sam.get(reverse("agent_overview", args=[desk.agent.pk])).content.decode()
    assert "support v2, staged to it" in shown
    step(sam, draft, "take_back")
    assert (draft.state, draft.staged_agents.count()) == ("superseded", 0)
    step(sam, draft, "roll_back")
    back = BundleVersion.objects.get(state="draft")
    step(sam, back, "stage", agents="triage-bot")
    step(sam, back, "publish")
    assert (back.state, desk.bundle.versions.filter(state="published").count()) == ("published", 1)


def test_what_was_edited_since_it_was_shown_is_not_published(desk: Desk, sam: Client) -> None:
    draft = desk.bundle_draft("*")
    seen = draft.revision
    desk.bundle_draft("ticket_*")
    sam.post(page_of(draft), {"step": "publish", "seen": seen})
    draft.refresh_from_db()
    assert draft.state == "draft"


def test_a_rule_that_can_never_match_is_not_published(desk: Desk, sam: Client) -> None:
    draft = desk.policy_draft(Rule(effect="deny", tools=["nothing_*"], reason="Never"))
    assert "can never match" in step(sam, draft, "publish")
    assert draft.state == "draft"


def token_of(person: User) -> dict[str, str]:
    with governed_change(by="test"):
        issued = issue_token(person, name="ci", scopes=SCOPES, by="test", record=FACTS.append, now=datetime.now(UTC))
    return {"authorization": f"Bearer {issued.token}"}


def ask(headers: dict[str, str], path: str, **body: Any) -> Any:
    return Client().post(f"/api/v1/{path}", body, content_type="application/json", headers=headers)


def test_scripts_go_the_same_way(desk: Desk) -> None:
    Organization.objects.update_or_create(defaults={"requires_review": True})
    sam, kim = token_of(desk.sam), token_of(person("kim@example.com", is_staff=True, duties=["security"]))
    versions = f"policies/{desk.policy.pk}/versions"
    rule = {"effect": "ask", "tools": ["billing_refund"], "when": "args.amount > 500"}
    assert ask(sam, versions, rules=[rule]).json()["code"] == "review_required"
    draft = ask(sam, f"{versions}/draft", rules=[rule], summary="Up to 500").json()
    assert (draft["state"], draft["based_on"]) == ("draft", 1)
    here = f"{versions}/{draft['id']}"
    stale = Client().post(
        f"/api/v1/{here}/discard", {}, content_type="application/json", headers={**sam, "if-match": '"x"'}
    )
    assert stale.status_code == 412
    assert ask(sam, f"{here}/submit", summary="Up to 500").json()["state"] == "review"
    assert ask(sam, f"{here}/publish").json()["code"] == "self_review"
    changes = Client().get(f"/api/v1/{here}/diff", headers=kim).json()["changes"]
    assert [change["change"] for change in changes] == ["changed"]
    desk.called("billing_refund", {"amount": 300})
    assert ask(sam, f"{here}/try", days=1).json()["flips"]["ask_to_permit"] == 1
    assert ask(kim, f"{here}/publish").json()["state"] == "published"
    assert ask(kim, f"{here}/publish").json()["code"] == "wrong_state"


# Trying


def flips(draft_of: str, name: str, **options: Any) -> dict[str, Any]:
    out = StringIO()
    call_command("try_draft", **{draft_of: name}, as_json=True, stdout=out, **options)
    return dict(json.loads(out.getvalue()))


def test_a_draft_is_tried_over_what_was_called(desk: Desk) -> None:
    desk.called("billing_refund", {"amount": 300})
    desk.called("billing_refund", {"amount": 50})
    desk.called("billing_refund", {"amount": 900})
    desk.called("billing_refund", {"amount": 300}, ago=timedelta(days=9))
    desk.policy_draft(desk.rule(500), desk.rule(800, "deny"))
    told = flips("policy", "refunds")
    assert told["calls"] == 3
    assert {name: count for name, count in told["flips"].items() if count} == {"ask_to_permit": 1, "ask_to_deny": 1}
    assert all("300" not in example["arguments"] for example in told["examples"])


def test_arguments_that_were_not_recorded_count_as_the_strictest(desk: Desk) -> None:
    desk.called("ticket_get", {"id": "7"})
    desk.called("billing_refund")
    desk.policy_draft(desk.rule(100, "deny"))
    told = flips("policy", "refunds")
    assert (told["calls"], told["unknown_arguments"], told["flips"]["ask_to_deny"]) == (2, 1, 1)


def test_a_tool_that_a_draft_takes_away_or_gives(desk: Desk) -> None:
    desk.called("ticket_get", {"id": "7"})
    desk.called("ticket_delete", {"id": "7"})
    desk.bundle_draft("ticket_delete")
    told = flips("bundle", "support")["flips"]
    assert (told["permit_to_deny"], told["deny_to_permit"]) == (1, 1)


def test_the_command_fails_a_build_as_it_is_told(desk: Desk, tmp_path: Path) -> None:
    desk.called("billing_refund", {"amount": 300})
    manifest = tmp_path / "rules.yaml"
    rule = '{effect: ask, tools: [billing_refund], when: "args.amount > 500", reason: Refunds need a lead}'
    manifest.write_text(f"apiVersion: gatehouse/v1\npolicies:\n  - {{name: refunds, rules: [{rule}]}}\n")
    with pytest.raises(CommandError) as failed:
        call_command("try_draft", file=str(manifest), fail_on="widening", stdout=StringIO())
    assert failed.value.returncode == 4
    assert PolicyVersion.objects.get(policy=desk.policy, state="published").number == 1


def test_the_page_tries_and_shows_arguments_only_on_record(desk: Desk, sam: Client) -> None:
    desk.called("billing_refund", {"amount": 31337})
    draft = desk.policy_draft(desk.rule(50_000))
    answer = sam.post(page_of(draft, "try"), {"days": "7"}, follow=True).content.decode()
    assert "needs a human → permitted" in answer
    assert "31337" not in answer
    assert sam.post(page_of(draft, "try"), {"open": "x"}).status_code == 403
    owner = sign_in(owner=True, email="owner@example.com")
    found = owner.post(page_of(draft, "try"), {"days": "7"})
    ticket = found["Location"].rpartition("=")[2]
    owner.get(found["Location"])
    assert "31337" in owner.post(page_of(draft, "try"), {"open": ticket}).content.decode()
    assert EventRow.objects.filter(kind="payload.opened").count() == 1


def test_every_line_says_which_version_it_comes_from(desk: Desk, sam: Client) -> None:
    version = desk.bundle.versions.get()
    shown = sam.get(page_of(version, "rules")).content.decode()
    assert "bundle support v1" in shown
    assert "refunds v1, rule 1" in shown
    assert "helpdesk/billing_refund" in shown
    assert "ticket_delete" in sam.get(page_of(desk.bundle_draft("*"), "rules")).content.decode()
