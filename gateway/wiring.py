"""The pipeline's ports, for real: this process's snapshot, group commit, vault and connectors."""

import asyncio
import logging
from collections import Counter
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from django.conf import settings

from audit.event import AuditEvent, uuid7
from audit.record import SealedPayload, commit_to
from connectors.base import (
    Catalog,
    ChildSpec,
    Heard,
    Interest,
    Question,
    RawResult,
    Relay,
    Stands,
    UpstreamAuth,
    UpstreamFailure,
    UpstreamSpec,
)
from connectors.resilience import Guarded, UpstreamState
from gateway.accounts.renewing import AccountEnded, Accounts, AccountUnavailable
from gateway.call import Frame, Intent
from gateway.commit.entry import Committed, Entry, EvidenceUnavailable, RecordRefused, Verdict
from gateway.commit.group import GroupCommitter
from gateway.credential_uses import CredentialUses
from gateway.database import DatabaseThread
from gateway.detectors import Detectors
from gateway.evidence import not_recorded
from gateway.fragment_ring import Fragments
from gateway.inspecting import Inspector
from gateway.limit_table import LimitTable
from gateway.limits import Allowance, Limits
from gateway.mask_vault import Masks, MaskVault
from gateway.metrics import METRICS
from gateway.operation import fail, upstream_span
from gateway.refusal_sums import RefusalSums
from gateway.refusals import Refusal
from gateway.sealers import Sealers, place_of
from gateway.sent_pieces import SentPieces
from gateway.sent_to import Notes
from gateway.snapshots import SnapshotKeeper
from gateway.store import Store
from governance.inspection.masking import VaultIndex
from governance.snapshot import Account, Connector, Credential, Freeze, Program, SealedSecret, Snapshot, Tool
from governance.vault import Envelope, Keyring, VaultError, auth_headers, known_forms, open_envelope

logger = logging.getLogger(__name__)

STRANGER_KINDS = 1000
FINE = ("ok", "input_required")
"""Outcomes that are no failure."""


@dataclass(slots=True)
class InFlight:
    agent_id: str
    tool: Tool
    credential: Credential = field(repr=False)
    task: asyncio.Task[object] | None
    cut: str = ""
    """Why it was cut off: `withdrawn`, `frozen`, `cancelled` or `ending`."""

    def why_to_cut(self, snapshot: Snapshot, now: datetime) -> str:
        """Empty while it may go on."""
        agent = snapshot.agents.get(self.agent_id)
        if agent is None or not agent.is_live or snapshot.standing(self.credential) is None:
            return "withdrawn"
        return "frozen" if snapshot.freeze_of(agent, self.tool, now) is not None else ""


class GatewayPorts:
    """Implements `Ports`. One instance a process; all methods run on the event loop."""

    def __init__(
        self,
        *,
        process_id: UUID,
        committer: GroupCommitter,
        kinds: Mapping[str, Guarded],
        keyring: Keyring,
    ) -> None:
        self.process_id = process_id
        self.keeper = SnapshotKeeper(on_swap=self._on_swap)
        self.store = Store(process_id)
        self.bus, self.sessions, self.tasks = self.store.bus, self.store.sessions, self.store.tasks
        self.waiting, self.requests = self.store.waiting, self.store.requests
        self.held, self.run_labels = self.store.held, self.store.run_labels
        self.reactions, self.destinations = self.store.reactions, self.store.destinations
        self.access_tokens = self.store.access_tokens
        self._swap_listeners: list[Callable[[Snapshot], None]] = []
        self.in_flight: dict[UUID, InFlight] = {}
        self.open_intents: dict[UUID, UUID] = {}
        self._lost_outcomes: list[AuditEvent] = []
        self.strangers: Counter[tuple[str, str]] = Counter()
        self.accounts = Accounts(process_id)
        self.inspector = Inspector()
        self.detectors = Detectors(
            keyring, allowed_networks=settings.UPSTREAM_ALLOWED_NETWORKS, model_folders=settings.MODEL_FOLDERS
        )
        self.limits_thread = DatabaseThread("limits")
        self.limits = Limits(LimitTable(process_id), self.limits_thread.run)
        self.refused = RefusalSums()
        self.uses = CredentialUses()
        self.sent_to = Notes()
        self.keys_thread = DatabaseThread("keys")
        self.sealers = Sealers(keyring, self.keys_thread.run)
        self.masks_thread = DatabaseThread("masks")
        self.masks: Masks = MaskVault(self.masks_thread, self.sealers, keyring)
        self.fragments = Fragments(SentPieces(self.masks_thread, keyring))
        self._committer = committer
        self._kinds = kinds
        self._keyring = keyring
        self._specs: dict[str, UpstreamSpec] = {}
        self._auths: dict[str, tuple[Connector, UpstreamAuth]] = {}
        self._footings: dict[str, tuple[str, ...]] = {}
        """Connector id -> what its clients were begun with."""
        self._forgetting: set[asyncio.Task[None]] = set()
        self._freezes: tuple[Freeze, ...] = ()
        self._index: tuple[tuple[SealedSecret, ...], VaultIndex] = ((), VaultIndex(()))

    def now(self) -> datetime:
        return datetime.now(UTC)

    def snapshot(self) -> Snapshot:
        return self.keeper.current

    async def snapshot_at_least(self, epoch: int) -> Snapshot:
        return await self.keeper.at_least(epoch)

    async def confirmed_snapshot(self) -> Snapshot:
        return await self.keeper.confirmed()

    async def commit(self, entry: Entry) -> Committed:
        """Keeps account of which intents are open: recovery and draining rest on it."""
        event = entry.event
        if event.call_id is not None and event.kind == "call.intent":
            self.open_intents.setdefault(event.call_id, event.id)
        try:
            committed = await self._committer.commit(entry)
        except (EvidenceUnavailable, RecordRefused):
            self._note_failed(event)
            METRICS.evidence_unavailable.add((event.kind,))
            fail("evidence_unavailable")
            raise
        is_stale = committed.verdict is Verdict.STALE
        is_over = event.kind == "call.outcome" and not is_stale
        if event.kind == "call.outcome" and committed.verdict is Verdict.COMMITTED:
            METRICS.calls.add((event.connector, event.tool, event.decision, event.outcome))
            if event.outcome not in FINE:
                fail(event.outcome)
        if event.call_id is not None and is_over:
            self.open_intents.pop(event.call_id, None)
        elif event.kind == "call.intent" and committed.verdict is not Verdict.COMMITTED:
            self._close_intent(event)
        return committed

    def _note_failed(self, event: AuditEvent) -> None:
        if event.call_id is None:
            return
        if event.kind == "call.outcome":
            self._lost_outcomes.append(event)
        else:
            self._close_intent(event)

    def _close_intent(self, event: AuditEvent) -> None:
        """It never began; another one of the same call may have, and stays open."""
        if event.call_id is not None and self.open_intents.get(event.call_id) == event.id:
            del self.open_intents[event.call_id]

    async def retry_lost_outcomes(self) -> None:
        """The effect happened, its outcome could not be recorded, the agent was told so: now evidence is told too."""
        lost, self._lost_outcomes = self._lost_outcomes, []
        for event in lost:
            with suppress(EvidenceUnavailable, RecordRefused):
                await self.commit(Entry(_as_unknown(event)))

    def lose_outcome(self, intent: Intent) -> None:
        """Something unforeseen went wrong after the intent: the call is closed as unknown by the next heartbeat."""
        self._lost_outcomes.append(not_recorded(intent, self))

    async def seal_payload(
        self, plaintext: bytes, *, person_id: str, retention: str
    ) -> tuple[UUID, SealedPayload, bytes]:
        """The sealed body starts with its 32-byte blinding key; the commitment alone says nothing of the body."""
        place = place_of(person_id, retention, self.now())
        sealer = self.sealers.known(place) or await self.sealers.opened(place)
        commitment, blinding = commit_to(plaintext)
        event_id = uuid7()
        return event_id, SealedPayload(sealer.key_id, sealer.seal(blinding + plaintext, event_id=event_id)), commitment

    def vault_index(self, snapshot: Snapshot) -> VaultIndex:
        secrets, index = self._index
        if secrets is not snapshot.secrets and secrets != snapshot.secrets:
            index = VaultIndex((secret.name, self._forms(secret)) for secret in snapshot.secrets)
            self._index = (snapshot.secrets, index)
        return index

    async def call_upstream(self, intent: Intent, relay: Relay) -> RawResult:
        connector = intent.connector
        kind = self._kind(connector)
        auth = intent.account.auth if intent.account is not None else self._auth(connector)
        flight = self._take_off(intent)
        try:
            span = upstream_span(intent)
            if span is None:
                return await kind.request(self._spec(connector), auth, question_of(intent), relay)
            with span as trace:
                return await kind.request(self._spec(connector), auth, question_of(intent, trace), relay)
        except UpstreamFailure as failure:
            if failure.code == "upstream_auth" and intent.account is not None:
                self.accounts.distrust(intent.account)
            raise
        finally:
            if not flight.cut:
                del self.in_flight[intent.call.id]

    async def catalog(self, connector: Connector, method: str) -> Catalog:
        auth = await self._own_auth(connector)
        return await self._kind(connector).catalog(self._spec(connector), auth, method)

    async def listen(self, connector: Connector, interest: Interest, heard: Heard, stands: Stands) -> None:
        auth = await self._own_auth(connector)
        await self._kind(connector).listen(self._spec(connector), auth, interest, heard, stands)

    async def _own_auth(self, connector: Connector) -> UpstreamAuth:
        """For what is asked for all at once, on behalf of nobody. What a person's account shows is hers alone: nothing
        of it may be kept for others. Raises UpstreamFailure."""
        if not connector.account:
            return self._auth(connector)
        shared = next((each for each in self.snapshot().accounts.values() if _is_shared_by(each, connector)), None)
        if shared is None:
            raise UpstreamFailure("account_needed", "This system answers only people's own accounts.", reached=False)
        try:
            return (await self.accounts.presented(shared)).auth
        except (AccountEnded, AccountUnavailable, EvidenceUnavailable):
            raise UpstreamFailure("account_needed", "The account has no token now.", reached=False) from None

    def _kind(self, connector: Connector) -> Guarded:
        kind = self._kinds.get(connector.kind)
        if kind is None:
            raise UpstreamFailure("unknown_kind", "This kind of system is not supported.", reached=False)
        return kind

    def cancel(self, task: asyncio.Task[Any]) -> bool:
        found = next((flight for flight in self.in_flight.values() if flight.task is task), None)
        if found is not None:
            _cut(found, "cancelled")
        return found is not None

    def cut_all(self) -> None:
        """The process cannot wait any longer: what runs gets its outcome and its answer now."""
        for flight in self.in_flight.values():
            _cut(flight, "ending")

    def why_cut(self, call_id: UUID) -> str:
        flight = self.in_flight.pop(call_id, None)
        return flight.cut if flight is not None else ""

    def upstream_states(self) -> tuple[UpstreamState, ...]:
        """Of every upstream this process has talked to."""
        return tuple(state for kind in self._kinds.values() for state in kind.states())

    def allowance(self) -> Allowance:
        return Allowance(self.limits, self._is_full)

    def _is_full(self, connector: Connector) -> bool:
        kind = self._kinds.get(connector.kind)
        return kind is not None and kind.is_full(self._spec(connector))

    def is_repeated(self, refusal: Refusal) -> bool:
        _count_refusal(refusal)
        return self.refused.is_repeated(refusal)

    def count_stranger(self, frame: Frame, refusal: Refusal) -> None:
        _count_refusal(refusal)
        key = (refusal.reason.code, frame.source_ip)
        if key not in self.strangers and len(self.strangers) >= STRANGER_KINDS:
            key = (refusal.reason.code, "others")
        self.strangers[key] += 1

    def take_strangers(self) -> Entry | None:
        """The sum of refusals before authentication since the last taking."""
        if not self.strangers:
            return None
        counted, self.strangers = self.strangers, Counter()
        rows = [{"reason": code, "source_ip": ip, "count": n} for (code, ip), n in counted.most_common()]
        event = AuditEvent(
            kind="strangers.refused",
            at=self.now(),
            actor="system:gateway",
            decision="deny",
            outcome="refused",
            process_id=self.process_id,
            details={"total": counted.total(), "sources": rows},
        )
        return Entry(event)

    def _take_off(self, intent: Intent) -> InFlight:
        caller = intent.call.caller
        flight = InFlight(caller.agent.id, intent.call.tool, caller.credential, asyncio.current_task())
        self.in_flight[intent.call.id] = flight
        return flight

    def on_swap(self, heard: Callable[[Snapshot], None]) -> None:
        self._swap_listeners.append(heard)

    def _on_swap(self, snapshot: Snapshot) -> None:
        """Cuts what runs for a credential or agent that is no longer live, and what is frozen; what is frozen waits
        for no human either."""
        now = self.now()
        for flight in self.in_flight.values():
            if why := flight.why_to_cut(snapshot, now):
                _cut(flight, why)
        if snapshot.freezes != self._freezes:
            self._freezes = snapshot.freezes
            self.held.look_again()
        self._auths.clear()
        self.sealers.follow(snapshot.erasures)
        self.accounts.keep_only(snapshot.accounts.__contains__)
        self.forget_outdated(snapshot)
        for heard in self._swap_listeners:
            heard(snapshot)

    def forget_outdated(self, snapshot: Snapshot) -> None:
        """Ends sessions with upstreams and local servers that no call can use any more: their connector is gone or
        switched off, or asks for others. What runs there comes to its end."""
        now = snapshot.connectors
        outdated = [each for each, footing in self._footings.items() if _footing(now.get(each)) != footing]
        for connector_id in outdated:
            del self._footings[connector_id]
            self._specs.pop(connector_id, None)
        for kind in self._kinds.values() if outdated else ():
            task = asyncio.create_task(kind.forget(outdated))
            self._forgetting.add(task)
            task.add_done_callback(self._forgetting.discard)

    def _spec(self, connector: Connector) -> UpstreamSpec:
        spec = self._specs.get(connector.id)
        if spec is None or spec.revision != connector.revision:
            spec = self._specs[connector.id] = upstream_spec(connector)
        return spec

    def _auth(self, connector: Connector) -> UpstreamAuth:
        """Opened once a snapshot: for each call it would be a tenth of its cost. It is in memory only, beside the forms
        of the same value that are masked in results, and goes with the snapshot."""
        if connector.account:
            raise UpstreamFailure("account_needed", "This system wants a connected account.", reached=False)
        kept = self._auths.get(connector.id)
        if kept is not None and kept[0] is connector:
            return kept[1]
        try:
            auth = opened_auth(connector, self._keyring)
        except VaultError as error:
            raise UpstreamFailure("vault", "The gateway cannot open this system's secret.", reached=False) from error
        self._auths[connector.id] = (connector, auth)
        self._footings[connector.id] = _footing(connector)
        return auth

    def _forms(self, secret: SealedSecret) -> tuple[bytes, ...]:
        """None for a secret that cannot be opened here: nothing of it can be presented, and one broken secret must
        not stop the calls to every other system."""
        try:
            return known_forms(secret.kind, open_secret(secret, self._keyring))
        except VaultError as error:
            logger.error("secret %s cannot be opened: %s", secret.name, error)
            return ()


def _is_shared_by(account: Account, connector: Connector) -> bool:
    whose = account.connector_id, account.upstream_client, account.person_id
    return account.is_live and whose == (connector.id, connector.upstream_client, "")


def _footing(connector: Connector | None) -> tuple[str, ...]:
    """What clients of the connector rest on; empty when it can have none."""
    if connector is None or not connector.is_enabled:
        return ()
    return connector.footing


def _count_refusal(refusal: Refusal) -> None:
    METRICS.count_refusal(refusal)
    fail(refusal.reason.code)


def _cut(flight: InFlight, why: str) -> None:
    """Once: the first reason counts."""
    if flight.task is not None and not flight.cut:
        flight.cut = why
        flight.task.cancel()


def _as_unknown(event: AuditEvent) -> AuditEvent:
    """What can still be said of an outcome that was not recorded when it should have been."""
    outcome = "not_sent" if event.outcome == "not_sent" else "unknown"
    details = {"code": "outcome_not_recorded", "outcome": event.outcome}
    return replace(event, id=uuid7(), outcome=outcome, details=details, payload_commitment=b"")


def upstream_spec(connector: Connector) -> UpstreamSpec:
    return UpstreamSpec(
        connector_id=connector.id,
        name=connector.name,
        kind=connector.kind,
        urls=connector.urls,
        timeout_seconds=connector.timeout_seconds,
        revision=connector.revision,
        relays=connector.relays,
        max_running=connector.max_running,
        max_waiting=connector.max_waiting,
        child=child_spec(connector.program) if connector.program is not None else None,
    )


def child_spec(program: Program) -> ChildSpec:
    return ChildSpec(
        command=program.command,
        environment=program.environment,
        secret_variable=program.secret_variable,
        per_agent=program.per_agent,
        memory_mb=program.memory_mb,
    )


def upstream_auth(program: Program | None, value: str, *, kind: str, header: str, identity: str) -> UpstreamAuth:
    """A secret of this kind as headers, or as the variable of a local server. Raises VaultError."""
    if program is None:
        return UpstreamAuth(auth_headers(kind, header, value), identity)
    variable = program.secret_variable
    return UpstreamAuth(identity=identity, variables=((variable, value),) if variable else ())


def opened_auth(connector: Connector, keyring: Keyring) -> UpstreamAuth:
    """What the connector's upstream gets of its secret. Raises VaultError."""
    secret = connector.secret
    if secret is None:
        return UpstreamAuth()
    return upstream_auth(
        connector.program,
        open_secret(secret, keyring),
        kind=secret.kind,
        header=secret.header_name,
        identity=secret.version_id,
    )


def question_of(intent: Intent, trace: Mapping[str, str] | None = None) -> Question:
    """The request to the upstream, exactly as decided and recorded; `trace` is our own trace context, if we trace."""
    call = intent.call
    return Question(
        method=call.frame.method,
        name=call.tool.upstream_name,
        params=intent.screened.params,
        meta=call.frame.trace if trace is None else trace,
        send_before_ns=intent.send_before_ns,
        timeout_seconds=call.tool.timeout_seconds,
        is_repeatable=call.tool.is_repeatable and not call.frame.resumed,
        agent_id=call.caller.agent.id,
    )


def open_secret(secret: SealedSecret, keyring: Keyring) -> str:
    """Raises VaultError."""
    envelope = Envelope(secret.key_id, secret.wrapped_key, secret.ciphertext)
    return open_envelope(envelope, context=f"secret_version:{secret.version_id}:value", keyring=keyring).decode()
