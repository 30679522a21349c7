"""Rows as a table: medians over the rounds, ratios to nginx and to no gateway at all."""

from collections.abc import Iterable, Sequence
from statistics import median

from bench.load import Cell, Row

HEAD = (
    *("target", "calls/s", "/nginx", "/direct", "p50 ms", "p99 ms", "CPU ms/call", "DB CPU ms/call"),
    *("memory MiB", "cold start s", "errors", "foreign CPU"),
)
NOISY_SHARE = 0.10


def report(rows: Sequence[Row]) -> str:
    cells = dict.fromkeys(Cell(row.payload, row.in_flight) for row in rows)
    parts = [
        _table(cell, [row for row in rows if (row.payload, row.in_flight) == (cell.payload, cell.in_flight)])
        for cell in cells
    ]
    if any(row.foreign_share > NOISY_SHARE for row in rows):
        parts.append("Others used this machine meanwhile: trust CPU ms/call more than calls/s and latencies.")
    return "\n\n".join([*parts, *_first_errors(rows)])


def _table(cell: Cell, rows: Sequence[Row]) -> str:
    names = list(dict.fromkeys(row.target for row in rows))
    lines = [HEAD, *(_line([row for row in rows if row.target == name], rows) for name in names)]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    text = "\n".join("  ".join(_aligned(line, widths)) for line in lines)
    return f"{cell.payload} payload, {cell.in_flight} in flight\n{text}"


def _aligned(line: Sequence[str], widths: Sequence[int]) -> Iterable[str]:
    name, *numbers = line
    return name.ljust(widths[0]), *(word.rjust(width) for word, width in zip(numbers, widths[1:], strict=True))


def _line(rows: Sequence[Row], all_rows: Sequence[Row]) -> tuple[str, ...]:
    speed = median(row.calls_per_second for row in rows)
    return (
        rows[0].target,
        f"{speed:,.0f}",
        _ratio(speed, "nginx", all_rows),
        _ratio(speed, "direct", all_rows),
        _median("p50_ms", rows, ".2f"),
        _median("p99_ms", rows, ".2f"),
        _median("cpu_ms", rows, ".3f"),
        _median("server_cpu_ms", rows, ".3f"),
        _median("memory_mib", rows, ".0f"),
        _median("cold_start_seconds", rows, ".2f"),
        str(sum(row.errors for row in rows)),
        _median("foreign_share", rows, ".0%"),
    )


def _ratio(speed: float, target: str, rows: Sequence[Row]) -> str:
    others = [row.calls_per_second for row in rows if row.target == target]
    return f"{speed / median(others):.3f}" if others and median(others) else "-"


def _median(name: str, rows: Sequence[Row], style: str) -> str:
    values = [value for row in rows if (value := getattr(row, name)) is not None]
    return format(median(values), style) if values else "-"


def _first_errors(rows: Sequence[Row]) -> list[str]:
    return [f"{row.target}, {row.payload}, {row.in_flight} in flight: {row.first_error}" for row in rows if row.errors]
