"""Replaces the vault's own values wherever a result repeats them. Pure: no Django, no database.

What we know exactly we can mask completely: every form of every live value is looked for in the canonical
encoding, where an escaped letter can no longer hide. Masking happens inside decoded leaves, so the result
always parses.
"""

import re
import sys
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import chain
from typing import Any, ClassVar

import orjson

ANONYMOUS = "[SECRET]"
MAX_HITS = 1000
"""Places told; all are masked."""
MAX_TOKEN = 64
"""Characters of a key in a place that is told."""
NUMERIC = re.compile(r"[-+0-9.eE]+")
SHORTEST_APART = 12
"""Letters and digits of a value that is known with gaps between them."""
GAPS = bytes(each for each in range(256) if not chr(each).isalnum() or each > 0x7F)
ESCAPED_GAPS = (b"\\n", b"\\r", b"\\t")
BLOCK = 8
"""Bytes compared as one native integer."""
BLOCK_COVERED = 2 * BLOCK - 1
"""So long must a needle be to cover an aligned block at any offset."""


@dataclass(frozen=True, slots=True)
class Hit:
    """One masked place: whose value, and where, as a JSON pointer (RFC 6901) into the masked result."""

    secret: str
    path: str


@dataclass(frozen=True, slots=True)
class _Form:
    """One spelling of one value; `needle` is how it looks in encoded JSON."""

    text: str = field(repr=False)
    needle: bytes = field(repr=False)
    secret: str
    placeholder: str

    @property
    def is_numeric(self) -> bool:
        """Could a JSON number spell it?"""
        return NUMERIC.fullmatch(self.text) is not None


class _Needles:
    """Byte strings that are looked for together."""

    __slots__ = ("_blocks", "_long", "_short", "_stride")

    def __init__(self, needles: Iterable[bytes]) -> None:
        each = frozenset(needles)
        self._short = tuple(needle for needle in each if len(needle) < BLOCK_COVERED)
        self._long = tuple(needle for needle in each if len(needle) >= BLOCK_COVERED)
        self._stride = min(((len(needle) - BLOCK + 1) // BLOCK for needle in self._long), default=1)
        self._blocks = frozenset(block for needle in self._long for block in _blocks(needle, self._stride))

    def are_in(self, data: bytes) -> bool:
        """Wherever a long needle stands, it covers at least `_stride` aligned blocks of the data; so one look at every
        so manieth block rules out all long needles at once, however many there are.
        """
        if _contains_any(data, self._short):
            return True
        aligned = memoryview(data)[: len(data) // BLOCK * BLOCK].cast("Q")
        return not self._blocks.isdisjoint(aligned[:: self._stride]) and _contains_any(data, self._long)


class VaultIndex:
    """The forms of all live secret values, ready to be looked for. Never shows one."""

    __slots__ = ("_apart", "_forms", "_needles")
    rule: ClassVar[str] = "known_value"
    """What a finding of one of these is called."""

    def __init__(
        self, entries: Iterable[tuple[str, Iterable[bytes]]], *, shown: Callable[[str], str] = "[SECRET:{}]".format
    ) -> None:
        """`entries` are (secret name, forms as `vault.maskable_forms` gives them: decoded text in UTF-8); `shown` is
        what stands for a secret of that name."""
        owner = {form.decode(): name for name, forms in entries for form in forms if form.decode() not in ANONYMOUS}
        marks = {name: shown(name) for name in dict.fromkeys(owner.values())}
        longest = max(map(len, marks.values()), default=0)
        short = [form for form in owner if len(form) <= longest]
        marks = {name: _placeholder(mark, short) for name, mark in marks.items()}
        self._forms = tuple(
            _Form(text, orjson.dumps(text)[1:-1], owner[text], marks[owner[text]])
            for text in sorted(owner, key=len, reverse=True)
        )
        whose: dict[str, list[bytes]] = {}
        for form in self._forms:
            whose.setdefault(form.secret, []).append(form.needle)
        self._needles = _Needles(chain.from_iterable(map(_shortest, whose.values())))
        letters = (_without_gaps(form.text.encode()) for form in self._forms)
        self._apart = _Needles(each for each in letters if len(each) >= SHORTEST_APART)

    def __bool__(self) -> bool:
        return bool(self._forms)

    def __repr__(self) -> str:
        return f"<VaultIndex of {len(self._forms)} forms>"

    def find(self, data: bytes) -> bool:
        """Does this canonical JSON contain a secret value in any form?"""
        return self._needles.are_in(data)

    def find_apart(self, data: bytes) -> bool:
        """Does it contain one whose letters stand apart, in whatever form and with whatever between them?"""
        return bool(self._forms) and self._apart.are_in(_without_gaps(data))

    def spans(self, text: str) -> Iterator[tuple[str, int, int]]:
        """(secret name, start, end) of every form of every value in a text."""
        if not self.find(orjson.dumps(text)[1:-1]):
            return
        for form in self._forms:
            start = text.find(form.text)
            while start >= 0:
                yield form.secret, start, start + len(form.text)
                start = text.find(form.text, start + len(form.text))

    def mask(self, value: Any) -> tuple[Any, list[Hit]]:
        """A copy without any secret value, and what was replaced; for when `find` said yes.

        `value` is what `canonical.parse` returned. A secret that reaches across leaves (`1,2,3` in a list of
        numbers) costs the whole result.
        """
        body = orjson.dumps(value)
        walk = _Walk(tuple(form for form in self._forms if form.needle in body), [])
        masked = walk.value(value, None)
        if self.find(orjson.dumps(masked, option=orjson.OPT_SORT_KEYS)):
            return ANONYMOUS, [*walk.hits, Hit("", "")]
        return masked, walk.hits


class JoinedIndex(VaultIndex):
    """Looks for the values of all these; made for one call, so it costs nothing to make."""

    __slots__ = ("_parts",)

    def __init__(self, *parts: VaultIndex) -> None:
        self._parts = parts

    def __bool__(self) -> bool:
        return any(self._parts)

    def __repr__(self) -> str:
        return f"<JoinedIndex of {self._parts}>"

    def find(self, data: bytes) -> bool:
        return any(part.find(data) for part in self._parts)

    def find_apart(self, data: bytes) -> bool:
        return any(part.find_apart(data) for part in self._parts)

    def spans(self, text: str) -> Iterator[tuple[str, int, int]]:
        for part in self._parts:
            yield from part.spans(text)

    def mask(self, value: Any) -> tuple[Any, list[Hit]]:
        hits: list[Hit] = []
        for part in self._parts:
            value, found = part.mask(value)
            hits += found
        return value, hits


Path = tuple["Path", str] | None
"""Where a walk is, as a chain of tokens: written out only for the few places that are masked."""


@dataclass(frozen=True, slots=True)
class _Walk:
    """One pass over one result, looking only for the forms that are in it."""

    forms: tuple[_Form, ...]
    hits: list[Hit]

    def value(self, value: Any, path: Path) -> Any:
        if isinstance(value, str):
            return self.text(value, path)
        if isinstance(value, dict):
            return self.object(value, path)
        if isinstance(value, list):
            return [self.value(member, (path, str(position))) for position, member in enumerate(value)]
        return self.scalar(value, path)

    def text(self, text: str, path: Path) -> str:
        masked, names = self.replaced(text)
        self.note(names, path)
        return masked

    def object(self, members: dict[str, Any], path: Path) -> dict[str, Any]:
        masked: dict[str, Any] = {}
        used: Counter[str] = Counter()
        for key, member in members.items():
            shown, names = self.replaced(key)
            shown = _free(shown, masked, members, used)
            member_path = (path, shown)
            self.note(names, member_path)
            masked[shown] = self.value(member, member_path)
        return masked

    def scalar(self, value: Any, path: Path) -> Any:
        """A number may spell a value too; it becomes text."""
        if not any(form.is_numeric for form in self.forms):
            return value
        masked, names = self.replaced(orjson.dumps(value).decode())
        self.note(names, path)
        return masked if names else value

    def replaced(self, text: str) -> tuple[str, list[str]]:
        names = []
        for form in self.forms:
            if form.text in text:
                text = text.replace(form.text, form.placeholder)
                names.append(form.secret)
        return text, names

    def note(self, names: list[str], path: Path) -> None:
        if names and len(self.hits) < MAX_HITS:
            self.hits.extend(Hit(name, _pointer(path)) for name in names)


def _pointer(path: Path) -> str:
    """JSON pointer (RFC 6901); long keys are cut, as upstreams choose them."""
    tokens: list[str] = []
    while path is not None:
        path, token = path
        tokens.append(token[:MAX_TOKEN].replace("~", "~0").replace("/", "~1"))
    return "".join(f"/{token}" for token in reversed(tokens))


def _without_gaps(data: bytes) -> bytes:
    for escaped in ESCAPED_GAPS:
        data = data.replace(escaped, b"")
    return data.translate(None, GAPS)


def _contains_any(data: bytes, needles: Iterable[bytes]) -> bool:
    for needle in needles:  # noqa: SIM110 - twice as fast as any(...)
        if needle in data:
            return True
    return False


def _blocks(needle: bytes, stride: int) -> Iterator[int]:
    """The blocks of which, at any offset, one is aligned and among every `stride`th."""
    for start in range(BLOCK * stride):
        yield int.from_bytes(needle[start : start + BLOCK], sys.byteorder)


def _free(key: str, taken: Mapping[str, Any], original: Mapping[str, Any], used: Counter[str]) -> str:
    """Two keys may become one by masking; neither member may be lost. Each key counts on, so many are no work."""
    free = key
    while free in taken or (free != key and free in original):
        used[key] += 1
        free = f"{key}#{used[key] + 1}"
    return free


def _placeholder(placeholder: str, forms: Iterable[str]) -> str:
    """Names the secret, unless the name itself would give a value away."""
    return ANONYMOUS if any(form in placeholder for form in forms) else placeholder


def _shortest(needles: Iterable[bytes]) -> tuple[bytes, ...]:
    """Needles that contain no other needle: finding the shorter one is enough."""
    kept: list[bytes] = []
    for needle in sorted(set(needles), key=len):
        if not _contains_any(needle, kept):
            kept.append(needle)
    return tuple(kept)
