"""Gives every committed event its place: pending rows become leaves without gaps, under signed checkpoints.

Any number of sequencers may run. Each pass is one transaction under a lock (PostgreSQL: an advisory lock;
SQLite: the one writer), and the leaves' primary key fences whoever got round it. A pass either happened or
did not, so a crash costs nothing; what a sequencer remembers between passes is checked against the database.
"""

import logging
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from threading import Event
from typing import NamedTuple
from uuid import UUID

from django.db import DatabaseError, InterfaceError, connection, transaction
from django.db.models import Max
from django.utils import timezone

from audit.checkpoint import BadNote, InstallationKeys, Signer, installation_signer
from audit.event import AuditEvent, leaf_entry
from audit.key_chain import ROTATED, keys_of
from audit.merkle import Frontier, leaf_hash
from audit.models import Checkpoint, Leaf, Pending
from audit.newest_signed import NewestSigned, newest_signed
from audit.record import record

BATCHES = {"postgresql": 2_000, "sqlite": 500}
"""What one pass places at most: it waits for one durable commit, and on SQLite holds the only write lock."""
SIGN_EVERY = timedelta(seconds=1)
HEARTBEAT_EVERY = timedelta(hours=1)
BUSY_SECONDS, IDLE_SECONDS, RETRY_SECONDS = 0.1, 0.2, 1.0
QUEUE = """
    SELECT p.id, e.id, e.kind, e.epoch, e.header FROM audit_pending p JOIN audit_event e ON e.id = p.event_id
    WHERE p.id > %s ORDER BY p.id LIMIT %s
"""
PLACE = 'INSERT INTO audit_leaf ("index", event_id, hash) VALUES (%s, %s, %s)'
PLACE_ALL = (
    'INSERT INTO audit_leaf ("index", event_id, hash) SELECT * FROM unnest(%s::bigint[], %s::uuid[], %s::bytea[])'
)
RELEASE = "DELETE FROM audit_pending WHERE id = %s"
RELEASE_ALL = "DELETE FROM audit_pending WHERE id = ANY(%s)"
LEADER_LOCK = int.from_bytes(b"gh:audit", "big")

logger = logging.getLogger(__name__)


class LogDamaged(Exception):
    """The stored log is not the one that was signed. Nothing more is signed until a human has looked."""


class OtherDatabase(LogDamaged):
    """This is not the database whose log was signed here: older, or exchanged. To sign it would fork the log."""


class Queued(NamedTuple):
    """A committed event that waits for its leaf; its id is as the database gave it."""

    pending_id: int
    event_id: UUID | str
    kind: str
    header: bytes
    hash: bytes


@dataclass(frozen=True, slots=True)
class Signed:
    """The last checkpoint, as far as it decides when the next is due."""

    size: int
    at: datetime

    def is_older_than(self, age: timedelta, now: datetime) -> bool:
        """A clock that was set back must not silence the log, so distance counts in both directions."""
        return abs(now - self.at) >= age


class Sequencer:
    """Extends the log with one signer's name. Not thread-safe; one per process is enough.

    With `keys`, a rotation that the log tells of is carried out: the checkpoint right after it is signed by both keys.
    With `newest`, a database that does not hold what was signed before is not gone on with.
    """

    def __init__(
        self, signer: Signer, keys: InstallationKeys | None = None, newest: NewestSigned | None = None
    ) -> None:
        self._signer = signer
        self._keys = keys
        self._newest = newest
        self._tree: Frontier | None = None
        self._signed: Signed | None = None
        self._placed = 0
        """The last row of the queue that was placed. An older one may be committed late, so where a signature is due
        all are looked through; else only those behind it, as rows that are gone are walked over for some time."""

    def advance(self, now: datetime, *, sign_every: timedelta = SIGN_EVERY) -> int:
        """One pass, as the leader; the number of new leaves (0 as well while another one leads).

        LogDamaged if what is stored contradicts what was signed. DatabaseError: all of it happened, or none.
        """
        note = ""
        with transaction.atomic():
            if not _lead():
                return 0
            tree, signed = self._catch_up()
            if signed is None or signed.is_older_than(HEARTBEAT_EVERY, now):
                self._record_heartbeat(now)
            is_time = signed is None or signed.is_older_than(sign_every, now)
            batch, heir = self._up_to_rotation(_next_batch(after=0 if is_time else self._placed))
            _place(batch, tree.size)
            tree = tree.extend(queued.hash for queued in batch)
            if heir or (is_time and (signed is None or tree.size > signed.size)):
                signed, note = self._sign(tree, now, heir)
        self._tree, self._signed = tree, signed
        self._placed = batch[-1].pending_id if batch else self._placed
        if note and self._newest:
            self._newest.keep(note)
        if heir and self._keys:
            self._keys.hand_over()
            self._signer = heir
        return len(batch)

    def has_work(self, now: datetime) -> bool:
        """Is a pass worth the write lock? One cheap read."""
        if self._tree is None or self._signed is None or self._signed.is_older_than(HEARTBEAT_EVERY, now):
            return True
        is_time = self._signed.is_older_than(SIGN_EVERY, now)
        if is_time and self._tree.size > self._signed.size:
            return True
        # By `first`, which walks the index: planners take the table for small and would read all of it.
        return Pending.objects.filter(id__gt=0 if is_time else self._placed).values_list("id").first() is not None

    def forget(self) -> None:
        """After a failed pass: believe the database only."""
        self._tree = self._signed = None
        self._placed = 0

    def _catch_up(self) -> tuple[Frontier, Signed | None]:
        """The tree as stored, grown from what we knew or from the last checkpoint."""
        if self._tree is None and self._newest and (contradiction := self._newest.contradicts()):
            raise OtherDatabase(f"this is not the database that was signed here: {contradiction}")
        last = Checkpoint.objects.order_by("-size").first()
        if last and (self._signed is None or last.size != self._signed.size):
            self._follow_keys(last.note)
        tree = self._tree or self._tree_of(last)
        stored = _log_size()
        if stored < max(tree.size, last.size if last else 0):
            raise LogDamaged(f"the log shrank: {stored} leaves where there were {tree.size}")
        if stored > tree.size:
            tree = tree.extend(_hashes_from(tree.size))
        if tree.size != stored:
            raise LogDamaged(f"leaf {tree.size} is missing")
        return tree, Signed(last.size, last.at) if last else None

    def _tree_of(self, last: Checkpoint | None) -> Frontier:
        """The stored frontier counts only as far as our own signature vouches for it."""
        if last is None:
            return Frontier()
        try:
            tree = Frontier.from_bytes(last.size, bytes(last.frontier))
            head = self._signer.verifier.open(last.note)
        except (ValueError, BadNote) as error:
            raise LogDamaged(f"checkpoint {last.size} cannot be continued with this key: {error}") from error
        if (head.size, head.root) != (tree.size, tree.root()):
            raise LogDamaged(f"checkpoint {last.size} is not the one that was signed")
        return tree

    def _follow_keys(self, note: str) -> None:
        """Another sequencer signed: it may have carried out a rotation. A retired key signs nothing any more."""
        if self._keys:
            self._signer = self._keys.after(note)
        try:
            is_ours = self._signer.verifier.signs_next(note)
        except BadNote:
            is_ours = False
        if not is_ours:
            raise LogDamaged("the last checkpoint cannot be continued with this key: its last signature is another's")

    def _up_to_rotation(self, batch: list[Queued]) -> tuple[list[Queued], Signer | None]:
        """Ends the batch with an event that hands over to the key that waits here; and that key, if there is one."""
        heir = self._keys.heir() if self._keys else None
        if heir is None:
            return batch, None
        for number, queued in enumerate(batch, start=1):
            if queued.kind == ROTATED and _hands_over(queued.header, self._signer, heir):
                return batch[:number], heir
        return batch, None

    def _sign(self, tree: Frontier, now: datetime, heir: Signer | None) -> tuple[Signed, str]:
        root = tree.root()
        signer = self._signer
        note = signer.sign_with(heir, size=tree.size, root=root) if heir else signer.sign(size=tree.size, root=root)
        Checkpoint.objects.create(size=tree.size, root=root, frontier=tree.to_bytes(), at=now, note=note)
        return Signed(tree.size, now), note

    def _record_heartbeat(self, now: datetime) -> None:
        """An hour of silence is an event, so that it can be told from deletion; it also names the key."""
        key = str(self._signer.verifier)
        record(AuditEvent(kind="audit.heartbeat", at=now, actor="system:sequencer", details={"verifier_key": key}))


def _hands_over(header: bytes, old: Signer, new: Signer) -> bool:
    try:
        return keys_of(header) == (old.verifier, new.verifier)
    except (ValueError, TypeError, KeyError):
        return False


def run(stop: Event) -> None:
    """Until `stop` is set; then seals and signs what is left. LogDamaged ends it, for a human to look."""
    sequencer = Sequencer(installation_signer(), InstallationKeys(), newest_signed())
    while not stop.is_set():
        stop.wait(_step(sequencer))
    _finish(sequencer)


def _step(sequencer: Sequencer) -> float:
    """One pass if there is work; how many seconds to rest."""
    try:
        now = timezone.now()
        if not sequencer.has_work(now):
            return IDLE_SECONDS
        return 0 if sequencer.advance(now) == _most() else BUSY_SECONDS
    except (DatabaseError, InterfaceError) as error:
        logger.warning("sequencer: %s, trying again: %s", type(error).__name__, _first_line(error))
        sequencer.forget()
        connection.close()
        return RETRY_SECONDS


def _finish(sequencer: Sequencer) -> None:
    try:
        while sequencer.advance(timezone.now(), sign_every=timedelta(0)) == _most():
            pass
    except (DatabaseError, InterfaceError) as error:
        logger.warning("sequencer: stopped with events unsealed, they keep: %s", _first_line(error))


def _first_line(error: Exception) -> str:
    """The rest of a database's message may quote the row."""
    return str(error).partition("\n")[0]


def _lead() -> bool:
    if connection.vendor != "postgresql":
        return True
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_try_advisory_xact_lock(%s)", [LEADER_LOCK])
        return bool(cursor.fetchone()[0])


def _log_size() -> int:
    last = Leaf.objects.aggregate(last=Max("index"))["last"]
    return 0 if last is None else last + 1


def _hashes_from(index: int) -> Iterator[bytes]:
    """Hashes of the leaves from `index` on; stops short at a gap."""
    leaves = Leaf.objects.filter(index__gte=index).order_by("index").values_list("index", "hash")
    for expected, (found, stored) in enumerate(leaves.iterator(), start=index):
        if found != expected:
            return
        yield bytes(stored)


def _most() -> int:
    return BATCHES[connection.vendor]


def _next_batch(*, after: int) -> list[Queued]:
    """The oldest waiting events behind a row. A row whose event is gone stays in the queue, where `verify` names it."""
    with connection.cursor() as cursor:
        cursor.execute(QUEUE, [after, _most()])
        return [
            Queued(row, event_id, kind, header, leaf_hash(leaf_entry(epoch, header)))
            for row, event_id, kind, epoch, header in cursor
        ]


def _place(batch: list[Queued], first: int) -> None:
    """Just the rows that were placed leave the queue: an older one may be committed later."""
    indexes = list(range(first, first + len(batch)))
    leaves = indexes, [queued.event_id for queued in batch], [queued.hash for queued in batch]
    placed = [queued.pending_id for queued in batch]
    with connection.cursor() as cursor:
        if connection.vendor == "postgresql":
            cursor.execute(PLACE_ALL, leaves)
            cursor.execute(RELEASE_ALL, [placed])
        else:
            cursor.executemany(PLACE, list(zip(*leaves, strict=True)))
            cursor.executemany(RELEASE, [(row,) for row in placed])
