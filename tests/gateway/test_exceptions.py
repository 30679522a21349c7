"""What humans except from inspection for a time: rules pass over it, the record does not, and it ends by itself."""

from datetime import timedelta
from typing import Any

import pytest
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from connectors.base import Relay, Silence
from gateway.excepting import may_be_excepted
from gateway.inspecting import fingerprint
from gateway.pipeline import run
from governance.fence.actor import governed_change
from governance.inspection.findings import Finding, Severity
from governance.models import Connector, Organization, PatternException, Tool
from governance.snapshot_builder import build_snapshot
from governance.snapshot_values import AllowedPattern, Rule
from tests import factories as make
from tests.fakes import FakePorts
from tests.gateway.signing_in import sign_in
from tests.gateway.test_content_rules import CARD, TOKEN, details, rule, says
from tests.gateway.test_pipeline import code_of, frame, text_of

MAIL = "ana.lima@corp.example"
OTHER = "bo@corp.example"


def allowed(rule: str = "card_number", **fields: Any) -> AllowedPattern:
    bundle = make.bundle()
    told = {"name": "vendor-cards", "fingerprint": "", "path": "", "bundle_id": bundle.id, "tool_id": ""}
    ends_at = FakePorts(make.snapshot()).now() + timedelta(hours=1)
    return AllowedPattern(**{"rule": rule, "connector_id": "", "ends_at": ends_at, **told, **fields})  # type: ignore[arg-type]


def ports(*rules: Rule, exceptions: tuple[AllowedPattern, ...]) -> FakePorts:
    agent = make.agent(roles=(make.role("bundle-support"),))
    return FakePorts(
        make.snapshot(
            agents=(agent,),
            bundles=(make.bundle(rules=rules),),
            credentials=(make.credential(agent),),
            exceptions=exceptions,
        )
    )


async def test_what_is_excepted_passes_and_stays_on_record() -> None:
    outside = ports(rule("deny", "personal_data"), exceptions=(allowed(path="/arguments/*"),))
    told = await run(frame(arguments={"card": CARD}), outside)
    assert text_of(told) == "done"
    (found,) = details(outside, 0)["findings"]
    assert (found["rule"], found["exception"]) == ("card_number", "vendor-cards")
    assert CARD not in str(details(outside, 0))


@pytest.mark.parametrize(
    "pattern",
    [
        allowed("email", path="/arguments/*"),
        allowed(path="/arguments/other"),
        allowed(fingerprint="0" * 32),
        allowed(path="*", bundle_id="another"),
        allowed(path="*", bundle_id="", tool_id="another"),
        allowed(path="*", bundle_id="", connector_id="another"),
        allowed(path="*", ends_at=FakePorts(make.snapshot()).now()),
    ],
    ids=["rule", "place", "value", "bundle", "tool", "connector", "over"],
)
async def test_nothing_else_passes(pattern: AllowedPattern) -> None:
    outside = ports(rule("deny", "personal_data"), exceptions=(pattern,))
    assert code_of(await run(frame(arguments={"card": CARD}), outside)) == "denied_by_rule"
    assert "exception" not in details(outside, 0)["findings"][0]


async def test_one_value_passes_and_another_is_masked() -> None:
    outside = ports(rule("mask", "personal_data"), exceptions=(allowed("email", fingerprint=fingerprint(MAIL)),))
    await run(frame(arguments={"to": [MAIL, OTHER]}), outside)
    assert outside.sent == [f'{{"to":["{MAIL}","[EMAIL]"]}}'.encode()]
    assert {found.get("exception", "") for found in details(outside, 0)["findings"]} == {"", "vendor-cards"}


async def test_what_is_excepted_in_an_answer_reaches_the_agent() -> None:
    outside = ports(rule("deny", "secret", on="result"), exceptions=(allowed("github_token", path="/content/*"),))
    outside.upstream = lambda _: says(f"use {TOKEN}")
    assert TOKEN in text_of(await run(frame(), outside))
    assert details(outside, 1)["findings"][0]["exception"] == "vendor-cards"


async def test_what_is_excepted_may_be_said_before_the_answer() -> None:
    heard: list[Any] = []

    class Heard(Silence):
        async def notify(self, method: str, params: dict[str, Any]) -> None:
            heard.append(params["data"])

    async def conversation(relay: Relay) -> None:
        await relay.notify("notifications/message", {"level": "info", "data": f"key {TOKEN}"})

    for exceptions in ((), (allowed("github_token", path="/data"),)):
        outside = ports(rule("deny", "secret", on="result"), exceptions=exceptions)
        outside.conversation = conversation
        await run(frame(relay=Heard()), outside)
    assert heard == [f"key {TOKEN}"]


async def test_a_permission_that_rests_on_an_exception_ends_with_it() -> None:
    pattern = allowed(path="*")
    outside = ports(rule("deny", "personal_data"), exceptions=(pattern,))
    await run(frame(arguments={"card": CARD}), outside)
    assert outside.entries[0].valid_until == pattern.ends_at


@pytest.mark.parametrize(
    ("kind", "rule_name", "subject"),
    [("secret", "known_value", "crm-token"), ("secret", "canary", ""), ("secret", "any", "crm-token"),
     ("limit", "limit.leaves", ""), ("anomaly", "new_tool", "")],
    ids=["vault", "canary", "known", "unseen", "unusual"],
)  # fmt: skip
def test_what_is_known_to_be_secret_always_counts(kind: Any, rule_name: str, subject: str) -> None:
    finding = Finding(rule_name, 1, kind, Severity.HIGH, 1.0, "/a", 0, 3, "raw", subject)
    assert not may_be_excepted(finding)


# -- by people


@pytest.fixture
def tool() -> Tool:
    with governed_change(by="test"):
        return Tool.objects.create(connector=Connector.objects.create(name="helpdesk"), name="ticket_get")


def wish(at: Tool, **fields: str) -> dict[str, str]:
    later = timezone.now() + timedelta(days=7)
    return {
        "name": "vendor-cards",
        "rule": "card_number",
        "fingerprint": "",
        "path": "/content/*",
        "tool": str(at.pk),
        "connector": "",
        "bundle": "",
        "ends_at_0": f"{later:%Y-%m-%d}",
        "ends_at_1": f"{later:%H:%M:%S}",
        "reason": "The vendor's documented test cards.",
        **fields,
    }


def ask(client: Client, at: Tool, **fields: str) -> Any:
    return client.post(reverse("admin:governance_patternexception_add"), wish(at, **fields))


def press(client: Client, action: str) -> Any:
    rows = [str(row.pk) for row in PatternException.objects.all()]
    address = reverse("admin:governance_patternexception_changelist")
    return client.post(address, {"action": action, "_selected_action": rows, "confirmed": "yes"})


@pytest.mark.django_db
def test_one_that_is_set_is_in_force_at_once_and_ends_when_somebody_says_so(tool: Tool) -> None:
    security = sign_in("security")
    assert ask(security, tool).status_code == 302
    row = PatternException.objects.get()
    assert (row.created_by, row.awaits_second) == ("person:noor@example.com", False)
    (pattern,) = build_snapshot().exceptions
    assert (pattern.name, pattern.tool_id, pattern.path) == ("vendor-cards", tool.pk.hex, "/content/*")
    assert press(security, "end").status_code == 302
    assert build_snapshot().exceptions == ()


@pytest.mark.django_db
def test_where_changes_need_a_second_person_it_waits_for_another_one(tool: Tool) -> None:
    with governed_change(by="test"):
        Organization.objects.create(requires_review=True)
    security, other = sign_in("security"), sign_in("security", email="sam@example.com")
    ask(security, tool)
    assert build_snapshot().exceptions == ()
    press(security, "agree")
    assert build_snapshot().exceptions == (), "nobody agrees to her own"
    press(other, "agree")
    assert [pattern.name for pattern in build_snapshot().exceptions] == ["vendor-cards"]
    assert PatternException.objects.get().approved_by == "person:sam@example.com"


@pytest.mark.django_db
@pytest.mark.parametrize(
    "fields",
    [
        {"rule": "known_value"},
        {"rule": "canary.aws"},
        {"path": ""},
        {"tool": ""},
        {"reason": " "},
        {"ends_at_0": "2020-01-01"},
        {"ends_at_0": "2090-01-01"},
    ],
    ids=["vault", "canary", "everything", "everywhere", "no-reason", "past", "for-ever"],
)
def test_what_may_not_be_excepted_is_refused(tool: Tool, fields: dict[str, str]) -> None:
    assert ask(sign_in("security"), tool, **fields).status_code == 200
    assert not PatternException.objects.exists()
