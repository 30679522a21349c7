"""The pieces that a group sends, as rows: one for as many calls as follow each other of one agent for one person."""

from collections.abc import Iterable
from dataclasses import dataclass, field

from gateway.commit.entry import SentPieces
from gateway.fragment_ring import KEPT_CHARACTERS, Piece

Member = tuple[int, SentPieces]
"""With its position in the group."""


@dataclass(frozen=True, slots=True)
class SentRow:
    """`members` are the calls of which it holds the pieces, in their order: it is kept if one of them is."""

    sealed: bytes = field(repr=False)
    members: tuple[Member, ...]

    @property
    def is_pruning(self) -> bool:
        return any(sent.is_pruning for _, sent in self.members)


def rows_of(sent: Iterable[Member]) -> list[SentRow]:
    """In an order in which those of each agent are one after the other."""
    by_agent: dict[str, list[list[Member]]] = {}
    for member in sent:
        runs = by_agent.setdefault(member[1].agent_id, [])
        if not runs or runs[-1][-1][1].person_id != member[1].person_id:
            runs.append([])
        runs[-1].append(member)
    return [_row(run) for runs in by_agent.values() for run in runs]


def _row(members: list[Member]) -> SentRow:
    sent = members[0][1]
    return SentRow(sent.seal(sent.agent_id, _latest(members)), tuple(members))


def _latest(members: list[Member]) -> list[Piece]:
    """Each once, where it was sent first; no more than a process keeps of an agent."""
    pieces: dict[tuple[str, str], Piece] = {}
    for _, sent in members:
        for piece in sent.pieces:
            pieces.setdefault(piece.same, piece)
    kept, characters = [], 0
    for piece in reversed(pieces.values()):
        characters += len(piece.text)
        if characters > KEPT_CHARACTERS:
            break
        kept.append(piece)
    return kept[::-1]
