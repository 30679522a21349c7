"""The stages of a request that only look: who asks, what for, and whether they may. Nothing is written."""

from collections.abc import Iterable, Mapping
from hashlib import sha256
from types import MappingProxyType
from typing import Any, Final
from uuid import UUID

from django.conf import settings

from audit.event import uuid7
from gateway import refusals
from gateway.accounts.presented import Presented, guarding
from gateway.anomalies import ANOMALY, with_anomalies, with_new_destinations
from gateway.call import Call, Caller, Frame, Permitted, Screened
from gateway.commit.entry import Run
from gateway.containing import DESTINATION, reached, skim_of, ways_out
from gateway.detecting import ARGUMENTS, look
from gateway.excepting import bounded, excepting
from gateway.fragments import SECRET, with_seams
from gateway.inspecting import blind, findings_facts, masked_by, proof_of, told
from gateway.ports import Ports
from gateway.refusals import Refusal
from gateway.targets import arguments_of, find_target, params_of
from gateway.unmasking import restorable, restored, unmasked_arguments
from gateway.values import changed
from governance import canonical
from governance.decision import AccessRequest, Decision, Effect, best, decide
from governance.inspection.findings import Finding, Findings
from governance.inspection.masking import VaultIndex
from governance.inspection.redaction import redact
from governance.inspection.tokens import without_tokens
from governance.oauth_resources import resource_of, scope_of
from governance.snapshot import Account, Agent, Bundle, Credential, Snapshot

ARGUMENTS_LIMIT = 1024 * 1024
TOO_LARGE = f"'arguments' have more than {ARGUMENTS_LIMIT} bytes once real values are put in."
NO_NAMES: Final[frozenset[str]] = frozenset()
RESUMED = ("inputResponses", "requestState")


async def identify(frame: Frame, ports: Ports) -> Caller:
    """Who is asking, before any work is done for them. Raises Refusal, EvidenceUnavailable."""
    try:
        return authenticate(frame, ports.snapshot(), ports)
    except Refusal as refusal:
        if refusal.is_final:
            raise
    await ports.access_tokens.learn(frame.token)
    try:
        return authenticate(frame, ports.snapshot(), ports)
    except Refusal as refusal:
        if refusal.is_final:
            raise
    return authenticate(frame, await ports.confirmed_snapshot(), ports)


def authenticate(frame: Frame, snapshot: Snapshot, ports: Ports) -> Caller:
    """Who: a live key, or a live token for this endpoint, of a live agent of a live owner. All failures look alike."""
    if not frame.token:
        raise Refusal(refusals.NO_TOKEN)
    digest = sha256(frame.token.encode()).digest()
    credential = snapshot.credentials.get(digest) or _token(digest, frame, snapshot, ports)
    if credential is None:
        raise Refusal(refusals.BAD_TOKEN, is_final=False)
    return _live(credential, snapshot, ports)


def opens(digest: bytes, ports: Ports, *, token: Credential | None = None) -> bool:
    """Would whoever shows what has this digest be let in where it is for? A probe asks, which knows no key. `token` is
    what an access token is for; what this process remembers of it comes first."""
    snapshot = ports.snapshot()
    known = ports.access_tokens.known(digest) or token
    credential = snapshot.credentials.get(digest) or (snapshot.standing(known) if known else None)
    if credential is None:
        return False
    try:
        _live(credential, snapshot, ports)
    except Refusal:
        return False
    return True


def _live(credential: Credential, snapshot: Snapshot, ports: Ports) -> Caller:
    agent = snapshot.agents[credential.agent_id]
    if not agent.is_live:
        raise _bad_token(agent, credential, why="agent_not_live")
    if not credential.is_in_time(ports.now()):
        raise _bad_token(agent, credential, why="key_not_in_time")
    caller = Caller(agent, credential, snapshot)
    if credential.person_id and not caller.person.is_active:
        raise _bad_token(agent, credential, why="person_not_live")
    return caller


def _token(digest: bytes, frame: Frame, snapshot: Snapshot, ports: Ports) -> Credential | None:
    """An access token that this process has read, if it was issued for this very endpoint (RFC 8707) and what it rests
    on stands. A token for the union endpoint is none for a bundle's: whoever asked for it was told so."""
    known = ports.access_tokens.known(digest)
    if known is None or known.resource != resource_of(frame.bundle, origin=settings.PUBLIC_URL):
        return None
    return snapshot.standing(known)


def _bad_token(agent: Agent, credential: Credential, *, why: str) -> Refusal:
    facts = {"agent": agent.name, "person": agent.owner.email, "credential": credential.id, "why": why}
    return Refusal(refusals.BAD_TOKEN, facts=facts, is_final=False)


def resolve(frame: Frame, caller: Caller, ports: Ports) -> Call:
    """What: the exposed name's target, and the arguments in the one form that is decided on, recorded and sent. What is
    wrong with their form is said alike of what exists, what is hidden and what does not exist."""
    if not isinstance(frame.arguments, Mapping):
        raise refusal_of(caller, refusals.BAD_ARGUMENTS, {}, text="'arguments' must be an object.")
    resumed = {name: canonical.encode(frame.resumed[name]) for name in RESUMED if name in frame.resumed}
    bundles = reachable_bundles(frame.bundle, caller, ports)
    found, is_beyond = find_target(frame, bundles, caller.snapshot), False
    if found is None and caller.credential.bundles is not None:
        found, is_beyond = find_target(frame, held_bundles(frame.bundle, caller, ports), caller.snapshot), True
    if found is None:
        _check_size(canonical.encode(frame.arguments), resumed, caller)
        raise _unknown(frame, caller, {})
    target, candidates = found
    arguments = arguments_of(frame, target)
    encoded = canonical.encode(arguments)
    _check_size(encoded, resumed, caller)
    params = params_of(frame.method, target, arguments, encoded) | resumed
    recorded = recorded_of(arguments, frame.resumed) if frame.resumed else encoded
    call = Call(
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
    if is_beyond:
        raise _beyond_token(call, ports)
    return call


def _check_size(encoded: bytes, resumed: Mapping[str, bytes], caller: Caller) -> None:
    size = len(encoded) + sum(map(len, resumed.values()))
    if size > ARGUMENTS_LIMIT:
        text = f"'arguments' has {size} bytes; the limit is {ARGUMENTS_LIMIT}."
        raise refusal_of(caller, refusals.BAD_ARGUMENTS, {}, text=text)


def recorded_of(arguments: Mapping[str, Any], resumed: Mapping[str, Any]) -> bytes:
    """What evidence keeps of a question."""
    return canonical.encode({"arguments": arguments, **resumed} if resumed else arguments)


def _beyond_token(call: Call, ports: Ports) -> Refusal:
    """A larger token would do: then that is said (403 insufficient_scope), with all that it has to cover. To whom the
    target would stay out of reach it does not exist."""
    decision = weighed(call, ports)
    if decision is None or decision.effect is Effect.DENY:
        return _unknown(call.frame, call.caller, decision_facts(call, decision))
    wanted = {*(call.caller.credential.bundles or ()), call.candidates[0].name}
    scopes = " ".join(scope_of(bundle) for bundle in sorted(wanted))
    facts = decision_facts(call, decision) | {"oauth_scopes": scopes}
    return refusal_of(call.caller, refusals.INSUFFICIENT_SCOPE, facts, is_final=False)


def reachable_bundles(name: str | None, caller: Caller, ports: Ports) -> list[Bundle]:
    """The named bundle if the agent, and the person it acts for, hold it now; at the union endpoint all they hold. Of
    these what the token covers."""
    covered = caller.credential.bundles
    held = held_bundles(name, caller, ports)
    return held if covered is None else [bundle for bundle in held if bundle.name in covered]


def held_bundles(name: str | None, caller: Caller, ports: Ports) -> list[Bundle]:
    snapshot, person_id = caller.snapshot, caller.credential.person_id
    if name is None:
        return snapshot.bundles_of(caller.agent, ports.now(), person_id=person_id)
    bundle = snapshot.bundle_of(caller.agent, name, ports.now(), person_id=person_id)
    return [bundle] if bundle is not None else []


def authorize(
    call: Call, ports: Ports, *, labels: frozenset[str] | None = None, consented: frozenset[str] = frozenset()
) -> Permitted:
    """May they, without asking anybody. Raises Refusal."""
    return permitted(call, decided(call, ports, labels=labels, consented=consented))


def decided(
    call: Call, ports: Ports, *, labels: frozenset[str] | None = None, consented: frozenset[str] = frozenset()
) -> Decision:
    """The decision, if there is such a tool for them and an account to call it with. Raises Refusal."""
    decision = weighed(call, ports, labels=labels, consented=consented)
    if decision is None or not decision.exists:
        raise _unknown(call.frame, call.caller, decision_facts(call, decision))
    if decision.effect is not Effect.DENY:
        account_of(call, decision)
    return bounded(decision, call) if call.findings.excepted else decision


def weighed(
    call: Call, ports: Ports, *, labels: frozenset[str] | None = None, consented: frozenset[str] = frozenset()
) -> Decision | None:
    """The pure decision, through each bundle that gives the tool; the most permissive one counts."""
    snapshot, now = call.caller.snapshot, ports.now()
    spent = ports.held.spent | (_consents(snapshot) if call.frame.resumed else frozenset())
    return best(
        [decide(_access_request(call, bundle, labels, consented, spent), snapshot, now) for bundle in call.candidates]
    )


def account_of(call: Call, decision: Decision) -> Account | None:
    """The connected account that the call would use, None if its system wants none. Raises Refusal before humans are
    bothered with a call that could not be made."""
    connector = call.tool.connector
    if not connector.account:
        return None
    account = call.caller.snapshot.account_for(connector, call.caller.person)
    if account is not None and account.is_live:
        return account
    if not connector.upstream_client or connector.account != "person":
        raise refused(call, decision, refusals.ACCOUNT_NOT_SET_UP, is_final=False)
    raise connecting(call, decision, refusals.ACCOUNT_NEEDED if account is None else refusals.ACCOUNT_RECONNECT)


def connecting(call: Call, decision: Decision, reason: refusals.Reason) -> Refusal:
    """Says where the human opens the way. Nothing in the address is a right: she signs in there, as herself."""
    refusal = refused(call, decision, reason, is_final=False)
    refusal.page = f"{settings.PUBLIC_URL}/me/accounts/{UUID(call.tool.connector.id)}/"
    return refusal


def _consents(snapshot: Snapshot) -> frozenset[str]:
    """A pattern that humans agreed to is about arguments, and says nothing of what an upstream's question is answered:
    a call that goes on with an answer is asked for."""
    return frozenset(grant.id for grant in snapshot.grants.values() if grant.is_consent)


def permitted(call: Call, decision: Decision, seen: Run | None = None) -> Permitted:
    if decision.effect is not Effect.PERMIT:
        raise denial(call, decision)
    return Permitted(call, decision, seen)


async def inspected(call: Call, names: frozenset[str], ports: Ports) -> Call:
    """With what was found of these in its arguments, and without what rules mask there. Raises Refusal."""
    if ANOMALY in names:
        ports.inspector.hours.add(call.caller.agent.id, ports.now())
    call = await looked_into(call, names, ports)
    if not call.findings:
        return call
    decision = decided(call, ports)
    if decision.effect is Effect.DENY or not decision.redacts:
        return call
    if blind(decision.redacts, call.findings) is not None:
        raise refused(call, decision, refusals.NOT_INSPECTED)
    frame = without(call, masked_by(decision.redacts, call.findings))
    fresh = changed(resolve(frame, call.caller, ports), tokens=call.tokens)
    masked = await looked_into(fresh, names, ports)
    asked = (*call.detectors, *masked.detectors)
    return changed(
        masked, found=call.found, detectors=asked, redacted_by=tuple(screen.rule for screen in decision.redacts)
    )


def looked_for(call: Call) -> frozenset[str]:
    """What the rules of all bundles through which it may go look for in its arguments."""
    caller, names = call.caller, NO_NAMES
    for bundle in call.candidates:
        holding = caller.snapshot.holding(caller.agent, bundle, call.tool, caller.credential.person_id)
        if holding is not None and holding.looked_for:
            names |= holding.looked_for
    return names


async def looked_into(call: Call, names: frozenset[str], ports: Ports) -> Call:
    """With what was found of these in what it sends. Raises EvidenceUnavailable."""
    sent = _sent(call.frame, call.arguments)
    size, reach, pieces = len(call.recorded_arguments), None, None
    skim = skim_of(sent, names, call.caller.snapshot)
    found, asked = await look(call, sent, names, size, ports, on=ARGUMENTS, skim=skim)
    if asked:
        call = changed(call, detectors=(*call.detectors, *asked))
    if found and call.tokens:
        found = Findings(tuple(without_tokens(sent, found, call.tokens)), found.asked)
    if SECRET in names:
        found, pieces = await with_seams(call, sent, found, ports)
    is_compared = ANOMALY in names
    if is_compared or DESTINATION in names:
        ways = await ways_out(call, (sent, *unmasked_arguments(call)), ports, skim=skim)
        if DESTINATION in names:
            found, reach = await reached(call, ways, found, ports)
        if is_compared:
            call, found = with_new_destinations(call, ways, found, ports.destinations, ports.now())
    found = excepting(found, sent, call, now=ports.now())
    if found or reach:
        call = changed(call, findings=found, found=proof_of(sent, found), reach=reach)
    call = changed(call, skim=skim, sent=pieces if pieces is not None else call.sent)
    return with_anomalies(call, ports.inspector.hours, ports.now()) if is_compared else call


def _sent(frame: Frame, arguments: Mapping[str, Any]) -> dict[str, Any]:
    """What somebody on our side wrote and the upstream reads: the arguments, answers to its questions, and what of the
    trace context is free text."""
    sent: dict[str, Any] = {"arguments": arguments}
    if (answers := frame.resumed.get("inputResponses")) is not None:
        sent["inputResponses"] = answers
    if said := {name: text for name, text in frame.trace.items() if name != "traceparent"}:
        sent["trace"] = said
    return sent


def without(call: Call, found: Iterable[Finding]) -> Frame:
    """The request with the names of what was found in place of it."""
    masked = redact(_sent(call.frame, call.arguments), found)
    resumed = dict(call.frame.resumed)
    if "inputResponses" in masked:
        resumed["inputResponses"] = masked["inputResponses"]
    trace = {**call.frame.trace, **masked.get("trace", {})}
    return changed(call.frame, arguments=masked["arguments"], resumed=resumed, trace=trace)


def screen_arguments(permitted: Permitted, vault: VaultIndex, account: Presented | None = None) -> Screened:
    """With the real values that go along: they are looked at like all that is sent."""
    call, decision = permitted.call, permitted.decision
    values = restored(call, decision) if decision.restores else None
    screened = Screened(permitted, account, values)
    refuse_credentials(call, decision, guarding(vault, account), params=screened.params)
    if values is not None and sum(map(len, values.params.values())) > ARGUMENTS_LIMIT:
        raise refused(call, decision, refusals.BAD_ARGUMENTS, text=TOO_LARGE)
    return screened


def refuse_credentials(
    call: Call, decision: Decision, vault: VaultIndex, *, params: Mapping[str, bytes] | None = None
) -> None:
    """What goes out or is shown to humans, trace context too: neither the agent's own key nor a value of the vault may
    travel."""
    outgoing = b",".join((params or call.params).values())
    if call.frame.trace:
        outgoing += canonical.encode(dict(call.frame.trace))
    if call.frame.stated_reason:
        outgoing += canonical.encode(call.frame.stated_reason)
    if call.frame.stated_context:
        outgoing += canonical.encode(call.frame.stated_context)
    if call.frame.token.encode() in outgoing or vault.find(outgoing) or vault.find_apart(outgoing):
        raise refused(call, decision, refusals.CREDENTIAL_IN_ARGUMENTS)


def _access_request(
    call: Call, bundle: Bundle, labels: frozenset[str] | None, consented: frozenset[str], spent: frozenset[str]
) -> AccessRequest:
    return AccessRequest(
        agent_id=call.caller.agent.id,
        credential_id=call.caller.credential.id,
        tool_id=call.tool.id,
        bundle_id=bundle.id,
        arguments=call.arguments,
        session_id=call.frame.session_id,
        source_ip=call.frame.source_ip,
        target=call.tool if call.tool.kind != "tool" else None,
        person_id=call.caller.credential.person_id,
        labels=labels,
        consented=consented,
        spent=spent,
        rests_on=call.caller.credential.reads,
        ends_at=call.caller.credential.expires_at,
        findings=told(call.findings) if call.findings else (),
        restorable=restorable(call) if call.tokens else (),
    )


def _unknown(frame: Frame, caller: Caller, facts: dict[str, Any]) -> Refusal:
    """The same for what does not exist and what may not be seen."""
    return refusal_of(caller, refusals.UNKNOWN_BY_METHOD[frame.method], facts, is_final=False)


def denial(call: Call, decision: Decision) -> Refusal:
    strongest = next((rule for rule in decision.rules if rule.effect == decision.effect), None)
    rule = {"rule": f"{strongest.policy}#{strongest.position}"} if strongest is not None else {}
    reason = refusals.BY_DECISION_CODE[decision.code]
    return refused(call, decision, reason, rule, text=f"Denied: {decision.reason}", is_final=False)


def refused(
    call: Call,
    decision: Decision,
    reason: refusals.Reason,
    facts: Mapping[str, Any] = MappingProxyType({}),
    *,
    text: str = "",
    is_final: bool = True,
) -> Refusal:
    """A "no" to a call whose arguments were looked at, so that they may be kept."""
    known = {**caller_facts(call.caller), **decision_facts(call, decision), **facts}
    return Refusal(reason, text, known, is_final, call=call, decision=decision)


def refusal_of(
    caller: Caller, reason: refusals.Reason, facts: dict[str, Any], *, text: str = "", is_final: bool = True
) -> Refusal:
    return Refusal(reason, text, caller_facts(caller) | facts, is_final)


def caller_facts(caller: Caller) -> dict[str, Any]:
    return {
        "agent": caller.agent.name,
        "person": caller.person.email,
        "credential": caller.credential.id,
        "epoch": caller.snapshot.epoch,
    }


def decision_facts(call: Call, decision: Decision | None) -> dict[str, Any]:
    facts: dict[str, Any] = {
        "connector": call.tool.connector.name,
        "tool": call.tool.name,
        "arguments_digest": call.arguments_digest,
        "definition": call.tool.definition_digest,
    }
    if decision is not None:
        facts["decision"] = decision.effect.value
        facts["code"] = decision.code
        facts["bundle"] = f"{decision.bundle} v{decision.bundle_version}"
        facts["rules"] = [rule.as_json() for rule in decision.rules]
    return facts | findings_facts(call)
