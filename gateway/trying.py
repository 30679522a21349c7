"""Try before you publish: what a draft would have said to the calls of the last days. Nothing is called or changed.

Each recorded call is decided twice, at its own time, with what is in force now and with the draft in its place; where
the two differ, the call flips. What evidence does not keep is told apart: arguments that were not recorded count as
the strictest that they could be.
"""

import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import Enum
from typing import Any
from uuid import UUID

import orjson

from audit.event import first_id_at
from audit.models import EventRow, Payload
from gateway.sealed_payloads import Seals, Unreadable, asked_of
from governance import canonical
from governance.conditions import Condition, Verdict, evaluate_knowing
from governance.decision import RANK, AccessRequest, Decision, Effect, decide
from governance.proposals import with_freezes
from governance.snapshot import Agent, Bundle, Rule, Snapshot, Tool

MOST_CALLS = 50_000
LONGEST = timedelta(minutes=2)
PAGE = 500
MOST_EXAMPLES = 5
"""Of each kind of flip."""
MOST_GROUPS = 1_000
"""Of agents and tools with a flip, counted apart; the rest are counted together."""
KINDS = ("call.intent", "call.refused")
TARGETS = ("resource", "prompt")
ELSEWHERE = ("", "")


class Flip(Enum):
    """What becomes of a call. Value: how it reads, and whether more is allowed than before."""

    PERMIT_TO_ASK = ("permitted → needs a human", False)
    PERMIT_TO_DENY = ("permitted → denied", False)
    ASK_TO_DENY = ("needs a human → denied", False)
    ASK_TO_PERMIT = ("needs a human → permitted", True)
    DENY_TO_ASK = ("denied → needs a human", True)
    DENY_TO_PERMIT = ("denied → permitted", True)
    NEWLY_MASKED = ("newly masked", False)
    NO_LONGER_MASKED = ("no longer masked", True)
    NEWLY_FLAGGED = ("newly flagged", False)

    @property
    def words(self) -> str:
        return self.value[0]

    @property
    def widens(self) -> bool:
        return self.value[1]


@dataclass(frozen=True, slots=True)
class Example:
    """A recorded call that flips. `shape` are its arguments without their values."""

    flip: Flip
    event_id: UUID
    call_id: UUID
    at: datetime
    agent: str
    tool: str
    because: str
    shape: str

    def as_json(self) -> dict[str, Any]:
        return {
            "flip": self.flip.name.lower(),
            "call": str(self.call_id),
            "at": self.at.isoformat(),
            "agent": self.agent,
            "tool": self.tool,
            "because": self.because,
            "arguments": self.shape,
        }


@dataclass(slots=True)
class Trial:
    """What is known so far; it is continued from `last` on, towards the past, until `is_over`."""

    since: datetime
    until: datetime
    epoch: int
    last: UUID | None = None
    is_over: bool = False
    seconds: float = 0.0
    looked_at: int = 0
    unknown_arguments: int = 0
    unknown_subjects: int = 0
    """Their agent or tool is not there any more."""
    left_out: str = ""
    """Why older calls were not looked at."""
    flips: Counter[Flip] = field(default_factory=Counter)
    groups: Counter[tuple[Flip, str, str]] = field(default_factory=Counter)
    """Of each flip, by agent and tool."""
    examples: list[Example] = field(default_factory=list)

    @property
    def widens(self) -> bool:
        return any(flip.widens for flip in self.flips)

    def as_json(self) -> dict[str, Any]:
        return {
            "since": self.since.isoformat(),
            "until": self.until.isoformat(),
            "epoch": self.epoch,
            "calls": self.looked_at,
            "unknown_arguments": self.unknown_arguments,
            "unknown_subjects": self.unknown_subjects,
            "left_out": self.left_out,
            "flips": {flip.name.lower(): self.flips[flip] for flip in Flip},
            "by_tool": [
                {"flip": flip.name.lower(), "agent": agent, "tool": tool, "calls": count}
                for (flip, agent, tool), count in self.groups.most_common()
            ],
            "examples": [example.as_json() for example in self.examples],
        }


def begin(before: Snapshot, *, now: datetime, days: int) -> Trial:
    return Trial(since=now - timedelta(days=days), until=now, epoch=before.epoch)


def go_on(trial: Trial, before: Snapshot, after: Snapshot, *, seconds: float) -> Trial:
    """The same trial, continued for about so long, newest calls first."""
    began = time.monotonic()
    replay = _Replay(trial, with_freezes(before, ()), with_freezes(after, ()))
    for page in _pages(trial):
        replay.take(page)
        trial.last = page[-1].pk
        spent = time.monotonic() - began
        if trial.seconds + spent >= LONGEST.total_seconds():
            return _over(
                trial, spent, f"Two minutes were not enough for calls before {page[-1].at:%Y-%m-%d %H:%M} UTC."
            )
        if trial.looked_at >= MOST_CALLS:
            return _over(trial, spent, f"Only the newest {MOST_CALLS:,} calls were looked at.")
        if spent >= seconds:
            trial.seconds += spent
            return trial
    return _over(trial, time.monotonic() - began, "")


def _over(trial: Trial, spent: float, left_out: str) -> Trial:
    trial.is_over, trial.left_out = True, left_out
    trial.seconds += spent
    return trial


def _pages(trial: Trial) -> Iterator[list[EventRow]]:
    """By key, so that memory stays flat and nothing is held open between the pages."""
    rows = EventRow.objects.filter(kind__in=KINDS, id__gte=first_id_at(trial.since)).order_by("-id")
    bound = trial.last or first_id_at(trial.until)
    while page := list(rows.filter(id__lt=bound)[: min(PAGE, MOST_CALLS - trial.looked_at)]):
        yield page
        bound = page[-1].pk


@dataclass(frozen=True, slots=True)
class _Recorded:
    """A call as evidence tells it. `arguments` is None where they were not recorded."""

    event: EventRow
    details: Mapping[str, Any]
    arguments: Mapping[str, Any] | None


@dataclass(frozen=True, slots=True)
class _Verdict:
    effect: Effect
    reason: str
    marks: frozenset[tuple[str, ...]]
    """What would be masked or flagged."""


class _Replay:
    """Decides recorded calls in two worlds."""

    def __init__(self, trial: Trial, before: Snapshot, after: Snapshot) -> None:
        self.trial = trial
        self.worlds = _World(before), _World(after)
        self.seals = Seals()

    def take(self, page: Sequence[EventRow]) -> None:
        sealed = Payload.objects.in_bulk([event.pk for event in page])
        for event in page:
            self._try(self._recorded(event, sealed.get(event.pk)))

    def _recorded(self, event: EventRow, payload: Payload | None) -> _Recorded:
        header = bytes(event.header)
        arguments = self._arguments(event, header, payload) if payload else None
        return _Recorded(event, orjson.loads(header)["details"], arguments)

    def _arguments(self, event: EventRow, header: bytes, payload: Payload) -> Mapping[str, Any] | None:
        """None where they cannot be opened, or were not arguments alone."""
        try:
            found = asked_of(header, canonical.parse(self.seals.body(event.pk, header, payload)))
        except (Unreadable, canonical.NotCanonical):
            return None
        return found if isinstance(found, dict) else None

    def _try(self, call: _Recorded) -> None:
        trial = self.trial
        trial.looked_at += 1
        was, becomes = (world.verdict(call) for world in self.worlds)
        if was is None or becomes is None:
            trial.unknown_subjects += 1
            return
        trial.unknown_arguments += call.arguments is None
        for flip in _flips(was, becomes):
            self._count(flip, call, because=becomes.reason or was.reason)

    def _count(self, flip: Flip, call: _Recorded, *, because: str) -> None:
        trial, event = self.trial, call.event
        tool = f"{event.connector}/{event.tool}" if event.tool else str(call.details.get("asked_for", ""))
        group = (flip, event.agent, tool)
        if group not in trial.groups and len(trial.groups) >= MOST_GROUPS:
            group = (flip, *ELSEWHERE)
        trial.groups[group] += 1
        trial.flips[flip] += 1
        if trial.flips[flip] <= MOST_EXAMPLES:
            shape = _shape(call.arguments)
            trial.examples.append(
                Example(flip, event.pk, event.call_id or event.pk, event.at, event.agent, tool, because, shape)
            )


class _World:
    def __init__(self, snapshot: Snapshot) -> None:
        self.snapshot = snapshot
        self.agents = {agent.name: agent for agent in snapshot.agents.values()}
        self.people = {person.email: person.id for person in snapshot.people.values()}
        self.connectors = {connector.name: connector for connector in snapshot.connectors.values()}
        self.tools = {(tool.connector.name, tool.name): tool for tool in snapshot.tools.values()}

    def verdict(self, call: _Recorded) -> _Verdict | None:
        """None when the agent or the tool is not there any more."""
        agent = self.agents.get(call.event.agent)
        if agent is None:
            return None
        reached = list(self._reached(call, agent))
        if not reached and not self._is_known(call):
            return None
        found = [self._decided(call, agent, bundle, tool) for bundle, tool in reached]
        return min(found, key=lambda each: RANK[each.effect], default=_Verdict(Effect.DENY, "", frozenset()))

    def _is_known(self, call: _Recorded) -> bool:
        """A call of something that nobody ever had says nothing about a draft, but a name that is not in reach does."""
        return not call.event.tool or self._tool(call.event) is not None

    def _reached(self, call: _Recorded, agent: Agent) -> Iterator[tuple[Bundle, Tool]]:
        """What the call would have come to, through the bundle that it went through, or else any that has it."""
        named = str(call.details.get("bundle", "")).rpartition(" v")[0]
        tool = self._tool(call.event)
        for bundle in self._bundles(agent, named):
            wanted = tool or bundle.tools.get(str(call.details.get("asked_for", "")))
            if wanted is not None and bundle.holds(wanted):
                yield bundle, wanted

    def _bundles(self, agent: Agent, named: str) -> list[Bundle]:
        snapshot = self.snapshot
        held = {bundle for role in agent.roles for bundle in role.bundle_ids}
        wanted = {snapshot.bundle_ids.get(named, "")} if named else held
        return [snapshot.bundles[i] for i in wanted if i in snapshot.bundles]

    def _tool(self, event: EventRow) -> Tool | None:
        kind, _, name = event.tool.partition(":")
        connector = self.connectors.get(event.connector)
        if kind in TARGETS and connector is not None:
            return self.snapshot.target(connector, kind, name)
        return self.tools.get((event.connector, event.tool))

    def _decided(self, call: _Recorded, agent: Agent, bundle: Bundle, tool: Tool) -> _Verdict:
        holding = self.snapshot.holding(agent, bundle, tool)
        rules = holding.rules if holding else ()
        decision = decide(self._request(call, agent, bundle, tool), self.snapshot, call.event.at)
        effect, reason = decision.effect, _reason(decision)
        if call.arguments is None and holding and effect is not Effect.DENY:
            effect, reason = _strictest(effect, reason, rules, agent, tool)
        return _Verdict(effect, reason, _marks(decision, rules))

    def _request(self, call: _Recorded, agent: Agent, bundle: Bundle, tool: Tool) -> AccessRequest:
        details, labels = call.details, call.details.get("labels")
        person = self.people.get(call.event.person, "")
        return AccessRequest(
            agent_id=agent.id,
            credential_id=str(details.get("credential", "")),
            tool_id=tool.id,
            bundle_id=bundle.id,
            arguments=call.arguments,
            session_id=str(details.get("session", "")),
            source_ip=str(details.get("source_ip", "")),
            target=tool if tool.kind != "tool" else None,
            person_id=person if person != agent.owner.id else "",
            labels=frozenset(map(str, labels)) if isinstance(labels, list) else None,
        )


def _reason(decision: Decision) -> str:
    """The rules that decided it, else why it is out of reach."""
    rules = [f"{rule.policy} v{rule.version} rule {rule.position}" for rule in decision.rules if rule.effect != "flag"]
    because = f": {decision.reason}" if decision.reason else ""
    return f"{', '.join(rules)}{because}" if rules else decision.reason


def _strictest(effect: Effect, reason: str, rules: Sequence[Rule], agent: Agent, tool: Tool) -> tuple[Effect, str]:
    """With arguments nobody knows, each rule that reads them counts unless it cannot match whatever they are."""
    known = {"agent": agent.variables, "person": agent.owner.variables, "tool": tool.variables}
    for rule in rules:
        if rule.reads_content or not rule.reads_arguments or rule.effect not in (Effect.ASK, Effect.DENY):
            continue
        is_out = isinstance(rule.condition, Condition) and evaluate_knowing(rule.condition, known) is Verdict.FALSE
        if not is_out and RANK[Effect(rule.effect)] > RANK[effect]:
            effect, reason = (
                Effect(rule.effect),
                f"{rule.policy} v{rule.version} rule {rule.position}: {rule.reason}, whatever the arguments were",
            )
    return effect, reason


def _marks(decision: Decision, rules: Sequence[Rule]) -> frozenset[tuple[str, ...]]:
    """Of a call that goes out: what rules would mask or flag in it, as far as they do not wait for what it carries."""
    if decision.effect is Effect.DENY:
        return frozenset()
    matched = {(rule.policy, rule.position) for rule in decision.rules}
    return frozenset(
        (rule.effect, *rule.fields)
        for rule in rules
        if rule.effect in ("mask", "flag")
        and ((rule.policy, rule.position) in matched or (rule.reads_content and rule.condition is None))
    )


def _flips(was: _Verdict, becomes: _Verdict) -> Iterator[Flip]:
    if was.effect is not becomes.effect:
        yield Flip[f"{was.effect.name}_TO_{becomes.effect.name}"]
    if Effect.DENY in (was.effect, becomes.effect):
        return
    new, old = becomes.marks - was.marks, was.marks - becomes.marks
    for effect, marks, flip in (
        ("mask", new, Flip.NEWLY_MASKED),
        ("mask", old, Flip.NO_LONGER_MASKED),
        ("flag", new, Flip.NEWLY_FLAGGED),
    ):
        if any(mark[0] == effect for mark in marks):
            yield flip


def _shape(arguments: Mapping[str, Any] | None) -> str:
    """The names of the arguments, their values masked."""
    if arguments is None:
        return "not recorded"
    return ", ".join(f"{name[:60]}: {'•' * 3}" for name in list(arguments)[:12]) or "none"
