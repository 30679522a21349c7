"""What the pipeline needs from outside. The real implementation is in `wiring.py`, the fake one in `tests/fakes.py`."""

import asyncio
from collections.abc import Callable
from datetime import datetime
from typing import Any, Protocol
from uuid import UUID

from audit.record import SealedPayload
from connectors.base import Catalog, Heard, Interest, RawResult, Relay, Stands
from gateway.access_tokens import AccessTokens
from gateway.accounts.renewing import Accounts
from gateway.bus import Bus
from gateway.call import Frame, Intent
from gateway.commit.entry import Committed, Entry
from gateway.credential_uses import CredentialUses
from gateway.detectors import Detectors
from gateway.fragment_ring import Fragments
from gateway.held import HeldCalls
from gateway.inspecting import Inspector
from gateway.limits import Allowance
from gateway.mask_vault import Masks
from gateway.mcp.sessions import Sessions
from gateway.mcp.task_table import Tasks
from gateway.mcp.waiting import Waiting
from gateway.reactions import Reactions
from gateway.refusals import Refusal
from gateway.requests_of_agents import AgentRequests
from gateway.run_destinations import RunDestinations
from gateway.run_labels import RunLabels
from gateway.sent_to import Notes
from governance.inspection.masking import VaultIndex
from governance.snapshot import Connector, Snapshot


class Ports(Protocol):
    process_id: UUID
    bus: Bus
    sessions: Sessions
    tasks: Tasks
    waiting: Waiting
    held: HeldCalls
    requests: AgentRequests
    run_labels: RunLabels
    destinations: RunDestinations
    reactions: Reactions
    access_tokens: AccessTokens
    uses: CredentialUses
    sent_to: Notes
    accounts: Accounts
    inspector: Inspector
    detectors: Detectors
    fragments: Fragments
    masks: Masks

    def now(self) -> datetime: ...

    def snapshot(self) -> Snapshot:
        """The newest view this process has."""

    async def snapshot_at_least(self, epoch: int) -> Snapshot:
        """Raises EvidenceUnavailable when the database does not yield it in time."""

    async def confirmed_snapshot(self) -> Snapshot:
        """A view at least as new as the moment of asking: before refusing what we do not know."""

    async def commit(self, entry: Entry) -> Committed:
        """Raises EvidenceUnavailable or RecordRefused."""

    async def seal_payload(
        self, plaintext: bytes, *, person_id: str, retention: str
    ) -> tuple[UUID, SealedPayload, bytes]:
        """(id of the event that it is for, sealed payload, commitment for the event's header), under the key of the
        person whom the call is for and of this retention class. The id is made now, however long the key took: recovery
        looks for open calls from the oldest that a heartbeat knew of. Raises CannotSeal."""

    def vault_index(self, snapshot: Snapshot) -> VaultIndex: ...

    async def call_upstream(self, intent: Intent, relay: Relay) -> RawResult:
        """Opens the secret and does what the intent says. Raises UpstreamFailure."""

    async def catalog(self, connector: Connector, method: str) -> Catalog:
        """All that the upstream lists of tools, prompts, resources or templates. Raises UpstreamFailure."""

    async def listen(self, connector: Connector, interest: Interest, heard: Heard, stands: Stands) -> None:
        """Hears the upstream's news until cancelled; returns when it offers none. Raises UpstreamFailure."""

    def on_swap(self, heard: Callable[[Snapshot], None]) -> None:
        """`heard` is called with each new snapshot, in the same step in which it becomes the current one."""

    def cancel(self, task: asyncio.Task[Any]) -> bool:
        """Breaks off the upstream's work on the call that this task runs; its outcome is recorded. False when nothing
        of it is under way."""

    def why_cut(self, call_id: UUID) -> str:
        """`withdrawn` if this process cut the call off because permission was withdrawn, `cancelled` if the caller
        wanted it, `ending` if the process could not wait any longer, empty if it did not; asked once a call."""

    def allowance(self) -> Allowance:
        """Takes what one request needs of the rate limits, and gives it back."""

    def is_repeated(self, refusal: Refusal) -> bool:
        """Whether the same was refused a moment ago: then it is evidence in a sum, singly it would amplify a flood."""

    def lose_outcome(self, intent: Intent) -> None:
        """Notes a call whose outcome nobody knows, to be closed as unknown as soon as evidence can be written."""

    def count_stranger(self, frame: Frame, refusal: Refusal) -> None:
        """Refusals of the unauthenticated are evidence in sums: singly they would amplify an attack."""
