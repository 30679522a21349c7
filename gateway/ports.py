"""What the pipeline needs from outside. The real implementation is in `wiring.py`, the fake one in `tests/fakes.py`."""

from datetime import datetime
from typing import Protocol
from uuid import UUID

from audit.record import SealedPayload
from connectors.base import RawResult
from gateway.call import Frame, Intent
from gateway.commit.entry import Committed, Entry
from gateway.refusals import Refusal
from governance.inspection.masking import VaultIndex
from governance.snapshot import Snapshot


class Ports(Protocol):
    process_id: UUID

    def now(self) -> datetime: ...

    def snapshot(self) -> Snapshot:
        """The newest view this process has."""

    async def snapshot_at_least(self, epoch: int) -> Snapshot:
        """Raises EvidenceUnavailable when the database does not yield it in time."""

    async def confirmed_snapshot(self) -> Snapshot:
        """A view at least as new as the moment of asking: before refusing what we do not know."""

    async def commit(self, entry: Entry) -> Committed:
        """Raises EvidenceUnavailable or RecordRefused."""

    def seal_payload(self, entry_id: UUID, plaintext: bytes) -> tuple[SealedPayload, bytes]:
        """(sealed payload, commitment for the event's header)."""

    def vault_index(self, snapshot: Snapshot) -> VaultIndex: ...

    async def call_upstream(self, intent: Intent) -> RawResult:
        """Opens the secret and runs the tool. Raises UpstreamFailure."""

    def was_cut(self, call_id: UUID) -> bool:
        """Whether this process cancelled the call because permission for it was withdrawn; asked once a call."""

    def lose_outcome(self, intent: Intent) -> None:
        """Notes a call whose outcome nobody knows, to be closed as unknown as soon as evidence can be written."""

    def count_stranger(self, frame: Frame, refusal: Refusal) -> None:
        """Refusals of the unauthenticated are evidence in sums: singly they would amplify an attack."""
