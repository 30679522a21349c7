"""The sentences that a passage is in: half an order is an order, too. Pure."""

import re
from typing import Final

REACH: Final = 300
"""Characters before and after a passage in which its sentences begin and end."""
BEFORE: Final = re.compile(r"[.!?。！？]\s+|[\r\n]+")
END: Final = re.compile(r"[.!?。！？](?=\s|$)|(?=[\r\n])")


def sentences(text: str, start: int, end: int) -> tuple[int, int]:
    """From where the first begins, if that is in reach, to where the last ends."""
    first = max(0, start - REACH)
    unknown = start if first else 0
    last = min(len(text), end + REACH)
    ending = END.search(text, max(start, end - 1), last)
    return max((each.end() for each in BEFORE.finditer(text, first, start)), default=unknown), (
        max(end, ending.end()) if ending else last
    )
