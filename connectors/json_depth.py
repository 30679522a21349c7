"""Refuses JSON nested so deeply that the next reader of it would break."""

from typing import Any, Final

MAX_DEPTH: Final = 64
SHORT: Final = 1024
"""Bytes up to which counting brackets is quicker than looking at the values."""


def is_too_deep(document: bytes, value: Any, *, max_depth: int = MAX_DEPTH) -> bool:
    """Whether a document, of which `orjson.loads` made this value, nests deeper than `max_depth`.

    Level by level, so without recursion. What long texts hold costs nothing, brackets in them least of all.
    """
    if len(document) <= SHORT and document.count(b"[") + document.count(b"{") <= max_depth:
        return False
    level = [value] if type(value) in (dict, list) else []
    for _ in range(max_depth):
        below = []
        for node in level:
            for child in node.values() if type(node) is dict else node:
                if type(child) is dict or type(child) is list:
                    below.append(child)
        level = below
        if not level:
            return False
    return bool(level)
