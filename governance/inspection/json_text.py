"""Changing scalars of a text that is JSON, and nothing else of it: what comes out parses. Pure."""

import re
from collections.abc import Callable
from typing import Final, NamedTuple

import orjson

_SCALAR: Final = re.compile(r'"([^"\\]*(?:\\.[^"\\]*)*)"|-?[0-9]+(?:\.[0-9]+)?(?:[eE][-+]?[0-9]+)?')
_ESCAPE: Final = re.compile(r"\\u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}|\\u[0-9a-fA-F]{4}|\\.")


def is_json_text(text: str) -> bool:
    """Of an object or a list: a lone string or number is read by nobody as JSON."""
    if text.lstrip(" \t\r\n")[:1] not in ("{", "["):
        return False
    try:
        orjson.loads(text)
    except ValueError:
        return False
    return True


class Scalar(NamedTuple):
    """A string or number in a text that is JSON. `inner` is a string without its quotes, `start` where that begins."""

    inner: str
    start: int
    is_string: bool


def in_json_text(text: str, change: Callable[[Scalar], str | None]) -> str:
    """`change` gives the JSON that takes a scalar's place, or None."""
    parts, end = [], 0
    for match in _SCALAR.finditer(text):
        is_string = match[1] is not None
        changed = change(Scalar(match[1] if is_string else match[0], match.start() + is_string, is_string))
        if changed is not None:
            parts += [text[end : match.start()], changed]
            end = match.end()
    return "".join((*parts, text[end:]))


def widened(inner: str, start: int, end: int) -> tuple[int, int]:
    """A span of what stands between the quotes of a JSON string that cuts no escape in two."""
    if "\\" not in inner:
        return start, end
    for escape in _ESCAPE.finditer(inner):
        if escape.start() < start < escape.end():
            start = escape.start()
        if escape.start() < end < escape.end():
            end = escape.end()
    return start, end


def decoded(inner: str) -> str:
    """Of a piece of a JSON string that cuts no escape in two."""
    return str(orjson.loads(f'"{inner}"'))


def encoded(text: str) -> str:
    """As it stands between the quotes of a JSON string."""
    return orjson.dumps(text).decode()[1:-1]
