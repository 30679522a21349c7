"""What a client would fetch or make clickable when it shows a text: Markdown, HTML, addresses with something in tow,
letters that are begun, documents within an address.

Finds all of it; which hosts are new is known elsewhere. Masked, the syntax is taken apart and the words stay.
"""

import re
from collections.abc import Iterator
from typing import Final

from governance.inspection import link_targets
from governance.inspection.destinations import URL, Way, written
from governance.inspection.detector import Detector, Hit
from governance.inspection.findings import Severity
from governance.inspection.hosts import words
from governance.inspection.signals import Signal, TooManyMatches
from governance.inspection.views import RAW, View
from governance.inspection.walk import Leaf

VERSION: Final = 1
MOST: Final = 3_000
LONGEST_LABEL: Final = 1_000
SHOWN_VIEWS: Final = frozenset((RAW, "folded", "json"))
"""What a client would show: it decodes nothing else."""
INLINE: Final = re.compile(
    r"""\]\(\s{0,9}(?:<([^<>\n]{1,2000}+)>?|([^\s()<>]{1,2000}+(?:\([^\s()<>]{0,300}+\)[^\s()<>]{0,300}+){0,3}+))"""
    r"""(?:\s{1,9}(?:"[^"]{0,500}+"|'[^']{0,500}+'|\([^()]{0,500}+\)))?+\s{0,9}\)?"""
)
"""The end of `[text](address "title")`."""
DEFINITION: Final = re.compile(r"\[[^\[\]\n]{1,999}+\]:\s{0,9}<?([^\s<>]{1,2000}+)>?")
"""`[text]: address`, which other links and images name."""
TAG: Final = re.compile(r"""<([A-Za-z][A-Za-z0-9:]{0,30})((?:[^<>"']++|"[^"]{0,1000}+"|'[^']{0,1000}+'|["'])*+)>?""")
ADDRESSED: Final = (":", "//", "\\\\", "&")
"""One of these is in each address, or begins what a browser reads as one."""
BRACKET: Final = re.compile(r"[\[\]]")
TAIL: Final = re.compile(r"""[?#][^\s"'<>]*""")
SHOWING: Final = words(
    "audio body embed feimage frame iframe image img input object picture source svg track use video"
)
"""Elements that fetch without a click."""


def look(view: View, leaf: Leaf, occurring: frozenset[str]) -> Iterator[Hit]:
    if not any(sign in view.text for sign in ADDRESSED):
        return
    if not SHOWN_VIEWS.issuperset(view.name.split(">")):
        return
    text = view.text
    carried = (*_documents(text), *_letters(view, leaf))
    for way in (*_inline(text), *_definitions(text), *_tags(text), *carried, *_bare(view, leaf)):
        yield Hit(way.rule, VERSION, "link", Severity.MEDIUM, 1.0, way.start, way.end, " ".join(way.keys))


def _inline(text: str) -> Iterator[Way]:
    openings: dict[int, int] | None = None
    for match in _bounded(INLINE, text):
        targets = link_targets.of_address(match[1] or match[2] or "")
        if not targets:
            continue
        openings = _openings(text) if openings is None else openings
        start = openings.get(match.start(), -1)
        if start > 0 and text[start - 1] == "!":
            yield from _ways("image", start - 1, match.end(), targets)
        else:
            if start >= 0:
                yield from _ways("link_text", start, start + 1, targets)
            yield from _ways("link", match.start(), match.end(), targets)


def _openings(text: str) -> dict[int, int]:
    """Where the bracket opens that closes there, for all of which it is not too far off."""
    opened: list[int] = []
    found: dict[int, int] = {}
    for bracket in BRACKET.finditer(text):
        end = bracket.start()
        if text[end] == "[":
            opened.append(end)
        elif opened and end - (start := opened.pop()) < LONGEST_LABEL:
            found[end] = start
    return found


def _definitions(text: str) -> Iterator[Way]:
    for match in _bounded(DEFINITION, text):
        yield from _ways("link", match.start(), match.end(), link_targets.of_address(match[1]))


def _tags(text: str) -> Iterator[Way]:
    for match in _bounded(TAG, text):
        rule = "image" if match[1].lower() in SHOWING else "link"
        yield from _ways(rule, match.start(), match.end(), link_targets.of_element(match[0]))


def _bare(view: View, leaf: Leaf) -> Iterator[Way]:
    """Only with something in tow, and not where it is a value of its own, which nobody shows as text."""
    text, done = view.text, 0
    for way in written(view.encoded):
        if way.rule != "to_url" or way.start < done or (tail := TAIL.match(text, way.end)) is None:
            continue
        done = tail.end()
        if leaf.name == "text" or tail.end() - way.start < len(text.strip()):
            yield way._replace(rule="link", end=tail.end())


def _letters(view: View, leaf: Leaf) -> Iterator[Way]:
    for letter in link_targets.letters(view.text):
        if leaf.name == "text" or letter.end - letter.start < len(view.text.strip()):
            yield from _ways("link", letter.start, letter.end, letter.targets)


def _documents(text: str) -> Iterator[Way]:
    for document in link_targets.documents(text):
        yield from _ways("image", document.start, document.end, document.targets)


def _ways(rule: str, start: int, end: int, targets: link_targets.Targets) -> Iterator[Way]:
    for keys in targets:
        yield Way(rule, start, end, keys)


def _bounded(pattern: re.Pattern[str], text: str) -> Iterator[re.Match[str]]:
    for number, match in enumerate(pattern.finditer(text)):
        if number >= MOST:
            raise TooManyMatches("link")
        yield match


SIGNALS: Final = (
    Signal("link.inline", r"\]\("),
    Signal("link.definition", r"\]:"),
    Signal("link.tag", r"<[A-Za-z]"),
    Signal("link.letter", "mailto:", caseless=True),
    Signal("link.document", "data:(?:image/svg|text/|application/x)", caseless=True),
    URL,
)
"""How each of them begins."""
LINKS: Final = Detector(frozenset(("link",)), SIGNALS, look)
