"""One governed request from top to bottom: tools/call, prompts/get, resources/read, completion/complete.

    authenticate -> resolve -> authorize -> screen arguments -> commit intent -> execute -> screen result
    -> commit outcome -> answer

Before the intent is durable nothing reaches the upstream; before the outcome is durable nothing reaches the agent.
"""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import replace
from functools import partial
from hashlib import sha256
from typing import Any, TypeVar

from audit.event import uuid7
from connectors.base import SILENCE, RawResult, Relay, UpstreamFailure
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
from gateway.evidence import (
    intent_entry,
    not_sent_entry,
    outcome_entry,
    refusal_entry,
    watch_entry,
    withheld_entry,
)
from gateway.limits import Allowance
from gateway.operation import (
    AUTHENTICATE,
    COMMIT_INTENT,
    COMMIT_OUTCOME,
    DECIDE,
    RECEIVE,
    REFUSE,
    SCREEN,
    SCREEN_RESULT,
    TAKE_LIMITS,
    passed,
    passed_upstream,
)
from gateway.ports import Ports
from gateway.refusals import Refusal
from gateway.relaying import ScreenedRelay, result_problem
from gateway.targets import arguments_of, expose_uris, find_target, params_of
from governance import canonical
from governance.decision import AccessRequest, Decision, Effect, best, decide
from governance.inspection.masking import VaultIndex
from governance.snapshot import Agent, Bundle, Credential, Snapshot

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
CUT = {
    "withdrawn": "Permission for this call was withdrawn while it ran.",
    "cancelled": "The call was cancelled while it ran.",
    "ending": "The gateway had to end while the call ran.",
}
FINISHED = ("ok", "tool_error")
RESUMED = ("inputResponses", "requestState")
TOOL_CALL = "tools/call"
DENIED_CODE = 403
"""JSON-RPC code of a denial where no tool result can explain it: outside the reserved range, so ours to give."""
TOO_MANY_CODE = 429
"""Likewise."""
RESOURCE_NOT_FOUND = -32002

Admitted = TypeVar("Admitted")


async def run(frame: Frame, ports: Ports) -> Answer:
    """The whole story of one call. Never raises for what an agent, an upstream or a missing database can cause."""
    passed(RECEIVE)
    try:
        with ports.allowance() as allowance:
            for _ in range(SENDINGS):
                intent = await admit(frame, ports, partial(commit_intent, allowance=allowance))
                outcome = await execute(intent, ports)
                passed_upstream(intent)
                if not isinstance(outcome, NotSent):
                    allowance.spend(intent.call, outcome)
                    return await conclude(intent, outcome, ports)
                frame = replace(frame, call_id=None)
        raise Refusal(refusals.CROWDED, facts=_caller_facts(intent.call.caller))
    except Refusal as refusal:
        return await commit_refusal(frame, refusal, ports)
    except (EvidenceUnavailable, RecordRefused):
        return refused_answer(Refusal(refusals.EVIDENCE_UNAVAILABLE))


async def watch(frame: Frame, ports: Ports) -> Call | Answer:
    """resources/subscribe: the same stages up to the record; nothing is sent. The call says what may be heard of."""
    try:
        with ports.allowance() as allowance:
            return (await admit(frame, ports, partial(commit_watch, allowance=allowance))).permitted.call
    except Refusal as refusal:
        return await commit_refusal(frame, refusal, ports)
    except (EvidenceUnavailable, RecordRefused):
        return refused_answer(Refusal(refusals.EVIDENCE_UNAVAILABLE))


async def conclude(intent: Intent, outcome: RawResult | UpstreamFailure, ports: Ports) -> Answer:
    """From here on the effect may have happened: whatever goes wrong, the agent must not be invited to repeat it."""
    try:
        vault = ports.vault_index(ports.snapshot())
        safe = screen_result(intent, outcome, vault) if isinstance(outcome, RawResult) else outcome
        passed(SCREEN_RESULT)
        recorded = await commit_outcome(intent, safe, ports)
        passed(COMMIT_OUTCOME)
        return answer(recorded)
    except (EvidenceUnavailable, RecordRefused):
        return outcome_unknown(intent)
    except Exception:
        logger.exception("unforeseen failure after the intent of call %s", intent.call.id)
        ports.lose_outcome(intent)
        return outcome_unknown(intent)


async def admit(
    frame: Frame, ports: Ports, commit: Callable[[Screened, Ports], Awaitable[Admitted | Stale]]
) -> Admitted:
    """Decides until the fence agrees that the decision is still current, a bounded number of times."""
    snapshot, is_confirmed = ports.snapshot(), False
    for _ in range(DECISIONS):
        try:
            caller = authenticate(frame, snapshot, ports)
            passed(AUTHENTICATE)
            permitted = authorize(resolve(frame, caller, ports), ports)
            passed(DECIDE)
            screened = screen_arguments(permitted, ports.vault_index(snapshot))
            passed(SCREEN)
        except Refusal as refusal:
            if refusal.is_final or is_confirmed:
                raise
            snapshot, is_confirmed = await ports.confirmed_snapshot(), True
            continue
        committed = await commit(screened, ports)
        passed(COMMIT_INTENT)
        if not isinstance(committed, Stale):
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
    if not agent.is_live:
        raise _bad_token(agent, credential, why="agent_not_live")
    if not credential.is_in_time(ports.now()):
        raise _bad_token(agent, credential, why="key_not_in_time")
    return Caller(agent, credential, snapshot)


def _bad_token(agent: Agent, credential: Credential, *, why: str) -> Refusal:
    facts = {"agent": agent.name, "person": agent.owner.email, "credential": credential.id, "why": why}
    return Refusal(refusals.BAD_TOKEN, facts=facts, is_final=False)


def resolve(frame: Frame, caller: Caller, ports: Ports) -> Call:
    """What: the exposed name's target, and the arguments in the one form that is decided on, recorded and sent."""
    bundles = reachable_bundles(frame.bundle, caller.agent, caller.snapshot, ports)
    found = find_target(frame, bundles, caller.snapshot)
    if found is None:
        raise _unknown(frame, caller, {})
    if not isinstance(frame.arguments, Mapping):
        raise refusal_of(caller, refusals.BAD_ARGUMENTS, {}, text="'arguments' must be an object.")
    target, candidates = found
    arguments = arguments_of(frame, target)
    encoded = canonical.encode(arguments)
    params = params_of(frame.method, target, arguments, encoded)
    recorded, size = encoded, len(encoded)
    if frame.resumed:
        resumed = {name: canonical.encode(frame.resumed[name]) for name in RESUMED if name in frame.resumed}
        params |= resumed
        recorded = canonical.encode({"arguments": arguments, **frame.resumed})
        size += sum(map(len, resumed.values()))
    if size > ARGUMENTS_LIMIT:
        text = f"'arguments' has {size} bytes; the limit is {ARGUMENTS_LIMIT}."
        raise refusal_of(caller, refusals.BAD_ARGUMENTS, {}, text=text)
    return Call(
        id=frame.call_id or uuid7(),
        frame=frame,
        caller=caller,
        tool=target,
        candidates=candidates,
        arguments=arguments,
        params=params,
        recorded_arguments=recorded,
        arguments_digest=sha256(recorded).hexdigest(),
    )


def reachable_bundles(name: str | None, agent: Agent, snapshot: Snapshot, ports: Ports) -> list[Bundle]:
    """The named bundle if the agent holds it now; at the union endpoint all it holds."""
    if name is None:
        return snapshot.bundles_of(agent, ports.now())
    bundle = snapshot.bundle_of(agent, name, ports.now())
    return [bundle] if bundle is not None else []


def authorize(call: Call, ports: Ports) -> Permitted:
    """May they: the pure decision, through each bundle that gives the tool; the most permissive one counts."""
    snapshot, now = call.caller.snapshot, ports.now()
    decision = best([decide(_access_request(call, bundle), snapshot, now) for bundle in call.candidates])
    if decision is None or not decision.exists:
        raise _unknown(call.frame, call.caller, _decision_facts(call, decision))
    if decision.effect is not Effect.PERMIT:
        raise _denial(call, decision)
    return Permitted(call, decision)


def screen_arguments(permitted: Permitted, vault: VaultIndex) -> Screened:
    """What goes out, trace context too: neither the agent's own key nor a value of the vault may travel."""
    call = permitted.call
    outgoing = b",".join(call.params.values())
    if call.frame.trace:
        outgoing += canonical.encode(dict(call.frame.trace))
    if call.frame.token.encode() in outgoing or vault.find(outgoing):
        facts = _decision_facts(call, permitted.decision)
        raise refusal_of(call.caller, refusals.CREDENTIAL_IN_ARGUMENTS, facts)
    return Screened(permitted)


async def commit_intent(screened: Screened, ports: Ports, *, allowance: Allowance) -> Intent | Stale:
    """How fast, then the record: nothing is written of a call for which a limit or its upstream has no room."""
    await allowance.take(screened.permitted.call)
    passed(TAKE_LIMITS)
    committed = await ports.commit(intent_entry(screened, ports))
    if committed.verdict is Verdict.STALE:
        return Stale(committed.epoch)
    if committed.verdict is Verdict.DUPLICATE:
        raise _repeated(screened.permitted)
    return Intent(screened, committed.epoch, committed.at_ns + SEND_WITHIN_NS)


def _repeated(permitted: Permitted) -> Refusal:
    """Only a call whose id is given can be on record already."""
    call = permitted.call
    facts = _decision_facts(call, permitted.decision) | {"repeats": str(call.id)}
    text = f"{refusals.REPEATED.text} Call id {call.id}."
    return refusal_of(call.caller, refusals.REPEATED, facts, text=text)


async def commit_watch(screened: Screened, ports: Ports, *, allowance: Allowance) -> Screened | Stale:
    await allowance.take(screened.permitted.call)
    passed(TAKE_LIMITS)
    committed = await ports.commit(watch_entry(screened, ports))
    return Stale(committed.epoch) if committed.verdict is Verdict.STALE else screened


async def execute(intent: Intent, ports: Ports) -> RawResult | UpstreamFailure | NotSent:
    """Does it. A call that could not begin to be sent soon after its COMMIT is not sent: its intent is closed.

    The database cannot see a process that was frozen in between, or a call that queued for a connection.
    """
    if time.clock_gettime_ns(BOOT_CLOCK) > intent.send_before_ns:
        return await _not_sent(intent, ports)
    try:
        return await ports.call_upstream(intent, screened_relay(intent, ports))
    except UpstreamFailure as failure:
        return await _not_sent(intent, ports) if failure.code == NOT_SENT_IN_TIME else failure
    except Exception:
        logger.exception("unforeseen failure of connector kind %s", intent.connector.kind)
        return UpstreamFailure("unforeseen", "The gateway failed while it talked to this system.", reached=True)
    except asyncio.CancelledError:
        task, why = asyncio.current_task(), ports.why_cut(intent.call.id)
        if not why or task is None:
            raise
        task.uncancel()
        return UpstreamFailure(why, CUT[why], reached=True)


async def _not_sent(intent: Intent, ports: Ports) -> NotSent:
    await ports.commit(not_sent_entry(intent, ports))
    return NotSent(intent.epoch)


def screened_relay(intent: Intent, ports: Ports) -> Relay:
    relay = intent.call.frame.relay
    if relay is SILENCE:
        return relay
    return ScreenedRelay(relay, intent, ports, may_still_hear=lambda snapshot: _may_still_hear(intent, snapshot, ports))


def screen_result(intent: Intent, raw: RawResult, vault: VaultIndex) -> SafeResult | UpstreamFailure:
    """What comes back: values of our vault never reach an agent, whichever field they hide in. An upstream that asks
    what it may not ask has failed."""
    if problem := result_problem(raw, intent.call.frame.relay, intent.connector, vault):
        return UpstreamFailure("bad_answer", f"It asked for something in vain. {problem}", reached=True)
    original: Any = raw.result if raw.result is not None else raw.error
    content, encoded = original, canonical.encode(original)
    masked: tuple[str, ...] = ()
    if vault.find(encoded):
        content, hits = vault.mask(content)
        masked = tuple(sorted({hit.secret for hit in hits}))
    is_tool = intent.call.frame.method == TOOL_CALL
    if not isinstance(content, dict):
        content = WITHHELD_RESULT if raw.result is not None and is_tool else WITHHELD_ERROR
    is_error = raw.result is None or content is WITHHELD_ERROR
    outcome = "error" if is_error else _outcome_of(content, is_tool=is_tool)
    if outcome in FINISHED:
        content = _exposed(intent, content)
    if content is not original:
        encoded = canonical.encode(content)
    return SafeResult(outcome, None if is_error else content, content if is_error else None, masked, raw, encoded)


def _outcome_of(result: dict[str, Any], *, is_tool: bool) -> str:
    if result.get("resultType") == "input_required":
        return "input_required"
    return "tool_error" if is_tool and result.get("isError") is True else "ok"


def _exposed(intent: Intent, result: dict[str, Any]) -> dict[str, Any]:
    bundle, is_union = intent.call.candidates[0], intent.call.frame.bundle is None
    return expose_uris(result, bundle, intent.connector, union=is_union)


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
        if ports.is_repeated(refusal):
            return refused_answer(refusal, frame.method)
        try:
            await ports.commit(refusal_entry(frame, refusal, ports))
        except (EvidenceUnavailable, RecordRefused):
            return refused_answer(Refusal(refusals.EVIDENCE_UNAVAILABLE))
    else:
        ports.count_stranger(frame, refusal)
    passed(REFUSE)
    return refused_answer(refusal, frame.method)


def refused_answer(refusal: Refusal, method: str = TOOL_CALL) -> Answer:
    reason = refusal.reason
    match reason.shape:
        case refusals.Shape.UNAUTHENTICATED:
            error = "" if reason is refusals.NO_TOKEN else ' error="invalid_token"'
            return Answer(error=_rpc_error(-32001, refusal.text), status=401, challenge=error)
        case refusals.Shape.UNAVAILABLE:
            text = f"{refusal.text} {reason.remedy}".strip()
            return Answer(error=_rpc_error(-32603, text), status=503, retry_after_seconds=1)
        case refusals.Shape.TOO_MANY:
            return _too_many(refusal)
        case refusals.Shape.UNKNOWN_TOOL | refusals.Shape.BAD_REQUEST:
            return Answer(error=_rpc_error(-32602, refusal.text))
        case refusals.Shape.UNKNOWN_RESOURCE:
            return Answer(error=_rpc_error(RESOURCE_NOT_FOUND, refusal.text))
        case refusals.Shape.RESULT:
            return _denied(refusal, method)


def outcome_unknown(intent: Intent) -> Answer:
    text = OUTCOME_UNKNOWN.format(call_id=intent.call.id)
    meta = {"com.gatehouse/decision": {"code": "outcome_unknown", "call_id": str(intent.call.id)}}
    return _bad_news(text, meta, intent.call.frame.method, code=-32603)


def _too_many(refusal: Refusal) -> Answer:
    seconds = int(refusal.facts.get("retry_after", 1))
    meta = {"com.gatehouse/decision": {"code": refusal.reason.code, "retry_after": seconds}}
    error = _rpc_error(TOO_MANY_CODE, f"{refusal.text} {refusal.reason.remedy}")
    return Answer(error={**error, "data": meta}, status=429, retry_after_seconds=seconds)


def _denied(refusal: Refusal, method: str) -> Answer:
    decision = {"code": refusal.reason.code}
    if rule := refusal.facts.get("rule"):
        decision["rule"] = rule
    text = f"{refusal.text} {refusal.reason.remedy}".strip()
    return _bad_news(text, {"com.gatehouse/decision": decision}, method, code=DENIED_CODE)


def _bad_news(text: str, meta: dict[str, Any], method: str, *, code: int) -> Answer:
    """For the model to read: a tool's result, or an error where there are no tool results."""
    if method != TOOL_CALL:
        return Answer(error={**_rpc_error(code, text), "data": meta})
    return Answer(result={"content": [{"type": "text", "text": text}], "isError": True, "_meta": meta})


def _told(intent: Intent, outcome: SafeResult | UpstreamFailure) -> Answer:
    if isinstance(outcome, SafeResult):
        return Answer(result=outcome.result, error=outcome.error)
    if outcome.code == "withdrawn":
        return refused_answer(Refusal(refusals.BAD_TOKEN))
    if outcome.code == "crowded":
        return refused_answer(Refusal(refusals.CROWDED))
    advice = "It may have had an effect: do not repeat it blindly." if outcome.reached else "Nothing was done."
    text = f"{intent.connector.name}: {outcome.message} {advice}"
    meta = {"com.gatehouse/failure": {"code": outcome.code, "call_id": str(intent.call.id)}}
    return _bad_news(text, meta, intent.call.frame.method, code=-32603)


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
        target=call.tool if call.tool.kind != "tool" else None,
    )


def _unknown(frame: Frame, caller: Caller, facts: dict[str, Any]) -> Refusal:
    """The same for what does not exist and what may not be seen."""
    return refusal_of(caller, refusals.UNKNOWN_BY_METHOD[frame.method], facts, is_final=False)


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
