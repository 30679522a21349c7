"""Answers that humans have to look at before the agent does: kept when the call has run, let go once when it comes
again.

The call is over and on record; what waits is what it got. Repeating the identical call, or any view of the wait, finds
the question by what was asked, and carries nothing out again.
"""

from datetime import datetime
from typing import Final

from gateway import redeeming, refusals
from gateway.call import Approval, Asked, Call, Intent, Permitted, SafeResult
from gateway.commit.entry import Run
from gateway.deciding import decided, denial, refused
from gateway.evidence import approval_recorder
from gateway.held import TooManyQuestions
from gateway.held_rows import HeldCall
from gateway.ports import Ports
from gateway.redeeming import APPROVERS, ASKABLE, approval_of, asked_digest, is_approved, read_set_of, view_of, whom
from gateway.refusals import Refusal
from gateway.run_labels import met_by, run_of
from gateway.screening import FINISHED, withheld_by
from governance import canonical
from governance.answers import Screen
from governance.approval_rows import State
from governance.approvers import Standing, standing
from governance.decision import Decision, Effect

MOST_BYTES: Final = 1024 * 1024
TOO_LARGE: Final = "A human would have to look at it, and it is too large for that."
UNFIT: Final = "A human would have to look at it, and this kind of answer cannot wait."
TOO_MANY: Final = "A human would have to look at it, and too many questions of this agent wait already."
NOT_IT: Final = "What is kept is not what humans agreed to."
CARRIED_OUT: Final = "The call was carried out."


async def permit(call: Call, ports: Ports, *, is_confirmed: bool) -> Permitted:
    """As `redeeming.permit`; but what waits for humans, or was let go by them, has run. Raises Refusal."""
    if call.frame.method in ASKABLE and (call.frame.awaited is not None or _may_wait(call)):
        held = await ports.held.find(_digest(call), ports.now(), awaited=call.frame.awaited)
        if held is not None:
            return await _let_go(call, held, ports, is_confirmed=is_confirmed)
        if call.frame.awaited is not None and await ports.held.is_answer(call.frame.awaited):
            raise gone(call, decided(call, ports))
    return await redeeming.permit(call, ports, is_confirmed=is_confirmed)


async def hold(intent: Intent, safe: SafeResult, ports: Ports) -> Refusal | SafeResult:
    """What the agent hears while its answer waits; or that it gets none, where that cannot wait."""
    call, now = intent.call, ports.now()
    why = UNFIT if safe.outcome not in FINISHED or call.frame.method not in ASKABLE else ""
    why = why or (TOO_LARGE if len(safe.encoded) > MOST_BYTES else "")
    if not why:
        permitted = intent.screened.permitted
        asked = _asked(call, intent.decision._replace(asks=safe.asks), permitted.seen, permitted.approval)
        try:
            held = await ports.held.hold(asked, _kept(intent, safe), now, approval_recorder(asked, ports))
            return _refusal(asked, held, now)
        except TooManyQuestions:
            why = TOO_MANY
    return withheld_by(intent, safe, Screen(safe.asks[0].rule, "ask", frozenset(), why))


async def give_up(intent: Intent, safe: SafeResult, ports: Ports) -> None:
    """The question was put, and that the answer waits could not be recorded. Raises EvidenceUnavailable."""
    if safe.held is not None and safe.held.is_new:
        asked = _asked(intent.call, intent.decision._replace(asks=safe.asks), None)
        why = "The outcome of the call is not on record as one that waits."
        await ports.held.void(safe.held.key, why, ports.now(), approval_recorder(asked, ports))


def gone(call: Call, decision: Decision) -> Refusal:
    """Somebody else came for it first, or what waits for it is another call by now."""
    return refused(call, decision, refusals.ANSWER_GONE)


def _may_wait(call: Call) -> bool:
    caller = call.caller
    holdings = (
        caller.snapshot.holding(caller.agent, bundle, call.tool, caller.credential.person_id)
        for bundle in call.candidates
    )
    return any(holding is not None and holding.holds_answers for holding in holdings)


def _digest(call: Call, approval: Approval | None = None) -> bytes:
    """Of what the agent asked, which is what it will ask again: humans may have narrowed what ran."""
    return canonical.digest(b"gatehouse/asked-answer/v1", asked_digest(call) if approval is None else approval.asked)


def _asked(call: Call, decision: Decision, seen: Run | None, approval: Approval | None = None) -> Asked:
    bundle = next(each for each in call.candidates if each.name == decision.bundle)
    asking = decision._replace(effect=Effect.ASK, code="approval_required", restores=())
    return Asked(call, asking, bundle.id, _digest(call, approval), seen)


def _kept(intent: Intent, safe: SafeResult) -> bytes:
    """All that is needed to let it go, whichever process does."""
    met = met_by(intent.call, safe)
    shown = canonical.parse(safe.shown) if safe.shown else None
    labels = sorted(met.labels) if met is not None else []
    return canonical.encode({"answer": safe.result, "shown": shown, "labels": labels, "call": str(intent.call.id)})


# -- coming for it


async def _let_go(call: Call, held: HeldCall, ports: Ports, *, is_confirmed: bool) -> Permitted:
    """Rules that ask about the call itself were answered when it ran; one that denies it counts as ever."""
    now, agent_id, session = ports.now(), call.caller.agent.id, call.frame.session_id
    seen = Run(agent_id, run_of(session), await ports.run_labels.of(agent_id, session))
    decision = decided(call, ports, labels=seen.labels, consented=held.rules)
    if decision.effect is Effect.DENY:
        raise denial(call, decision)
    asked = _asked(call, decision, seen)
    if not is_confirmed:
        raise refused(call, asked.decision, refusals.WAITING, is_final=False)
    if not is_approved(held, now):
        raise _refusal(asked, held, now)
    found = standing(held.asks, held.votes, held.subject, call.caller.snapshot, held.shown)
    if not held.answer or not found.is_approved:
        why = APPROVERS if held.answer else NOT_IT
        await ports.held.void(held.key, why, now, approval_recorder(asked, ports))
        raise refused(call, asked.decision, refusals.ANSWER_GONE)
    return _released(asked, held, decision, found)


def _released(asked: Asked, held: HeldCall, decision: Decision, found: Standing) -> Permitted:
    call = asked.call
    limits = [limit for limit in (decision.valid_until, held.use_before) if limit is not None]
    decision = decision._replace(
        effect=Effect.PERMIT,
        code="approved",
        asks=(),
        counted_grants=(),
        redacts=(),
        restores=(),
        read_set=decision.read_set | read_set_of(held, found, call.caller.snapshot),
        valid_until=min(limits),
    )
    seen = asked.seen if decision.reads_labels else None
    approval = approval_of(asked, held, call, found)
    return Permitted(call, decision, seen, approval, answer=held.answer)


# -- waiting


def _refusal(asked: Asked, held: HeldCall, now: datetime) -> Refusal:
    reason, text = _told(held)
    refusal = refused(asked.call, asked.decision, reason, {"approval": held.name}, text=f"{CARRIED_OUT} {text}")
    refusal.held = view_of(asked, held, now)
    return refusal


def _told(held: HeldCall) -> tuple[refusals.Reason, str]:
    if held.state in (State.PENDING, State.APPROVED):
        return refusals.WAITING, (
            f"Its answer waits for approval {held.name} from {whom(held.asks)}; call the same tool with the same "
            f"arguments again to get it, which does not carry it out again, until {held.expires_at:%Y-%m-%d %H:%M:%S} "
            "UTC."
        )
    if held.state == State.DENIED:
        because = f": {held.ended_because}" if held.ended_because else "."
        return refusals.APPROVAL_DENIED, f"An approver keeps its answer back ({held.name}){because}"
    return refusals.ANSWER_GONE, f"{held.name} is over ({State(held.state).label.lower()}): {held.ended_because}"
