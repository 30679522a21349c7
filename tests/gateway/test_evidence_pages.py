"""The evidence list and the page of one call: what is found, what is told, and what stays sealed."""

import csv
from datetime import UTC, datetime, timedelta
from io import StringIO
from typing import Any
from uuid import UUID

import orjson
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from django.test import Client
from django.urls import reverse

from audit.checkpoint import Signer
from audit.event import AuditEvent, uuid7
from audit.models import EventRow
from audit.record import SealedPayload, commit_to, record
from audit.sequencer import Sequencer
from gateway.kept_arguments import UNKEPT
from gateway.sealed_payloads import open_payloads
from governance.models import Agent, AgentCredential, User
from governance.payload_keys import Place, sealer_at
from governance.vault import keyring
from tests.gateway.signing_in import sign_in

pytestmark = [pytest.mark.django_db, pytest.mark.database]

NOW = datetime.now(UTC)
LIST = "admin:audit_eventrow_changelist"
HOSTILE = "refund\u202e<script>alert(1)</script>"
ARGUMENTS = b'{"amount":50,"note":"for the blue chair"}'
RULE = {
    "policy": "refunds",
    "version": 3,
    "rule": 2,
    "effect": "permit",
    "from": "bundle support v3",
    "reason": "Small refunds are fine",
    "condition": "true",
}


def an_event(kind: str, **fields: Any) -> AuditEvent:
    known = {"at": NOW, "actor": "agent:triage-bot", "agent": "triage-bot", "person": "ana@example.com"}
    return AuditEvent(kind=kind, **(known | fields))


def a_refusal(*, sealed: bytes = b"", **fields: Any) -> UUID:
    known = {"decision": "deny", "outcome": "refused", "connector": "helpdesk", "tool": "ticket_delete"}
    event_id = fields.pop("id", None) or uuid7()
    commitment, payload = sealed_for(event_id, sealed)
    record(an_event("call.refused", id=event_id, payload_commitment=commitment, **(known | fields)), payload=payload)
    return event_id


def sealed_for(event_id: UUID, body: bytes) -> tuple[bytes, SealedPayload | None]:
    if not body:
        return b"", None
    sealer = sealer_at(Place("person:1", "standard", "2026-11"), keyring())
    commitment, blinding = commit_to(body)
    return commitment, SealedPayload(sealer.key_id, sealer.seal(blinding + body, event_id=event_id))


def an_act(kind: str = "key.issued", **fields: Any) -> UUID:
    known = {"actor": "person:noor@example.com", "person": ""}
    event = an_event(kind, **(known | fields))
    record(event)
    return event.id


def a_call(
    *,
    outcome: str = "ok",
    at: datetime = NOW,
    sealed: bytes = b"",
    details: dict[str, Any] | None = None,
    **fields: Any,
) -> UUID:
    call_id = uuid7(int(at.timestamp() * 1000) - 40)
    known = {
        "at": at,
        "call_id": call_id,
        "connector": "helpdesk",
        "tool": "ticket_get",
        "decision": "permit",
        **fields,
    }
    asked = {"code": "held", "bundle": "support v3", "rules": [RULE], "source_ip": "10.1.2.3", "credential": "key-1"}
    ms = int(at.timestamp() * 1000)
    intent_id = uuid7(ms)
    commitment, payload = sealed_for(intent_id, sealed)
    intent = an_event("call.intent", id=intent_id, details=asked, payload_commitment=commitment, **known)
    record(intent, payload=payload)
    if outcome:
        came_back = {"upstream_ms": 21.5, "bytes": 812, "masked": []} if details is None else details
        record(an_event("call.outcome", id=uuid7(ms + 1), outcome=outcome, details=came_back, **known))
    return call_id


def listed(client: Client, **query: str) -> list[str]:
    """What the list shows in its column "Did what", from the newest on."""
    answer = client.get(reverse(LIST), query)
    assert answer.status_code == 200
    return [row.tool or row.kind for row in answer.context["cl"].result_list]


def page(client: Client, call_id: UUID, name: str = "call_page") -> str:
    answer = client.get(reverse(name, args=[call_id]))
    assert answer.status_code == 200
    return str(answer.content.decode())


# The list


def test_one_line_for_each_call_unless_asked_for_more() -> None:
    client = sign_in(owner=True)
    a_call(), a_refusal(), an_act()
    assert listed(client) == ["ticket_delete", "ticket_get"]
    assert {"key.issued", "person.signed_in"} <= set(listed(client, view="acts"))
    assert "ticket_get" not in listed(client, view="acts")
    assert len(listed(client, view="all")) == EventRow.objects.count()


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ({"agent": "night-bot"}, ["b"]),
        ({"person": "lee@example.com"}, ["b"]),
        ({"tool": "a"}, ["a"]),
        ({"connector": "crm"}, ["b"]),
        ({"decision": "deny"}, ["no"]),
        ({"outcome": "unknown"}, ["b"]),
        ({"kind": "call.refused"}, ["no"]),
        ({"kind": "key.issued"}, ["key.issued"]),
        ({"by": "person:ira@example.com"}, ["key.issued"]),
        ({"agent": "night-bot", "outcome": "ok"}, []),
        ({"agent": "nobody"}, []),
        ({"period": "hour"}, ["no", "b"]),
    ],
)
def test_filters(query: dict[str, str], found: list[str]) -> None:
    client = sign_in(owner=True)
    a_call(tool="a", at=NOW - timedelta(hours=5))
    a_call(tool="b", agent="night-bot", person="lee@example.com", connector="crm", outcome="unknown")
    a_refusal(tool="no"), an_act(actor="person:ira@example.com")
    assert listed(client, **query) == found


def test_a_stretch_of_time() -> None:
    client = sign_in(owner=True)
    for hours in (5, 3, 1):
        a_call(tool=f"{hours}h", at=NOW - timedelta(hours=hours))
    since, until = (f"{NOW - timedelta(hours=hours):%Y-%m-%dT%H:%M}" for hours in (4, 2))
    assert listed(client, since=since, until=until) == ["3h"]
    assert listed(client, until=until) == ["3h", "5h"]


def test_ids_find_their_event_and_their_call() -> None:
    client = sign_in(owner=True)
    call_id, event_id = a_call(), an_act()
    assert listed(client, q=str(call_id)) == ["ticket_get", "ticket_get"]
    assert listed(client, q=str(event_id)) == ["key.issued"]
    assert "triage-bot" in page_of_list(client, q="triage-bot")


def page_of_list(client: Client, **query: str) -> str:
    return str(client.get(reverse(LIST), query).content.decode())


@pytest.mark.parametrize("query", [{"since": "yesterday"}, {"decision": "perhaps"}, {"agent": "x" * 300}])
def test_nonsense_is_told_and_finds_nothing(query: dict[str, str]) -> None:
    client = sign_in(owner=True)
    a_call()
    assert listed(client, **query) == []
    assert "gh-error" in page_of_list(client, **query)


@pytest.mark.parametrize("place", [{"older_than": "x"}, {"newer_than": ""}, {"older_than": "0" * 999}])
def test_a_nonsensical_place_is_the_first_page(place: dict[str, str]) -> None:
    client = sign_in(owner=True)
    a_call()
    assert listed(client, **place) == ["ticket_get"]


def test_pages_go_there_and_back_and_keep_the_filters() -> None:
    client = sign_in(owner=True)
    for n in range(120):
        a_call(tool=f"t{n}", at=NOW - timedelta(minutes=200 - n))
    a_call(tool="other", agent="night-bot", at=NOW - timedelta(minutes=100))
    address, seen = f"{reverse(LIST)}?agent=triage-bot", []
    while address:
        changes = client.get(address).context["cl"]
        seen.append([row.tool for row in changes.result_list])
        last = changes.paginator
        address = f"{reverse(LIST)}{last.older}" if last.older else ""
    assert [len(tools) for tools in seen] == [50, 50, 20]
    assert [tool for tools in seen for tool in tools] == [f"t{n}" for n in reversed(range(120))]
    back = client.get(f"{reverse(LIST)}{last.newer}").context["cl"]
    assert [row.tool for row in back.result_list] == seen[1]
    first = client.get(f"{reverse(LIST)}{back.paginator.newer}").context["cl"]
    assert ([row.tool for row in first.result_list], first.paginator.newest) == (seen[0], "")


def test_hostile_names_in_the_list_are_harmless() -> None:
    client = sign_in(owner=True)
    a_call(tool=HOSTILE, agent=HOSTILE)
    text = page_of_list(client)
    assert "refund⟦U+202E⟧&lt;script&gt;" in text
    assert "\u202e" not in text
    assert "<script>alert" not in text


def test_the_export_follows_the_filters_and_leaves_a_record() -> None:
    client = sign_in("auditor")
    a_call(tool="=cmd()", at=NOW - timedelta(minutes=1)), a_call(agent="night-bot")
    answer = client.post(f"{reverse('admin:audit_eventrow_export')}?agent=triage-bot")
    rows = list(csv.DictReader(StringIO(b"".join(answer).decode())))
    assert [(row["Agent"], row["Tool"]) for row in rows] == [("triage-bot", "'=cmd()")]
    (told,) = EventRow.objects.filter(kind="list.exported")
    assert told.actor == "person:noor@example.com"
    assert b"agent=triage-bot" in bytes(told.header)


def test_who_may_not_export_does_not() -> None:
    assert sign_in("it-admin").post(reverse("admin:audit_eventrow_export")).status_code == 403
    assert sign_in("auditor", email="au@example.com").get(reverse("admin:audit_eventrow_export")).status_code == 403


# The page of one call


def test_the_story_is_told_in_order() -> None:
    client = sign_in("auditor")
    text = page(client, a_call())
    steps = ["Asked", "Decided", "Sent", "Came back", "Changed", "Answered"]
    places = [text.index(f"<h3>{step}</h3>") for step in steps]
    assert places == sorted(places)
    for told in (
        "10.1.2.3",
        "refunds v3, rule 2",
        "Small refunds are fine",
        "bundle support v3",
        "21.5 ms",
        "812 bytes",
    ):
        assert told in text


@pytest.mark.parametrize(
    ("outcome", "details", "told"),
    [
        ("unknown", {"code": "process_died"}, "only the system itself can tell what it did"),
        ("failed", {"code": "connect_failed", "reached": False}, "The agent was told that the system failed."),
        ("withheld", {"code": "withheld", "upstream": "ok"}, "lost its permission meanwhile"),
        ("not_sent", {"code": "held_up_before_sending"}, "never sent"),
        ("ok", {"masked": ["crm-token"]}, "crm-token"),
        ("", {}, "its end is not recorded yet"),
        ("ok", {"upstream_ms": "<b>", "masked": "x", "bytes": [1]}, "The agent got the result."),
    ],
)
def test_every_end_has_its_words(outcome: str, details: dict[str, Any], told: str) -> None:
    assert told in page(sign_in("auditor"), a_call(outcome=outcome, details=details))


def test_a_refusal_is_a_story_too() -> None:
    details = {
        "reason": "denied_by_rule",
        "asked_for": HOSTILE,
        "rules": [{**RULE, "effect": "deny", "policy": HOSTILE}],
    }
    text = page(sign_in("auditor"), a_refusal(tool="", details=details))
    assert "A rule denies it." in text
    assert "⟦U+202E⟧&lt;script&gt;" in text
    assert "<script>alert" not in text


def test_a_tool_outside_the_agent_s_reach_is_told_as_none_and_leads_to_the_reason() -> None:
    call = a_refusal(tool="", connector="", details={"reason": "unknown_tool", "asked_for": "ticket_purge"})
    text = page(sign_in("auditor"), call)
    assert "The agent was told that there is no such tool" in text
    assert f"{reverse('explain')}?agent=triage-bot&amp;tool=ticket_purge" in text


def test_keys_go_by_their_hint() -> None:
    agent = Agent.objects.create(name="triage-bot", owner=User.objects.create_user("ana@example.com"))
    key = AgentCredential.objects.create(agent=agent, digest=bytes(32), hint="gate_ak_Zz9")
    call = a_refusal(details={"reason": "frozen", "credential": key.pk.hex})
    assert "gate_ak_Zz9…" in page(sign_in("auditor"), call)


def test_calls_of_an_agent_are_chained() -> None:
    client = sign_in("auditor")
    first, second = a_call(at=NOW - timedelta(minutes=2)), a_refusal()
    a_call(agent="night-bot", at=NOW - timedelta(minutes=1))
    assert reverse("call_page", args=[second]) in page(client, first)
    assert reverse("call_page", args=[first]) in page(client, second)


def test_what_is_no_call_has_no_page() -> None:
    client = sign_in("auditor")
    assert client.get(reverse("call_page", args=[an_act()])).status_code == 404
    assert client.get(reverse("call_page", args=[uuid7()])).status_code == 404


@pytest.mark.parametrize("name", ["call_page", "call_proof"])
def test_calls_are_for_those_who_see_evidence(name: str) -> None:
    call = a_call()
    assert sign_in("it-admin").get(reverse(name, args=[call])).status_code == 403
    assert Client().get(reverse(name, args=[call])).status_code == 302


def test_a_sealed_call_is_proven() -> None:
    client, call = sign_in("auditor"), a_call()
    assert "Not sealed yet" in page(client, call)
    signer = Signer("gw.example/audit", Ed25519PrivateKey.from_private_bytes(bytes(32)))
    Sequencer(signer).advance(NOW, sign_every=timedelta(0))
    assert page(client, call).count("Proven") == 2
    proofs = orjson.loads(page(client, call, "call_proof"))["proofs"]
    assert [proof["checkpoint"].splitlines()[0] for proof in proofs] == ["gw.example/audit"] * 2


# What was sealed


def unseal(client: Client, call: UUID, reason: str = "The customer disputes the refund") -> Any:
    return client.post(reverse("open_payloads", args=[call]), {"reason": reason})


def test_a_body_is_shown_for_a_reason_that_is_recorded_first() -> None:
    client, call = sign_in(owner=True), a_call(sealed=ARGUMENTS)
    assert "blue chair" not in page(client, call)
    answer = unseal(client, call)
    assert b"for the blue chair" in answer.content
    assert "no-store" in answer["Cache-Control"]
    (told,) = EventRow.objects.filter(kind="payload.opened")
    assert told.actor == "person:noor@example.com"
    assert b"The customer disputes the refund" in bytes(told.header)
    assert str(call).encode() in bytes(told.header)


def test_so_is_what_was_asked_in_a_refused_call() -> None:
    client, call = sign_in(owner=True), a_refusal(sealed=ARGUMENTS)
    answer = unseal(client, call)
    assert b"Arguments, as the agent asked" in answer.content
    assert b"for the blue chair" in answer.content
    assert EventRow.objects.filter(kind="payload.opened").exists()


@pytest.mark.parametrize(("why", "told"), UNKEPT.items())
def test_why_it_was_not_kept_is_told(why: str, told: str) -> None:
    text = page(sign_in("auditor"), a_refusal(details={"reason": "denied_by_rule", "unkept": why}))
    assert told in text
    assert "None were kept." in text


def test_without_a_reason_nothing_is_opened() -> None:
    client, call = sign_in(owner=True), a_call(sealed=ARGUMENTS)
    assert unseal(client, call, reason="because").status_code == 400
    assert not EventRow.objects.filter(kind="payload.opened").exists()


def test_an_auditor_does_not_open_bodies_and_an_address_does_not_either() -> None:
    call = a_call(sealed=ARGUMENTS)
    assert unseal(sign_in("it-admin"), call).status_code == 403
    owner = sign_in(owner=True, email="owner@example.com")
    assert owner.get(reverse("open_payloads", args=[call])).status_code == 405


def test_a_body_that_is_not_what_was_recorded_is_told() -> None:
    call = a_call(sealed=ARGUMENTS)
    event = EventRow.objects.get(call_id=call, kind="call.intent")
    event.header = orjson.dumps({**orjson.loads(bytes(event.header)), "payload_commitment": "00" * 32})
    (opened,) = open_payloads([event], call_id=call, reason="A test of it", by="person:noor@example.com")
    assert opened.problem == "This is not what the record commits to."


def test_an_empty_list_says_what_will_stand_there_and_a_filtered_one_how_to_clear_it() -> None:
    client = sign_in(owner=True)
    assert "As soon as an agent calls a tool" in page_of_list(client)
    assert "Clear the filters" in page_of_list(client, agent="nobody")


def some_talk(call: UUID, *, elsewhere: UUID) -> None:
    """What was asked back while `call` ran, and another call of the same agent; a millisecond lies between."""
    said = (
        ("call.asked", {"call": str(call), "methods": ["elicitation/create"]}),
        ("call.told", {"call": str(call), "problem": "She went home."}),
        ("call.asked", {"call": str(elsewhere), "methods": ["roots/list"]}),
    )
    for ms, (kind, details) in enumerate(said, start=int(NOW.timestamp() * 1000)):
        record(an_event(kind, id=uuid7(ms), connector="helpdesk", tool="ticket_get", details=details))


def test_what_the_system_asked_back_is_part_of_the_story() -> None:
    call = a_call()
    some_talk(call, elsewhere=a_call())
    client = sign_in(owner=True)
    shown = page(client, call)
    assert "helpdesk asked the agent&#x27;s side something." in shown
    assert "elicitation/create" in shown
    assert "She went home." in shown
    assert "roots/list" not in shown
    assert listed(client) == ["ticket_get", "ticket_get"]


# What was found in content
def test_findings_in_an_answer_are_told_with_what_became_of_them() -> None:
    found = {"rule": "github_token", "version": 1, "kind": "secret", "path": "/content/0/text", "count": 2}
    details = {
        "upstream_ms": 1.0, "bytes": 9, "masked": [], "findings": [{**found, "fingerprints": ["a"]}],
        "screened_by": ["baseline v1#1"], "tokens": ["SECRET:github_token#1"],
    }  # fmt: skip
    told = page(sign_in("auditor"), a_call(details=details))
    assert "Found: a secret" in told
    assert "github_token at /content/0/text (2 times)" in told
    assert "baseline v1#1" in told
    assert "by tokens that tools may be given the values of" in told


def test_an_answer_that_was_withheld_is_told_so() -> None:
    details = {
        "upstream_ms": 1.0, "bytes": 9, "masked": [], "screened_by": ["strict v1#4"],
        "findings": [{"rule": "injection.override\u202e", "version": 1, "kind": "injection", "path": "", "count": 1}],
    }  # fmt: skip
    told = page(sign_in("auditor"), a_call(outcome="screened", details=details))
    assert "the agent got none of it" in told
    assert "injection.override⟦U+202E⟧" in told
