"""Refuses JSON nested so deeply that the next reader of it would break."""

import re

MAX_DEPTH = 64

_STRING = re.compile(rb'"(?:[^"\\]++|\\.)*+"', re.DOTALL)
_NOT_BRACKETS = bytes(set(range(256)) - set(b"[]{}"))
_AS_SQUARE = bytes.maketrans(b"{}", b"[]")


def is_too_deep(document: bytes, *, max_depth: int = MAX_DEPTH) -> bool:
    """Whether a **valid** JSON document nests deeper than `max_depth`.

    Without recursion and mostly in C: strings are cut out, only brackets stay, and each pass removes the
    innermost pairs, so that the number of passes is the depth.
    """
    if document.count(b"[") + document.count(b"{") <= max_depth:
        return False
    brackets = _STRING.sub(b"", document).translate(_AS_SQUARE, _NOT_BRACKETS)
    for _ in range(max_depth):
        brackets = brackets.replace(b"[]", b"")
    return bool(brackets)
