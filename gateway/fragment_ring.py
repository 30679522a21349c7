"""What agents sent lately, in the memory of this process alone: so it can be read back nowhere. Half an hour and a few
kilobytes an agent."""

import time
from collections import OrderedDict, deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Final

from gateway.run_labels import FLOOR
from governance.inspection.walk import Leaf

KEPT_CHARACTERS: Final = 4_096
"""Of one agent."""
MOST_AGENTS: Final = 5_000


@dataclass(frozen=True, slots=True)
class Piece:
    """`path` is without positions in lists: they are counted up from call to call."""

    path: str
    text: str = field(repr=False)
    token: str = field(repr=False)
    """What of it looks most like a piece of something."""
    leaf: Leaf = field(repr=False)


@dataclass(slots=True)
class _Ring:
    pieces: deque[tuple[float, Piece]] = field(default_factory=deque, repr=False)
    characters: int = 0


class Fragments:
    """One of each process; all methods run on the event loop."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._rings: OrderedDict[str, _Ring] = OrderedDict()

    def before(self, agent_id: str, new: list[Piece]) -> list[Piece]:
        """What was sent lately, the oldest first, without what is sent once more."""
        ring = self._rings.get(agent_id)
        since = self._clock() - FLOOR.total_seconds()
        again = {(piece.path, piece.text) for piece in new}
        kept = [] if ring is None else [piece for at, piece in ring.pieces if at > since]
        return [piece for piece in kept if (piece.path, piece.text) not in again]

    def keep(self, agent_id: str, new: Iterable[Piece]) -> None:
        ring = self._rings.setdefault(agent_id, _Ring())
        self._rings.move_to_end(agent_id)
        for piece in new:
            ring.pieces.append((self._clock(), piece))
            ring.characters += len(piece.text)
        while ring.characters > KEPT_CHARACTERS:
            ring.characters -= len(ring.pieces.popleft()[1].text)
        while len(self._rings) > MOST_AGENTS:
            self._rings.popitem(last=False)

    def drop(self, agent_id: str, these: list[Piece]) -> None:
        """They were not sent, or not unseen: once more, they would have to complete it once more."""
        ring = self._rings.get(agent_id)
        if ring is not None:
            gone = set(map(id, these))
            ring.pieces = deque((at, piece) for at, piece in ring.pieces if id(piece) not in gone)
            ring.characters = sum(len(piece.text) for _, piece in ring.pieces)
