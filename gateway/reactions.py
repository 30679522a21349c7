"""Reactions in line: carried out before the answer that set them off leaves, so that the next call meets them.

Without a reaction that could be set off this costs a look at an empty tuple. A reaction sets off no other.
"""

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime, timedelta
from functools import partial
from itertools import islice
from typing import Any, Final

import orjson

from audit.event import first_id_at
from audit.models import EventRow
from connectors.base import UpstreamFailure
from gateway import notices, refusals
from gateway.actions import act
from gateway.call import Call, Frame, Intent, SafeResult
from gateway.canary_watch import alarm_of_outcome, alarm_of_refusal, alarm_of_said
from gateway.database import DatabaseThread
from gateway.models import RunLabel
from gateway.refusals import Refusal
from gateway.run_labels import HELD, add_labels, run_of
from governance.facts import Recorder
from governance.inspection.findings import names_for
from governance.inspection.redaction import Found
from governance.models import Agent
from governance.models.reactions import Reaction as Row
from governance.reactions import SECRET, by, counts_from, fired, freeze_agent, to_denials, to_finding
from governance.snapshot import Snapshot
from governance.snapshot_values import Reaction

IN_ARGUMENTS: Final = "A key or secret was in what it sent."
IN_RESULT: Final = "A value of the vault was in what a system answered."
FOUND_IN_ARGUMENTS: Final = "{} was found in what it sent."
FOUND_IN_RESULT: Final = "{} was found in what a system answered."
WORDS: Final = {
    "secret": "A secret",
    "payment_card": "A payment card",
    "personal_data": "Personal data",
    "injection": "An injected instruction",
    "suspected_injection": "What may be an injected instruction",
    "untrusted_destination": "A destination taken from untrusted text",
    "untrusted_link": "A link to a host that is new",
    "anomaly": "Something unusual for it",
    "data_class": "Data of the class {}",
    "detector": "What the detector {} looks for",
}
DENIALS: Final = frozenset(
    reason.code
    for reason in (
        *refusals.UNKNOWN_BY_METHOD.values(),
        refusals.DENIED,
        refusals.APPROVAL_DENIED,
        refusals.CREDENTIAL_IN_ARGUMENTS,
    )
)
"""What an agent wanted and may not. Not what time mends: a limit, a freeze, a system that is switched off."""
MOST_LOOKED_AT: Final = 5000


class Reactions:
    """All methods run on the event loop, and raise EvidenceUnavailable: then the answer may not leave either."""

    def __init__(self, thread: DatabaseThread) -> None:
        self._thread = thread

    async def to_refusal(self, frame: Frame, refusal: Refusal, snapshot: Snapshot) -> None:
        """After a "no" to somebody we know was recorded."""
        if snapshot.canaries:
            await alarm_of_refusal(refusal.facts, self._thread)
        if not snapshot.reactions or refusal.reason.code not in DENIALS:
            return
        agent = str(refusal.facts.get("agent", ""))
        if refusal.reason is refusals.CREDENTIAL_IN_ARGUMENTS:
            await self._to_finding(SECRET, IN_ARGUMENTS, agent, frame.session_id, snapshot)
        names = {name for found in refusal.facts.get("findings", ()) for name in _names(found)}
        await self._to_names(names, FOUND_IN_ARGUMENTS, agent, frame.session_id, snapshot)
        if reactions := to_denials(snapshot.reactions):
            await self._thread.run(partial(_count_denials, agent, reactions))

    async def to_outcome(self, intent: Intent, outcome: SafeResult | UpstreamFailure, snapshot: Snapshot) -> None:
        """After it was recorded, before the agent sees it."""
        if snapshot.canaries:
            await alarm_of_outcome(intent.call, outcome, self._thread)
        if not snapshot.reactions:
            return
        call, agent, session = intent.call, intent.call.caller.agent.name, intent.call.frame.session_id
        await self._to_names(_names_in(call.found), FOUND_IN_ARGUMENTS, agent, session, snapshot)
        if isinstance(outcome, SafeResult):
            if outcome.masked:
                await self._to_finding(SECRET, IN_RESULT, agent, session, snapshot)
            await self._to_names(_names_in(outcome.found), FOUND_IN_RESULT, agent, session, snapshot)

    async def to_said(self, call: Call, found: Iterable[Found], snapshot: Snapshot, *, is_sent: bool = False) -> None:
        """Of what an upstream says before the result, and what it is answered, before anybody hears it."""
        told = tuple(found)
        if snapshot.canaries:
            await alarm_of_said(call, told, self._thread, is_sent=is_sent)
        if snapshot.reactions:
            agent, session = call.caller.agent.name, call.frame.session_id
            why = FOUND_IN_ARGUMENTS if is_sent else FOUND_IN_RESULT
            await self._to_names(_names_in(told), why, agent, session, snapshot)

    async def _to_names(self, names: Iterable[str], why: str, agent: str, session: str, snapshot: Snapshot) -> None:
        """What could not be looked at is no finding here: nobody is frozen for a long text."""
        for name in sorted(names):
            await self._to_finding(name, why.format(_words(name)), agent, session, snapshot)

    async def _to_finding(self, finding: str, why: str, agent: str, session: str, snapshot: Snapshot) -> None:
        for reaction in to_finding(snapshot.reactions, finding):
            do = _freeze if reaction.action == Row.Action.FREEZE_AGENT else partial(_hold, session=session)
            await self._thread.run(partial(do, reaction, agent, why=why))


def _names_in(found: Iterable[Found]) -> set[str]:
    """What is excepted sets nothing off."""
    return {name for each in found if not each.exception for name in names_for(each.kind, each.rule, each.subject)}


def _names(recorded: Mapping[str, Any]) -> frozenset[str]:
    excepted = bool(recorded.get("exception"))
    return frozenset() if excepted else names_for(recorded["kind"], recorded["rule"], recorded.get("subject", ""))


def _words(name: str) -> str:
    kind, _, which = name.partition(":")
    return WORDS.get(kind, kind.replace("_", " ").capitalize()).format(which)


def _count_denials(name: str, reactions: tuple[Reaction, ...]) -> None:
    agent = Agent.objects.filter(name=name).first()
    if agent is None:
        return
    for reaction in reactions:
        since = counts_from(reaction, agent, now=datetime.now(UTC))
        if since is not None and _denials(name, since, at_most=reaction.count) >= reaction.count:
            _freeze(reaction, name, why=f"{reaction.count} denials within {reaction.minutes} minutes.")


def _denials(agent: str, since: datetime, *, at_most: int) -> int:
    """Read from the evidence of all processes, newest first; by index, and no more than matter."""
    refused = EventRow.objects.filter(agent=agent, id__gte=first_id_at(since), kind="call.refused", decision="deny")
    headers = refused.order_by("-id").values_list("header", flat=True)[:MOST_LOOKED_AT]
    reasons = (orjson.loads(bytes(header))["details"]["reason"] for header in headers.iterator(chunk_size=at_most))
    return len(list(islice((reason for reason in reasons if reason in DENIALS), at_most)))


def _freeze(reaction: Reaction, name: str, *, why: str) -> None:
    def work(record: Recorder, now: datetime) -> None:
        agent = Agent.objects.filter(name=name).first()
        row = freeze_agent(reaction, agent, reason=why, record=record, now=now) if agent else None
        if row is not None:
            notices.frozen(row, reaction=reaction.name, now=now)

    act(work, by=by(reaction.name))


def _hold(reaction: Reaction, name: str, *, session: str, why: str) -> None:
    """Told once while the hold lasts; met anew, it lasts anew."""

    def work(record: Recorder, now: datetime) -> None:
        agent = Agent.objects.filter(name=name).first()
        if agent is None:
            return
        run = run_of(session)
        lasting = timedelta(minutes=reaction.lasting_minutes)
        labels = RunLabel.objects.filter(agent_id=agent.pk, session=run, label=HELD)
        is_held = labels.filter(at__gt=now - lasting).exists()
        add_labels(agent.pk.hex, run, frozenset({HELD}), now)
        if not is_held:
            record(fired(reaction.name, f"agent:{name}", did="hold_run", why=why, ends_at=now + lasting))
            subject = f"a run of agent {name} is held"
            notices.reacted(subject, f"the rest of it needs a human. {why}", reaction=reaction.name, now=now)

    act(work, by=by(reaction.name))


def let_holds_end(now: datetime) -> int:
    """Those older than the longest that any reaction asks for; returns how many."""
    rows = Row.objects.filter(action=Row.Action.HOLD_RUN, is_enabled=True)
    longest = max(rows.values_list("lasting_minutes", flat=True), default=0)
    return RunLabel.objects.filter(label=HELD, at__lte=now - timedelta(minutes=longest)).delete()[0]
