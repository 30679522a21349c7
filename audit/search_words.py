"""From texts to the words they are found by, and from a word to its keyed fingerprint: pure, and bounded.

A fingerprint is of one day and one key, so the same word looks different each day: who has the table and no key learns
neither words nor how often one occurs, and a search for a stretch of time touches that stretch alone.
"""

import hmac
import re
import unicodedata
from collections.abc import Iterable, Iterator
from datetime import date
from typing import Any, Final

import orjson

MOST_BYTES: Final = 64 * 1024
"""Of one body; what lies behind is not found by its words."""
MOST_WORDS: Final = 256
"""Different ones, of one call."""
SHORTEST, LONGEST = 2, 64
"""Letters. What is longer is hardly a word: an image, a signature."""
MOST_ASKED: Final = 8

_WORD: Final = re.compile(r"[^\W_]+")
_FACTS: Final = "fact"
_TEXT: Final = "word"


def words_in(text: str) -> Iterator[str]:
    """In order, as often as they occur: case and the form of letters do not matter, and whatever is neither letter nor
    digit only divides."""
    for found in _WORD.finditer(unicodedata.normalize("NFKC", text).casefold()):
        if SHORTEST <= len(found[0]) <= LONGEST:
            yield found[0]


def words_of(bodies: Iterable[bytes]) -> list[str]:
    """Different words of the values in JSON bodies, up to a bound. What is no JSON has none."""
    words: dict[str, None] = {}
    for body in bodies:
        for text in _texts(body):
            for word in words_in(text):
                words[word] = None
                if len(words) == MOST_WORDS:
                    return list(words)
    return list(words)


def word_term(word: str) -> str:
    return f"{_TEXT}\0{word}"


def fact_term(name: str, value: str) -> str:
    """What is recorded in the clear, such as a label, beside words: both can be asked for at once."""
    return f"{_FACTS}\0{name}\0{value}"


def fingerprint(key: bytes, day: date, term: str) -> int:
    digest = hmac.digest(key, f"{day.isoformat()}\0{term}".encode("utf-8", "surrogatepass"), "sha256")
    return int.from_bytes(digest[:8], "big", signed=True)


def _texts(body: bytes) -> Iterator[str]:
    """Values, not the names of members: those stand in every call of a tool."""
    left = MOST_BYTES
    stack: list[Any] = [_parsed(body)]
    while stack and left > 0:
        value = stack.pop()
        match value:
            case dict():
                stack.extend(reversed(value.values()))
            case list():
                stack.extend(reversed(value))
            case str():
                yield value[:left]
                left -= len(value)
            case int() | float() if not isinstance(value, bool):
                yield str(value)
                left -= 8


def _parsed(body: bytes) -> Any:
    try:
        return orjson.loads(body)
    except ValueError:
        return None
