"""Calls to which humans must agree: what such a call waits for, and what must still hold when it comes for their yes.

The row of the question is found by the digest of what the agent asks. What runs are the arguments stored with it; those
that are sent again are only compared.
"""

from collections.abc import Iterable, Mapping
from dataclasses import replace
from datetime import datetime
from typing import Any, Final

from django.conf import settings

from gateway import refusals
from gateway.call import Approval, Asked, Call, Held, Permitted
from gateway.commit.entry import Run
from gateway.deciding import (
    decided,
    denial,
    inspected,
    looked_for,
    permitted,
    refuse_credentials,
    refused,
    resolve,
)
from gateway.evidence import approval_recorder
from gateway.held import DENIAL_STANDS, TooManyQuestions
from gateway.held_rows import HeldCall, changed_members, with_values
from gateway.limits import reads_labels
from gateway.ports import Ports
from gateway.refusals import Refusal
from gateway.run_labels import run_of
from gateway.unmasking import bound_values, recognized
from governance import canonical
from governance.approval_rows import State
from governance.approvers import Standing, human_of, standing
from governance.decision import Ask, Decision, Effect
from governance.inspection.tokens import MARK
from governance.snapshot import Snapshot

ASKABLE: Final = ("tools/call", "prompts/get", "resources/read")
"""Of nothing else can a human say yes to one."""
RETRY_SECONDS: Final = 5
DEFINITION = "The definition of the tool changed after humans agreed to the call."
SECRET = "The secret of the system changed after humans agreed to the call."  # noqa: S105  (a sentence)
BUNDLE = "The bundle changed after humans agreed to the call."
RULES = "The rules that ask changed after humans agreed to the call."
ARGUMENTS = "What was agreed to is not what would run."
APPROVERS = "Somebody who agreed to the call may not decide about it any more."


async def permit(call: Call, ports: Ports, *, is_confirmed: bool) -> Permitted:
    """May they, with the labels of the run where a rule or a limit reads them, and with humans' consent where a rule
    wants it.

    Raises Refusal: denied, or it waits. `is_confirmed` says that the call was decided by a view as new as the request;
    nobody is asked, and nothing that was agreed to is given up, because of an older one.
    """
    agent_id, session, seen = call.caller.agent.id, call.frame.session_id, None
    decision, guess = _by_guess(call, ports) or (decided(call, ports), None)
    if decision.reads_labels or call.reach is not None or (decision.effect is not Effect.DENY and reads_labels(call)):
        if guess is not None:
            return Permitted(call, decision, Run(agent_id, run_of(session), guess, call.reach), is_guess=True)
        seen = Run(agent_id, run_of(session), await ports.run_labels.of(agent_id, session), call.reach)
        decision = decided(call, ports, labels=seen.labels)
    if decision.effect is not Effect.ASK or call.frame.method not in ASKABLE:
        return permitted(call, decision, seen)
    if not is_confirmed:
        raise denial(call, decision)
    refuse_credentials(call, decision, ports.vault_index(call.caller.snapshot))
    return await _redeem(asked_of(call, decision, seen), ports)


def _by_guess(call: Call, ports: Ports) -> tuple[Decision, frozenset[str]] | None:
    """Permitted under the labels that are remembered of the run: the intent commits only if these are its labels still.
    Nothing else is said by a guess, neither no nor that humans are asked."""
    guess = ports.run_labels.guessed(call.caller.agent.id, call.frame.session_id)
    if guess is None:
        return None
    try:
        decision = decided(call, ports, labels=guess)
    except Refusal:
        return None
    return (decision, guess) if decision.effect is Effect.PERMIT else None


def asked_of(call: Call, decision: Decision, seen: Run | None) -> Asked:
    """What is asked has neither definition nor version: the same words find the answer even if these have changed, and
    then it is void. A call that goes on after a question of the upstream is never the same as a new one, whose
    arguments an agent may make look like what is recorded of the other."""
    bundle = next(each for each in call.candidates if each.name == decision.bundle)
    return Asked(call, decision, bundle.id, asked_digest(call), seen)


def asked_digest(call: Call) -> bytes:
    how = "resumed" if call.frame.resumed else "asked"
    return digest_of_call(call, "", f"{how} of {call.frame.bundle or ''}")


def digest_of_call(
    call: Call, definition: str, bundle_version: str, restores: Iterable[Mapping[str, str]] = ()
) -> bytes:
    return canonical.call_digest(
        organization="",
        agent=call.caller.agent.id,
        person=call.caller.credential.person_id,
        connector=call.tool.connector.id,
        tool=call.tool.id,
        definition=definition,
        arguments=with_values(call.recorded_arguments, restores),
        bundle_version=bundle_version,
    )


async def _redeem(asked: Asked, ports: Ports) -> Permitted:
    now = ports.now()
    held = await ports.held.find(asked.digest, now, awaited=asked.call.frame.awaited)
    if held is not None and is_approved(held, now):
        released = _released(asked, held, await _as_stored(asked.call, held, ports), ports)
        if isinstance(released, Permitted):
            return released
        await ports.held.void(held.key, released, now, approval_recorder(asked, ports))
        held = None
    raise _refusal(asked, held or await _ask(asked, ports), now)


def _seen(asked: Asked, call: Call) -> Run | None:
    """Humans may have narrowed where it sends something."""
    return replace(asked.seen, reach=call.reach) if asked.seen is not None else None


def is_approved(held: HeldCall, now: datetime) -> bool:
    return held.state == State.APPROVED and held.use_before is not None and held.use_before > now


async def _ask(asked: Asked, ports: Ports) -> HeldCall:
    try:
        return await ports.held.ask(asked, ports.now(), approval_recorder(asked, ports))
    except TooManyQuestions as error:
        reason = refusals.APPROVAL_REFUSED_FOR_NOW if error.is_denied else refusals.TOO_MANY_APPROVALS
        raise refused(asked.call, asked.decision, reason) from None


# -- redeeming


def _released(asked: Asked, held: HeldCall, call: Call, ports: Ports) -> Permitted | str:
    """The call as it was agreed to; or why that is void. Raises Refusal when it is denied meanwhile."""
    if not held.arguments:
        return ARGUMENTS
    snapshot = call.caller.snapshot
    if why := _outdated(asked, held, call):
        return why
    decision = decided(call, ports, labels=asked.seen.labels if asked.seen else None, consented=held.rules)
    if _bound(call, decision, held) != held.call_digest:
        return ARGUMENTS
    if decision.effect is Effect.ASK:
        return RULES
    found = standing(held.asks, held.votes, held.subject, snapshot, held.shown)
    if not found.is_approved:
        return APPROVERS
    rests_on = decision.read_set | read_set_of(held, found, snapshot)
    limits = [limit for limit in (decision.valid_until, held.use_before) if limit is not None]
    released = permitted(call, decision._replace(read_set=rests_on, valid_until=min(limits)))
    return replace(released, seen=_seen(asked, call), approval=approval_of(asked, held, call, found))


async def _as_stored(call: Call, held: HeldCall, ports: Ports) -> Call:
    """With the arguments humans agreed to, which they may have narrowed."""
    if not held.arguments or held.arguments == call.recorded_arguments:
        return call
    stored: Any = canonical.parse(held.arguments)
    arguments = stored["arguments"] if call.frame.resumed else stored
    narrowed = resolve(replace(call.frame, arguments=arguments), call.caller, ports)
    if MARK in narrowed.recorded_arguments:
        narrowed = await recognized(narrowed, ports.masks)
    return await inspected(narrowed, names, ports) if (names := looked_for(narrowed)) else narrowed


def _outdated(asked: Asked, held: HeldCall, call: Call) -> str:
    """Why what humans agreed to is not what would run now; empty if it is."""
    if held.definition_digest != call.tool.definition_digest:
        return DEFINITION
    if held.secret_version != call.presents:
        return SECRET
    if (held.bundle_id, held.bundle_version) != (asked.bundle_id, asked.decision.bundle_version):
        return BUNDLE
    if not held.rules.issuperset(ask.rule for ask in asked.decision.asks):
        return RULES
    return ""


def _bound(call: Call, decision: Decision, held: HeldCall) -> bytes:
    """What would run now, real values and all, as humans are asked about it."""
    restores = bound_values(call, decision) if decision.restores else ()
    return digest_of_call(call, call.tool.definition_digest, f"{held.bundle_id} v{held.bundle_version}", restores)


def read_set_of(held: HeldCall, found: Standing, snapshot: Snapshot) -> frozenset[str]:
    """What makes those who agreed somebody who may: a change of it between check and commit undoes the commit."""
    subject = held.subject
    people = {*found.approver_ids, subject.owner_id, subject.person_id, subject.asked_by_id} - {""}
    people |= {human_of(person_id, snapshot) for person_id in people}
    teams = {team for person in people if person in snapshot.people for team in snapshot.people[person].team_ids}
    named = {name for ask in held.asks for name in (*ask.terms.on_call, *ask.terms.teams, *ask.terms.escalate_to)}
    teams |= {team.id for team in snapshot.teams.values() if team.name in named}
    return frozenset((*(f"person:{person}" for person in people), *(f"team:{team}" for team in teams)))


def approval_of(asked: Asked, held: HeldCall, call: Call, found: Standing) -> Approval:
    people = call.caller.snapshot.people
    return Approval(
        number=held.number,
        key=held.key,
        name=held.name,
        asked=asked.digest,
        call_digest=held.call_digest,
        shown=held.shown,
        rules=held.rules,
        approvers=tuple(sorted(people[person].email for person in found.approver_ids)),
        narrowed=changed_members(asked.call.arguments, call.arguments),
    )


# -- waiting


def _refusal(asked: Asked, held: HeldCall, now: datetime) -> Refusal:
    """What the agent hears while it waits, or of an end that still stands."""
    reason, text = _told(held)
    refusal = refused(asked.call, asked.decision, reason, {"approval": held.name}, text=text)
    refusal.held = view_of(asked, held, now)
    return refusal


def _told(held: HeldCall) -> tuple[refusals.Reason, str]:
    if held.state in (State.PENDING, State.APPROVED):
        return refusals.WAITING, (
            f"Approval {held.name} is requested from {whom(held.asks)}; call the same tool with the same arguments "
            f"again after approval, valid until {held.expires_at:%Y-%m-%d %H:%M:%S} UTC; do not try other tools to get "
            "around this."
        )
    if held.state == State.DENIED:
        because = f": {held.ended_because}" if held.ended_because else "."
        return refusals.APPROVAL_DENIED, f"An approver said no to {held.name}{because}"
    return refusals.APPROVAL_ENDED, f"{held.name} is over ({State(held.state).label.lower()}): {held.ended_because}"


def whom(asks: tuple[Ask, ...]) -> str:
    """Teams by name; of people the agent need not know more."""
    named: list[str] = []
    for terms in (ask.terms for ask in asks):
        named += [*terms.teams, *(f"{team} on call" for team in terms.on_call)]
        named += ["the owner's manager"] * terms.manager + ["the owner of the system"] * terms.resource_owner
        named += ["people the rule names"] * bool(terms.people)
    return ", ".join(dict.fromkeys(named)) or "an approver"


def view_of(asked: Asked, held: HeldCall, now: datetime) -> Held:
    stands = (held.ended_at or now) + DENIAL_STANDS - now
    needs_reason = any(ask.terms.needs_reason for ask in held.asks)
    return Held(
        key=held.key,
        name=held.name,
        url=f"{settings.PUBLIC_URL}/approvals/{held.key}/",
        state=held.state,
        expires_at=held.expires_at,
        retry_after_seconds=int(stands.total_seconds()) if held.state == State.DENIED else RETRY_SECONDS,
        is_new=held.is_new,
        wants_reason=needs_reason and not held.has_reason,
    )
