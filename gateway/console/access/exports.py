"""Matrices as files: streamed, bounded, and harmless in a spreadsheet."""

import csv
import json
from collections.abc import AsyncIterator, Iterable, Iterator
from itertools import islice

from asgiref.sync import sync_to_async
from django.core.handlers.asgi import ASGIRequest
from django.http import HttpRequest, StreamingHttpResponse

from gateway.console.access.matrix import Row
from gateway.console.access.verdicts import Verdict
from gateway.console.exports import Line as Echo
from gateway.console.exports import harmless
from gateway.console.hostile_text import visible
from governance.snapshot import Tool

MOST_LINES = 200_000
ROWS_AT_ONCE = 100
COLUMNS = ("who", "note", "connector", "tool", "risk", "writes", "verdict", "through")
CUT = f"cut here: more than {MOST_LINES:,} lines; narrow it by connector, bundle or team"
TYPES = {"csv": "text/csv; charset=utf-8", "json": "application/json"}

Line = tuple[str, ...]


def export(
    request: HttpRequest, rows: Iterator[Row], tools: list[Tool], *, name: str, kind: str
) -> StreamingHttpResponse:
    """One line for each cell that is not plainly empty. `kind` is csv or json."""
    parts = (_csv if kind == "csv" else _json)(_bounded(_lines(rows, tools)))
    stream = _in_threads(parts) if isinstance(request, ASGIRequest) else parts
    response = StreamingHttpResponse(stream, content_type=TYPES[kind])
    response["Content-Disposition"] = f'attachment; filename="gatehouse-{name}.{kind}"'
    return response


async def _in_threads(parts: Iterator[str]) -> AsyncIterator[str]:
    """The event loop goes on with other people's pages while the next part is worked out."""
    next_parts = sync_to_async(lambda: "".join(islice(parts, ROWS_AT_ONCE)), thread_sensitive=False)
    while part := await next_parts():
        yield part


def _lines(rows: Iterable[Row], tools: list[Tool]) -> Iterator[Line]:
    for row in rows:
        for tool, cell in zip(tools, row.cells, strict=True):
            if cell.verdict is not Verdict.NO:
                writes = "no" if tool.variables["read_only"] else "yes"
                facts = (tool.connector.name, tool.name, str(tool.variables["risk"]), writes)
                yield row.name, row.note, *facts, cell.verdict.words, cell.through


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
