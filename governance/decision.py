"""May this agent run this tool now? Pure: no database, no clock, no network."""

from collections.abc import Collection, Iterable, Iterator, Mapping
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any, NamedTuple

from governance.answers import Answers, Ask, Mask, RuleTrace, Screen, screen_of, with_content
from governance.conditions import Verdict
from governance.consents import answering, resting_on
from governance.holdings import Holding
from governance.restoring import may_go
from governance.scopes import fitting, outside
from governance.snapshot import Agent, Bundle, Role, Snapshot, Tool
from governance.snapshot_values import STANDARD, Rule


class Effect(StrEnum):
    PERMIT = "permit"
    ASK = "ask"
    DENY = "deny"


HELD = "held"
"""The label of a run that a reaction holds."""
WORKED_OUT = frozenset({"session", "network", "time"})
"""Variables of conditions that are made for each call."""
RANK = {Effect.PERMIT: 0, Effect.ASK: 1, Effect.DENY: 2}


class AccessRequest(NamedTuple):
    """`arguments` is None while listing: then rules that look at arguments do not take part.

    `target` is the resource or prompt that is asked for, made by the same snapshot; of a tool the id is enough.
    `person_id` is the human on whose behalf the agent acts: what she may not, it may not either. `labels` are those of
    the run, None while nobody has looked (then rules that read them are undecided). `consented` are the asking rules,
    by key, to which humans have agreed for exactly this call; `spent` the ids of grants whose uses are all counted.
    `rests_on` and `ends_at` are those of an access token. `findings` are what was found in the arguments, each with its
    `kind` as rules name it, and whether it was `inspected`: else it may be there or not. `restorable` are alike what
    tokens in the arguments stand for.
    """

    agent_id: str
    credential_id: str
    tool_id: str
    bundle_id: str
    arguments: Mapping[str, Any] | None
    session_id: str = ""
    source_ip: str = ""
    target: Tool | None = None
    person_id: str = ""
    labels: frozenset[str] | None = None
    consented: frozenset[str] = frozenset()
    spent: frozenset[str] = frozenset()
    rests_on: frozenset[str] = frozenset()
    ends_at: datetime | None = None
    findings: tuple[Mapping[str, Any], ...] = ()
    restorable: tuple[Mapping[str, Any], ...] = ()


class Decision(NamedTuple):
    """`read_set` names all that the decision rests on: a change of anything in it asks for a new decision.

    `asks` are the rules that want humans to agree and to which nobody has agreed yet. `grants` are ids of grants that
    it rests on; `counted_grants` those of them whose use is counted when the intent commits. `reads_labels` says
    whether a rule that could match reads the labels of the run. `masks` and `screens` are owed by whoever hands on the
    result, `redacts` by whoever sends the arguments; `restores` are the rules by which real values go along,
    but for those that `redacts` name.
    `retention` names the class that says how long its evidence is kept.
    """

    effect: Effect
    code: str
    reason: str
    exists: bool
    epoch: int
    bundle: str = ""
    bundle_version: int = 0
    records_payload: bool = True
    rules: tuple[RuleTrace, ...] = ()
    valid_until: datetime | None = None
    read_set: frozenset[str] = frozenset()
    asks: tuple[Ask, ...] = ()
    grants: tuple[str, ...] = ()
    counted_grants: tuple[str, ...] = ()
    reads_labels: bool = False
    masks: tuple[Mask, ...] = ()
    screens: tuple[Screen, ...] = ()
    redacts: tuple[Screen, ...] = ()
    restores: tuple[Screen, ...] = ()
    retention: str = STANDARD


def decide(request: AccessRequest, snapshot: Snapshot, now: datetime) -> Decision:
    """Default deny: only a live agent, holding the tool through a role in its time, reaches the rules.

    If it acts for a person, she must be active and hold the bundle as well.
    """
    agent = snapshot.agents.get(request.agent_id)
    if agent is None or not agent.is_live:
        return _unknown(snapshot, "agent_not_live")
    tool = request.target or snapshot.tools.get(request.tool_id)
    bundle = snapshot.bundle_for(agent, request.bundle_id)
    holding = snapshot.holding(agent, bundle, tool, request.person_id) if bundle and tool else None
    if holding is None:
        return _unknown(snapshot, "tool_unknown")
    sides = [holding.roles] if holding.person is None else [holding.roles, holding.person_roles]
    in_time = [_in_time(roles, request, snapshot, now) for roles in sides]
    if not all(in_time):
        return _unknown(snapshot, "role_not_in_time")
    return _stopped(holding, snapshot, now) or _Weighing(request, snapshot, now, holding).decision(in_time)


def _in_time(roles: Iterable[Role], request: AccessRequest, snapshot: Snapshot, now: datetime) -> list[Role]:
    return [role for role in roles if role.grant_id not in request.spent and role.is_in_time(now, snapshot.calendar)]


def _unknown(snapshot: Snapshot, code: str) -> Decision:
    return Decision(Effect.DENY, code, "No such tool is in reach.", False, snapshot.epoch)


def _stopped(holding: Holding, snapshot: Snapshot, now: datetime) -> Decision | None:
    """The agent holds the tool, but nobody may use it now."""
    connector = holding.tool.connector
    freeze = snapshot.freeze_of(holding.agent, holding.tool, now)
    if freeze is not None:
        because = f": {freeze.reason}" if freeze.reason else ""
        return _stop("frozen", f"Frozen by an administrator{because}.", holding, snapshot)
    if not connector.is_enabled:
        return _stop("connector_disabled", "This system is switched off.", holding, snapshot)
    if connector.secret_missing:
        return _stop("secret_missing", "The gateway has no secret for this system at present.", holding, snapshot)
    return None


def _stop(code: str, reason: str, holding: Holding, snapshot: Snapshot) -> Decision:
    return Decision(
        Effect.DENY,
        code,
        reason,
        True,
        snapshot.epoch,
        bundle=holding.bundle.name,
        bundle_version=holding.bundle.number,
        records_payload=holding.bundle.records_payload,
        retention=holding.bundle.retention or snapshot.retention,
    )


class _Weighing:
    """What rules, data scopes and grants come to for one call that nothing else stops."""

    __slots__ = ("_answers", "_found", "_holding", "_is_listing", "_now", "_request", "_restoring", "_snapshot")

    def __init__(self, request: AccessRequest, snapshot: Snapshot, now: datetime, holding: Holding) -> None:
        self._request = request
        self._snapshot = snapshot
        self._now = now
        self._holding = holding
        self._is_listing = request.arguments is None
        self._restoring = tuple(self._restored()) if request.restorable and holding.restores else ()
        if self._restoring:
            going = may_go(request.restorable, [rule for rule, _ in self._restoring])
            self._request = request = request._replace(findings=(*request.findings, *going))
        self._found = () if self._is_listing or not request.findings else tuple(self._on_arguments())
        matched = (*self._found, *self._restoring)
        self._answers = with_content(self._answered(), matched) if matched else self._answered()

    def _answered(self) -> Answers:
        request, holding = self._request, self._holding
        questions = holding.listed if self._is_listing else holding.called
        reads = questions.conditions.reads
        return questions.answers(
            variables_of(request, holding, self._snapshot, self._now, reads=reads) if reads else {}
        )

    def _on_arguments(self) -> Iterator[tuple[Rule, Verdict]]:
        """Rules whose findings are there."""
        there = {str(each["kind"]) for each in self._seen}
        maybe = there | {str(each["kind"]) for each in self._request.findings}
        on_arguments = self._holding.on_arguments
        return self._matching(
            rule for rule in on_arguments if not rule.findings.isdisjoint(there if rule.is_open else maybe)
        )

    @property
    def _seen(self) -> tuple[Mapping[str, Any], ...]:
        return tuple(each for each in self._request.findings if each.get("inspected", True))

    def _restored(self) -> Iterator[tuple[Rule, Verdict]]:
        """Rules that let real values through which the call has tokens of."""
        names = {str(each["kind"]) for each in self._request.restorable}
        return self._matching(rule for rule in self._holding.restores if not rule.findings.isdisjoint(names))

    def _matching(self, rules: Iterable[Rule]) -> Iterator[tuple[Rule, Verdict]]:
        variables: dict[str, Any] | None = None
        for rule in rules:
            verdict = Verdict.TRUE
            if rule.condition is not None:
                variables = variables or variables_of(self._request, self._holding, self._snapshot, self._now)
                verdict = rule.verdict({**variables, "findings": list(self._seen)} if rule.is_open else variables)
            if rule.takes_part(verdict):
                yield rule, verdict

    def _screens(self) -> tuple[Screen, ...]:
        """What the result is owed; conditions are worked out now."""
        settled = self._holding.screens
        return settled or tuple(screen_of(rule) for rule, _ in self._matching(self._holding.on_result))

    def _redacts(self) -> tuple[Screen, ...]:
        return tuple(screen_of(rule) for rule, _ in self._found if rule.effect == "mask")

    def decision(self, sides: list[list[Role]]) -> Decision:
        """`sides` are the roles in time of the agent and, if it acts for one, of the person."""
        holding, snapshot, answers = self._holding, self._snapshot, self._answers
        bundle = holding.bundle
        fits = sides
        if holding.scopes:
            fits = [fitting(roles, holding, answers.verdicts, is_listing=self._is_listing) for roles in sides]
        asks, grants = self._questions(fits)
        effect, code, reason, exists = self._outcome(sides, fits, asks)
        return Decision(
            effect,
            code,
            reason,
            exists,
            snapshot.epoch,
            bundle=bundle.name,
            bundle_version=bundle.number,
            records_payload=bundle.records_payload,
            retention=bundle.retention or snapshot.retention,
            rules=answers.rules,
            valid_until=self._valid_until(fits, grants),
            read_set=snapshot.read_set(holding, self._request.credential_id, self._request.rests_on),
            asks=asks or (),
            grants=grants,
            counted_grants=tuple([grant for grant in grants if snapshot.grants[grant].is_counted]) if grants else (),
            reads_labels=holding.reads_labels,
            masks=answers.masks,
            screens=self._screens() if holding.on_result and not self._is_listing else (),
            redacts=self._redacts() if self._found else (),
            restores=tuple([screen_of(rule) for rule, _ in self._restoring]),
        )

    # -- what comes out

    def _outcome(
        self, sides: list[list[Role]], fits: list[list[Role]], asks: tuple[Ask, ...] | None
    ) -> tuple[Effect, str, str, bool]:
        """Deny beats ask beats permit. `asks` are the questions that are still open, None if there was none."""
        denial = self._answers.denial
        if denial is not None:
            return Effect.DENY, "denied_by_rule", denial.reason, denial.exists
        for roles, fit in zip(sides, fits, strict=True):
            if not fit:
                return Effect.DENY, "outside_scope", outside(roles, self._holding), True
        if asks:
            return Effect.ASK, "approval_required", asks[0].reason, True
        return Effect.PERMIT, "permitted" if asks is None else "approved", "", True

    # -- who has to agree, and who has

    def _questions(self, fits: list[list[Role]]) -> tuple[tuple[Ask, ...] | None, tuple[str, ...]]:
        """The questions that nobody has answered, None if there was none; and ids of the grants it all rests on."""
        request, holding = self._request, self._holding
        resting: tuple[str, ...] = ()
        if holding.has_grants:
            resting = tuple(grant for roles in fits if (grant := resting_on(roles)) is not None)
        asks = self._asks() if self._snapshot.holds else self._answers.asks
        if not asks:
            return None, resting
        if not request.consented and not holding.consents:
            return asks, resting
        wanted = {ask.rule for ask in asks} - request.consented
        consents = list(
            answering(
                wanted,
                holding,
                self._answers.verdicts,
                session=request.session_id,
                spent=request.spent,
                now=self._now,
            )
        )
        wanted = wanted.difference(*(grant.rules for grant in consents))
        grants = (*(grant.id for grant in consents), *resting)
        return tuple(ask for ask in asks if ask.rule in wanted), grants

    def _asks(self) -> tuple[Ask, ...]:
        if not self._is_held:
            return self._answers.asks
        reason = "This run is held until a human has looked at it."
        held = (Ask(reaction.key, reason, reaction.terms) for reaction in self._snapshot.holds)
        return (*self._answers.asks, *held)

    @property
    def _is_held(self) -> bool:
        """Also while nobody has looked at the labels; a list shows what waits like anything else."""
        labels = self._request.labels
        return not self._is_listing and (labels is None or HELD in labels)

    # -- how long it holds

    def _valid_until(self, fits: list[list[Role]], grants: tuple[str, ...]) -> datetime | None:
        """When the clock alone could make this decision wrong: the key, a grant or the last role that fits ends, a
        role or grant begins, a condition reads the time."""
        snapshot, holding, now = self._snapshot, self._holding, self._now
        limits = [self._request.ends_at or snapshot.credential_ends.get(self._request.credential_id)]
        limits += [_last_end(roles, snapshot, now) for roles in fits]
        if grants:
            limits += [snapshot.grants[grant].ends_at for grant in grants]
        if holding.starts:
            limits += [start for start in holding.starts if start > now]
        if holding.reads_time:
            limits.append(now + timedelta(seconds=1))
        return min([limit for limit in limits if limit is not None], default=None)


def _last_end(roles: list[Role], snapshot: Snapshot, now: datetime) -> datetime | None:
    """When the last of these roles, all in their time, ends; None if one never does."""
    ends = []
    for role in roles:
        if (end := role.ends_in_time(now, snapshot.calendar)) is None:
            return None
        ends.append(end)
    return max(ends, default=None)


def variables_of(
    request: AccessRequest,
    holding: Holding,
    snapshot: Snapshot,
    now: datetime,
    *,
    reads: Collection[str] = WORKED_OUT,
) -> dict[str, Any]:
    """What conditions read. What is not known is left out, so that conditions that read it are undecided; and, as that
    takes work, what is not among `reads`."""
    variables = {
        "agent": holding.agent.variables,
        "person": (holding.person or holding.agent.owner).variables,
        "tool": holding.tool.variables,
        "args": request.arguments or {},
        "findings": list(request.findings),
    }
    if "session" in reads:
        variables["session"] = _session(request)
    if "network" in reads:
        variables["network"] = _network(request, snapshot)
    if "time" in reads and holding.reads_time:
        variables["time"] = snapshot.calendar.variables(snapshot.calendar.local(now))
    return variables


def _session(request: AccessRequest) -> dict[str, Any]:
    session: dict[str, Any] = {"id": request.session_id}
    if request.labels is not None:
        session["labels"] = sorted(request.labels)
    return session


def _network(request: AccessRequest, snapshot: Snapshot) -> dict[str, Any]:
    network: dict[str, Any] = {"source_ip": request.source_ip}
    if (names := snapshot.networks.names_of(request.source_ip)) is not None:
        network["names"] = names
    return network


def best(decisions: Iterable[Decision]) -> Decision | None:
    """Of a tool held through several bundles: the first that permits, else asks, else exists, else any."""
    return min(decisions, key=rank, default=None)


def rank(decision: Decision) -> tuple[int, bool]:
    """The lower, the more it lets pass."""
    return RANK[decision.effect], not decision.exists


__all__ = (
    "AccessRequest",
    "Agent",
    "Ask",
    "Bundle",
    "Decision",
    "Effect",
    "Mask",
    "RuleTrace",
    "Tool",
    "best",
    "decide",
    "rank",
    "variables_of",
)
