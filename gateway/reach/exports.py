"""Matrices as files: streamed, bounded, and harmless in a spreadsheet."""

import csv
import json
from collections.abc import Iterable, Iterator
from itertools import islice

from django.http import HttpRequest, StreamingHttpResponse

from gateway.hostile_text import visible
from gateway.reach.details import COLUMNS as DETAILS
from gateway.reach.matrix import Row
from gateway.reach.verdicts import Verdict
from gateway.streams import Echo, harmless, streamed
from governance.snapshot import Tool

MOST_LINES = 200_000
COLUMNS = ("who", "note", "connector", "tool", "risk", "writes", "verdict", "through", *DETAILS)
CUT = f"cut here: more than {MOST_LINES:,} lines; narrow it by connector, bundle or team"

Line = tuple[str, ...]


def export(
    request: HttpRequest, rows: Iterator[Row], tools: list[Tool], *, name: str, kind: str
) -> StreamingHttpResponse:
    """One line for each cell that is not plainly empty. `kind` is csv or json."""
    parts = (_csv if kind == "csv" else _json)(_bounded(_lines(rows, tools)))
    return streamed(request, parts, filename=f"gatehouse-{name}.{kind}")


def _lines(rows: Iterable[Row], tools: list[Tool]) -> Iterator[Line]:
    for row in rows:
        for tool, cell in zip(tools, row.cells, strict=True):
            if cell.verdict is not Verdict.NO:
                writes = "no" if tool.variables["read_only"] else "yes"
                facts = (tool.connector.name, tool.name, str(tool.variables["risk"]), writes)
                yield row.name, row.note, *facts, cell.verdict.words, cell.through, *cell.detail.columns


def _bounded(lines: Iterator[Line]) -> Iterator[Line]:
    """Says so at its end when there was more."""
    yield from islice(lines, MOST_LINES)
    if next(lines, None) is not None:
        yield CUT, *("" for _ in COLUMNS[1:])


def _csv(lines: Iterator[Line]) -> Iterator[str]:
    writer = csv.writer(Echo())
    yield writer.writerow(COLUMNS)
    for line in lines:
        yield writer.writerow([harmless(visible(text)) for text in line])


def _json(lines: Iterator[Line]) -> Iterator[str]:
    separator = "[\n"
    for line in lines:
        yield separator + json.dumps(dict(zip(COLUMNS, map(visible, line), strict=True)))
        separator = ",\n"
    yield "]\n" if separator == ",\n" else "[]\n"
