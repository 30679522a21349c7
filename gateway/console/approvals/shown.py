"""One request as its page shows it to one person: read once, bounded, in the words of people who must decide."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from itertools import islice
from typing import Any
from uuid import UUID

import orjson
from django.db.models import QuerySet
from django.urls import reverse
from django.utils.timesince import timesince

from audit.event import first_id_at
from audit.kinds import OUTCOMES, TONES
from audit.models import EventRow
from gateway.call_story import CAME_BACK
from gateway.console.access.recent import RecentCall, calls_of
from gateway.console.approvals.arguments import Table, table_of
from gateway.console.approvals.masking import mask_for
from gateway.console.approvals.risks import Risk, risks_of
from gateway.console.approvals.sentences import Detail, Sentence, sentence_of
from gateway.console.approvals.terms_in_words import Needed, needed
from gateway.console.last_seen import own_events
from gateway.held_rows import answer_of, opened
from gateway.hostile_text import visible
from governance.approval_rows import approval_digest, asks_of, standing_of, state_at, subject_of, votes_of
from governance.approvers import approvers, human_of, interested, may_decide
from governance.decision import Ask
from governance.models import ApprovalDecision, ApprovalRequest, Tool, User
from governance.snapshot import Snapshot

State = ApprovalRequest.State
CALLS_SHOWN = 5
EVENTS_LOOKED_AT = 200
OTHERS_SHOWN = 6
DIGEST_SHOWN = 8
EARLIER_LOOKED_AT = 20
SEALED = ("arguments", "asked_arguments", "answer")
"""Up to a megabyte each: read of what is shown only."""
STATES = {
    State.PENDING: ("warn", "Waits for a decision"),
    State.APPROVED: ("good", "Approved"),
    State.CONSUMED: ("good", "Approved and done"),
    State.DENIED: ("bad", "Denied"),
    State.EXPIRED: ("info", "Nobody decided in time"),
    State.CANCELLED: ("info", "Withdrawn"),
    State.VOID: ("info", "Void"),
}
READS = "read what it got"
OWN = "You cannot approve your own agent's call. This page shows you what becomes of it."


@dataclass(frozen=True, slots=True)
class Decided:
    tone: str
    word: str
    person: str
    reason: str
    ticket: str
    at: datetime
    channel: str
    digest: str
    is_outdated: bool


@dataclass(frozen=True, slots=True)
class Outcome:
    tone: str
    word: str
    sentence: str


@dataclass(frozen=True, slots=True)
class RuleThatAsks:
    name: str
    reason: str


@dataclass(frozen=True, slots=True)
class Earlier:
    """The last approved call of the tool, opened."""

    row: ApprovalRequest
    arguments: Mapping[str, Any] = field(repr=False)


@dataclass(frozen=True, slots=True)
class Answered:
    """What a call got and waits: without all that was found in it; None where a part could not be looked at. `original`
    only for who was let see it, with a reason on record."""

    masked: Table | None
    original: Table | None = None


@dataclass(frozen=True, slots=True)
class Shown:
    """What the templates read. Everything that came from elsewhere is masked and visible; the templates escape it."""

    row: ApprovalRequest
    now: datetime
    state_now: str
    sentence: Sentence
    who_behind: str
    table: Table
    before: str
    put_in: tuple[str, ...]
    """Tokens in the arguments in whose place real values go, each with what kind of value that is."""
    arguments_gone: bool
    answer: "Answered | None"
    risks: tuple[Risk, ...]
    undo: str
    stated_reason: str
    human_reason: str
    asker: str
    rules: tuple[RuleThatAsks, ...]
    calls: tuple[RecentCall, ...]
    agreements: tuple[Needed, ...]
    decisions: tuple[Decided, ...]
    others: str
    outcome: Outcome | None
    call_link: str
    may_decide: bool
    why_not: str

    @property
    def is_call(self) -> bool:
        """One that waits, or has run."""
        return self.row.kind != ApprovalRequest.Kind.ACCESS

    @property
    def is_answer(self) -> bool:
        return self.row.kind == ApprovalRequest.Kind.ANSWER

    @property
    def tone(self) -> str:
        return STATES[State(self.state_now)][0]

    @property
    def state(self) -> str:
        if self.state_now == State.EXPIRED and self.row.use_before:
            return "Approved, but not used in time"
        return STATES[State(self.state_now)][1]

    @property
    def digest(self) -> str:
        return approval_digest(self.row).hex()

    @property
    def short_digest(self) -> str:
        return self.digest[:DIGEST_SHOWN]

    @property
    def until(self) -> datetime | None:
        return {State.PENDING: self.row.expires_at, State.APPROVED: self.row.use_before}.get(State(self.state_now))

    @property
    def until_what(self) -> str:
        return "Time to decide:" if self.state_now == State.PENDING else "Must be used within:"

    @property
    def seconds_left(self) -> int:
        return max(0, int((self.until - self.now).total_seconds())) if self.until else 0

    @property
    def seconds_in_all(self) -> int:
        if self.until is None:
            return 0
        since = max((row.at for row in self.decisions), default=self.row.created_at)
        begins = self.row.created_at if self.state_now == State.PENDING else since
        return max(1, int((self.until - begins).total_seconds()))

    @property
    def is_over(self) -> bool:
        return self.state_now not in ApprovalRequest.LIVE

    @property
    def arguments_title(self) -> str:
        if self.state_now == State.CONSUMED or self.is_answer:
            return "Exactly this ran"
        return "What was asked" if self.is_over else "Exactly this would run"

    @property
    def is_settled(self) -> bool:
        """Nothing on the page will change any more."""
        return self.is_over and (self.state_now != State.CONSUMED or self.outcome is not None)

    @property
    def ended(self) -> str:
        if self.state_now == State.APPROVED:
            waits = "The agent carries it out when it asks again." if self.is_call else ""
            waits = "The agent gets the answer when it asks again." if self.is_answer else waits
            return f"Everybody needed has agreed. {waits}".strip()
        if not self.is_over:
            return ""
        at = self.row.ended_at or self.until or self.row.use_before or self.row.expires_at
        because = f": {visible(self.row.ended_because)}" if self.row.ended_because else ""
        return f"{self.state} on {at:%Y-%m-%d at %H:%M:%S} UTC{because}."


def shown_to(person: User, row: ApprovalRequest, snapshot: Snapshot, now: datetime) -> Shown:
    asks, state_now = asks_of(row), state_at(row, now)
    tool, arguments = tool_of(row), arguments_of(row)
    earlier = _earlier(person, row, snapshot, now) if row.kind == ApprovalRequest.Kind.CALL else None
    mask = mask_for([arguments, earlier.arguments if earlier else None, row.stated_reason, row.reason], snapshot)
    votes = list(row.decisions.all())
    outcome = _outcome(row)
    mine = person.pk.hex
    return Shown(
        row=row,
        now=now,
        state_now=state_now,
        sentence=sentence(row, mask(arguments), snapshot),
        who_behind=_who_behind(row),
        table=table_of(arguments, earlier.arguments if earlier else None, mask=mask),
        before=_told_of(earlier, row, now) if row.kind == ApprovalRequest.Kind.CALL else "",
        put_in=tuple(visible(f"{each['name']}: {each['kind']}") for each in row.restores),
        arguments_gone=not row.arguments,
        answer=answered(row, snapshot) if row.kind == ApprovalRequest.Kind.ANSWER else None,
        risks=risks_of(tool, row.labels),
        undo=tool.undo if tool is not None else "",
        stated_reason=visible(str(mask(row.stated_reason))),
        human_reason=visible(str(mask(row.reason))),
        asker=visible(row.person),
        rules=tuple(RuleThatAsks(visible(ask.rule), visible(ask.reason)) for ask in asks),
        calls=last_calls(row),
        agreements=tuple(
            needed(each) for each in standing_of(row, snapshot, votes=votes_of(row), asks=asks).agreements
        ),
        decisions=tuple(_decided(each, row) for each in votes),
        others=_others(asks, row, person, snapshot, now) if state_now == State.PENDING else "",
        outcome=outcome,
        call_link=_call_link(row, person) if outcome else "",
        may_decide=state_now == State.PENDING and _may_decide_now(asks, row, mine, snapshot, now),
        why_not=_why_not(row, state_now, mine, snapshot),
    )


def answered(row: ApprovalRequest, snapshot: Snapshot, *, with_original: bool = False) -> Answered | None:
    """None once it is not kept any more."""
    body = answer_of(row)
    if not body:
        return None
    kept = orjson.loads(body)
    mask = mask_for(kept, snapshot)
    masked = table_of(kept["shown"], None, mask=mask) if kept["shown"] is not None else None
    return Answered(masked, table_of(kept["answer"], None, mask=mask) if with_original else None)


def may_look(person: User, row: ApprovalRequest, snapshot: Snapshot, now: datetime) -> bool:
    """Who may or might have decided it, who wants it, and who may look at all of them. To everybody else there is no
    such request."""
    mine = person.pk.hex
    if sees_all(person):
        return True
    if human_of(mine, snapshot) in interested(subject_of(row), snapshot):
        return True
    decided = row.decisions.filter(person_id=person.pk).exists()
    return decided or may_decide(asks_of(row), subject_of(row), mine, snapshot, now)


def sees_all(person: User) -> bool:
    """Duties count for those only who may enter the admin."""
    return person.is_staff and person.has_perm("governance.view_approvalrequest")


def sentence(row: ApprovalRequest, arguments: Any, snapshot: Snapshot) -> Sentence:
    """`arguments` are masked."""
    if row.kind == ApprovalRequest.Kind.ACCESS:
        return _wish(row)
    known = snapshot.tools.get(row.tool_id)
    agent = snapshot.agents.get(row.agent_id.hex) if row.agent_id else None
    connector = snapshot.connectors.get(row.connector_id.hex) if row.connector_id else None
    said = sentence_of(
        who=str(agent.variables["title"] or agent.name) if agent else row.agent,
        title=str(_title(known.definition)) if known else "",
        tool=row.tool,
        connector=connector.name if connector else row.connector,
        arguments=arguments if isinstance(arguments, dict) else {},
    )
    return replace(said, act=READS) if row.kind == ApprovalRequest.Kind.ANSWER else said


def _title(definition: Mapping[str, Any]) -> str:
    annotations = definition.get("annotations")
    fallback = annotations.get("title", "") if isinstance(annotations, Mapping) else ""
    return str(definition.get("title") or fallback)


def _wish(row: ApprovalRequest) -> Sentence:
    subject = row.agent or row.person
    wanted = row.wanted.get("tool") or row.wanted.get("bundle") or "access"
    minutes = Detail("for", f"{row.wanted.get('minutes', '?')} minutes")
    return Sentence(visible(subject), f"use {visible(str(wanted))}", (minutes,), 0, visible(str(wanted)), "")


def _who_behind(row: ApprovalRequest) -> str:
    owner = f"{visible(row.owner)} answers for the agent." if row.owner else ""
    person = f"It acts for {visible(row.person)}." if row.person and row.agent and row.person != row.owner else ""
    bundle = f"Bundle {visible(row.bundle)}." if row.bundle else ""
    return " ".join(part for part in (owner, person, bundle) if part)


def tool_of(row: ApprovalRequest) -> Tool | None:
    """None of a resource or a prompt, which have no row."""
    try:
        key = UUID(row.tool_id)
    except ValueError:
        return None
    return Tool.objects.select_related("connector").filter(pk=key).first()


def arguments_of(row: ApprovalRequest) -> dict[str, Any]:
    """Those that would run, in the clear. Empty when nothing is kept of them any more."""
    body = opened(row, bytes(row.arguments))
    found = orjson.loads(body) if body else {}
    return found if isinstance(found, dict) else {}


def _earlier(person: User, row: ApprovalRequest, snapshot: Snapshot, now: datetime) -> Earlier | None:
    """By this agent, else by anyone; of those that she may look at."""
    approved = ApprovalRequest.objects.filter(
        kind=row.kind, tool_id=row.tool_id, state=State.CONSUMED, number__lt=row.number
    ).exclude(arguments=b"")
    found = list(approved.defer(*SEALED).order_by("-number")[:EARLIER_LOOKED_AT])
    found.sort(key=lambda each: each.agent_id != row.agent_id)
    seen = next((each for each in found if may_look(person, each, snapshot, now)), None)
    return Earlier(seen, arguments_of(seen)) if seen else None


def _told_of(earlier: Earlier | None, row: ApprovalRequest, now: datetime) -> str:
    if earlier is None:
        return "No call of this tool was approved before."
    whose = "" if earlier.row.agent_id == row.agent_id else f" of {visible(earlier.row.agent)}"
    at = earlier.row.ended_at or earlier.row.created_at
    ago = timesince(at, now, depth=1) if now - at >= timedelta(minutes=1) else "less than a minute"
    return f"Compared with {earlier.row.name}{whose}, {ago} ago."


def last_calls(row: ApprovalRequest) -> tuple[RecentCall, ...]:
    """Of this run, up to the question itself; without a run, of the agent."""
    if not row.agent:
        return ()
    before = first_id_at(row.created_at + timedelta(seconds=1))
    rows = own_events(row.agent).filter(id__lt=before)[:EVENTS_LOOKED_AT]
    of_run = [event for event in rows if not row.session or _session(event) == row.session]
    return tuple(islice(calls_of(of_run), CALLS_SHOWN))


def _session(event: EventRow) -> str:
    details = orjson.loads(bytes(event.header)).get("details", {})
    return str(details.get("session", "")) if isinstance(details, dict) else ""


def _decided(row: ApprovalDecision, request: ApprovalRequest) -> Decided:
    approves = row.verdict == ApprovalDecision.Verdict.APPROVE
    return Decided(
        tone="good" if approves else "bad",
        word="Approved" if approves else "Denied",
        person=visible(row.person),
        reason=visible(row.reason),
        ticket=visible(row.ticket),
        at=row.at,
        channel=row.channel,
        digest=bytes(row.digest).hex()[:DIGEST_SHOWN],
        is_outdated=bytes(row.digest) != approval_digest(request),
    )


def _others(asks: tuple[Ask, ...], row: ApprovalRequest, person: User, snapshot: Snapshot, now: datetime) -> str:
    decided = {each.hex for each in row.decisions.values_list("person_id", flat=True)}
    found = (
        visible(each.name or each.email)
        for each in approvers(asks, subject_of(row), snapshot, now)
        if each.id != person.pk.hex and each.id not in decided
    )
    names = list(islice(found, OTHERS_SHOWN + 1))
    return ", ".join(names[:OTHERS_SHOWN]) + (" and others" if len(names) > OTHERS_SHOWN else "")


def _may_decide_now(asks: tuple[Ask, ...], row: ApprovalRequest, mine: str, snapshot: Snapshot, now: datetime) -> bool:
    if not may_decide(asks, subject_of(row), mine, snapshot, now):
        return False
    return not _has_decided(row, mine, snapshot)


def _has_decided(row: ApprovalRequest, mine: str, snapshot: Snapshot) -> bool:
    current = approval_digest(row)
    humans = row.decisions.filter(digest=current).values_list("human_id", flat=True)
    return human_of(mine, snapshot) in {human.hex for human in humans}


def _why_not(row: ApprovalRequest, state_now: str, mine: str, snapshot: Snapshot) -> str:
    if state_now != State.PENDING:
        return ""
    if human_of(mine, snapshot) in interested(subject_of(row), snapshot):
        return OWN
    if _has_decided(row, mine, snapshot):
        return "You have decided. Others are still to agree."
    return "You may look at this, and others decide it."


def _outcome(row: ApprovalRequest) -> Outcome | None:
    """What became of the call that used the approval; None while it runs."""
    word = _outcomes(row).values_list("outcome", flat=True).first() if row.call_id else None
    if word is None:
        return None
    return Outcome(TONES.get(word, "info"), OUTCOMES.get(word) or visible(word), CAME_BACK.get(word, ""))


def has_outcome(row: ApprovalRequest) -> bool:
    return row.call_id is not None and _outcomes(row).exists()


def _outcomes(row: ApprovalRequest) -> QuerySet[EventRow]:
    return EventRow.objects.filter(call_id=row.call_id, kind="call.outcome")


def _call_link(row: ApprovalRequest, person: User) -> str:
    may = person.is_staff and person.has_perm("audit.view_eventrow")
    return reverse("call_page", args=[row.call_id]) if may else ""
