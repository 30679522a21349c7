"""The strings of a JSON value with their paths: every leaf, every key, numbers as they are written."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

from governance.inspection.findings import Budget

MAX_TOKEN: Final = 64
"""Characters of a key in a path that is told."""


class TooMuch(Exception):
    """More leaves or more depth than the budget allows."""


@dataclass(frozen=True, slots=True)
class Leaf:
    """`path` is a JSON pointer (RFC 6901); `name` the key it stands under, that of the list if it stands in one."""

    path: str
    name: str
    text: str
    is_key: bool = False


def leaves(value: Any, budget: Budget, *, path: str = "", name: str = "") -> Iterator[Leaf]:
    """In order of appearance. Raises TooMuch where the budget ends; what came before has been yielded."""
    pending: list[tuple[Any, str, str, int, bool]] = [(value, path, name, 0, False)]
    seen = 0
    while pending:
        value, path, name, depth, is_key = pending.pop()
        if depth > budget.depth or seen >= budget.leaves:
            raise TooMuch(path)
        if isinstance(value, dict):
            pending.extend(reversed(list(_members(value, path, depth + 1))))
        elif isinstance(value, list | tuple):
            inside = [(each, f"{path}/{number}", name, depth + 1, False) for number, each in enumerate(value)]
            pending.extend(reversed(inside))
        elif (text := text_of(value)) is not None:
            seen += 1
            yield Leaf(path, name, text, is_key)


def _members(members: dict[str, Any], path: str, depth: int) -> Iterator[tuple[Any, str, str, int, bool]]:
    for key, member in members.items():
        below = f"{path}/{token_of(key)}"
        yield key, below, "", depth, True
        yield member, below, key[:MAX_TOKEN], depth, False


def text_of(value: Any) -> str | None:
    """Of a leaf. Numbers may be cards and codes; true, false and null say nothing."""
    if isinstance(value, str):
        return value or None
    return None if value is None or isinstance(value, bool) else str(value)


def token_of(key: str) -> str:
    """Of a path."""
    return key[:MAX_TOKEN].replace("~", "~0").replace("/", "~1")
