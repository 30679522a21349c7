"""Text that a model reads and a person does not see. Pure: no Django, no database.

Unicode has honest uses for each of these characters: joiners shape Persian, Hindi and emoji families, marks keep
Hebrew in order, tags make the flag of Wales. What is reported is only what none of those uses explains.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import groupby, islice
from typing import Final, NamedTuple

from governance.inspection.scripts import (
    ALL_ALIKE,
    SOME_ALIKE,
    is_emoji,
    is_ideograph,
    is_joining,
    is_latin,
    is_right_to_left,
)

TAGS: Final = "tag_characters"
SELECTORS: Final = "variation_selectors"
BIDI: Final = "bidi_override"
ZERO_WIDTH: Final = "zero_width"
LOOK_ALIKES: Final = "look_alikes"
TERMINAL: Final = "terminal_escape"
FAR_AWAY: Final = "far_away_text"

MOST_PASSAGES: Final = 200
"""Told of one text; one is enough to act on."""
SOME_FLAGS: Final = 3
"""Flags of regions that no font shows: more of them spell something."""
MOST_LINES: Final = 40
"""Empty ones that honest texts have in a row."""
SPREAD: Final = 4
"""Invisible characters at the edges of words: so many are no accident."""

_INVISIBLE: Final = re.compile(
    "[\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b-\u200f\u202a-\u202e\u2060-\u206f\u2800\u3164"
    "\ufe00-\ufe0f\ufeff\uffa0\U0001bca0-\U0001bca3\U0001d173-\U0001d17a\U000e0000-\U000e0fff]+"
)
_FLAG: Final = re.compile("\U0001f3f4([\U000e0030-\U000e0039\U000e0061-\U000e007a]{4,6})\U000e007f")
_KNOWN_FLAGS: Final = frozenset(("gbeng", "gbsct", "gbwls"))
_ESCAPE: Final = re.compile(r"(?:\x1b|\\u001[bB]|\\x1[bB]|\\033|\\e)\[([\d;:]{0,40})m")
_GAP: Final = re.compile(r"(?:\n[ \t\r]{0,200}+){40,}+|(?:\\n[ \t]{0,200}+){40,}+")
_WORD: Final = re.compile(r"[^\W\d_]{2,80}")
_BORROWED: Final = re.compile(f"[{''.join(sorted(SOME_ALIKE))}]")
_LATIN_LETTER: Final = re.compile("[A-Za-z\u00c0-\u00d6\u00d8-\u00f6\u00f8-\u024f\u1e00-\u1eff]")
_MATH_WORD: Final = re.compile("(?:[A-Za-z][\u2061-\u2064]){3,}[A-Za-z]")
_SELECTOR_CHARACTERS: Final = frozenset(chr(code) for code in (*range(0xFE00, 0xFE10), *range(0xE0100, 0xE01F0)))
_EMOJI_STYLE: Final = "\ufe0e\ufe0f"
_OVERRIDES: Final = "\u202d\u202e"
_RIGHT_TO_LEFT_OPENERS: Final = "\u202b\u2067"
_DIRECTION: Final = frozenset("\u061c\u200e\u200f\u202a\u202b\u202c\u2066\u2067\u2068\u2069")
_LAYOUT_HINTS: Final = frozenset("\u00ad\u200b\ufeff\u2060")
_MATH: Final = frozenset("\u2061\u2062\u2063\u2064")
_MUSIC: Final = frozenset(map(chr, (*range(0x1BCA0, 0x1BCA4), *range(0x1D173, 0x1D17B))))
_JOINERS: Final = frozenset("\u200c\u200d")
_MONGOLIAN: Final = frozenset("\u180b\u180c\u180d\u180e\u180f")
_HANGUL_FILLERS: Final = frozenset("\u115f\u1160\u3164\uffa0")


class Passage(NamedTuple):
    """Where something hides, in the text as given."""

    kind: str
    start: int
    end: int


@dataclass(frozen=True, slots=True)
class _Run:
    """Invisible characters in a row, and what stands beside them."""

    text: str
    start: int
    end: int

    @property
    def characters(self) -> str:
        return self.text[self.start : self.end]

    @property
    def before(self) -> str:
        return self.text[self.start - 1] if self.start else ""

    @property
    def after(self) -> str:
        return self.text[self.end] if self.end < len(self.text) else ""

    @property
    def inside_word(self) -> bool:
        return is_latin(self.before) and is_latin(self.after)

    def told(self, kind: str) -> Passage:
        return Passage(kind, self.start, self.end)


def find_hidden(text: str) -> list[Passage]:
    """In the order of the text. Costs almost nothing where text is plain ASCII."""
    found = [*_escapes(text), *_gaps(text)]
    if not text.isascii():
        found += islice(_invisible(text), MOST_PASSAGES)
        found += islice(_look_alikes(text), MOST_PASSAGES)
    return sorted(found, key=lambda passage: passage.start)[:MOST_PASSAGES]


def may_hide(text: str) -> bool:
    return (
        not text.isascii()
        or (_has_escapes(text) and _ESCAPE.search(text) is not None)
        or (_has_many_lines(text) and _GAP.search(text) is not None)
    )


def _has_escapes(text: str) -> bool:
    return "\x1b" in text or "\\" in text


def _has_many_lines(text: str) -> bool:
    return text.count("\n") >= MOST_LINES or text.count("\\n") >= MOST_LINES


def _escapes(text: str) -> Iterator[Passage]:
    """Terminal codes that conceal. Colours are honest: logs are full of them."""
    if _has_escapes(text):
        for match in _ESCAPE.finditer(text):
            if _conceals(match[1]):
                yield Passage(TERMINAL, match.start(), match.end())


def _conceals(codes: str) -> bool:
    """38;5;8 is a colour, 8 alone hides."""
    parts = iter(re.split("[;:]", codes))
    for part in parts:
        if part in ("38", "48", "58"):
            for _ in range(1 if next(parts, "") == "5" else 3):
                next(parts, "")
        elif part == "8":
            return True
    return False


def _gaps(text: str) -> Iterator[Passage]:
    """Text pushed so far down that nobody scrolls to it."""
    if _has_many_lines(text):
        for match in _GAP.finditer(text):
            if text[match.end() : match.end() + 1].strip(' \n\t\r"'):
                yield Passage(FAR_AWAY, match.start(), match.end())


def _invisible(text: str) -> Iterator[Passage]:
    spread: list[_Run] = []
    flags = _honest_flags(text)
    for match in _INVISIBLE.finditer(text):
        run = _Run(text, match.start(), match.end())
        if run.start in flags:
            continue
        kind = _kind(run)
        if kind:
            yield run.told(kind)
        elif _is_at_edge(run):
            spread.append(run)
    if len(spread) >= SPREAD:
        yield from (run.told(ZERO_WIDTH) for run in spread)
    yield from (Passage(ZERO_WIDTH, match.start(), match.end()) for match in _MATH_WORD.finditer(text))


def _honest_flags(text: str) -> set[int]:
    """Where the tags of a flag begin."""
    if "\U0001f3f4" not in text:
        return set()
    matches = list(_FLAG.finditer(text))
    names = ["".join(chr(ord(tag) - 0xE0000) for tag in match[1]) for match in matches]
    unknown = sum(name not in _KNOWN_FLAGS for name in names)
    return {
        match.start() + 1
        for match, name in zip(matches, names, strict=True)
        if (name in _KNOWN_FLAGS or unknown <= SOME_FLAGS) and _stops(text, match.end())
    }


def _stops(text: str, position: int) -> bool:
    return position >= len(text) or not _INVISIBLE.match(text[position]) or text[position] == "\u200d"


def _kind(run: _Run) -> str:
    """What the run hides, or nothing."""
    characters = run.characters
    if any("\U000e0000" <= each <= "\U000e007f" for each in characters):
        return TAGS
    if any(each in _SELECTOR_CHARACTERS for each in characters):
        return "" if _selects(run) else SELECTORS
    if any(each in _OVERRIDES for each in characters) or _turns_latin(run):
        return BIDI
    return "" if _is_honest(run) else ZERO_WIDTH


def _selects(run: _Run) -> bool:
    """One selector after what has variants; emoji may be joined after it."""
    selector, rest, before = run.characters[0], run.characters[1:], run.before
    if selector not in _SELECTOR_CHARACTERS:
        return bool(rest) and is_joining(before) and rest in _EMOJI_STYLE
    if rest not in ("", "\u200d", selector):
        return False
    if selector in _EMOJI_STYLE:
        return is_emoji(before) or before in "0123456789#*" or _is_plain_symbol(before)
    if selector >= "\U000e0100":
        return is_ideograph(before)
    return not is_emoji(before) and (is_ideograph(before) or is_joining(before) or _is_plain_symbol(before))


def _is_plain_symbol(character: str) -> bool:
    return bool(character) and not character.isalnum() and not character.isascii() and not character.isspace()


def _turns_latin(run: _Run) -> bool:
    """A right-to-left embedding of text that has no right-to-left letter."""
    if not any(each in _RIGHT_TO_LEFT_OPENERS for each in run.characters):
        return False
    line = run.text[run.end : run.end + 500].split("\n", 1)[0]
    return not any(is_right_to_left(each) for each in line) and any(is_latin(each) for each in line)


def _is_honest(run: _Run) -> bool:
    characters = run.characters
    if all(each in _DIRECTION for each in characters):
        return len(characters) <= 3 and not (run.inside_word and characters not in ("\u2068", "\u2069"))
    if len(characters) > 1:
        return _is_honest_row(run)
    return _is_honest_one(run, characters)


def _is_honest_row(run: _Run) -> bool:
    """More than one in a row: some scripts write so, and a byte order mark may stand before."""
    characters = set(run.characters)
    if characters <= _HANGUL_FILLERS or characters == {"\u2800"}:
        return len(run.characters) <= 4 and not run.inside_word
    if characters <= _MUSIC | _MONGOLIAN:
        return len(run.characters) <= 3
    return len(run.characters) <= 2 and (is_joining(run.before) or is_joining(run.after))


def _is_honest_one(run: _Run, character: str) -> bool:
    before, after = run.before, run.after
    if character in _JOINERS:
        return _joins(run, character)
    if character == "\u00ad":
        return not _is_shredded(run)
    if character in _MATH:
        return not (run.inside_word and _is_deep_in_word(run))
    if character in _LAYOUT_HINTS:
        return not run.inside_word
    return character in _MUSIC or not (is_latin(before) or is_latin(after)) or (not run.inside_word and before != "")


def _joins(run: _Run, character: str) -> bool:
    before, after = run.before, run.after
    if is_joining(before) or is_joining(after):
        return True
    if character == "\u200d":
        return is_emoji(before) or not run.inside_word
    return not run.inside_word or before in "fF"


def _is_shredded(run: _Run) -> bool:
    """Hyphenation leaves syllables; three soft hyphens within a few letters leave none."""
    return run.text.count("\u00ad", max(0, run.start - 4), run.end + 4) >= 3


def _is_deep_in_word(run: _Run) -> bool:
    return is_latin(run.text[run.start - 2 : run.start - 1]) or is_latin(run.text[run.end + 1 : run.end + 2])


def _is_at_edge(run: _Run) -> bool:
    """Between words of Latin text, where no script and no line break needs it."""
    if run.characters not in ("\u200b", "\u200c", "\u200d", "\u2060", "\ufeff") or not run.start:
        return False
    beside = run.before + run.after
    return any(each.isspace() for each in beside) and all(each.isascii() for each in beside)


def _look_alikes(text: str) -> Iterator[Passage]:
    """Words that borrow letters from another alphabet because they look the same."""
    if not _BORROWED.search(text):
        return
    pure: list[re.Match[str]] = []
    for match in _WORD.finditer(text):
        word = match[0]
        if word.isascii():
            continue
        if not _LATIN_LETTER.search(word):
            pure.append(match)
        elif _BORROWED.search(word) and _is_mixed(word):
            yield Passage(LOOK_ALIKES, match.start(), match.end())
    alike = [match for match in pure if ALL_ALIKE.issuperset(match[0])]
    if len(alike) >= 2 and len(alike) == len(pure) and all(match[0].islower() for match in alike):
        yield from (Passage(LOOK_ALIKES, match.start(), match.end()) for match in alike if _has_latin_words(text))


def _is_mixed(word: str) -> bool:
    scripts = [key for key, _ in groupby(word, key=_script)]
    if len(scripts) >= 3:
        return "other" not in scripts
    foreign = set(_LATIN_LETTER.sub("", word))
    return len(word) >= 3 and foreign <= ALL_ALIKE and any(each.islower() for each in _LATIN_LETTER.findall(word))


def _script(character: str) -> str:
    if is_latin(character):
        return "latin"
    return "alike" if character in SOME_ALIKE else "other"


def _has_latin_words(text: str) -> bool:
    return sum(match[0].isascii() for match in _WORD.finditer(text[:2000])) >= 4
