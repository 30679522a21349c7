"""Fake ports: the pipeline's outside, in memory, with every fault a test may want."""

from collections.abc import Callable
from datetime import UTC, datetime
from time import CLOCK_MONOTONIC, clock_gettime_ns
from typing import Any
from uuid import UUID, uuid4

from audit.record import SealedPayload
from connectors.base import RawResult
from gateway.call import Frame, Intent
from gateway.commit.entry import Committed, Entry, EvidenceUnavailable, Verdict
from gateway.refusals import Refusal
from governance.inspection.masking import VaultIndex
from governance.snapshot import Snapshot

try:
    from time import CLOCK_BOOTTIME
except ImportError:
    CLOCK_BOOTTIME = CLOCK_MONOTONIC

OK = {"content": [{"type": "text", "text": "done"}]}


class FakePorts:
    """`log` tells the order of what happened: the kind of each record, and `sent` when an upstream heard of a call."""

    def __init__(self, snapshot: Snapshot, *, at: datetime | None = None) -> None:
        self.process_id = uuid4()
        self.at = at or datetime(2026, 3, 2, 12, tzinfo=UTC)
        self.views = [snapshot]
        self.log: list[str] = []
        self.entries: list[Entry] = []
        self.sent: list[bytes] = []
        self.strangers: list[str] = []
        self.verdicts: list[Verdict] = []
        self.broken_commits: set[str] = set()
        self.held_up_ns = 0
        self.secrets: dict[str, tuple[bytes, ...]] = {}
        self.upstream: Callable[[Intent], RawResult] = lambda _: answer(OK)

    def now(self) -> datetime:
        return self.at

    def snapshot(self) -> Snapshot:
        return self.views[0]

    async def snapshot_at_least(self, epoch: int) -> Snapshot:
        return await self.confirmed_snapshot()

    async def confirmed_snapshot(self) -> Snapshot:
        if len(self.views) > 1:
            self.views.pop(0)
        return self.views[0]

    async def commit(self, entry: Entry) -> Committed:
        if entry.event.kind in self.broken_commits:
            raise EvidenceUnavailable("away")
        verdict = self.verdicts.pop(0) if self.verdicts else Verdict.COMMITTED
        self.log.append(entry.event.kind if verdict is Verdict.COMMITTED else verdict.name)
        if verdict is Verdict.COMMITTED:
            self.entries.append(entry)
        held_up, self.held_up_ns = self.held_up_ns, 0
        return Committed(verdict, self.views[0].epoch, clock_gettime_ns(CLOCK_BOOTTIME) - held_up)

    def seal_payload(self, entry_id: UUID, plaintext: bytes) -> tuple[SealedPayload, bytes]:
        return SealedPayload("key", plaintext), b"commitment"

    def vault_index(self, snapshot: Snapshot) -> VaultIndex:
        return VaultIndex(self.secrets.items())

    async def call_upstream(self, intent: Intent) -> RawResult:
        self.log.append("sent")
        self.sent.append(intent.call.canonical_arguments)
        return self.upstream(intent)

    def was_cut(self, call_id: UUID) -> bool:
        return False

    def lose_outcome(self, intent: Intent) -> None:
        self.log.append("lost")

    def count_stranger(self, frame: Frame, refusal: Refusal) -> None:
        self.strangers.append(refusal.reason.code)


def answer(result: dict[str, Any] | None, error: dict[str, Any] | None = None) -> RawResult:
    return RawResult(result, error, 1.5, 100)
