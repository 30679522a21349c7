"""The arguments of a held call as a table, beside those of the last approved call of the tool. Pure."""

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import orjson

from gateway.hostile_text import visible

MOST_ROWS = 200
FOLDED_FROM = 240
"""Characters; what is longer is folded, with its beginning in sight."""
LONGEST_SHOWN = 20_000
LONGEST_PATH = 120

PLAIN_STEP = re.compile(r"[^.\[\]\"\s]+")

Mask = Callable[[Any], Any]
"""A copy without any value of the vault."""
Path = tuple[str | int, ...]
"""Names and positions. Never one text: agents choose names, and could hide one argument behind another."""


@dataclass(frozen=True, slots=True)
class Value:
    """`text` can be shown as it is; of a string `is_text`, all else is JSON. `count` is its length if it was cut."""

    text: str
    is_text: bool
    count: int = 0

    @property
    def is_long(self) -> bool:
        return len(self.text) > FOLDED_FROM or self.text.count("\n") > 4

    @property
    def beginning(self) -> str:
        return self.text[:FOLDED_FROM].split("\n\n")[0]


@dataclass(frozen=True, slots=True)
class Row:
    """`mark` is same, changed, new or gone against the last approved call; empty without one."""

    path: str
    now: Value | None
    before: Value | None
    mark: str

    @property
    def told(self) -> str:
        return {"changed": "different", "new": "not there last time", "gone": "left out this time"}.get(self.mark, "")


@dataclass(frozen=True, slots=True)
class Table:
    rows: tuple[Row, ...]
    left_out: int

    @property
    def changes(self) -> int:
        return sum(row.mark not in ("", "same") for row in self.rows)

    @property
    def has_before(self) -> bool:
        return any(row.mark for row in self.rows)


def table_of(arguments: Mapping[str, Any], before: Mapping[str, Any] | None, *, mask: Mask) -> Table:
    """Compared as they are, shown masked: two different secrets are a difference, and neither is shown."""
    now, then = dict(leaves(arguments)), dict(leaves(before)) if before is not None else {}
    paths = [*now, *(path for path in then if path not in now)]
    rows = (_row(path, now, then, has_before=before is not None, mask=mask) for path in paths[:MOST_ROWS])
    return Table(tuple(rows), max(len(paths) - MOST_ROWS, 0))


def leaves(value: Any, path: Path = ()) -> Iterator[tuple[Path, Any]]:
    """Every member that holds no other, by its path: `lines[0].article`."""
    if isinstance(value, Mapping) and (value or not path):
        for name, member in value.items():
            yield from leaves(member, (*path, str(name)))
    elif isinstance(value, list) and value:
        for position, member in enumerate(value):
            yield from leaves(member, (*path, position))
    else:
        yield path, value


def _row(path: Path, now: dict[Path, Any], then: dict[Path, Any], *, has_before: bool, mask: Mask) -> Row:
    mark = _mark(path, now, then) if has_before else ""
    shown = _value(mask(now[path])) if path in now else None
    before = _value(mask(then[path])) if path in then and mark != "same" else None
    return Row(_shown_path(path, mask), shown, before, mark)


def _shown_path(path: Path, mask: Mask) -> str:
    """A name that could be read as several steps is quoted, so that no two paths look the same."""
    steps = "".join(
        f"[{step}]" if isinstance(step, int) else f".{step}" if PLAIN_STEP.fullmatch(step) else f"[{_quoted(step)}]"
        for step in path
    )
    shown = visible(str(mask(steps.removeprefix("."))))
    return shown if len(shown) <= LONGEST_PATH else f"{shown[:LONGEST_PATH]}…"


def _quoted(step: str) -> str:
    return orjson.dumps(step).decode()


def _mark(path: Path, now: dict[Path, Any], then: dict[Path, Any]) -> str:
    if path not in then:
        return "new"
    if path not in now:
        return "gone"
    return "same" if orjson.dumps(now[path]) == orjson.dumps(then[path]) else "changed"


def _value(value: Any) -> Value:
    is_text = isinstance(value, str)
    text = value if is_text else orjson.dumps(value).decode()
    cut = len(text) > LONGEST_SHOWN
    return Value(visible(text[:LONGEST_SHOWN]), is_text, len(text) if cut else 0)
