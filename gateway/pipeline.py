"""One tools/call from top to bottom.

    authenticate -> resolve -> authorize -> screen arguments -> commit intent -> execute -> screen result
    -> commit outcome -> answer

Before the intent is durable nothing reaches the upstream; before the outcome is durable nothing reaches the agent.
"""

import asyncio
import logging
import time
from collections.abc import Mapping
from hashlib import sha256
from typing import Any

from audit.event import uuid7
from connectors.base import RawResult, UpstreamFailure
from connectors.egress import NOT_SENT_IN_TIME
from gateway import refusals
from gateway.call import (
    Answer,
    Call,
    Caller,
    Frame,
    Intent,
    NotSent,
    Permitted,
    Recorded,
    SafeResult,
    Screened,
    Stale,
)
from gateway.commit.entry import EvidenceUnavailable, RecordRefused, Verdict
from gateway.commit.group import BOOT_CLOCK
from gateway.evidence import intent_entry, not_sent_entry, outcome_entry, refusal_entry, withheld_entry
from gateway.ports import Ports
from gateway.refusals import Refusal
from governance import canonical
from governance.decision import AccessRequest, Decision, Effect, best, decide
from governance.inspection.masking import VaultIndex
from governance.snapshot import Agent, Bundle, Snapshot, Tool

logger = logging.getLogger(__name__)

DECISIONS = 6
SENDINGS = 8
SEND_WITHIN_NS = 1_000_000_000
ARGUMENTS_LIMIT = 1024 * 1024
OUTCOME_UNKNOWN = (
    "The call was sent, but its outcome could not be recorded and is unknown. Do not repeat it; call id {call_id}."
)
WITHHELD_TEXT = "The result repeated a secret of this gateway throughout and was withheld."
WITHHELD_RESULT = {"content": [{"type": "text", "text": WITHHELD_TEXT}], "isError": True}
WITHHELD_ERROR = {"code": -32603, "message": WITHHELD_TEXT}


async def run(frame: Frame, ports: Ports) -> Answer:
    """The whole story of one call. Never raises for what an agent, an upstream or a missing database can cause."""
    try:
        for _ in range(SENDINGS):
            intent = await admit(frame, ports)
            outcome = await execute(intent, ports)
            if not isinstance(outcome, NotSent):
                return await conclude(intent, outcome, ports)
        raise Refusal(refusals.CROWDED, facts=_caller_facts(intent.call.caller))
    except Refusal as refusal:
        return await commit_refusal(frame, refusal, ports)
    except (EvidenceUnavailable, RecordRefused):
        return refused_answer(Refusal(refusals.EVIDENCE_UNAVAILABLE))


async def conclude(intent: Intent, outcome: RawResult | UpstreamFailure, ports: Ports) -> Answer:
    """From here on the effect may have happened: whatever goes wrong, the agent must not be invited to repeat it."""
    try:
        vault = ports.vault_index(ports.snapshot())
        safe = screen_result(outcome, vault) if isinstance(outcome, RawResult) else outcome
        return answer(await commit_outcome(intent, safe, ports))
    except (EvidenceUnavailable, RecordRefused):
        return outcome_unknown(intent)
    except Exception:
        logger.exception("unforeseen failure after the intent of call %s", intent.call.id)
        ports.lose_outcome(intent)
        return outcome_unknown(intent)


async def admit(frame: Frame, ports: Ports) -> Intent:
    """Decides until the fence agrees that the decision is still current, a bounded number of times."""
    snapshot, is_confirmed = ports.snapshot(), False
    for _ in range(DECISIONS):
        try:
            caller = authenticate(frame, snapshot, ports)
            call = resolve(frame, caller, ports)
            screened = screen_arguments(authorize(call, ports), ports.vault_index(snapshot))
        except Refusal as refusal:
            if refusal.is_final or is_confirmed:
                raise
            snapshot, is_confirmed = await ports.confirmed_snapshot(), True
            continue
        committed = await commit_intent(screened, ports)
        if isinstance(committed, Intent):
            return committed
        snapshot, is_confirmed = await ports.snapshot_at_least(committed.epoch), False
    raise Refusal(refusals.BUSY)


async def identify(frame: Frame, ports: Ports) -> Caller:
    """Who is asking, before any work is done for them. Raises Refusal, EvidenceUnavailable."""
    try:
        return authenticate(frame, ports.snapshot(), ports)
    except Refusal as refusal:
        if refusal.is_final:
            raise
    return authenticate(frame, await ports.confirmed_snapshot(), ports)


def authenticate(frame: Frame, snapshot: Snapshot, ports: Ports) -> Caller:
    """Who: a live key of a live agent of a live owner. All failures look alike."""
    if not frame.token:
        raise Refusal(refusals.NO_TOKEN)
    credential = snapshot.credentials.get(sha256(frame.token.encode()).digest())
    if credential is None:
        raise Refusal(refusals.BAD_TOKEN, is_final=False)
    agent = snapshot.agents[credential.agent_id]
    facts = {"agent": agent.name, "person": agent.owner.email, "credential": credential.id}
    if not agent.is_live:
        raise Refusal(refusals.BAD_TOKEN, facts=facts | {"why": "agent_not_live"}, is_final=False)
    if not credential.is_in_time(ports.now()):
        raise Refusal(refusals.BAD_TOKEN, facts=facts | {"why": "key_not_in_time"}, is_final=False)
    return Caller(agent, credential, snapshot)


def resolve(frame: Frame, caller: Caller, ports: Ports) -> Call:
    """What: the exposed name's tool, and the arguments in the one form that is decided on, recorded and sent."""
    bundles = reachable_bundles(frame.bundle, caller.agent, caller.snapshot, ports)
    found = find_tool(frame.bundle, frame.name, bundles)
    if found is None:
        raise refusal_of(caller, refusals.UNKNOWN_TOOL, {}, is_final=False)
    if not isinstance(frame.arguments, Mapping):
        raise refusal_of(caller, refusals.BAD_ARGUMENTS, {}, text="'arguments' must be an object.")
    encoded = canonical.encode(frame.arguments)
    if len(encoded) > ARGUMENTS_LIMIT:
        text = f"'arguments' has {len(encoded)} bytes; the limit is {ARGUMENTS_LIMIT}."
        raise refusal_of(caller, refusals.BAD_ARGUMENTS, {}, text=text)
    tool, candidates = found
    return Call(
        id=uuid7(),
        frame=frame,
        caller=caller,
        tool=tool,
        candidates=candidates,
        arguments=frame.arguments,
        canonical_arguments=encoded,
        arguments_digest=sha256(encoded).hexdigest(),
    )


def reachable_bundles(name: str | None, agent: Agent, snapshot: Snapshot, ports: Ports) -> list[Bundle]:
    """The named bundle if the agent holds it now; at the union endpoint all it holds."""
    return [bundle for bundle in snapshot.bundles_of(agent, ports.now()) if name is None or bundle.name == name]


def find_tool(bundle: str | None, name: str, bundles: list[Bundle]) -> tuple[Tool, tuple[Bundle, ...]] | None:
    found: Tool | None = None
    candidates: list[Bundle] = []
    for held in bundles:
        tool = held.tools.get(name) if bundle is not None else held.by_union_name.get(name)
        if tool is not None and (found is None or found.id == tool.id):
            found = tool
            candidates.append(held)
    return (found, tuple(candidates)) if found is not None else None


def authorize(call: Call, ports: Ports) -> Permitted:
    """May they: the pure decision, through each bundle that gives the tool; the most permissive one counts."""
    snapshot, now = call.caller.snapshot, ports.now()
    decision = best(decide(_access_request(call, bundle), snapshot, now) for bundle in call.candidates)
    if decision is None or not decision.exists:
        raise refusal_of(call.caller, refusals.UNKNOWN_TOOL, _decision_facts(call, decision), is_final=False)
    if decision.effect is not Effect.PERMIT:
        raise _denial(call, decision)
    return Permitted(call, decision)


def screen_arguments(permitted: Permitted, vault: VaultIndex) -> Screened:
    """What goes out, trace context too: neither the agent's own key nor a value of the vault may travel."""
    call = permitted.call
    outgoing = call.canonical_arguments
    if call.frame.trace:
        outgoing += canonical.encode(dict(call.frame.trace))
    if call.frame.token.encode() in outgoing or vault.find(outgoing):
        facts = _decision_facts(call, permitted.decision)
        raise refusal_of(call.caller, refusals.CREDENTIAL_IN_ARGUMENTS, facts)
    return Screened(permitted)


async def commit_intent(screened: Screened, ports: Ports) -> Intent | Stale:
    committed = await ports.commit(intent_entry(screened, ports))
    if committed.verdict is Verdict.STALE:
        return Stale(committed.epoch)
    if committed.verdict is Verdict.DUPLICATE:
        raise EvidenceUnavailable("a fresh call id is already taken")
    return Intent(screened, committed.epoch, committed.at_ns + SEND_WITHIN_NS)


async def execute(intent: Intent, ports: Ports) -> RawResult | UpstreamFailure | NotSent:
    """Does it. A call that could not begin to be sent soon after its COMMIT is not sent: its intent is closed.

    The database cannot see a process that was frozen in between, or a call that queued for a connection.
    """
    if time.clock_gettime_ns(BOOT_CLOCK) > intent.send_before_ns:
        return await _not_sent(intent, ports)
    try:
        return await ports.call_upstream(intent)
    except UpstreamFailure as failure:
        return await _not_sent(intent, ports) if failure.code == NOT_SENT_IN_TIME else failure
    except Exception:
        logger.exception("unforeseen failure of connector kind %s", intent.connector.kind)
        return UpstreamFailure("unforeseen", "The gateway failed while it talked to this system.", reached=True)
    except asyncio.CancelledError:
        task = asyncio.current_task()
        if not ports.was_cut(intent.call.id) or task is None:
            raise
        task.uncancel()
        return UpstreamFailure("cut", "Permission for this call was withdrawn while it ran.", reached=True)


async def _not_sent(intent: Intent, ports: Ports) -> NotSent:
    await ports.commit(not_sent_entry(intent, ports))
    return NotSent(intent.epoch)


def screen_result(raw: RawResult, vault: VaultIndex) -> SafeResult:
    """What comes back: values of our vault never reach an agent, whichever field they hide in."""
    content: Any = raw.result if raw.result is not None else raw.error
    masked: tuple[str, ...] = ()
    if vault.find(canonical.encode(content)):
        content, hits = vault.mask(content)
        masked = tuple(sorted({hit.secret for hit in hits}))
    if not isinstance(content, dict):
        content = WITHHELD_RESULT if raw.result is not None else WITHHELD_ERROR
    if raw.result is None:
        return SafeResult("error", None, content, masked, raw)
    outcome = "tool_error" if content.get("isError") is True else "ok"
    return SafeResult(outcome, content, None, masked, raw)


async def commit_outcome(intent: Intent, outcome: SafeResult | UpstreamFailure, ports: Ports) -> Recorded:
    """Passes the fence once more: a result for somebody who lost the right to it meanwhile is withheld."""
    told = _told(intent, outcome)
    committed = await ports.commit(outcome_entry(intent, outcome, ports))
    if committed.verdict is Verdict.STALE:
        snapshot = await ports.snapshot_at_least(committed.epoch)
        if _may_still_hear(intent, snapshot, ports):
            committed = await ports.commit(outcome_entry(intent, outcome, ports, is_fenced=False))
        else:
            committed = await ports.commit(withheld_entry(intent, outcome, ports))
            told = refused_answer(Refusal(refusals.BAD_TOKEN))
    if committed.verdict is not Verdict.COMMITTED:
        return Recorded(intent, outcome_unknown(intent))
    return Recorded(intent, told)


def answer(recorded: Recorded) -> Answer:
    """Only what is recorded can be answered."""
    return recorded.answer


async def commit_refusal(frame: Frame, refusal: Refusal, ports: Ports) -> Answer:
    """Any "no" before the intent: recorded, then told. Strangers are counted, not recorded singly."""
    if refusal.facts.get("agent"):
        try:
            await ports.commit(refusal_entry(frame, refusal, ports))
        except (EvidenceUnavailable, RecordRefused):
            return refused_answer(Refusal(refusals.EVIDENCE_UNAVAILABLE))
    else:
        ports.count_stranger(frame, refusal)
    return refused_answer(refusal)


def refused_answer(refusal: Refusal) -> Answer:
    reason = refusal.reason
    match reason.shape:
        case refusals.Shape.UNAUTHENTICATED:
            error = "" if reason is refusals.NO_TOKEN else ' error="invalid_token"'
            return Answer(error=_rpc_error(-32001, refusal.text), status=401, challenge=error)
        case refusals.Shape.UNAVAILABLE:
            text = f"{refusal.text} {reason.remedy}".strip()
            return Answer(error=_rpc_error(-32603, text), status=503, retry_after_seconds=1)
        case refusals.Shape.UNKNOWN_TOOL:
            return Answer(error=_rpc_error(-32602, refusal.text))
        case refusals.Shape.BAD_REQUEST:
            return Answer(error=_rpc_error(-32602, refusal.text))
        case refusals.Shape.RESULT:
            return Answer(result=_denied_result(refusal))


def outcome_unknown(intent: Intent) -> Answer:
    text = OUTCOME_UNKNOWN.format(call_id=intent.call.id)
    meta = {"com.gatehouse/decision": {"code": "outcome_unknown", "call_id": str(intent.call.id)}}
    return Answer(result={"content": [{"type": "text", "text": text}], "isError": True, "_meta": meta})


def _denied_result(refusal: Refusal) -> dict[str, Any]:
    decision = {"code": refusal.reason.code}
    if rule := refusal.facts.get("rule"):
        decision["rule"] = rule
    text = f"{refusal.text} {refusal.reason.remedy}".strip()
    return {
        "content": [{"type": "text", "text": text}],
        "isError": True,
        "_meta": {"com.gatehouse/decision": decision},
    }


def _told(intent: Intent, outcome: SafeResult | UpstreamFailure) -> Answer:
    if isinstance(outcome, SafeResult):
        return Answer(result=outcome.result, error=outcome.error)
    if outcome.code == "cut":
        return refused_answer(Refusal(refusals.BAD_TOKEN))
    advice = "It may have had an effect: do not repeat it blindly." if outcome.reached else "Nothing was done."
    text = f"{intent.connector.name}: {outcome.message} {advice}"
    meta = {"com.gatehouse/failure": {"code": outcome.code, "call_id": str(intent.call.id)}}
    return Answer(result={"content": [{"type": "text", "text": text}], "isError": True, "_meta": meta})


def _may_still_hear(intent: Intent, snapshot: Snapshot, ports: Ports) -> bool:
    try:
        caller = authenticate(intent.call.frame, snapshot, ports)
        call = resolve(intent.call.frame, caller, ports)
        authorize(call, ports)
    except Refusal:
        return False
    return call.tool.id == intent.call.tool.id


def _access_request(call: Call, bundle: Bundle) -> AccessRequest:
    return AccessRequest(
        agent_id=call.caller.agent.id,
        credential_id=call.caller.credential.id,
        tool_id=call.tool.id,
        bundle_id=bundle.id,
        arguments=call.arguments,
        session_id=call.frame.session_id,
        source_ip=call.frame.source_ip,
    )


def _denial(call: Call, decision: Decision) -> Refusal:
    facts = _decision_facts(call, decision)
    strongest = next((rule for rule in decision.rules if rule.effect == decision.effect), None)
    if strongest is not None:
        facts["rule"] = f"{strongest.policy}#{strongest.position}"
    reason = refusals.BY_DECISION_CODE[decision.code]
    return refusal_of(call.caller, reason, facts, text=f"Denied: {decision.reason}", is_final=False)


def refusal_of(
    caller: Caller, reason: refusals.Reason, facts: dict[str, Any], *, text: str = "", is_final: bool = True
) -> Refusal:
    return Refusal(reason, text, _caller_facts(caller) | facts, is_final)


def _caller_facts(caller: Caller) -> dict[str, Any]:
    return {
        "agent": caller.agent.name,
        "person": caller.agent.owner.email,
        "credential": caller.credential.id,
        "epoch": caller.snapshot.epoch,
    }


def _decision_facts(call: Call, decision: Decision | None) -> dict[str, Any]:
    facts: dict[str, Any] = {
        "connector": call.tool.connector.name,
        "tool": call.tool.name,
        "arguments_digest": call.arguments_digest,
    }
    if decision is not None:
        facts["decision"] = decision.effect.value
        facts["code"] = decision.code
        facts["bundle"] = f"{decision.bundle} v{decision.bundle_version}"
        facts["rules"] = [rule.as_json() for rule in decision.rules]
    return facts


def _rpc_error(code: int, message: str) -> dict[str, Any]:
    return {"code": code, "message": message}
