"""Whom an address leads to that a client follows or fetches: a host, all who would get a letter, or whatever a document
that stands in the address would fetch. Bounded in size and depth. Pure.
"""

import base64
import html
import re
from collections.abc import Iterable, Iterator
from functools import lru_cache
from itertools import islice
from typing import Final, NamedTuple
from urllib.parse import unquote

from governance.inspection.destinations import written
from governance.inspection.signals import Encoded, TooManyMatches

Keys = tuple[str, ...]
"""By which one place is known, the narrowest first."""
Targets = tuple[Keys, ...]

LETTER: Final = re.compile(r"""mailto:([^\s"'<>?]{0,250}+)\?([^\s"'<>]{1,2000}+)""", re.IGNORECASE)
"""With something in tow: a text, a subject, who else gets it."""
WHOM: Final = frozenset(("to", "cc", "bcc"))
DOCUMENT: Final = re.compile(
    r"data:(?:image/svg|text/(?:html|xml|css)|application/(?:xhtml|xml))([^\s\"'<>,]{0,200}+),", re.IGNORECASE
)
"""The beginning of one that may fetch on its own."""
ENDS: Final = {'"': re.compile('"'), "'": re.compile("'")}
"""Of what stands in quotation marks."""
BLANK: Final = re.compile(r"[\s\"<>]")
LONGEST: Final = 81_920
"""Characters of a document. So many of a text are looked at together, at least."""
MOST_LETTERS: Final = 1_000
MOST_RECIPIENTS: Final = 100
MOST_DOCUMENTS: Final = 200
MAX_DEPTH: Final = 2
"""Documents in documents."""
NAMESPACE: Final = re.compile(r"""\bxmlns(?::[\w-]{1,40})?\s{0,9}=\s{0,9}(?:"[^"]{0,300}"|'[^']{0,300}')""")
GRAMMARS: Final = "site:w3.org"
"""Named by documents, and fetched by nobody."""
TOLD: Final = re.compile(r"""[?#][^\s"'<>)]*""")
NOT_BASE64: Final = re.compile(r"[^A-Za-z0-9+/]")
URL_SAFE: Final = str.maketrans("-_", "+/")
ESCAPED: Final = re.compile(r"\\([!-/:-@\[-`{-~])")
BLANKS: Final = str.maketrans("", "", "\t\r\n")
KEPT: Final = 4_096
"""Characters of an address or element that is remembered: texts link to one place again and again."""


class Standing(NamedTuple):
    """Where something stands that leads somewhere."""

    start: int
    end: int
    targets: Targets


def of_address(said: str) -> Targets:
    """Of what stands between the brackets of a link. Raises TooManyMatches."""
    return _of_address(said) if len(said) <= KEPT else _of_address.__wrapped__(said)


def of_element(tag: str) -> Targets:
    """Of an HTML element, in whichever of its attributes. Raises TooManyMatches."""
    return _of_element(tag) if len(tag) <= KEPT else _of_element.__wrapped__(tag)


def letters(text: str) -> Iterator[Standing]:
    """Raises TooManyMatches."""
    for number, letter in enumerate(LETTER.finditer(text)):
        if number >= MOST_LETTERS:
            raise TooManyMatches("link")
        end = letter.start() + len(letter[0].rstrip(").,;:!]"))
        yield Standing(letter.start(), end, _recipients(letter))


def documents(text: str, depth: int = 1) -> Iterator[Standing]:
    """Raises TooManyMatches, also where one is too long or too deep to be read through."""
    done = 0
    for number, opening in enumerate(DOCUMENT.finditer(text)):
        if (start := opening.start()) < done:
            continue
        before = text[start - 1 : start]
        ending = ENDS.get(before, BLANK).search(text, opening.end())
        done = ending.start() if ending else len(text)
        is_cut = done == len(text) >= LONGEST
        if done - start > LONGEST or is_cut or depth > MAX_DEPTH or number >= MOST_DOCUMENTS:
            raise TooManyMatches("link")
        done -= before == "(" and text[done - 1] == ")"
        inner = _decoded(opening[1], text[opening.end() : done])
        yield Standing(start, done, _all_in(inner, depth))


@lru_cache(2_048)
def _of_address(said: str) -> Targets:
    plain = html.unescape(ESCAPED.sub(r"\1", said)).translate(BLANKS)
    for reading in dict.fromkeys((plain, said)):
        if (letter := LETTER.match(reading)) is not None:
            return _recipients(letter)
        if DOCUMENT.match(reading) is not None:
            return _each(targets for _, _, targets in documents(reading))
        for way in written(Encoded(reading)):
            if way.rule == "to_url" and way.start == 0:
                return (way.keys,)
    return ()


@lru_cache(2_048)
def _of_element(tag: str) -> Targets:
    said = NAMESPACE.sub("", html.unescape(tag.strip("<>")).translate(BLANKS))
    inner = (targets for _, _, targets in (*letters(said), *documents(said)))
    return _each((_hosts(said), *inner))


def _hosts(said: str) -> Iterator[Keys]:
    """Those that it leads to, and not what it tells them of others."""
    done = 0
    for way in written(Encoded(said)):
        if way.rule == "to_url" and way.start >= done:
            tail = TOLD.match(said, way.end)
            done = tail.end() if tail is not None else way.end
            yield way.keys


def _recipients(letter: re.Match[str]) -> Targets:
    """All of them: that one is known says nothing of the others."""
    whom = [letter[1]]
    for part in html.unescape(letter[2]).split("&"):
        name, _, value = part.partition("=")
        if unquote(name).lower() in WHOM:
            whom.append(value)
    encoded = Encoded(" ".join(map(unquote, whom)))
    found = [way.keys for way in islice(written(encoded), MOST_RECIPIENTS + 1) if way.rule == "to_email"]
    if len(found) > MOST_RECIPIENTS:
        raise TooManyMatches("link")
    return _each([found])


def _decoded(how: str, code: str) -> str:
    plain = unquote(code)
    if not how.lower().rstrip().endswith("base64"):
        return plain
    bare = NOT_BASE64.sub("", plain.translate(URL_SAFE))
    bare = bare[: len(bare) - (len(bare) % 4 == 1)]
    return base64.b64decode(bare + "=" * (-len(bare) % 4)).replace(b"\0", b"").decode(errors="replace")


def _all_in(document: str, depth: int) -> Targets:
    plain = NAMESPACE.sub("", html.unescape(document))
    hosts = (way.keys for way in written(Encoded(plain)) if way.rule == "to_url" and way.keys != (GRAMMARS,))
    return _each((hosts, *(targets for _, _, targets in documents(plain, depth + 1))))


def _each(found: Iterable[Iterable[Keys]]) -> Targets:
    return tuple(dict.fromkeys(keys for targets in found for keys in targets))
