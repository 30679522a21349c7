"""The pipeline's ports, for real: this process's snapshot, group commit, vault and connectors."""

import asyncio
import logging
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from uuid import UUID

from audit.event import AuditEvent, uuid7
from audit.record import SealedPayload, commit_to
from connectors.base import Connector as ConnectorKind
from connectors.base import RawResult, UpstreamAuth, UpstreamFailure, UpstreamSpec
from gateway.call import Frame, Intent
from gateway.commit.entry import Committed, Entry, EvidenceUnavailable, RecordRefused, Verdict
from gateway.commit.group import GroupCommitter
from gateway.evidence import not_recorded
from gateway.refusals import Refusal
from gateway.snapshots import SnapshotKeeper
from governance.inspection.masking import VaultIndex
from governance.payload_keys import PayloadSealer
from governance.snapshot import Connector, SealedSecret, Snapshot
from governance.vault import Envelope, Keyring, VaultError, auth_headers, maskable_forms, open_envelope

logger = logging.getLogger(__name__)

STRANGER_KINDS = 1000


@dataclass(slots=True)
class InFlight:
    agent_id: str
    credential_digest: bytes = field(repr=False)
    task: asyncio.Task[object] | None
    is_cut: bool = False


class GatewayPorts:
    """Implements `Ports`. One instance a process; all methods run on the event loop."""

    def __init__(
        self,
        *,
        process_id: UUID,
        committer: GroupCommitter,
        kinds: Mapping[str, ConnectorKind],
        keyring: Keyring,
    ) -> None:
        self.process_id = process_id
        self.keeper = SnapshotKeeper(on_swap=self._on_swap)
        self.in_flight: dict[UUID, InFlight] = {}
        self.open_intents: dict[UUID, UUID] = {}
        self._lost_outcomes: list[AuditEvent] = []
        self.strangers: Counter[tuple[str, str]] = Counter()
        self.sealer: PayloadSealer | None = None
        self._committer = committer
        self._kinds = kinds
        self._keyring = keyring
        self._specs: dict[str, UpstreamSpec] = {}
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
            self.open_intents[event.call_id] = event.id
        try:
            committed = await self._committer.commit(entry)
        except (EvidenceUnavailable, RecordRefused):
            self._note_failed(event)
            raise
        is_stale = committed.verdict is Verdict.STALE
        is_over = event.kind == "call.outcome" and not is_stale
        never_began = event.kind == "call.intent" and is_stale
        if event.call_id is not None and (is_over or never_began):
            self.open_intents.pop(event.call_id, None)
        return committed

    def _note_failed(self, event: AuditEvent) -> None:
        if event.call_id is None:
            return
        if event.kind == "call.outcome":
            self._lost_outcomes.append(event)
        else:
            self.open_intents.pop(event.call_id, None)

    async def retry_lost_outcomes(self) -> None:
        """The effect happened, its outcome could not be recorded, the agent was told so: now evidence is told too."""
        lost, self._lost_outcomes = self._lost_outcomes, []
        for event in lost:
            with suppress(EvidenceUnavailable, RecordRefused):
                await self.commit(Entry(_as_unknown(event)))

    def lose_outcome(self, intent: Intent) -> None:
        """Something unforeseen went wrong after the intent: the call is closed as unknown by the next heartbeat."""
        self._lost_outcomes.append(not_recorded(intent, self))

    def seal_payload(self, entry_id: UUID, plaintext: bytes) -> tuple[SealedPayload, bytes]:
        """The sealed body starts with its 32-byte blinding key; the commitment alone says nothing of the body."""
        assert self.sealer is not None, "the runtime opens the payload key before it serves"
        commitment, blinding = commit_to(plaintext)
        sealed = self.sealer.seal(blinding + plaintext, event_id=entry_id)
        return SealedPayload(self.sealer.key_id, sealed), commitment

    def vault_index(self, snapshot: Snapshot) -> VaultIndex:
        secrets, index = self._index
        if secrets is not snapshot.secrets and secrets != snapshot.secrets:
            index = VaultIndex((secret.name, self._forms(secret)) for secret in snapshot.secrets)
            self._index = (snapshot.secrets, index)
        return index

    async def call_upstream(self, intent: Intent) -> RawResult:
        kind = self._kinds.get(intent.connector.kind)
        if kind is None:
            raise UpstreamFailure("unknown_kind", "This kind of system is not supported.", reached=False)
        auth = self._auth(intent.connector)
        with self._flying(intent):
            return await kind.call_tool(
                self._spec(intent.connector),
                auth,
                name=intent.call.tool.name,
                arguments=intent.call.canonical_arguments,
                meta=intent.call.frame.trace,
                send_before_ns=intent.send_before_ns,
            )

    def was_cut(self, call_id: UUID) -> bool:
        flight = self.in_flight.pop(call_id, None)
        return flight is not None and flight.is_cut

    def count_stranger(self, frame: Frame, refusal: Refusal) -> None:
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

    @contextmanager
    def _flying(self, intent: Intent) -> Iterator[None]:
        call = intent.call
        self.in_flight[call.id] = InFlight(call.caller.agent.id, call.caller.credential.digest, asyncio.current_task())
        try:
            yield
        finally:
            if not self.in_flight[call.id].is_cut:
                del self.in_flight[call.id]

    def _on_swap(self, snapshot: Snapshot) -> None:
        """Cuts what runs for a credential or agent that is no longer live."""
        for flight in self.in_flight.values():
            agent = snapshot.agents.get(flight.agent_id)
            is_live = agent is not None and agent.is_live and flight.credential_digest in snapshot.credentials
            if not is_live and flight.task is not None and not flight.is_cut:
                flight.is_cut = True
                flight.task.cancel()

    def _spec(self, connector: Connector) -> UpstreamSpec:
        spec = self._specs.get(connector.id)
        if spec is None or spec.revision != connector.revision:
            spec = self._specs[connector.id] = upstream_spec(connector)
        return spec

    def _auth(self, connector: Connector) -> UpstreamAuth:
        """The secret is open only here, for as long as the request takes."""
        secret = connector.secret
        if secret is None:
            return UpstreamAuth()
        try:
            value = open_secret(secret, self._keyring)
            return UpstreamAuth(auth_headers(secret.kind, secret.header_name, value), secret.version_id)
        except VaultError as error:
            raise UpstreamFailure("vault", "The gateway cannot open this system's secret.", reached=False) from error

    def _forms(self, secret: SealedSecret) -> tuple[bytes, ...]:
        """None for a secret that cannot be opened here: nothing of it can be presented, and one broken secret must
        not stop the calls to every other system."""
        try:
            return maskable_forms(secret.kind, open_secret(secret, self._keyring))
        except VaultError as error:
            logger.error("secret %s cannot be opened: %s", secret.name, error)
            return ()


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
    )


def open_secret(secret: SealedSecret, keyring: Keyring) -> str:
    """Raises VaultError."""
    envelope = Envelope(secret.key_id, secret.wrapped_key, secret.ciphertext)
    return open_envelope(envelope, context=f"secret_version:{secret.version_id}:value", keyring=keyring).decode()
