"""The records of a call: what each says, built from what the stages know."""

from collections.abc import Mapping
from typing import Any, NamedTuple
from uuid import UUID

from audit.event import AuditEvent, uuid7
from audit.record import SealedPayload, record
from connectors.base import UpstreamFailure
from gateway.call import Asked, Call, Frame, Intent, Permitted, SafeResult, Screened
from gateway.commit.entry import Claim, Entry, Run, SentPieces
from gateway.costs import cost_facts
from gateway.inspecting import findings_facts
from gateway.kept_arguments import Kept, kept_of, kept_of_refused
from gateway.operation import times_ms
from gateway.ports import Ports
from gateway.refusals import Refusal
from gateway.run_labels import met_by
from gateway.run_sessions import session_at, session_of
from gateway.values import changed
from governance import canonical
from governance.decision import Decision
from governance.facts import Fact, Recorder
from governance.inspection.digest import pack_digest
from governance.inspection.masking import VaultIndex

REFUSED_NAMES = 200
TOKENS_TOLD = 100


class Body(NamedTuple):
    """The sealed body of an event, if it has one, and the id it is sealed for."""

    event_id: UUID
    payload: SealedPayload | None = None
    commitment: bytes = b""


async def intent_entry(screened: Screened, ports: Ports) -> Entry:
    """What is about to be sent. Passes the fence."""
    return await _permission(screened, ports, kind="call.intent", call_id=screened.permitted.call.id)


async def released_entry(screened: Screened, call_id: UUID, told: bytes, met: Run, ports: Ports) -> Entry:
    """What a call got, as the agent is about to see it now that humans let it go. Passes the fence, and consumes their
    yes."""
    permitted = screened.permitted
    call, decision, agent = permitted.call, permitted.decision, permitted.call.caller.agent
    body = await _sealed(told, call, decision, ports)
    event = AuditEvent(
        kind="call.released",
        id=body.event_id,
        at=ports.now(),
        actor=f"agent:{agent.name}",
        call_id=call_id,
        agent=agent.name,
        person=call.caller.person.email,
        connector=call.tool.connector.name,
        tool=call.tool.name,
        decision=decision.effect.value,
        process_id=ports.process_id,
        session=session_of(call),
        decided_epoch=decision.epoch,
        payload_commitment=body.commitment,
        details={**_grounds(call, decision), **_consent(permitted), **_where(call.frame, findings_facts(call))},
    )
    return Entry(
        event,
        body.payload,
        read_set=decision.read_set,
        valid_until=decision.valid_until,
        claim=_claim(permitted),
        seen=permitted.seen,
        met=met,
    )


async def watch_entry(screened: Screened, ports: Ports) -> Entry:
    """The caller is about to hear whenever a resource changes. Passes the fence."""
    return await _permission(screened, ports, kind="resource.watched", call_id=None)


async def _permission(screened: Screened, ports: Ports, *, kind: str, call_id: UUID | None) -> Entry:
    permitted = screened.permitted
    call, decision = permitted.call, permitted.decision
    agent = call.caller.agent
    kept = kept_of(call.recorded_arguments, call.frame) if decision.records_payload else Kept()
    body = await _sealed(kept.body, call, decision, ports)
    event = AuditEvent(
        kind=kind,
        id=body.event_id,
        at=ports.now(),
        actor=f"agent:{agent.name}",
        call_id=call_id,
        agent=agent.name,
        person=call.caller.person.email,
        connector=call.tool.connector.name,
        tool=call.tool.name,
        decision=decision.effect.value,
        process_id=ports.process_id,
        session=session_of(call),
        decided_epoch=decision.epoch,
        payload_commitment=body.commitment,
        details={
            **_grounds(call, decision),
            **_consent(permitted),
            **_sent(screened, kept.said),
            **_put_in(screened),
            **_where(call.frame, findings_facts(call)),
        },
    )
    return Entry(
        event,
        body.payload,
        read_set=decision.read_set,
        valid_until=decision.valid_until,
        claim=_claim(permitted),
        seen=permitted.seen,
        sent=_pieces(call, ports),
    )


def _pieces(call: Call, ports: Ports) -> SentPieces | None:
    if (sent := call.sent) is None or (seal := ports.fragments.seal) is None:
        return None
    agent_id, person_id = call.caller.agent.id, call.caller.person.id
    is_pruning = ports.fragments.is_pruning(agent_id)
    return SentPieces(agent_id, person_id, ports.process_id, sent.read_to, sent.pieces, seal, is_pruning)


def _sent(screened: Screened, said: tuple[str, ...]) -> dict[str, Any]:
    """What goes to the upstream, and with which account; `said` is what the sealed body holds beside it."""
    sent: dict[str, Any] = {"bytes": sum(map(len, screened.params.values()))}
    if screened.account is not None:
        sent["account"] = screened.account.account_id
    if said:
        sent["said"] = said
    return sent


def _put_in(screened: Screened) -> dict[str, Any]:
    """Which real values went along in place of tokens, provably; the sealed arguments keep the tokens."""
    return {"restored": [dict(each) for each in screened.restored.proof]} if screened.restored is not None else {}


def _took(*, is_answered: bool) -> dict[str, float]:
    """Of an answer its connector knows better what the upstream took."""
    times = times_ms()
    if times is None:
        return {}
    gateway, upstream = times
    return {"gateway_ms": gateway} if is_answered else {"gateway_ms": gateway, "upstream_ms": upstream}


def _grounds(call: Call, decision: Decision) -> dict[str, Any]:
    secret = call.tool.connector.secret
    grounds = {
        "code": decision.code,
        "retention": decision.retention,
        "method": call.frame.method,
        "bundle": f"{decision.bundle} v{decision.bundle_version}",
        "rules": [rule.as_json() for rule in decision.rules],
        "arguments_digest": call.arguments_digest,
        "definition": call.tool.definition_digest,
        "credential": call.caller.credential.id,
        "secret_version": secret.version_id if secret else None,
    }
    return grounds | findings_facts(call) if call.found or call.detectors else grounds


def _consent(permitted: Permitted) -> dict[str, Any]:
    """What a permission rests on beside the rules: labels, grants, humans."""
    consent: dict[str, Any] = {}
    if permitted.seen is not None:
        consent["labels"] = sorted(permitted.seen.labels)
    if permitted.decision.grants:
        consent["grants"] = list(permitted.decision.grants)
    if (approval := permitted.approval) is not None:
        consent["approval"] = {
            "request": approval.name,
            "key": str(approval.key),
            "call_digest": approval.call_digest.hex(),
            "approval_digest": approval.shown.hex(),
            "approvers": list(approval.approvers),
            "narrowed": list(approval.narrowed),
        }
    return consent


def _claim(permitted: Permitted) -> Claim | None:
    approval, grants = permitted.approval, permitted.decision.counted_grants
    if approval is None:
        return Claim(None, b"", grants) if grants else None
    return Claim(approval.number, approval.call_digest, grants)


def approval_recorder(asked: Asked, ports: Ports) -> Recorder:
    """Facts about the question that a call puts to humans, with all that the call was decided on."""
    call, decision = asked.call, asked.decision
    grounds = {**_grounds(call, decision), **_where(call.frame, findings_facts(call))}

    def keep(fact: Fact) -> None:
        record(
            AuditEvent(
                kind=fact.kind,
                at=ports.now(),
                actor=f"agent:{call.caller.agent.name}",
                agent=call.caller.agent.name,
                person=call.caller.person.email,
                connector=call.tool.connector.name,
                tool=call.tool.name,
                decision=decision.effect.value,
                process_id=ports.process_id,
                session=session_of(call),
                decided_epoch=decision.epoch,
                details={"subject": fact.subject, **grounds, **fact.details},
            )
        )

    return keep


async def asked_entry(
    intent: Intent, requests: Mapping[str, dict[str, Any]], ports: Ports, *, is_fenced: bool = True
) -> Entry:
    """What the upstream asks of the caller's side."""
    details = {"methods": sorted({request["method"] for request in requests.values()})}
    body = canonical.encode(requests)
    return await _during(intent, ports, kind="call.asked", details=details, body=body, is_fenced=is_fenced)


async def told_entry(
    intent: Intent, answers: Mapping[str, dict[str, Any]], ports: Ports, *, problem: str = ""
) -> Entry:
    """What the upstream hears in return."""
    details = {"problem": problem} if problem else {"answers": len(answers)}
    body = None if problem else canonical.encode(answers)
    return await _during(intent, ports, kind="call.told", details=details, body=body, is_fenced=False)


async def outcome_entry(
    intent: Intent, outcome: SafeResult | UpstreamFailure, ports: Ports, *, is_fenced: bool = True
) -> Entry:
    """What came back, as the agent is about to see it."""
    if isinstance(outcome, UpstreamFailure):
        failure = {"code": outcome.code, "reached": outcome.reached, **_took(is_answered=False)}
        said = "cancelled" if outcome.code == "cancelled" else "failed"
        return _closing(intent, ports, said, failure, is_fenced=is_fenced)
    details: dict[str, Any] = {
        "upstream_ms": round(outcome.raw.upstream_ms, 3),
        "bytes": outcome.raw.size_bytes,
        "masked": list(outcome.masked),
        **_took(is_answered=True),
        **cost_facts(outcome.raw.result),
    }
    if outcome.places:
        details["masked_fields"] = [place.as_json() for place in outcome.places]
    if outcome.found:
        details["findings"] = [found.as_json() for found in outcome.found]
        details["pack"] = pack_digest()
    if outcome.detectors:
        details["detectors"] = [asked.as_json() for asked in outcome.detectors]
    if outcome.tokens:
        details["tokens"] = list(outcome.tokens[:TOKENS_TOLD])
    details |= _screening(outcome)
    if (approval := intent.screened.permitted.approval) is not None and approval.narrowed:
        details["narrowed"] = list(approval.narrowed)
    body = await _sealed(outcome.encoded, intent.call, intent.decision, ports)
    entry = _closing(intent, ports, outcome.outcome, details, body=body, is_fenced=is_fenced)
    return changed(entry, met=met) if (met := met_by(intent.call, outcome)) is not None else entry


def _screening(outcome: SafeResult) -> dict[str, Any]:
    details: dict[str, Any] = {}
    if outcome.screened_by:
        details["screened_by"] = list(outcome.screened_by)
    if outcome.held is not None:
        details["waits_for"] = outcome.held.name
    return details


def withheld_entry(intent: Intent, outcome: SafeResult | UpstreamFailure, ports: Ports) -> Entry:
    """The upstream answered, but the caller may no longer hear it."""
    details = {
        "code": "withheld",
        "upstream": outcome.outcome if isinstance(outcome, SafeResult) else outcome.code,
    }
    return _closing(intent, ports, "withheld", details, is_fenced=False)


def not_sent_entry(intent: Intent, ports: Ports) -> Entry:
    return _closing(intent, ports, "not_sent", {"code": "held_up_before_sending"}, is_fenced=False)


def not_recorded(intent: Intent, ports: Ports) -> AuditEvent:
    """For a call whose outcome nobody knows, because something unforeseen went wrong after its intent."""
    return _closing(intent, ports, "unknown", {"code": "unforeseen"}, is_fenced=False).event


async def refusal_entry(frame: Frame, refusal: Refusal, ports: Ports) -> Entry:
    """A "no" to somebody we know. Raises CannotSeal."""
    facts = dict(refusal.facts)
    vault = ports.vault_index(ports.snapshot())
    agent, person = facts.pop("agent"), facts.pop("person", "")
    at = ports.now()
    body, kept = await _refused_body(refusal, vault, ports)
    event = AuditEvent(
        kind="call.refused",
        id=body.event_id,
        at=at,
        actor=f"agent:{agent}",
        agent=agent,
        person=person,
        connector=facts.pop("connector", ""),
        tool=_presentable(facts.pop("tool", ""), frame, vault),
        decision=facts.pop("decision", "deny"),
        outcome="refused",
        process_id=ports.process_id,
        session=session_at(frame, agent, person, at),
        decided_epoch=facts.pop("epoch", 0),
        payload_commitment=body.commitment,
        details={
            "reason": refusal.reason.code,
            "method": frame.method,
            "asked_for": _presentable(frame.name, frame, vault)[:REFUSED_NAMES],
            **facts,
            **kept,
            **_where(frame, refusal.facts),
        },
    )
    return Entry(event, body.payload)


async def _refused_body(refusal: Refusal, vault: VaultIndex, ports: Ports) -> tuple[Body, dict[str, Any]]:
    """With what the header says of it."""
    call, decision, kept = refusal.call, refusal.decision, kept_of_refused(refusal, vault)
    if kept is None or call is None or decision is None:
        return Body(uuid7()), {}
    told: dict[str, Any] = {"retention": decision.retention}
    if kept.why_not:
        return Body(uuid7()), {**told, "unkept": kept.why_not}
    said = {"said": kept.said} if kept.said else {}
    return await _sealed(kept.body, call, decision, ports), {**told, **said}


async def _sealed(plain: bytes, call: Call, decision: Decision, ports: Ports) -> Body:
    """Nothing of it where the bundle records no payloads."""
    if not decision.records_payload:
        return Body(uuid7())
    whose, kept = call.caller.person.id, decision.retention
    return Body(*await ports.seal_payload(plain, person_id=whose, retention=kept))


def _closing(
    intent: Intent,
    ports: Ports,
    outcome: str,
    details: dict[str, Any],
    *,
    body: Body | None = None,
    is_fenced: bool,
) -> Entry:
    return _of_call(
        intent,
        ports,
        kind="call.outcome",
        call_id=intent.call.id,
        outcome=outcome,
        details=_with_said(details, intent),
        body=body,
        is_fenced=is_fenced,
    )


def _with_said(details: dict[str, Any], intent: Intent) -> dict[str, Any]:
    """And what was found in what the upstream said before."""
    if intent.consulted:
        asked = [each.as_json() for each in intent.consulted]
        details = {**details, "detectors": [*details.get("detectors", ()), *asked]}
    if not intent.noticed:
        return details
    said = [found.as_json() for found in intent.noticed]
    return {**details, "findings": [*details.get("findings", ()), *said], "pack": pack_digest()}


async def _during(
    intent: Intent, ports: Ports, *, kind: str, details: dict[str, Any], body: bytes | None, is_fenced: bool
) -> Entry:
    """A call has one record of a kind; of these it may have several, so that they name it in their details only."""
    named = {"call": str(intent.call.id), **details}
    kept = await _sealed(body, intent.call, intent.decision, ports) if body is not None else None
    return _of_call(intent, ports, kind=kind, call_id=None, outcome="", details=named, body=kept, is_fenced=is_fenced)


def _of_call(
    intent: Intent,
    ports: Ports,
    *,
    kind: str,
    call_id: UUID | None,
    outcome: str,
    details: dict[str, Any],
    body: Body | None,
    is_fenced: bool,
) -> Entry:
    call, decision = intent.call, intent.decision
    kept = body or Body(uuid7())
    event = AuditEvent(
        kind=kind,
        id=kept.event_id,
        at=ports.now(),
        actor=f"agent:{call.caller.agent.name}",
        call_id=call_id,
        agent=call.caller.agent.name,
        person=call.caller.person.email,
        connector=intent.connector.name,
        tool=call.tool.name,
        decision=decision.effect.value,
        outcome=outcome,
        process_id=ports.process_id,
        session=session_of(call),
        decided_epoch=intent.epoch,
        payload_commitment=kept.commitment,
        details={"retention": decision.retention, **details},
    )
    return Entry(event, kept.payload, read_set=decision.read_set if is_fenced else None)


def _where(frame: Frame, facts: Mapping[str, Any]) -> dict[str, Any]:
    """Whence and in which run; what a client says of itself is only noted, never trusted."""
    where: dict[str, Any] = {"revision": frame.revision, "source_ip": frame.source_ip}
    if frame.session_id:
        where["session"] = _without_key(frame.session_id, frame)
    if frame.client:
        where["client"] = _without_key(frame.client, frame)
    if frame.trace:
        found = {each["path"] for each in facts.get("findings", ())}
        kept = {name: text for name, text in frame.trace.items() if f"/trace/{name}" not in found}
        where["trace"] = {name: _without_key(text, frame) for name, text in kept.items()}
    return where


def _presentable(name: str, frame: Frame, vault: VaultIndex) -> str:
    """Agents choose URIs and names; a secret in one must not be kept."""
    name = _without_key(name, frame)
    return str(vault.mask(name)[0]) if vault.find(canonical.encode(name)) else name


def _without_key(text: str, frame: Frame) -> str:
    """An agent that puts its key where it does not belong must not have it kept in evidence."""
    return text.replace(frame.token, "[KEY]") if frame.token else text
