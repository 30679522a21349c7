"""Is the evidence in this database what was written and signed? Reads all, changes and locks nothing.

It runs beside the gateway: the tables only grow, they are read in pages, and what has to be seen at one
instant is asked in one statement. Rows may be damaged in any way; they are named, never a traceback.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from functools import partial
from typing import Any, NoReturn
from uuid import UUID

import orjson
from django.db.models import Count, Exists, Max, OuterRef, QuerySet

from audit.anchors.base import Kept
from audit.checkpoint import BadNote, TreeHead, Verifier
from audit.event import leaf_entry
from audit.key_chain import KeyChain, stored_chain
from audit.merkle import Frontier, leaf_hash
from audit.models import Checkpoint, EventRow, Leaf, Pending
from audit.pages import UNREADABLE, Row, Unreadable, by_id, each, pages
from audit.pruned import Pruned
from audit.record import as_column

MAX_PROBLEMS = 100
TEXTS = ("actor", "agent", "person", "connector", "tool", "decision", "outcome")
EVENT_COLUMNS = ("epoch", "header", "at", "kind", "decided_epoch", "call_id", "process_id", "session", *TEXTS)

NO_ANCHOR = (
    "No anchor outside this installation was compared: whoever holds the database and the signing key can"
    " have rewritten everything, and whoever holds the database can have cut the log back to an earlier"
    " checkpoint."
)
AFTER_ANCHORS = (
    "The leaves from {:,} on, where the newest anchor ends: whoever holds the database and the signing key can have"
    " rewritten them, and whoever holds the database can have cut them off."
)
NOT_CHECKED = (
    "Events after the last checkpoint are not under a signature yet.",
    "An event inserted by somebody with access to the database before it was sealed looks like any other.",
    "Records that are pruned, as other records in the log say: their hashes stand, what they said is gone.",
)
NO_PAYLOADS = "Payload bodies: neither that they are there nor that they match their commitments."


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing that is wrong; `leaf` is its index in the log if it has one."""

    what: str
    leaf: int | None = None

    def __str__(self) -> str:
        return self.what if self.leaf is None else f"leaf {self.leaf}: {self.what}"


@dataclass(frozen=True, slots=True)
class Report:
    """What was read, what is wrong and what nobody looked at. `checkpoint`: size of the newest good one."""

    events: int
    leaves: int
    pending: int
    checkpoint: int
    open_intents: int
    pruned: int
    problems: tuple[Problem, ...]
    problem_count: int
    first_bad_leaf: int | None
    anchors: int
    not_checked: tuple[str, ...]

    @property
    def is_sound(self) -> bool:
        return self.problem_count == 0

    @property
    def figure(self) -> str:
        """The verdict in one line."""
        anchors = f", {self.anchors:,} anchors met" if self.anchors else ""
        counts = f"{self.events:,} events, {self.leaves:,} leaves, checkpoint {self.checkpoint:,}{anchors}"
        if self.pruned:
            counts += f", {self.pruned:,} records pruned, as the log says: hash kept, header not checked"
        if self.is_sound:
            return f"sound: {counts}"
        first = "" if self.first_bad_leaf is None else f", first bad leaf {self.first_bad_leaf}"
        return f"NOT SOUND: {self.problem_count:,} problems{first}; {counts}"


@dataclass(slots=True)
class Findings:
    """Problems as they turn up: all counted, the first hundred kept."""

    problems: list[Problem] = field(default_factory=list)
    count: int = 0
    first_bad_leaf: int | None = None

    def add(self, what: str, *, leaf: int | None = None) -> None:
        self.count += 1
        if len(self.problems) < MAX_PROBLEMS:
            self.problems.append(Problem(what, leaf))
        if leaf is not None and (self.first_bad_leaf is None or leaf < self.first_bad_leaf):
            self.first_bad_leaf = leaf

    def add_rows(self, rows: QuerySet[Any], column: str, what: str) -> None:
        """One problem for each of these rows."""
        found = [str(value) for value in rows.values_list(column, flat=True)[:MAX_PROBLEMS]]
        for value in found:
            self.add(f"{what}: {value}")
        if len(found) == MAX_PROBLEMS:
            self.count += rows.count() - MAX_PROBLEMS


CheckPayloads = Callable[[Findings], str]
"""Adds what is wrong with bodies; says what it could not check."""


def _leave_payloads(findings: Findings) -> str:
    return NO_PAYLOADS


def verify(
    verifier: Verifier | None, anchors: Sequence[Kept] = (), check_payloads: CheckPayloads = _leave_payloads
) -> Report:
    """Checks the whole log against this key (None: the installation has none) and what was kept elsewhere.

    DatabaseError if there is no database to read.
    """
    findings = Findings()
    walk = LogWalk(_chain(verifier), findings, anchors)
    calls = partial(check_calls, findings, walk.pruned)
    for check in (walk.run, partial(check_queue, findings), calls):
        _guarded(check, findings)
    payloads = check_payloads(findings)
    return Report(
        events=EventRow.objects.count(),
        leaves=walk.leaves,
        pending=Pending.objects.count(),
        checkpoint=walk.checkpoint,
        open_intents=_unpaired("call.intent", partner="call.outcome").count(),
        pruned=walk.empty,
        problems=tuple(findings.problems),
        problem_count=findings.count,
        first_bad_leaf=findings.first_bad_leaf,
        anchors=walk.anchors.met,
        not_checked=(*_beyond_anchors(walk), *NOT_CHECKED, payloads),
    )


def _chain(verifier: Verifier | None) -> KeyChain | None:
    """Rows that cannot be read introduce no key."""
    try:
        return stored_chain(verifier) if verifier else None
    except UNREADABLE:
        return KeyChain(verifier) if verifier else None


def _beyond_anchors(walk: "LogWalk") -> tuple[str, ...]:
    if not walk.anchors.met:
        return (NO_ANCHOR,)
    return (AFTER_ANCHORS.format(walk.anchors.good),) if walk.anchors.good < walk.leaves else ()


def _guarded(check: Callable[[], None], findings: Findings) -> None:
    """What cannot even be read is not sound."""
    try:
        check()
    except UNREADABLE as error:
        findings.add(f"a table could not be read to its end: {type(error).__name__}")


class Anchors:
    """What was kept elsewhere, by size: those that the log's key signed, for to be met on the walk. `good`: the size
    of the newest that was met and agreed, `met` how many did."""

    def __init__(self, kept: Sequence[Kept], verifier: KeyChain | None, findings: Findings) -> None:
        self.good = self.met = 0
        self._findings = findings
        self._waiting = sorted(self._opened(kept, verifier), key=lambda pair: -pair[0].size)

    def _opened(self, kept: Sequence[Kept], verifier: KeyChain | None) -> list[tuple[TreeHead, str]]:
        heads: list[tuple[TreeHead, str]] = []
        for found in kept:
            try:
                heads.append((verifier.open(found.note), found.where) if verifier else _refuse_anchor())
            except BadNote as error:
                self._findings.add(f"anchor {found.where}: {error}")
        return heads

    def meet(self, tree: Frontier) -> bool:
        """Those of this size. False if one of them tells of another log."""
        while self._waiting and self._waiting[-1][0].size <= tree.size:
            head, where = self._waiting.pop()
            if head.size < tree.size:
                continue
            if head.root != tree.root():
                self._tell(head, where)
                return False
            self.good, self.met = head.size, self.met + 1
        return True

    def _tell(self, head: TreeHead, where: str) -> None:
        """A leaf between the anchors that is known to be bad says it better."""
        known = self._findings.first_bad_leaf
        if known is not None and self.good <= known < head.size:
            self._findings.add(f"anchor {where}: its root is not that of these leaves")
            return
        what = f"this one, or one after it and before {head.size}, is not what the anchor {where} was made of"
        self._findings.add(what, leaf=self.good)

    def beyond(self, size: int) -> str:
        """Of which anchor the log should be longer; empty if of none."""
        return next((where for head, where in reversed(self._waiting) if head.size > size), "")


def _refuse_anchor() -> NoReturn:
    raise BadNote("there is no key to check it with")


class LogWalk:
    """Rebuilds the tree leaf by leaf and meets each checkpoint and each anchor at its size.

    `_tree` is None once a gap or an unsigned change leaves nothing to compare roots with.
    """

    def __init__(self, verifier: KeyChain | None, findings: Findings, kept: Sequence[Kept] = ()) -> None:
        self.anchors = Anchors(kept, verifier, findings)
        self.leaves = 0
        self.empty = 0
        """Leaves whose records are pruned."""
        self.checkpoint = 0
        self.pruned = Pruned()
        self._verifier = verifier
        self._findings = findings
        self._tree: Frontier | None = Frontier()
        self._next = 0

    def run(self) -> None:
        """The checkpoints first: what they speak of is there already, whatever a running sequencer adds."""
        top = Checkpoint.objects.aggregate(top=Max("size"))["top"] or 0
        self._checkpoints = each(Checkpoint.objects.filter(size__lte=top), "size", "root", "frontier", "note")
        self._ahead = next(self._checkpoints, None)
        if self._ahead and not self._verifier:
            self._findings.add("there are checkpoints but no signing key to check them with")
        for page in pages(Leaf.objects.all(), "index", "event_id", "hash"):
            self._take_page(page)
        self._meet_those_beyond()
        if Leaf.objects.filter(index__lt=self._next).count() != self.leaves:
            self._findings.add("two leaves share an index")

    def _take_page(self, page: list[Row | Unreadable]) -> None:
        event_ids = [leaf[1] for leaf in page if not isinstance(leaf, Unreadable)]
        events = by_id(EventRow.objects.all(), event_ids, *EVENT_COLUMNS) if event_ids else {}
        if len(events) < len(event_ids):
            self.pruned.read()
        for leaf in page:
            self._take(leaf, events)

    def _take(self, leaf: Row | Unreadable, events: Mapping[UUID, Row | Unreadable]) -> None:
        index = leaf.key if isinstance(leaf, Unreadable) else leaf[0]
        if index < self._next:
            self._break_off("is there twice", leaf=index)
        elif index > self._next:
            self._break_off(f"missing; the next one is {index}", leaf=self._next)
        self.leaves, self._next = self.leaves + 1, index + 1
        if isinstance(leaf, Unreadable):
            self._break_off("cannot be read", leaf=index)
            return
        _, event_id, stored = leaf
        if event_id not in events and self.pruned.covers(index):
            self.empty += 1
        elif fault := _fault_of_leaf(events.get(event_id), stored):
            self._findings.add(f"{fault} (event {event_id})", leaf=index)
        self._grow(stored)

    def _break_off(self, what: str, *, leaf: int) -> None:
        self._findings.add(what, leaf=leaf)
        self._tree = None

    def _grow(self, stored: Any) -> None:
        if self._tree is not None:
            self._tree = self._tree.extend([_bytes(stored)])
        while self._ahead is not None and _key(self._ahead) <= self._next:
            self._meet(self._ahead)
            self._ahead = next(self._checkpoints, None)
        if self._tree is not None and not self.anchors.meet(self._tree):
            self._tree = None

    def _meet_those_beyond(self) -> None:
        """Checkpoints and anchors of more leaves than there are."""
        if where := self.anchors.beyond(self._next):
            what = f"missing; the anchor {where} speaks of it: the log was cut back, or is of an older backup"
            self._findings.add(what, leaf=self._next)
        if self._ahead is not None:
            self._break_off(f"missing; checkpoint {_key(self._ahead)} speaks of it", leaf=self._next)
        while self._ahead is not None:
            self._meet(self._ahead)
            self._ahead = next(self._checkpoints, None)

    def _meet(self, checkpoint: Row | Unreadable) -> None:
        size = _key(checkpoint)
        if self._verifier is None:
            return
        try:
            head = _open(checkpoint, self._verifier)
        except (ValueError, TypeError) as error:
            self._findings.add(f"checkpoint {size}: {error}")
            return
        if self._tree is not None and self._tree.size == size:
            self._compare(self._tree, head)

    def _compare(self, tree: Frontier, head: TreeHead) -> None:
        if tree.root() == head.root:
            self.checkpoint = head.size
            return
        self._break_off(
            f"this one, or one after it and before {head.size}, was changed under its signature",
            leaf=self.checkpoint,
        )


def check_queue(findings: Findings) -> None:
    """Every event has exactly one leaf or waits for it."""
    sealed = Leaf.objects.filter(event_id=OuterRef("id"))
    waiting = Pending.objects.filter(event_id=OuterRef("id"))
    lost = EventRow.objects.filter(~Exists(sealed), ~Exists(waiting))
    findings.add_rows(lost, "id", "event neither in the log nor waiting for it")
    gone = Pending.objects.filter(~Exists(EventRow.objects.filter(id=OuterRef("event_id"))))
    findings.add_rows(gone, "event_id", "event gone before it reached the log")
    late = Pending.objects.filter(Exists(Leaf.objects.filter(event_id=OuterRef("event_id"))))
    findings.add_rows(late, "event_id", "event waits although it is in the log")
    twice = Leaf.objects.values("event_id").annotate(leaves=Count("index")).filter(leaves__gt=1)
    findings.add_rows(twice, "event_id", "event has two leaves")
    _check_waiting_columns(findings)


def _check_waiting_columns(findings: Findings) -> None:
    for page in pages(Pending.objects.all(), "id", "event_id"):
        event_ids = [row[1] for row in page if not isinstance(row, Unreadable)]
        for event_id, event in by_id(EventRow.objects.all(), event_ids, *EVENT_COLUMNS).items():
            if fault := _fault_of_event(event):
                findings.add(f"{fault} (event {event_id}, not in the log yet)")


def check_calls(findings: Findings, pruned: Pruned) -> None:
    """No outcome without its intent, and one of each at most. An intent may be pruned while its outcome stays, so of
    what came after the first pruned record this says nothing; a record that is gone otherwise is missed at its leaf."""
    lonely = _unpaired("call.outcome", partner="call.intent")
    if pruned.first is not None:
        lonely = lonely.filter(Exists(Leaf.objects.filter(event_id=OuterRef("id"), index__lt=pruned.first)))
    findings.add_rows(lonely, "id", "outcome without an intent")
    events = EventRow.objects.filter(call_id__isnull=False).values("call_id", "kind")
    twice = events.annotate(events=Count("id")).filter(events__gt=1)
    findings.add_rows(twice, "call_id", "call with two events of one kind")


def _unpaired(kind: str, *, partner: str) -> QuerySet[EventRow]:
    """Events of this kind whose call has none of the other."""
    partners = EventRow.objects.filter(kind=partner, call_id=OuterRef("call_id"))
    return EventRow.objects.filter(~Exists(partners), kind=kind)


def _key(row: Row | Unreadable) -> Any:
    return row.key if isinstance(row, Unreadable) else row[0]


def _open(checkpoint: Row | Unreadable, verifier: KeyChain) -> TreeHead:
    """What it states. ValueError or TypeError unless it is signed and its columns repeat just that."""
    if isinstance(checkpoint, Unreadable):
        raise ValueError("cannot be read")
    size, root, frontier, note = checkpoint
    head = verifier.open(note)
    if (head.size, head.root) != (size, _bytes(root)):
        raise ValueError("size or root is not what its note says")
    if Frontier.from_bytes(size, _bytes(frontier)).root() != head.root:
        raise ValueError("its frontier does not lead to its root")
    return head


def _fault_of_leaf(event: Row | Unreadable | None, stored: Any) -> str | None:
    if event is None:
        return "its event is gone"
    if not isinstance(event, Unreadable) and not _is_hash_of(stored, epoch=event[1], header=event[2]):
        return "its hash is not that of its event"
    return _fault_of_event(event)


def _is_hash_of(stored: Any, *, epoch: Any, header: Any) -> bool:
    return isinstance(epoch, int) and leaf_hash(leaf_entry(epoch, _bytes(header))) == _bytes(stored)


def _fault_of_event(event: Row | Unreadable) -> str | None:
    """The columns only repeat the header: screens show what was hashed, or the difference is found here."""
    if isinstance(event, Unreadable):
        return "its event cannot be read"
    row = dict(zip(("id", *EVENT_COLUMNS), event, strict=True))
    try:
        told = _columns_of(orjson.loads(_bytes(row["header"])))
    except (ValueError, TypeError, KeyError, AttributeError):
        return "its header is not one"
    wrong = [name for name, value in told.items() if row[name] != value]
    return f"not what its header says: {', '.join(wrong)}" if wrong else None


def _columns_of(header: dict[str, Any]) -> dict[str, Any]:
    """Events of before there were sessions, and those that the database writes, name none."""
    ids = {name: header[name] and UUID(header[name]) for name in ("id", "call_id", "process_id")}
    ids["session"] = UUID(header["session"]) if header.get("session") else None
    texts = {name: as_column(header[name]) for name in TEXTS}
    at = datetime.fromisoformat(header["at"])
    return ids | texts | {"at": at, "kind": header["kind"], "decided_epoch": header["decided_epoch"]}


def _bytes(stored: Any) -> bytes:
    """SQLite may hand over anything from a column; what is not bytes matches nothing."""
    return bytes(stored) if isinstance(stored, bytes | memoryview) else b""
