"""Fake ports: the pipeline's outside, in memory, with every fault a test may want."""

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable, Sequence
from datetime import UTC, datetime
from ipaddress import ip_network
from time import clock_gettime_ns
from typing import Any
from uuid import UUID, uuid4

from audit.event import uuid7
from audit.record import SealedPayload
from connectors.base import Catalog, Heard, Interest, Question, RawResult, Relay, Stands
from gateway.accounts.presented import Presented
from gateway.call import Frame, Intent
from gateway.commit.entry import Committed, Entry, EvidenceUnavailable, Mentions, Verdict
from gateway.commit.group import BOOT_CLOCK
from gateway.credential_uses import CredentialUses
from gateway.detectors import Detectors
from gateway.fragment_ring import Fragments
from gateway.inspecting import Inspector
from gateway.limit_table import SHARES, Subject
from gateway.limits import Allowance, Limits
from gateway.mask_vault import Masks, Reader, Wanted
from gateway.refusal_sums import RefusalSums
from gateway.refusals import Refusal
from gateway.run_destinations import MORE, Known, RunDestinations
from gateway.sealers import CannotSeal
from gateway.sent_to import Notes
from gateway.store import Store
from gateway.wiring import question_of
from governance.inspection.masking import VaultIndex
from governance.inspection.tokens import Value, last_of
from governance.snapshot import Account, Connector, Snapshot
from governance.vault import keyring

OK = {"content": [{"type": "text", "text": "done"}]}


class FakeAccounts:
    """Tokens of connected accounts: account id -> what `presented` does."""

    def __init__(self) -> None:
        self.tokens: dict[str, Presented | Exception] = {}

    async def presented(self, account: Account) -> Presented:
        found = self.tokens.get(account.id) or Presented(account.id, 1, f"token-of-{account.id}", None)
        if isinstance(found, Exception):
            raise found
        return found


class MemoryLabels:
    """Of each agent, whatever run it says it is in: that is the floor of the real ones."""

    def __init__(self) -> None:
        self.kept: dict[str, frozenset[str]] = {}

    async def of(self, agent_id: str, session: str) -> frozenset[str]:
        return self.kept.get(agent_id, frozenset())

    def guessed(self, agent_id: str, session: str) -> frozenset[str] | None:
        return None

    def forget(self, agent_id: str, session: str) -> None:
        return

    async def add(self, agent_id: str, session: str, labels: frozenset[str]) -> None:
        self.kept[agent_id] = self.kept.get(agent_id, frozenset()) | labels


class MemoryDestinations(RunDestinations):
    """Likewise."""

    def __init__(self) -> None:
        self._own = None
        self.kept: dict[str, bool] = {}
        """Whether each is trusted."""

    async def known(self, agent_id: str, session: str, digests: frozenset[str]) -> Known:
        asked = {digest: self.kept[digest] for digest in (*digests, MORE) if digest in self.kept}
        trusted = frozenset(digest for digest, is_trusted in asked.items() if is_trusted)
        return Known(trusted, asked.keys() - trusted)

    async def add(self, agent_id: str, session: str, mentions: Mentions) -> None:
        self.kept.update(dict.fromkeys(mentions.sent, True))
        self.kept = dict.fromkeys(mentions.digests, mentions.is_trusted) | self.kept


class FakeMasks:
    """Real tokens, and what they stand for in memory; as many processes may share one."""

    def __init__(self) -> None:
        self.kept: dict[str, dict[Value, tuple[str, str]]] = {}
        self.is_away = False

    async def keep(self, reader: Reader, wanted: Sequence[Wanted], *, retention: str) -> dict[Value, str]:
        if self.is_away:
            raise EvidenceUnavailable("away")
        known = self.kept.setdefault(reader.run, {})
        for value, most_shown in wanted:
            name = f"{value.label}#{1 + sum(each.label == value.label for each in known)}"
            known.setdefault(value, (name, reader.token(name, repr(tuple(value)), last_of(value.text, most_shown))))
        return {each.value: known[each.value][1] for each in wanted}

    async def open(self, reader: Reader, names: Iterable[str]) -> dict[str, Value]:
        wanted = set(names)
        known = self.kept.get(reader.run, {})
        return {token: value for value, (name, token) in known.items() if name in wanted}


class FakePorts:
    """`log` tells the order of what happened: the kind of each record, and `sent` when an upstream heard of a call."""

    def __init__(self, snapshot: Snapshot, *, at: datetime | None = None) -> None:
        self.process_id = uuid4()
        self.store = Store(self.process_id)
        self.bus, self.sessions, self.tasks = self.store.bus, self.store.sessions, self.store.tasks
        self.waiting, self.requests = self.store.waiting, self.store.requests
        self.held = self.store.held
        self.reactions = self.store.reactions
        self.run_labels: Any = MemoryLabels()
        self.destinations: Any = MemoryDestinations()
        self.access_tokens = self.store.access_tokens
        self.accounts: Any = FakeAccounts()
        self.inspector, self.fragments = Inspector(), Fragments()
        self.detectors = Detectors(keyring(), allowed_networks=(ip_network("127.0.0.0/8"),))
        self.masks: Masks = FakeMasks()
        self.at = at or datetime(2026, 3, 2, 12, tzinfo=UTC)
        self.views = [snapshot]
        self.log: list[str] = []
        self.entries: list[Entry] = []
        self.sent: list[bytes] = []
        self.strangers: list[str] = []
        self.full: set[str] = set()
        self.refused = RefusalSums()
        self.uses = CredentialUses()
        self.sent_to = Notes()
        self.limits = Limits(MemoryTable(), at_once, clock=lambda: self.now().timestamp())
        self.verdicts: list[Verdict] = []
        self.broken_commits: set[str] = set()
        self.held_up_ns = 0
        self.is_sealing = True
        self.secrets: dict[str, tuple[bytes, ...]] = {}
        self.questions: list[Question] = []
        self.conversation: Callable[[Relay], Awaitable[None]] | None = None
        self.catalogs: dict[tuple[str, str], Catalog] = {}
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
            if entry.met is not None and isinstance(self.run_labels, MemoryLabels):
                await self.run_labels.add(entry.met.agent_id, entry.met.session, entry.met.labels)
                if entry.met.mentions is not None:
                    await self.destinations.add(entry.met.agent_id, entry.met.session, entry.met.mentions)
        held_up, self.held_up_ns = self.held_up_ns, 0
        return Committed(verdict, self.views[0].epoch, clock_gettime_ns(BOOT_CLOCK) - held_up)

    async def seal_payload(
        self, plaintext: bytes, *, person_id: str, retention: str
    ) -> tuple[UUID, SealedPayload, bytes]:
        if not self.is_sealing:
            raise CannotSeal("away")
        return uuid7(), SealedPayload("key", plaintext), b"commitment"

    def vault_index(self, snapshot: Snapshot) -> VaultIndex:
        return VaultIndex(self.secrets.items())

    async def call_upstream(self, intent: Intent, relay: Relay) -> RawResult:
        self.log.append("sent")
        self.questions.append(question_of(intent))
        self.sent.append(self.questions[-1].params.get("arguments", b""))
        if self.conversation is not None:
            await self.conversation(relay)
        return self.upstream(intent)

    async def catalog(self, connector: Connector, method: str) -> Catalog:
        return self.catalogs.get((connector.name, method), Catalog(()))

    async def listen(self, connector: Connector, interest: Interest, heard: Heard, stands: Stands) -> None:
        return

    def on_swap(self, heard: Callable[[Snapshot], None]) -> None:
        return

    def cancel(self, task: asyncio.Task[Any]) -> bool:
        return False

    def why_cut(self, call_id: UUID) -> str:
        return ""

    def lose_outcome(self, intent: Intent) -> None:
        self.log.append("lost")

    def allowance(self) -> Allowance:
        return Allowance(self.limits, lambda connector: connector.name in self.full)

    def is_repeated(self, refusal: Refusal) -> bool:
        return self.refused.is_repeated(refusal)

    def count_stranger(self, frame: Frame, refusal: Refusal) -> None:
        self.strangers.append(refusal.reason.code)


class MemoryTable:
    """The table of the limits, shared by as many processes as a test makes of it."""

    def __init__(self) -> None:
        self.requests: Counter[tuple[Subject, int]] = Counter()
        self.bytes: Counter[tuple[Subject, int]] = Counter()

    def take_requests(self, subject: Subject, window: int, *, maximum: int) -> int:
        left = maximum - self.requests[subject, window]
        share = max(1, left // SHARES) if left > 0 else 0
        self.requests[subject, window] += share
        return share

    def give_back_requests(self, subject: Subject, window: int, *, count: int) -> None:
        self.requests[subject, window] -= count

    def add_bytes(self, subject: Subject, window: int, *, count: int) -> int:
        self.bytes[subject, window] += count
        return self.bytes[subject, window]

    def take_places(self, subject: Subject, *, held: int, maximum: int) -> int:
        return max(0, maximum - held)

    def keep_places(self, subject: Subject, *, held: int) -> None:
        return

    def forget(self, now: float) -> None:
        return


async def at_once(work: Callable[[], Any], /) -> Any:
    """Instead of a thread of the database's."""
    return work()


def answer(result: dict[str, Any] | None, error: dict[str, Any] | None = None) -> RawResult:
    return RawResult(result, error, 1.5, 100)
