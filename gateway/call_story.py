"""One call as a story in the order of time, told from its evidence alone."""

from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import orjson

from audit.event import first_id_at
from audit.kinds import DECISIONS, OUTCOMES, TALK_KINDS, TONES
from audit.models import EventRow
from gateway.costs import cost_in_words
from gateway.finding_story import found_in, put_in, rules_in
from gateway.hostile_text import visible
from gateway.kept_arguments import UNKEPT
from governance.models import AgentCredential, SecretVersion

MOST_TALK = 1_000
"""Of the agent while the call ran; it may have run others meanwhile."""
MOMENT = timedelta(seconds=1)
"""Ids are ordered by time, but not from one machine to the other."""

CAME_BACK = {
    "ok": "The system answered.",
    "tool_error": "The system answered that the tool could not do it.",
    "input_required": "The system asked something before it goes on.",
    "error": "The system answered with a protocol error.",
    "failed": "The system did not answer as it should.",
    "cancelled": "The agent cancelled it while the system worked on it.",
    "withheld": "The system answered, but the agent had lost its permission meanwhile.",
    "screened": "The system answered with what a rule does not let through.",
    "not_sent": "It was held up and never sent.",
    "unknown": "Nobody knows whether it was carried out.",
}
ANSWERED = {
    "ok": "The agent got the result.",
    "tool_error": "The agent got the tool's error.",
    "input_required": "The agent got the question; its answer is a call of its own.",
    "error": "The agent got the error.",
    "failed": "The agent was told that the system failed.",
    "cancelled": "Nobody waited for an answer any more.",
    "withheld": "The agent got nothing of the answer.",
    "screened": "The agent was told that the answer is withheld, and not to repeat the call.",
    "not_sent": "The agent was told that nothing was done and may try again.",
    "unknown": "The agent was told not to repeat the call, because it may have taken effect.",
}
ANSWER_WAITS = "The agent was told that the answer waits for people, and that it need not repeat what the call did."
WHY_UNKNOWN = {
    "process_died": "The gateway process ended after sending. Another one closed the call; only the system itself can"
    " tell what it did.",
    "unforeseen": "Something unforeseen went wrong after sending. Only the system itself can tell what it did.",
}
WHY_REFUSED = {
    "unknown_tool": "No tool of this name is in the agent's reach.",
    "unknown_prompt": "No prompt of this name is in the agent's reach.",
    "unknown_resource": "No resource of this address is in the agent's reach.",
    "unknown_reference": "Nothing that it wanted completed is in the agent's reach.",
    "denied_by_rule": "A rule denies it.",
    "approval_required": "A rule wants a person's approval.",
    "answer_gone": "Its answer had waited for a person, and is not to be had any more.",
    "frozen": "An administrator has frozen it.",
    "credential_in_arguments": "The arguments contain a credential.",
    "not_inspected": "A rule masks what it sends, and it was too large to be looked at.",
    "repeated": "The same call was sent before: its client repeated a retry whose answer it had lost.",
    "connector_disabled": "The system is switched off.",
    "secret_missing": "The gateway has no secret for the system at present.",
    "crowded": "Too many calls to the system were under way.",
    "rate_limited": "A limit on calls was reached.",
    "over_share": "The agent had its share of the requests at work already.",
    "bad_token": "The key or its agent is not valid now.",
    "insufficient_scope": "The access token does not cover the tool; a larger one would.",
    "malformed_request": "The message could not be read.",
    "bad_arguments": "The arguments could not be accepted.",
}
SAID = {
    "reason": "the agent's reason",
    "context": "its client's words on the conversation",
    "reason, context": "the agent's reason, and its client's words on the conversation",
}
WITH_REMEDY = "The agent was told no, with the reason and what it may do instead."
TOLD_NO = {
    "unknown_tool": "The agent was told that there is no such tool, so that it learns nothing of what others may use.",
    "unknown_prompt": "The agent was told that there is no such prompt.",
    "unknown_resource": "The agent was told that there is no such resource.",
    "unknown_reference": "The agent was told that there is nothing of that name.",
}


@dataclass(frozen=True, slots=True)
class Fact:
    """`is_code`: an identifier or address, to be read letter by letter."""

    label: str
    value: str
    is_code: bool = False


@dataclass(frozen=True, slots=True)
class RuleShown:
    """A rule that took part, where it came from and what it wanted."""

    effect: str
    name: str
    origin: str
    reason: str
    condition: str


@dataclass(frozen=True, slots=True)
class Step:
    title: str
    at: datetime | None
    sentence: str
    tone: str = ""
    facts: tuple[Fact, ...] = ()
    rules: tuple[RuleShown, ...] = ()


@dataclass(frozen=True, slots=True)
class Record:
    """An event with what its hashed header says beyond its columns."""

    row: EventRow
    details: Mapping[str, Any] = field(repr=False)

    @classmethod
    def of(cls, row: EventRow) -> "Record":
        return cls(row, details_of(bytes(row.header)))

    def text(self, name: str) -> str:
        """Agents and clients chose some of these: made visible, and never trusted to be text."""
        value = self.details.get(name)
        return "" if value is None or value == "" else visible(value if isinstance(value, str) else str(value))


@dataclass(frozen=True, slots=True)
class Story:
    id: UUID
    start: Record
    end: Record | None
    steps: tuple[Step, ...]

    @property
    def last(self) -> Record:
        """What stands for the call: its end, once that is recorded."""
        return self.end or self.start

    @property
    def decision(self) -> tuple[str, str]:
        return _marked(self.start.row.decision, DECISIONS)

    @property
    def outcome(self) -> tuple[str, str]:
        """A call whose end is not recorded yet is under way."""
        return _marked(self.end.row.outcome, OUTCOMES) if self.end else ("info", "Under way")

    @property
    def milliseconds(self) -> int | None:
        """From the question to its answer; None for what was refused at once or is under way."""
        asked = self.steps[0].at
        if self.end is None or self.end is self.start or asked is None:
            return None
        return round((self.end.row.at - asked).total_seconds() * 1000)


@dataclass(frozen=True, slots=True)
class CallEvents:
    """`by_kind`: a call has at most one of each. `talk`: what the system asked back meanwhile, and what it was told."""

    by_kind: Mapping[str, EventRow]
    talk: tuple[EventRow, ...] = ()

    @property
    def in_order(self) -> list[EventRow]:
        return sorted((*self.by_kind.values(), *self.talk), key=lambda event: (event.at, event.pk))


def events_of(call_id: UUID) -> CallEvents | None:
    """A call that was refused at once has its event's id. None: there is no such call."""
    rows = EventRow.objects.filter(call_id=call_id) or EventRow.objects.filter(pk=call_id, kind="call.refused")
    by_kind = {event.kind: event for event in rows}
    return CallEvents(by_kind, _talk(by_kind)) if by_kind else None


def _talk(by_kind: Mapping[str, EventRow]) -> tuple[EventRow, ...]:
    """These name their call in their header only, so they are looked for where they must be: between its intent and
    its outcome."""
    intent, end = by_kind.get("call.intent"), by_kind.get("call.outcome")
    if intent is None:
        return ()
    rows = EventRow.objects.filter(agent=intent.agent, kind__in=TALK_KINDS, pk__gte=first_id_at(intent.at - MOMENT))
    rows = rows.filter(pk__lt=first_id_at(end.at + MOMENT)) if end is not None else rows
    found = rows.order_by("pk")[:MOST_TALK]
    return tuple(row for row in found if Record.of(row).text("call") == str(intent.call_id))


def story_of(events: CallEvents) -> Story:
    records = {kind: Record.of(event) for kind, event in events.by_kind.items()}
    return tell(records, names_in(records.values()), talk=[Record.of(event) for event in events.talk])


def names_in(records: Iterable[Record]) -> dict[str, str]:
    """What people call the keys and secrets that these records mention, by the ids as they stand there."""
    told = list(records)
    keys = _ids({record.text("credential") for record in told})
    secrets = _ids({record.text("secret_version") for record in told})
    credentials = AgentCredential.objects.in_bulk(keys)
    versions = SecretVersion.objects.select_related("secret").in_bulk(secrets)
    names = {text: f"{credentials[key].hint}…" for key, text in keys.items() if key in credentials}
    shown = {key: f"{version.secret.name} v{version.number}" for key, version in versions.items()}
    return names | {text: shown[key] for key, text in secrets.items() if key in shown}


def _ids(texts: Iterable[str]) -> dict[UUID, str]:
    found: dict[UUID, str] = {}
    for text in texts:
        with suppress(ValueError):
            found[UUID(text)] = text
    return found


def tell(records: Mapping[str, Record], names: Mapping[str, str], *, talk: Iterable[Record] = ()) -> Story:
    """`records` of one call by kind; `names` of the keys and secrets they mention by id, as far as they still exist;
    `talk` is what the system asked back and was told meanwhile."""
    if (no := records.get("call.refused")) is not None:
        refused = (_asked(no, no.row.at, names), _inspected(no), _refused(no), _answered_refusal(no))
        return Story(no.row.pk, no, no, tuple(step for step in refused if step))
    intent, end = records.get("call.intent"), records.get("call.outcome")
    released = records.get("call.released")
    start = intent or end or released
    assert start is not None, "a call has an intent, an outcome or a refusal, or was let go"
    asked = _asked(start, _moment(start.row.call_id) or start.row.at, names)
    steps: list[Step | None] = [asked, _inspected(start), _decided(start)]
    steps += [_agreed(start), _sent(start, names)] if intent is not None else []
    steps += [_said(record) for record in talk]
    steps += _ending(end, released)
    return Story(start.row.call_id or start.row.pk, start, end, tuple(step for step in steps if step))


def _ending(end: Record | None, released: Record | None) -> list[Step | None]:
    steps = [_came_back(end), _changed(end), _answered(end)] if end else []
    return [*steps, _let_go(released)] if released else steps or [_under_way()]


def _let_go(record: Record) -> Step:
    agreed = _agreed(record)
    sentence = "People looked at the answer and let it go. The agent got it when it asked again."
    return Step("Let go", record.row.at, sentence, "info", agreed.facts if agreed else ())


def _asked(record: Record, at: datetime, names: Mapping[str, str]) -> Step:
    row, key = record.row, record.text("credential")
    wanted = visible(row.tool) or record.text("asked_for") or "something"
    facts = _facts(
        ("Answers for the agent", visible(row.person), False),
        ("Key", names.get(key, key), True),
        ("From address", record.text("source_ip"), True),
        ("Session", record.text("session"), True),
        ("Client says it is", record.text("client"), False),
        ("Protocol", record.text("revision"), True),
        ("Trace", _trace(record), True),
        ("Digest of the arguments", record.text("arguments_digest"), True),
        ("Sealed with the arguments", SAID.get(_listed(record.details.get("said")), ""), False),
        ("Arguments are not kept", UNKEPT.get(record.text("unkept"), ""), False),
    )
    on = f" on {visible(row.connector)}" if row.connector else ""
    return Step("Asked", at, f"{visible(row.agent)} asked for {wanted}{on}.", facts=facts)


def _inspected(record: Record) -> Step | None:
    """What was found in what the agent sent; nothing to tell of most calls."""
    found = [Fact(*each) for each in found_in(record.details)]
    masked_by = rules_in(record.details, "redacted_by")
    if not found:
        return None
    sentence = "Rules about content looked at what it sent, and found something."
    if masked_by:
        sentence += " It was masked before anything else was done with it."
    return Step("Looked at", None, sentence, "warn", (*found, *_facts(("Masked by", masked_by, True))))


def _decided(record: Record) -> Step:
    row, bundle = record.row, record.text("bundle")
    sentence = f"{DECISIONS.get(row.decision, visible(row.decision))}{f' by bundle {bundle}' if bundle else ''}."
    rules = _rules(record)
    if not rules:
        sentence += " No rule took part: holding the tool is enough."
    return Step("Decided", row.at, sentence, TONES.get(row.decision, ""), _decision_facts(record), rules)


def _agreed(record: Record) -> Step | None:
    """Whom it waited for; the request itself tells when each of them said so."""
    approval = record.details.get("approval")
    if not isinstance(approval, dict):
        return None
    people, narrowed = _listed(approval.get("approvers")), _listed(approval.get("narrowed"))
    facts = _facts(
        ("By", people, False),
        ("Request", visible(str(approval.get("request", ""))), True),
        ("Arguments they changed", narrowed, True),
    )
    return Step("Agreed", None, "People had to agree, and did. Their consent is used up by this call.", "info", facts)


def _listed(names: Any) -> str:
    return visible(", ".join(map(str, names))) if isinstance(names, list) else ""


def _refused(record: Record) -> Step:
    reason = record.text("reason")
    sentence = f"Refused. {WHY_REFUSED.get(reason, f'Reason: {reason}.')}"
    facts = (*_facts(("Problem", record.text("problem"), False), ("Why", record.text("why"), True)),)
    return Step("Decided", record.row.at, sentence, "bad", (*facts, *_decision_facts(record)), _rules(record))


def _decision_facts(record: Record) -> tuple[Fact, ...]:
    return _facts(
        ("Bundle", record.text("bundle"), False),
        ("Under the rules of epoch", f"{record.row.decided_epoch:,}" if record.row.decided_epoch else "", False),
        ("Tool definition", record.text("definition"), True),
    )


def _sent(record: Record, names: Mapping[str, str]) -> Step:
    secret = record.text("secret_version")
    presented = "with the secret below, whose value is in no record" if secret else "without a secret"
    sentence = f"Recorded first, then sent to {visible(record.row.connector)}, {presented}."
    values = [Fact(*each) for each in put_in(record.details)]
    if values:
        sentence += " Real values took the place of tokens; what is kept here has the tokens."
    return Step("Sent", record.row.at, sentence, facts=(*_facts(("Secret", names.get(secret, secret), True)), *values))


def _said(record: Record) -> Step:
    row = record.row
    if row.kind == "call.asked":
        facts = _facts(("With", _methods(record), True))
        return Step("Asked back", row.at, f"{visible(row.connector)} asked the agent's side something.", "info", facts)
    problem = record.text("problem")
    sentence = "It got no answer." if problem else "It got an answer."
    return Step("Told", row.at, sentence, "warn" if problem else "", _facts(("Why not", problem, False)))


def _methods(record: Record) -> str:
    return _listed(record.details.get("methods"))


def _came_back(record: Record) -> Step:
    row, code = record.row, record.text("code")
    sentence = CAME_BACK.get(row.outcome, visible(row.outcome))
    why = WHY_UNKNOWN.get(code, "")
    reached = {"True": "yes", "False": "no"}.get(record.text("reached"), "")
    facts = _facts(
        ("The system took", _milliseconds(record), False),
        ("The gateway took", _milliseconds(record, "gateway_ms"), False),
        ("Size of the answer", f"{record.text('bytes')} bytes" if record.text("bytes") else "", False),
        ("Cost, as the system tells it", cost_in_words(record.details), False),
        ("What went wrong", "" if why else code, True),
        ("Did it reach the system", reached, False),
        ("Recorded by", "recovery" if row.actor == "system:recovery" else "", False),
    )
    return Step("Came back", row.at, f"{sentence} {why}".strip(), TONES.get(row.outcome, ""), facts)


def _changed(record: Record) -> Step | None:
    """What the gateway found in the answer and took out of it; only an answer can be changed."""
    masked = record.details.get("masked")
    if not isinstance(masked, list):
        return None
    facts = [Fact("Secrets of ours", _listed(masked))] if masked else []
    places = record.details.get("masked_fields")
    facts += [_masked_at(place) for place in places if isinstance(place, dict)] if isinstance(places, list) else []
    is_masked = bool(facts)
    facts += [Fact(*each) for each in found_in(record.details)]
    acting = rules_in(record.details, "screened_by")
    tokens = _listed(record.details.get("tokens"))
    facts += _facts(("Rules that were met", acting, True), ("Tokens it was given", tokens, True))
    sentence = _what_became(record, is_masked=is_masked, is_found=bool(acting), has_tokens=bool(tokens))
    return Step("Changed", None, sentence, "warn" if facts else "", tuple(facts))


def _what_became(record: Record, *, is_masked: bool, is_found: bool, has_tokens: bool) -> str:
    if record.row.outcome == "screened":
        return "A rule forbids its content: the agent got none of it, and was told that the call was carried out."
    if has_tokens:
        return (
            "Parts of the answer were masked before the agent got it, by tokens that tools may be given the values of."
        )
    if is_masked:
        return "Parts of the answer were masked before the agent got it. What stood there is kept nowhere."
    if is_found:
        return "Rules about content were met; what they mask is kept nowhere."
    return "Nothing: no secret of ours was in the answer, and no rule masks any of it."


def _masked_at(place: Mapping[str, Any]) -> Fact:
    def text(name: str) -> str:
        return visible(str(place.get(name, "")))

    return Fact(f"By {text('rule')}", f"{text('path')} ({text('count')})", is_code=True)


def _answered(record: Record) -> Step:
    sentence = ANSWER_WAITS if record.text("waits_for") else ANSWERED.get(record.row.outcome, "")
    facts = _facts(("Request", record.text("waits_for"), True))
    return Step("Answered", record.row.at, sentence, TONES.get(record.row.outcome, ""), facts)


def _answered_refusal(record: Record) -> Step:
    return Step("Answered", record.row.at, TOLD_NO.get(record.text("reason"), WITH_REMEDY), "bad")


def _under_way() -> Step:
    sentence = "It was sent, and its end is not recorded yet. If the gateway process dies, another one closes the call."
    return Step("Under way", None, sentence, "warn")


def _rules(record: Record) -> tuple[RuleShown, ...]:
    found = record.details.get("rules")
    return tuple(_rule(rule) for rule in found if isinstance(rule, dict)) if isinstance(found, list) else ()


def _rule(rule: Mapping[str, Any]) -> RuleShown:
    def text(name: str) -> str:
        return visible(str(rule.get(name, "")))

    name = f"{text('policy')} v{text('version')}, rule {text('rule')}"
    return RuleShown(text("effect"), name, text("from"), text("reason"), text("condition"))


def details_of(header: bytes) -> Mapping[str, Any]:
    try:
        details = orjson.loads(header).get("details")
    except (ValueError, AttributeError):
        return {}
    return details if isinstance(details, dict) else {}


def _facts(*known: tuple[str, str, bool]) -> tuple[Fact, ...]:
    return tuple(Fact(*fact) for fact in known if fact[1])


def _trace(record: Record) -> str:
    trace = record.details.get("trace")
    pairs: Iterable[tuple[Any, Any]] = trace.items() if isinstance(trace, dict) else ()
    return visible(", ".join(f"{name} {value}" for name, value in pairs))


def _milliseconds(record: Record, name: str = "upstream_ms") -> str:
    value = record.details.get(name)
    return f"{value:,.1f} ms" if isinstance(value, int | float) else ""


def _moment(call_id: UUID | None) -> datetime | None:
    """The id of a call holds the millisecond in which it was asked."""
    return datetime.fromtimestamp((call_id.int >> 80) / 1000, UTC) if call_id and call_id.version == 7 else None


def _marked(word: str, words: Mapping[str, str]) -> tuple[str, str]:
    return TONES.get(word, "info"), words.get(word) or visible(word)
