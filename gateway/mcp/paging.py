"""Pages of a long list, with cursors that only we can make and only their agent can use.

A cursor is sealed and bound to agent, endpoint and method; it holds how far the agent got in a list of which names.
"""

from collections.abc import Iterable, Sequence
from hashlib import blake2b
from typing import Any

from gateway.sealing import NotOurs, seal_text, unseal_text

PAGE_ITEMS = 1000
"""Many clients never ask for a second page, so the first is large; few agents reach more than this."""
PURPOSE = "cursor"
CURSOR_LIMIT = 256
FINGERPRINT_BYTES = 16


class BadCursor(Exception):
    """Not issued here, not for this list, or for what has since changed."""


def page(names: Sequence[str], cursor: Any, *, bound_to: str) -> tuple[Sequence[str], str | None]:
    """The names after the cursor (None: the first ones) and the next cursor, if there are more. Raises BadCursor."""
    fingerprint = _fingerprint(names)
    start = 0 if cursor is None else _start(cursor, bound_to, fingerprint)
    end = start + PAGE_ITEMS
    if end >= len(names):
        return names[start:], None
    return names[start:end], seal_text(PURPOSE, fingerprint + str(end).encode(), bound_to=bound_to)


def _start(cursor: Any, bound_to: str, fingerprint: bytes) -> int:
    if not isinstance(cursor, str) or len(cursor) > CURSOR_LIMIT:
        raise BadCursor
    try:
        opened = unseal_text(PURPOSE, cursor, bound_to=bound_to)
    except NotOurs:
        raise BadCursor from None
    if opened[:FINGERPRINT_BYTES] != fingerprint:
        raise BadCursor
    return int(opened[FINGERPRINT_BYTES:])


def _fingerprint(names: Iterable[str]) -> bytes:
    return blake2b("\0".join(names).encode(), digest_size=FINGERPRINT_BYTES).digest()
