"""One governed request from top to bottom: tools/call, prompts/get, resources/read, completion/complete.

    authenticate -> resolve -> authorize -> screen arguments -> commit intent -> execute -> screen result
    -> commit outcome -> answer

Before the intent is durable nothing reaches the upstream; before the outcome is durable nothing reaches the agent.
"""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable
from dataclasses import replace
from functools import partial
from typing import Any, TypeVar
from uuid import UUID

from connectors.base import SILENCE, RawResult, Relay, UpstreamFailure
from connectors.egress import NOT_SENT_IN_TIME
from gateway import refusals
from gateway.accounts.presented import Presented, guarding
from gateway.accounts.renewing import AccountEnded, AccountUnavailable
from gateway.call import (
    Answer,
    Call,
    Frame,
    Held,
    Intent,
    NotSent,
    Permitted,
    Recorded,
    SafeResult,
    Screened,
    Stale,
    Superseded,
)
from gateway.commit.entry import Committed, EvidenceUnavailable, RecordRefused, Run, Verdict
from gateway.commit.group import BOOT_CLOCK
from gateway.containing import SCREENED, learned, noted
from gateway.deciding import (
    account_of,
    authenticate,
    authorize,
    caller_facts,
    connecting,
    inspected,
    looked_for,
    refused,
    resolve,
    screen_arguments,
)
from gateway.evidence import (
    intent_entry,
    not_sent_entry,
    outcome_entry,
    refusal_entry,
    released_entry,
    watch_entry,
    withheld_entry,
)
from gateway.fragments import completes_unseen
from gateway.held_answers import give_up, gone, hold, permit
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
from gateway.relaying import ScreenedRelay
from gateway.run_labels import FLAGGED, run_of
from gateway.screening import (
    APPROVAL_META,
    TOOL_CALL,
    WITHHELD_RESULT,
    is_looked_at,
    screen_content,
    screen_result,
)
from gateway.sealers import CannotSeal
from gateway.unmasking import recognized, watching
from gateway.values import changed
from governance import canonical
from governance.inspection.masking import VaultIndex
from governance.inspection.tokens import MARK
from governance.snapshot import Snapshot

logger = logging.getLogger(__name__)

DECISIONS = 6
SENDINGS = 8
SEND_WITHIN_NS = 1_000_000_000
OUTCOME_UNKNOWN = (
    "The call was sent, but its outcome could not be recorded and is unknown. Do not repeat it; call id {call_id}."
)
CUT = {
    "withdrawn": "Permission for this call was withdrawn while it ran.",
    "cancelled": "The call was cancelled while it ran.",
    "frozen": "It was frozen while the call ran.",
    "ending": "The gateway had to end while the call ran.",
}
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
                admitted: Intent | Answer = await admit(frame, ports, partial(commit_intent, allowance=allowance))
                if isinstance(admitted, Answer):
                    return admitted
                intent = admitted
                outcome = await execute(intent, ports)
                passed_upstream(intent)
                if not isinstance(outcome, NotSent):
                    allowance.spend(intent.call, outcome)
                    return await conclude(intent, outcome, ports)
                frame = replace(frame, call_id=None)
        raise Refusal(refusals.CROWDED, facts=caller_facts(intent.call.caller))
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
        vault = watching(guarding(ports.vault_index(ports.snapshot()), intent.account), intent)
        safe = outcome if isinstance(outcome, UpstreamFailure) else await _screened(intent, outcome, vault, ports)
        if isinstance(safe, SafeResult):
            shown = await screen_content(intent, safe, ports) if is_looked_at(intent) else safe
            shown = await _held_back(intent, shown, ports) if shown.asks else shown
            safe = await noted(intent, safe, shown, ports)
        passed(SCREEN_RESULT)
        recorded = await commit_outcome(intent, safe, ports)
        passed(COMMIT_OUTCOME)
        _note_destinations(intent, outcome, ports)
        if isinstance(safe, SafeResult) and safe.held is not None and recorded.answer.held is None:
            await give_up(intent, safe, ports)
        return answer(recorded)
    except CannotSeal:
        ports.lose_outcome(intent)
        return outcome_unknown(intent)
    except (EvidenceUnavailable, RecordRefused):
        return outcome_unknown(intent)
    except Exception:
        logger.exception("unforeseen failure after the intent of call %s", intent.call.id)
        ports.lose_outcome(intent)
        return outcome_unknown(intent)


async def _held_back(intent: Intent, safe: SafeResult, ports: Ports) -> SafeResult:
    """The answer itself is kept, and the agent told that it waits."""
    kept = await hold(intent, safe, ports)
    if isinstance(kept, SafeResult):
        return kept
    told = refused_answer(kept, intent.call.frame.method)
    encoded = canonical.encode(told.result if told.result is not None else told.error)
    return changed(
        safe, outcome=SCREENED, result=told.result, error=told.error, encoded=encoded, held=kept.held, tokens=()
    )


def _note_destinations(intent: Intent, outcome: RawResult | UpstreamFailure, ports: Ports) -> None:
    """What becomes usual for the agent is what was carried out."""
    call, is_sent = intent.call, isinstance(outcome, RawResult) or outcome.reached
    if call.sends_to is not None and is_sent:
        ports.sent_to.note(call.caller.agent.id, call.sends_to, ports.now())


async def _screened(intent: Intent, raw: RawResult, vault: VaultIndex, ports: Ports) -> SafeResult | UpstreamFailure:
    return await ports.inspector.beside(partial(screen_result, intent, raw, vault), size=raw.size_bytes)


async def admit(
    frame: Frame, ports: Ports, commit: Callable[[Screened, Ports], Awaitable[Admitted | Stale | Superseded]]
) -> Admitted:
    """Decides until the fence agrees that the decision is still current, a bounded number of times."""
    snapshot, is_confirmed = ports.snapshot(), False
    for _ in range(DECISIONS):
        try:
            caller = authenticate(frame, snapshot, ports)
            passed(AUTHENTICATE)
            call = resolve(frame, caller, ports)
            if MARK in call.recorded_arguments:
                call = await recognized(call, ports.masks)
            if (names := looked_for(call)) or snapshot.canaries:
                call = await inspected(call, names, ports)
            permitted = await permit(call, ports, is_confirmed=is_confirmed)
            passed(DECIDE)
            wants_account = permitted.call.tool.connector.account and not permitted.answer
            account = await present_account(permitted, ports) if wants_account else None
            screened = screen_arguments(permitted, ports.vault_index(snapshot), account)
            passed(SCREEN)
        except Refusal as refusal:
            if refusal.is_final or is_confirmed:
                raise
            await ports.access_tokens.learn(frame.token)
            snapshot, is_confirmed = await ports.confirmed_snapshot(), True
            continue
        committed = await commit(screened, ports)
        passed(COMMIT_INTENT)
        if isinstance(committed, Stale):
            snapshot, is_confirmed = await ports.snapshot_at_least(committed.epoch), False
        elif not isinstance(committed, Superseded):
            return committed
    raise Refusal(refusals.BUSY)


async def present_account(permitted: Permitted, ports: Ports) -> Presented | None:
    """The token of the account that the call uses, renewed if need be. All talk with its provider is here, before the
    intent: nothing is open in the database meanwhile, and nothing is late afterwards. Raises Refusal."""
    call, decision = permitted.call, permitted.decision
    account = account_of(call, decision)
    if account is None:
        return None
    try:
        return await ports.accounts.presented(account)
    except AccountEnded:
        if call.tool.connector.account == "person":
            raise connecting(call, decision, refusals.ACCOUNT_RECONNECT) from None
        raise refused(call, decision, refusals.ACCOUNT_NOT_SET_UP, is_final=False) from None
    except AccountUnavailable as failure:
        raise refused(call, decision, refusals.ACCOUNT_UNAVAILABLE, {"why": failure.code}) from None


async def commit_intent(
    screened: Screened, ports: Ports, *, allowance: Allowance
) -> Intent | Answer | Stale | Superseded:
    """How fast, then the record: nothing is written of a call for which a limit or its upstream has no room. A call
    that has run has its answer here."""
    if screened.permitted.answer:
        return await release(screened, ports)
    if (unsure := await _taken(screened.permitted, ports, allowance)) is not None:
        return unsure
    committed = await ports.commit(await intent_entry(screened, ports))
    if committed.verdict is Verdict.GONE and (counted := screened.permitted.decision.counted_grants):
        await ports.held.look_for_spent(counted)
    if outdated := _outdated(committed, screened.permitted, ports):
        return outdated
    if committed.verdict is Verdict.DUPLICATE:
        raise _repeated(screened.permitted)
    return Intent(screened, committed.epoch, committed.at_ns + SEND_WITHIN_NS, committed.is_behind)


async def _taken(permitted: Permitted, ports: Ports, allowance: Allowance) -> Superseded | None:
    """What it takes of the limits. None of them says no to labels that the run may not have any more."""
    try:
        await allowance.take(permitted.call, permitted.labels)
    except Refusal:
        if not permitted.is_guess:
            raise
        _forget_labels(permitted.call, ports)
        return Superseded()
    passed(TAKE_LIMITS)
    return None


async def release(screened: Screened, ports: Ports) -> Answer | Stale | Superseded:
    """What humans let go: recorded, then told, once."""
    permitted = screened.permitted
    call, kept = permitted.call, canonical.parse(permitted.answer)
    vault, content = ports.vault_index(ports.snapshot()), kept["answer"]
    if vault.find(canonical.encode(content)):
        content = vault.mask(content)[0]
    content = content if isinstance(content, dict) else WITHHELD_RESULT
    told, labels = canonical.encode(content), frozenset(kept["labels"])
    mentions = await learned(call, content, len(told), ports, is_flagged=FLAGGED in labels)
    met = Run(call.caller.agent.id, run_of(call.frame.session_id), labels, mentions=mentions)
    committed = await ports.commit(await released_entry(screened, UUID(kept["call"]), told, met, ports))
    if committed.verdict in (Verdict.GONE, Verdict.DUPLICATE):
        raise gone(call, permitted.decision)
    outdated = _outdated(committed, permitted, ports)
    return outdated if outdated is not None else Answer(result=content)


def _outdated(committed: Committed, permitted: Permitted, ports: Ports) -> Stale | Superseded | None:
    """Whether to decide again, and from what on."""
    verdict = committed.verdict
    if verdict is Verdict.COMMITTED:
        return None
    if verdict is Verdict.STALE:
        return Stale(committed.epoch)
    if verdict is Verdict.LABELLED:
        _forget_labels(permitted.call, ports)
    return Superseded() if verdict in (Verdict.GONE, Verdict.LABELLED) else None


def _forget_labels(call: Call, ports: Ports) -> None:
    ports.run_labels.forget(call.caller.agent.id, call.frame.session_id)


def _repeated(permitted: Permitted) -> Refusal:
    """Only a call whose id is given can be on record already."""
    call = permitted.call
    text = f"{refusals.REPEATED.text} Call id {call.id}."
    return refused(call, permitted.decision, refusals.REPEATED, {"repeats": str(call.id)}, text=text)


async def commit_watch(screened: Screened, ports: Ports, *, allowance: Allowance) -> Screened | Stale | Superseded:
    if (unsure := await _taken(screened.permitted, ports, allowance)) is not None:
        return unsure
    committed = await ports.commit(await watch_entry(screened, ports))
    if outdated := _outdated(committed, screened.permitted, ports):
        return outdated
    is_over = committed.is_behind and await completes_unseen(screened.permitted.call, ports)
    return Superseded() if is_over else screened


async def execute(intent: Intent, ports: Ports) -> RawResult | UpstreamFailure | NotSent:
    """Does it. A call that could not begin to be sent soon after its COMMIT is not sent: its intent is closed.

    The database cannot see a process that was frozen in between, or a call that queued for a connection. Nor is one
    sent that completes what was begun through another process: it is decided again.
    """
    if intent.is_behind and await _is_more(intent, ports):
        return await _not_sent(intent, ports)
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


async def _is_more(intent: Intent, ports: Ports) -> bool:
    """What cannot be looked at may be."""
    try:
        return await completes_unseen(intent.call, ports)
    except EvidenceUnavailable:
        return True


async def _not_sent(intent: Intent, ports: Ports) -> NotSent:
    """Humans agreed to one call, and this was none."""
    await ports.commit(not_sent_entry(intent, ports))
    if (approval := intent.screened.permitted.approval) is not None:
        await ports.held.give_back(approval.number, intent.call.id)
    return NotSent(intent.epoch)


def screened_relay(intent: Intent, ports: Ports) -> Relay:
    relay = intent.call.frame.relay
    if relay is SILENCE:
        return relay
    return ScreenedRelay(relay, intent, ports, may_still_hear=lambda snapshot: _may_still_hear(intent, snapshot, ports))


async def commit_outcome(intent: Intent, outcome: SafeResult | UpstreamFailure, ports: Ports) -> Recorded:
    """Passes the fence once more: a result for somebody who lost the right to it meanwhile is withheld."""
    told = _told(intent, outcome)
    committed = await ports.commit(await outcome_entry(intent, outcome, ports))
    if committed.verdict is Verdict.STALE:
        snapshot = await ports.snapshot_at_least(committed.epoch)
        if _may_still_hear(intent, snapshot, ports):
            committed = await ports.commit(await outcome_entry(intent, outcome, ports, is_fenced=False))
        else:
            committed = await ports.commit(withheld_entry(intent, outcome, ports))
            told = _withheld(intent, snapshot, ports)
    if committed.verdict is not Verdict.COMMITTED:
        return Recorded(intent, outcome_unknown(intent))
    await ports.reactions.to_outcome(intent, outcome, ports.snapshot())
    return Recorded(intent, told)


def answer(recorded: Recorded) -> Answer:
    """Only what is recorded can be answered."""
    return recorded.answer


async def commit_refusal(frame: Frame, refusal: Refusal, ports: Ports) -> Answer:
    """Any "no" before the intent: recorded, then told. Strangers are counted, not recorded singly; that humans are
    asked is recorded with the question."""
    if refusal.facts.get("agent"):
        if (refusal.held is not None and refusal.held.is_new) or ports.is_repeated(refusal):
            return refused_answer(refusal, frame.method)
        try:
            await ports.commit(await refusal_entry(frame, refusal, ports))
            await ports.reactions.to_refusal(frame, refusal, ports.snapshot())
        except (EvidenceUnavailable, RecordRefused):
            return refused_answer(Refusal(refusals.EVIDENCE_UNAVAILABLE))
    else:
        ports.count_stranger(frame, refusal)
    passed(REFUSE)
    return refused_answer(refusal, frame.method)


def refused_answer(refusal: Refusal, method: str = TOOL_CALL) -> Answer:
    reason = refusal.reason
    match reason.shape:
        case refusals.Shape.UNAUTHENTICATED | refusals.Shape.FORBIDDEN:
            return _at_the_door(refusal)
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


def _at_the_door(refusal: Refusal) -> Answer:
    """What WWW-Authenticate has to say (RFC 6750 section 3)."""
    if refusal.reason.shape is refusals.Shape.FORBIDDEN:
        scopes = refusal.facts.get("oauth_scopes", "")
        told = f' error="insufficient_scope", scope="{scopes}"'
        return Answer(error=_rpc_error(-32001, f"{refusal.text} {refusal.reason.remedy}"), status=403, challenge=told)
    error = "" if refusal.reason is refusals.NO_TOKEN else ' error="invalid_token"'
    return Answer(error=_rpc_error(-32001, refusal.text), status=401, challenge=error)


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
    if refusal.page:
        decision["url"] = refusal.page
    if rule := refusal.facts.get("rule"):
        decision["rule"] = rule
    text = f"{refusal.text} {refusal.reason.remedy} {refusal.page}".strip()
    meta: dict[str, Any] = {"com.gatehouse/decision": decision}
    if refusal.held is None:
        return replace(_bad_news(text, meta, method, code=DENIED_CODE), page=refusal.page)
    told = _bad_news(text, meta | {APPROVAL_META: _approval_meta(refusal.held)}, method, code=DENIED_CODE)
    return replace(told, held=refusal.held)


def _approval_meta(held: Held) -> dict[str, Any]:
    return {
        "id": held.name,
        "url": held.url,
        "state": held.state,
        "expires_at": held.expires_at.isoformat(),
        "retry_after": held.retry_after_seconds,
    }


def _bad_news(text: str, meta: dict[str, Any], method: str, *, code: int) -> Answer:
    """For the model to read: a tool's result, or an error where there are no tool results."""
    if method != TOOL_CALL:
        return Answer(error={**_rpc_error(code, text), "data": meta})
    return Answer(result={"content": [{"type": "text", "text": text}], "isError": True, "_meta": meta})


def _told(intent: Intent, outcome: SafeResult | UpstreamFailure) -> Answer:
    if isinstance(outcome, SafeResult):
        return Answer(result=outcome.result, error=outcome.error, held=outcome.held)
    if outcome.code == "withdrawn":
        return refused_answer(Refusal(refusals.BAD_TOKEN))
    if outcome.code == "crowded":
        return refused_answer(Refusal(refusals.CROWDED))
    advice = "It may have had an effect: do not repeat it blindly." if outcome.reached else "Nothing was done."
    text = f"{intent.connector.name}: {outcome.message} {advice}"
    meta = {"com.gatehouse/failure": {"code": outcome.code, "call_id": str(intent.call.id)}}
    return _bad_news(text, meta, intent.call.frame.method, code=-32603)


def _withheld(intent: Intent, snapshot: Snapshot, ports: Ports) -> Answer:
    """Who may not hear the result: of a freeze she hears, because the call may have had its effect."""
    agent = snapshot.agents.get(intent.call.caller.agent.id)
    if agent is not None and snapshot.freeze_of(agent, intent.call.tool, ports.now()) is not None:
        return _told(intent, UpstreamFailure("frozen", CUT["frozen"], reached=True))
    return refused_answer(Refusal(refusals.BAD_TOKEN))


def _may_still_hear(intent: Intent, snapshot: Snapshot, ports: Ports) -> bool:
    try:
        caller = authenticate(intent.call.frame, snapshot, ports)
        call = resolve(intent.call.frame, caller, ports)
        permission = intent.screened.permitted
        authorize(
            call,
            ports,
            labels=permission.labels,
            consented=permission.approval.rules if permission.approval is not None else frozenset(),
        )
    except Refusal:
        return False
    return call.tool.id == intent.call.tool.id


def _rpc_error(code: int, message: str) -> dict[str, Any]:
    return {"code": code, "message": message}
