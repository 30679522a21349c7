"""A secret that is sent in pieces: what an agent sent lately is joined with what it sends now, and looked through.

Pieces count before they are looked at, so that of calls side by side the last one sees all the others'. Those of other
processes are known by the commit of the intent: where it says that there are more, the call is looked at once more
before anything is sent.
"""

import re
from collections.abc import Iterable, Iterator
from dataclasses import replace
from itertools import groupby
from typing import Any, Final, NamedTuple

from django.utils.module_loading import import_string

from gateway.call import Call
from gateway.fragment_ring import Piece, Sent
from gateway.ports import Ports
from governance.inspection.findings import Budget, Finding, Findings, Kind, Severity, limit
from governance.inspection.masking import VaultIndex
from governance.inspection.skim import Skim
from governance.inspection.walk import TooMuch, leaves

SECRET: Final = "secret"  # noqa: S105  (how rules name it)
ONLY_SECRETS: Final[frozenset[Kind]] = frozenset(("secret",))
MOST_PIECES: Final = 16
"""Of one call."""
LONGEST: Final = 256
"""Characters of a piece: what is split is short, and of a long text only its edges can be joined."""
MAY_HOLD: Final = "governance.inspection.begun.may_hold_secret"
MOST_STARTS: Final = 20
"""Earlier pieces with which a secret may begin."""
SURELY: Final = 0.8
"""Texts that do not belong together make guesses: only what is surer counts."""
WALKED: Final = Budget(leaves=2_000)
TOKEN: Final = re.compile(r"[A-Za-z0-9_+/=.~-]{2,}")
MASKED: Final = re.compile(r"\[SECRET:[^\[\]\n]{0,100}\]")
"""It names a secret, so that whatever is joined to it would look like its value."""
POSITION: Final = re.compile(r"/[0-9]+")
MIXED: Final = re.compile(r"[0-9][A-Za-z_]|[A-Za-z_][0-9]|[a-z][A-Z]|_")


async def with_seams(call: Call, sent: Any, found: Findings, ports: Ports) -> tuple[Findings, Sent | None]:
    """And with what pieces of arguments complete; and those that complete nothing yet."""
    agent_id, new = call.caller.agent.id, pieces_of(sent, found)
    if not new:
        return found, None
    old = _before(agent_id, new, ports)
    read_to = ports.fragments.keep(agent_id, new)
    completing = await _completing(old, new, call, ports)
    if completing:
        ports.fragments.drop(agent_id, new)
    others = [*completing, *_unread(agent_id, ports)]
    kept = None if completing else Sent(tuple(new), read_to)
    return (replace(found, found=(*found.found, *others)) if others else found), kept


async def completes_unseen(call: Call, ports: Ports) -> bool:
    """Whether with what other processes sent it completes something on which it was not decided. Raises
    EvidenceUnavailable."""
    agent_id = call.caller.agent.id
    if call.sent is None:
        return False
    await ports.fragments.catch_up(agent_id)
    new = list(call.sent.pieces)
    completing = await _completing(_before(agent_id, new, ports), new, call, ports)
    known = {(each.path, each.rule) for each in (*call.findings.found, *call.findings.excepted)}
    return not known.issuperset((each.path, each.rule) for each in (*completing, *_unread(agent_id, ports)))


def _unread(agent_id: str, ports: Ports) -> list[Finding]:
    return [limit("limit.pieces", "", subject=SECRET)] if ports.fragments.is_blind(agent_id) else []


def pieces_of(sent: Any, found: Iterable[Finding] = ()) -> list[Piece]:
    """Of what could be looked at: the rest counts as found anyhow. A secret that was found whole is no piece, and what
    stands beside one still is."""
    secrets: dict[str, list[Finding]] = {}
    for each in found:
        if each.kind == SECRET and not each.in_key:
            secrets.setdefault(each.path, []).append(each)
    pieces: list[Piece] = []
    try:
        for leaf in leaves(sent, WALKED):
            if leaf.is_key:
                continue
            text = _without(leaf.text, secrets.get(leaf.path, ()))
            text = MASKED.sub("", text) if "[SECRET:" in text else text
            if token := _likeliest(TOKEN.findall(text[:LONGEST])):
                pieces.append(Piece(POSITION.sub("/#", leaf.path), _edges(text), token, leaf))
            if len(pieces) >= MOST_PIECES:
                break
    except TooMuch:
        pass
    return pieces


def _without(text: str, found: Iterable[Finding]) -> str:
    for each in found:
        text = text[: each.start] + " " * (each.end - each.start) + text[each.end :]
    return text


def _likeliest(tokens: list[str]) -> str:
    """Words seldom mix letters and digits, or two sorts of letters; of several such the longest, then the last."""
    return max(reversed(tokens), key=lambda token: (MIXED.search(token) is not None, len(token)), default="")


def _edges(text: str) -> str:
    half = LONGEST // 2
    return text if len(text) <= LONGEST else f"{text[:half]}\n{text[-half:]}"


class _Before(NamedTuple):
    """What was sent lately, and what of it at each place of what is sent now: as much as can be joined with that."""

    anywhere: list[Piece]
    at: dict[str, list[Piece]]


def _before(agent_id: str, new: list[Piece], ports: Ports) -> _Before:
    anywhere = ports.fragments.before(agent_id, new, most=LONGEST)
    paths = {piece.path for piece in new}
    if len(paths | {piece.path for piece in anywhere}) == 1:
        return _Before(anywhere, dict.fromkeys(paths, anywhere))
    return _Before(
        anywhere, {path: ports.fragments.before(agent_id, new, path=path, most=LONGEST) for path in sorted(paths)}
    )


async def _completing(old: _Before, new: list[Piece], call: Call, ports: Ports) -> list[Finding]:
    if not old.anywhere and len(new) < 2:
        return []
    crossed = await _crossing(_distinct(_joints(old, new)), call, ports)
    if crossed is None:
        return []
    crossed += await _crossing(_distinct(_beginning_later(old, new)), call, ports) or ()
    return list({(each.path, each.rule): each for each in crossed}.values())


async def _crossing(joints: list["_Joint"], call: Call, ports: Ports) -> list[Finding] | None:
    """Those that reach over a seam; None where no joint holds anything at all."""
    text = "\n".join(joint.text for joint in joints)
    skim = Skim(text, ONLY_SECRETS)
    found = await ports.inspector.look_for(text, ONLY_SECRETS, size=len(text), skim=skim)
    vault = ports.vault_index(call.caller.snapshot)
    if skim.rules_out(text, ONLY_SECRETS) and not any(vault.spans(text)):
        return None
    return [*_crossed(joints, found), *_known(joints, vault)]


class _Joint(NamedTuple):
    """What came before, what comes now, and the last whose it is."""

    before: str
    after: tuple[str, ...]
    piece: Piece
    text: str

    @classmethod
    def of(cls, before: str, after: tuple[str, ...], piece: Piece) -> "_Joint":
        return cls(before, after, piece, "".join((before, *after)))

    def is_crossed(self, start: int, end: int) -> bool:
        """Does something that is now there for the first time reach over a seam?"""
        seam = len(self.before)
        for part in self.after:
            if start < seam < end:
                return True
            seam += len(part)
        return False


def _distinct(joints: Iterable[_Joint]) -> list[_Joint]:
    return list({(joint.before, joint.after, joint.piece.path): joint for joint in joints}.values())


def _joints(old: _Before, new: list[Piece]) -> Iterator[_Joint]:
    """The whole texts at one place of the arguments; what looks like pieces there; and the same at any place."""
    for path, here in groupby(new, key=lambda piece: piece.path):
        pieces, same = list(here), old.at[path]
        if same or len(pieces) > 1:
            yield _Joint.of(_tail([each.text for each in same]), tuple([each.text for each in pieces]), pieces[-1])
            yield _of_tokens(same, pieces)
    if _are_of_places(old, new):
        yield _of_tokens(old.anywhere, new)


def _beginning_later(old: _Before, new: list[Piece]) -> Iterator[_Joint]:
    """Likewise from each of the earlier ones on."""
    for path, here in groupby(new, key=lambda piece: piece.path):
        yield from _from_each(old.at[path], list(here))
    if _are_of_places(old, new):
        yield from _from_each(old.anywhere, new)


def _are_of_places(old: _Before, new: list[Piece]) -> bool:
    return len({piece.path for piece in (*old.anywhere, *new)}) > 1


def _of_tokens(old: list[Piece], new: list[Piece]) -> _Joint:
    return _Joint.of(_tail([each.token for each in old]), tuple([each.token for each in new]), new[-1])


def _from_each(old: list[Piece], new: list[Piece]) -> Iterator[_Joint]:
    """Where all together look like it: what was sent before the first piece must not hide where a secret begins."""
    if not old or not import_string(MAY_HOLD)(_of_tokens(old, new).text):
        return
    after, before = tuple(each.token for each in new), ""
    for piece in reversed(old[-MOST_STARTS:]):
        before = piece.token + before
        if len(before) >= LONGEST:
            break
        yield _Joint.of(before, after, new[-1])


def _tail(texts: list[str]) -> str:
    """The end of all of them together."""
    kept, size = [], 0
    for text in reversed(texts):
        kept.append(text)
        size += len(text)
        if size >= LONGEST:
            break
    return "".join(reversed(kept))[-LONGEST:]


def _crossed(joints: list[_Joint], found: Findings) -> Iterator[Finding]:
    """Each joint stands on a line of its own."""
    line = 0
    for joint in joints:
        end = line + len(joint.text)
        for each in found:
            is_here = each.kind == "secret" and each.confidence >= SURELY and line <= each.start < each.end <= end
            if is_here and joint.is_crossed(each.start - line, each.end - line):
                yield _finding(each.rule, each.version, joint.piece)
        line = end + 1


def _known(joints: list[_Joint], vault: VaultIndex) -> Iterator[Finding]:
    for joint in joints:
        for name, start, end in vault.spans(joint.text):
            if joint.is_crossed(start, end):
                yield _finding("known_value", 1, joint.piece, subject=name)


def _finding(rule: str, version: int, piece: Piece, *, subject: str = "") -> Finding:
    """The whole text: a part of it is a piece, and which part nobody may be told."""
    leaf = piece.leaf
    end = len(leaf.text)
    return Finding(rule, version, "secret", Severity.CRITICAL, 1.0, leaf.path, 0, end, "joined", subject)
