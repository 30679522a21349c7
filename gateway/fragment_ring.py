"""What agents sent lately: half an hour and a few kilobytes an agent. In the memory of this process in the clear, and
sealed in rows that all processes share.

A process looks at what it knows, and the commit of the intent says whether others have sent something since; only then
are their rows read. So nothing is read for an agent that talks to one process.
"""

import math
import time
from collections import OrderedDict
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from datetime import timedelta
from operator import itemgetter
from typing import Final, NamedTuple, Protocol

from governance.inspection.walk import Leaf

KEPT_CHARACTERS: Final = 4_096
"""Of one agent."""
MOST_AGENTS: Final = 5_000
PRUNED_EVERY: Final = 64
"""Calls of one agent: then the oldest of its rows go."""
WINDOW: Final = 1_800.0
"""Seconds, as in `gateway/commit/sqlite_pieces.py`."""
NO_LEAF: Final = Leaf("", "", "")


@dataclass(frozen=True, slots=True)
class Piece:
    """`path` is without positions in lists: they are counted up from call to call."""

    path: str
    text: str = field(repr=False)
    token: str = field(repr=False)
    """What of it looks most like a piece of something."""
    leaf: Leaf = field(repr=False, default=NO_LEAF)

    @property
    def same(self) -> tuple[str, str]:
        """Once more is not another piece."""
        return self.path, self.text


@dataclass(frozen=True, slots=True)
class Sent:
    """The pieces of a call, and up to which row what others sent was looked at with them."""

    pieces: tuple[Piece, ...] = field(repr=False)
    read_to: int


class Row(NamedTuple):
    """Of one call. `pieces` is None where it cannot be opened."""

    number: int
    age: timedelta
    pieces: tuple[Piece, ...] | None


class Rows(Protocol):
    """What processes share of pieces."""

    def sealed(self, agent_id: str, pieces: Iterable[Piece]) -> bytes: ...

    async def since(self, agent_id: str, number: int) -> list[Row]:
        """Those after this number that still count, in the order in which they were committed. Raises
        EvidenceUnavailable."""


@dataclass(slots=True)
class _Kept:
    """`number` is that of its row; 0 while that has not been read."""

    at: float
    piece: Piece
    number: int = 0


NOWHERE: Final[dict[tuple[str, str], _Kept]] = {}


@dataclass(slots=True)
class _Ring:
    """Pieces in the order in which they were sent; and once more those at each place."""

    kept: dict[tuple[str, str], _Kept] = field(default_factory=dict, repr=False)
    at: dict[str, dict[tuple[str, str], _Kept]] = field(default_factory=dict, repr=False)
    characters: int = 0
    read_to: int = 0
    blind_until: float = 0.0
    calls: int = 0

    def put(self, piece: Piece, now: float) -> None:
        """What was sent lately stays in its place."""
        known = self.kept.get(piece.same)
        if known is not None and known.at > now - WINDOW:
            return
        self.drop(piece)
        self._append(_Kept(now, piece))
        self.characters += len(piece.text)

    def trim(self) -> None:
        while self.characters > KEPT_CHARACTERS:
            self.drop(next(iter(self.kept.values())).piece)

    def drop(self, piece: Piece) -> None:
        if self.kept.pop(piece.same, None) is not None:
            self.characters -= len(piece.text)
            here = self.at[piece.path]
            del here[piece.same]
            if not here:
                del self.at[piece.path]

    def merge(self, row: Row, now: float) -> None:
        """Its pieces, in disorder."""
        self.read_to = max(self.read_to, row.number)
        at = now - row.age.total_seconds()
        if row.pieces is None:
            self.blind_until = max(self.blind_until, at + WINDOW)
        for piece in row.pieces or ():
            self.put(piece, at)
            if (known := self.kept.get(piece.same)) is not None and not known.number:
                known.number = row.number

    def sort(self) -> None:
        """By row; what has none stands before what it was sent before."""
        place, placed = math.inf, []
        for each in reversed(self.kept.values()):
            place = each.number or place
            placed.append((place, each))
        placed.reverse()
        self.kept, self.at = {}, {}
        for _, each in sorted(placed, key=itemgetter(0)):
            self._append(each)

    def latest(self, path: str | None) -> Iterable[_Kept]:
        """The latest first; only those at this place if one is named."""
        return reversed((self.kept if path is None else self.at.get(path, NOWHERE)).values())

    def _append(self, each: _Kept) -> None:
        self.kept[each.piece.same] = each
        self.at.setdefault(each.piece.path, {})[each.piece.same] = each


class Fragments:
    """One of each process; all methods run on the event loop."""

    def __init__(self, rows: Rows | None = None, clock: Callable[[], float] = time.monotonic) -> None:
        self._rows = rows
        self._clock = clock
        self._rings: OrderedDict[str, _Ring] = OrderedDict()

    def before(
        self, agent_id: str, new: Iterable[Piece], *, path: str | None = None, most: int = KEPT_CHARACTERS
    ) -> list[Piece]:
        """What was sent lately, the oldest first, without what is sent once more; only at this place if one is named.
        No more than it takes for `most` characters of what looks like pieces."""
        ring = self._rings.get(agent_id)
        since, size = self._clock() - WINDOW, 0
        again = {piece.same for piece in new}
        latest: list[Piece] = []
        for each in ring.latest(path) if ring is not None else ():
            if size >= most:
                break
            if each.at > since and each.piece.same not in again:
                latest.append(each.piece)
                size += len(each.piece.token)
        return latest[::-1]

    def keep(self, agent_id: str, new: Iterable[Piece]) -> int:
        """Up to which row it is known what others sent."""
        ring, now = self._ring(agent_id), self._clock()
        for piece in new:
            ring.put(piece, now)
        ring.trim()
        return ring.read_to

    def drop(self, agent_id: str, these: Iterable[Piece]) -> None:
        """They were not sent, or not unseen: once more, they would have to complete it once more."""
        ring = self._rings.get(agent_id)
        if ring is not None:
            for piece in these:
                ring.drop(piece)

    def is_blind(self, agent_id: str) -> bool:
        """Whether something was sent lately of which nobody here can say what it was."""
        ring = self._rings.get(agent_id)
        return ring is not None and ring.blind_until > self._clock()

    @property
    def seal(self) -> Callable[[str, Iterable[Piece]], bytes] | None:
        """Makes a row of pieces of an agent; None where there are no other processes."""
        return self._rows.sealed if self._rows is not None else None

    def is_pruning(self, agent_id: str) -> bool:
        """Whether with this call it is time to let the oldest rows go."""
        ring = self._ring(agent_id)
        ring.calls += 1
        return ring.calls % PRUNED_EVERY == 0

    async def catch_up(self, agent_id: str) -> None:
        """With what all committed, this process too: the order is that of the commits. Raises EvidenceUnavailable."""
        if self._rows is None:
            return
        rows = await self._rows.since(agent_id, self._ring(agent_id).read_to)
        ring, now = self._ring(agent_id), self._clock()
        for row in rows:
            ring.merge(row, now)
        ring.sort()
        ring.trim()

    def _ring(self, agent_id: str) -> _Ring:
        ring = self._rings.setdefault(agent_id, _Ring())
        self._rings.move_to_end(agent_id)
        while len(self._rings) > MOST_AGENTS:
            self._rings.popitem(last=False)
        return ring
