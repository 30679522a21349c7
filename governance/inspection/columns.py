"""The cells of a table in a text whose header names what we look for."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from governance.inspection.signals import Signal
from governance.inspection.views import View

MAX_COLUMNS: Final = 64
MAX_ROWS: Final = 5_000
MAX_HEADER: Final = 2_000
NAME: Final = re.compile(r"[\w.\-/#]{0,40}(?: [\w.\-/#()]{1,40}){0,3}")
QUOTES: Final = "\"'`*"


@dataclass(frozen=True, slots=True)
class Cell:
    """One cell below the header cell `name`, without quotes and spaces around it."""

    name: str
    text: str
    start: int

    @property
    def end(self) -> int:
        return self.start + len(self.text)


def cells(view: View, signal: Signal) -> Iterator[Cell]:
    """All below a line in which the signal occurs, if commas, tabs, bars or semicolons divide its lines."""
    text = view.text
    done = 0
    for match in signal.find(view.encoded):
        if match.start < done:
            continue
        start = text.rfind("\n", 0, match.start + 1) + 1
        done = _line_end(text, max(start, match.start))
        divider, names = _header(text[start:done]) if done - start <= MAX_HEADER else ("", [])
        for _ in range(MAX_ROWS if names else 0):
            end = _line_end(text, done)
            if divider not in text[done:end]:
                break
            yield from _row(names, text[done:end], divider, done)
            done = end


def _line_end(text: str, start: int) -> int:
    return text.find("\n", start) + 1 or len(text)


def _header(line: str) -> tuple[str, list[str]]:
    if any(each.isdigit() for each in line):
        return "", []
    divider = max(",\t|;", key=line.count)
    names = [name.strip().strip(QUOTES) for name in line.split(divider)]
    if not 2 <= len(names) <= MAX_COLUMNS or not all(NAME.fullmatch(name) for name in names):
        return "", []
    return divider, names


def _row(names: list[str], line: str, divider: str, offset: int) -> Iterator[Cell]:
    start = offset
    row = line.split(divider)
    for name, cell in zip(names, row, strict=True) if len(row) == len(names) else ():
        bare = cell.strip().strip(QUOTES)
        if bare and name:
            yield Cell(name, bare, start + cell.index(bare))
        start += len(cell) + len(divider)
