"""Texts that a reader puts together: parts of one result, items of one list, what was said while a call ran. What
reaches over a seam between two of them is found in the joined text and told of each text that has a part of it. Pure.

Nobody knows which of many texts belong together, and a word that sticks to what does not hides it: so all are joined,
and of many each two and each three neighbours by themselves.

Where there is only one text this costs a look at a few members.
"""

import re
from bisect import bisect_left, bisect_right
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import chain, pairwise
from operator import attrgetter
from typing import Any, Final, NamedTuple

import orjson

from governance.inspection.findings import Budget, Finding, Findings, Severity
from governance.inspection.masking import ANONYMOUS, VaultIndex
from governance.inspection.redaction import redact
from governance.inspection.walk import TooMuch, leaves, token_of

EDGE: Final = 16_384
"""Characters on each side of a seam that are joined: so long may a finding be."""
NEAR: Final = 256
"""Characters around a seam where the other text may be what a finding is known by: a label, a name."""
SURELY: Final = 0.8
"""Texts that do not belong together make guesses: only what is surer counts."""
HEARD: Final = ""
"""Path of what is out already: it is joined, and nothing can be done about it any more."""
TAIL: Final = 1_024
"""Characters that are kept of what was said."""
MESSAGES: Final = 16
"""Latest ones that are kept apart."""
GROUPS: Final = (2, 3)
"""So many neighbours are joined by themselves."""
GROUP_EDGE: Final = 256
"""Characters on each side of their seams."""
MOST_GROUPED: Final = 1_000
"""Of more texts only all together are joined: rows of ids cost as much as they are many."""
UNUSUAL: Final = re.compile(r"[0-9][A-Za-z_]|[A-Za-z_][0-9]|[a-z][A-Z]|_|[0-9]{6}")
"""Words of languages seldom mix letters and digits, or two sorts of letters."""
APART: Final = "\n\n"
BLOCKS: Final = ("content", "contents", "messages")
NEIGHBOURS: Final = b'","'
"""Between two strings of a list, as canonical JSON has them."""
MASK: Final = "[SECRET:"
SAID: Final = Budget(leaves=1_000)


Known = dict[tuple[str, str], list[tuple[int, int]]]
"""Spans by path and rule."""


class Part(NamedTuple):
    """One of the texts, and where it stands (JSON pointer)."""

    path: str
    text: str


@dataclass(frozen=True, slots=True)
class Run:
    """Texts in the order in which they are read. Items of a `list` need not belong together: less counts of them."""

    parts: tuple[Part, ...]
    is_list: bool = False


class _Piece(NamedTuple):
    """`start:end` of a stretch is what the text at `path` has from `offset` on."""

    path: str
    start: int
    end: int
    offset: int


@dataclass(frozen=True, slots=True)
class Stretch:
    """Joined texts without the insides of long ones; `seams` are where they stick together."""

    text: str = field(repr=False)
    pieces: tuple[_Piece, ...]
    seams: tuple[int, ...]
    is_list: bool

    def crosses(self, start: int, end: int, *, around: int = 0) -> bool:
        following = bisect_right(self.seams, start - around)
        return following < len(self.seams) and self.seams[following] < end + around

    def places(self, start: int, end: int) -> Iterator[tuple[str, int, int]]:
        """Path, start and end of all that lies in texts about which something can be done."""
        for number in range(bisect_right(self.pieces, start, key=attrgetter("end")), len(self.pieces)):
            piece = self.pieces[number]
            if piece.start >= end:
                break
            if piece.path != HEARD:
                first, last = max(start, piece.start), min(end, piece.end)
                yield piece.path, first - piece.start + piece.offset, last - piece.start + piece.offset


@dataclass(slots=True)
class Said:
    """The end of what an upstream has said in one call so far and was heard: of each kind of message and of all."""

    _latest: dict[str, tuple[str, ...]] = field(default_factory=dict, repr=False)

    def add(self, kind: str, parts: Iterable[Part]) -> None:
        for text in (part.text for part in parts if part.text):
            for whose in ("", kind):
                self._latest[whose] = _ended((*self._latest.get(whose, ()), text))

    @property
    def tails(self) -> tuple[tuple[str, ...], ...]:
        return tuple(dict.fromkeys(self._latest.values())) if self._latest else ()


def _ended(texts: tuple[str, ...]) -> tuple[str, ...]:
    """The latest, within TAIL characters."""
    kept: list[str] = []
    room = TAIL
    for text in reversed(texts[-MESSAGES:]):
        if not room:
            break
        kept.append(text[-room:])
        room -= len(kept[-1])
    return tuple(reversed(kept))


# -- which texts are neighbours


def runs_of(result: Any, *, lists: bool = True) -> list[Run]:
    """Those of an MCP result: its parts, and the lists in its structured content."""
    if not isinstance(result, dict):
        return []
    found = [Run(tuple(_blocks(result[name], f"/{name}"))) for name in BLOCKS if name in result]
    if isinstance(message := result.get("message"), str) and message:
        found.append(Run((Part("/message", message),)))
    if lists and "structuredContent" in result:
        found += _lists(result["structuredContent"], "/structuredContent")
    return found


def run_said(params: Mapping[str, Any]) -> list[Run]:
    """Of a log or progress message: all its texts are one."""
    parts = []
    try:
        for name in ("message", "data"):
            for leaf in leaves(params.get(name), SAID, path=f"/{name}"):
                if not leaf.is_key:
                    parts.append(Part(leaf.path, leaf.text))
    except TooMuch:
        pass
    return [Run(tuple(parts))] if parts else []


def _blocks(value: Any, path: str) -> Iterator[Part]:
    """Of content, contents of resources, messages of a prompt: {text}, {resource: {text}}, {content: ...}."""
    if isinstance(value, list):
        for number, each in enumerate(value):
            yield from _blocks(each, f"{path}/{number}")
    elif isinstance(value, dict):
        if isinstance(text := value.get("text"), str) and text:
            yield Part(f"{path}/text", text)
        for name in ("resource", "content"):
            if isinstance(value.get(name), dict | list):
                yield from _blocks(value[name], f"{path}/{name}")


def _lists(value: Any, path: str) -> Iterator[Run]:
    """Neighbours that are text. The depth of a result is known to be bounded."""
    if isinstance(value, dict):
        for key, member in value.items():
            if isinstance(member, dict | list):
                yield from _lists(member, f"{path}/{token_of(key)}")
    elif isinstance(value, list):
        texts = [Part(f"{path}/{number}", each) for number, each in enumerate(value) if isinstance(each, str) and each]
        if len(texts) > 1:
            yield Run(tuple(texts), is_list=True)
        for number, each in enumerate(value):
            if isinstance(each, dict | list):
                yield from _lists(each, f"{path}/{number}")


# -- joining


def stretches(runs: Iterable[Run], before: Iterable[tuple[str, ...]] = ()) -> list[Stretch]:
    """All texts with a seam in them. `before` are texts that were heard before, each of which goes on here."""
    joined: list[Stretch] = []
    for heard, run in _going_on(runs, before):
        for parts in _likely(run.parts) if run.is_list else [(*heard, *run.parts)]:
            joined += _joined(_windows(parts), run.is_list)
            lately = parts[max(0, len(heard) - GROUPS[-1]) :]
            if len(lately) <= MOST_GROUPED:
                joined += _joined(_groups(lately), run.is_list)
    return joined


def whole_stretches(runs: Iterable[Run], before: Iterable[tuple[str, ...]] = ()) -> list[Stretch]:
    """Where something is looked for that needs no end and no beginning."""
    joined = (_joined(_windows((*heard, *run.parts)), run.is_list) for heard, run in _going_on(runs, before))
    return list(chain.from_iterable(joined))


def _going_on(runs: Iterable[Run], before: Iterable[tuple[str, ...]]) -> Iterator[tuple[tuple[Part, ...], Run]]:
    tails = [tuple(Part(HEARD, text) for text in texts) for texts in before]
    for run in runs:
        if run.is_list or not tails:
            if len(run.parts) > 1:
                yield (), run
        elif run.parts:
            for heard in tails:
                yield heard, run


def _likely(parts: Sequence[Part]) -> Iterator[tuple[Part, ...]]:
    """Neighbours of which each may go on with the one before."""
    first = 0
    for number in range(1, len(parts) + 1):
        if number == len(parts) or not _at_seam(parts[number - 1].text, parts[number].text):
            if number - first > 1:
                yield tuple(parts[first:number])
            first = number


def _at_seam(left: str, right: str) -> tuple[int, int] | None:
    """How much on each side may be one word, and not one of a language."""
    ending, beginning = left[-GROUP_EDGE:], right[:GROUP_EDGE]
    if ending[-1].isspace() or beginning[0].isspace():
        return None
    ending, beginning = ending.rsplit(None, 1)[-1], beginning.split(None, 1)[0]
    return (len(ending), len(beginning)) if UNUSUAL.search(ending + beginning) else None


Window = list[tuple[str, int, str]]
"""Path, offset and text of what is joined."""


def _windows(parts: Sequence[Part]) -> Iterator[Window]:
    """All as one, without the insides of long parts."""
    window: Window = []
    for number, (path, text) in enumerate(parts):
        start = max(0, len(text) - EDGE) if number == 0 else 0
        end = min(EDGE, len(text)) if number == len(parts) - 1 else len(text)
        if end - start <= 2 * EDGE:
            window.append((path, start, text[start:end]))
            continue
        window.append((path, 0, text[:EDGE]))
        yield window
        window = [(path, len(text) - EDGE, text[-EDGE:])]
    yield window


def _groups(parts: Sequence[Part]) -> Iterator[Window]:
    """Each two and each three neighbours, where something else sticks to them; only the words at their seams."""
    seams = [_at_seam(left.text, right.text) for left, right in pairwise(parts)]
    for size in GROUPS:
        if size < len(parts):
            for first in range(len(parts) - size + 1):
                if all(inside := seams[first : first + size - 1]):
                    yield _group(parts[first : first + size], [seam for seam in inside if seam])


def _group(parts: Sequence[Part], seams: Sequence[tuple[int, int]]) -> Window:
    (path, text), *middle, last = parts
    from_end = seams[0][0]
    within = [(each.path, 0, each.text) for each in middle if len(each.text) <= GROUP_EDGE]
    if len(within) < len(middle):
        return []
    return [(path, len(text) - from_end, text[-from_end:]), *within, (last.path, 0, last.text[: seams[-1][1]])]


def _joined(windows: Iterable[Window], is_list: bool) -> Iterator[Stretch]:
    texts: list[str] = []
    pieces: list[_Piece] = []
    seams: list[int] = []
    at = 0
    for window in (window for window in windows if len(window) > 1):
        for number, (path, offset, text) in enumerate(window):
            if number:
                seams.append(at)
            pieces.append(_Piece(path, at, at + len(text), offset))
            texts.append(text)
            at += len(text)
        texts.append(APART)
        at += len(APART)
    if pieces:
        yield Stretch("".join(texts), tuple(pieces), tuple(seams), is_list)


# -- what is found


def spread(joined: Sequence[Stretch], looked: Findings, among: Iterable[Finding]) -> list[Finding]:
    """What was found in the list of joined texts, told of the texts themselves; `among` is what was found in them."""
    known: Known = defaultdict(list)
    for each in sorted(among, key=attrgetter("start")):
        if not each.in_key:
            known[each.path, each.rule].append((each.start, each.end))
    told: dict[tuple[str, str, int, int], Finding] = {}
    for each in looked:
        if each.kind == "limit":
            told[HEARD, each.rule, 0, 0] = replace(each, path="", start=0, end=0)
            continue
        stretch = joined[int(each.path[1:])]
        places = list(stretch.places(each.start, each.end)) if _counts(each, stretch) else []
        if each.kind == "personal" and any(_is_known(place, each.rule, known) for place in places):
            continue
        for path, start, end in places:
            told[path, each.rule, start, end] = replace(each, path=path, start=start, end=end)
    return [each for place, each in told.items() if place[2:] not in _at(place[2], known.get(place[:2], ()))]


def _counts(found: Finding, stretch: Stretch) -> bool:
    """What is masked already may look like something again where masks stick together."""
    if found.confidence < SURELY or MASK in stretch.text[max(0, found.start - len(MASK)) : found.end]:
        return False
    if stretch.is_list:
        return found.kind == "secret" and stretch.crosses(found.start, found.end)
    return stretch.crosses(found.start, found.end, around=NEAR)


def _is_known(place: tuple[str, int, int], rule: str, known: Known) -> bool:
    """An address or number that was found by itself now begins with the last word of the text before."""
    path, start, end = place
    spans = known.get((path, rule), [])
    before = bisect_left(spans, (end,))
    return before > 0 and spans[before - 1][1] > start


def _at(start: int, spans: Sequence[tuple[int, int]]) -> Sequence[tuple[int, int]]:
    return spans[bisect_left(spans, (start,)) : bisect_left(spans, (start + 1,))]


# -- values that are known


def without_known(value: Any, joined: Iterable[Stretch], vault: VaultIndex) -> tuple[Any, frozenset[str]]:
    """Without the vault's values that reach over seams, and whose they are."""
    found = [each for stretch in joined for each in _known(stretch, vault)] if vault else []
    if not found:
        return value, frozenset()
    return redact(value, found, lambda there, _text, _is_number: _shown(there[0].subject, vault)), frozenset(
        each.subject for each in found
    )


def may_hide_in_lists(encoded: bytes, vault: VaultIndex) -> bool:
    """Whether one of the vault's values may stand in pieces in a list, as canonical JSON tells without a walk."""
    return NEIGHBOURS in encoded and vault.find(encoded.replace(NEIGHBOURS, b""))


def _known(stretch: Stretch, vault: VaultIndex) -> Iterator[Finding]:
    if not vault.find(orjson.dumps(stretch.text)[1:-1]):
        return
    for name, start, end in vault.spans(stretch.text):
        if stretch.crosses(start, end):
            for path, first, last in stretch.places(start, end):
                yield Finding(vault.rule, 1, "secret", Severity.CRITICAL, 1.0, path, first, last, "raw", name)


def _shown(name: str, vault: VaultIndex) -> str:
    """Names the secret, unless the name itself would give a value away."""
    shown = f"[SECRET:{name}]"
    return ANONYMOUS if vault.find(orjson.dumps(shown)[1:-1]) else shown
