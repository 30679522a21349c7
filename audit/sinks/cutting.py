"""Making an event fit where its destination would cut it silently, so that what is left says what is gone."""

from collections.abc import Iterator
from typing import Any, Final

import orjson

CUT: Final = "cut"
"""The member that lists what was left out."""


def cut(body: bytes, *, most_bytes: int) -> bytes:
    """A JSON object loses its largest members and stays one; anything else loses its end. The same body is always cut
    the same way, so that what is sent twice is the same."""
    if len(body) <= most_bytes:
        return body
    try:
        event = orjson.loads(body)
    except orjson.JSONDecodeError:
        return _beginning(body, most_bytes)
    return _without_largest(event, most_bytes) if isinstance(event, dict) else _beginning(body, most_bytes)


def _without_largest(event: dict[str, Any], most_bytes: int) -> bytes:
    """`header.details` goes before `header`, or nothing would be left that tells who and what."""
    sizes = {path: len(orjson.dumps(value)) for path, value in _members(event)}
    gone: list[str] = []
    for path in sorted(sizes, key=lambda path: (-sizes[path], path)):
        _leave_out(event, path)
        gone.append(".".join(path))
        body = orjson.dumps({**event, CUT: gone})
        if len(body) <= most_bytes:
            return body
    return orjson.dumps({CUT: True})


def _members(event: dict[str, Any]) -> Iterator[tuple[tuple[str, ...], Any]]:
    for name, value in event.items():
        if isinstance(value, dict):
            yield from (((name, inner), part) for inner, part in value.items())
        else:
            yield (name,), value


def _leave_out(event: dict[str, Any], path: tuple[str, ...]) -> None:
    for name in path[:-1]:
        event = event[name]
    del event[path[-1]]


def _beginning(body: bytes, most_bytes: int) -> bytes:
    """Ends neither inside a character nor inside an escape of CEF."""
    kept = body[:most_bytes].decode(errors="ignore")
    backslashes = len(kept) - len(kept.rstrip("\\"))
    return kept[: len(kept) - backslashes % 2].encode()
