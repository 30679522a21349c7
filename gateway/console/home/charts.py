"""Charts as shapes for inline SVG: no script, no library, and the same on paper.

Across they are in percent and down in pixels, so that they fit any screen while letters and patterns keep their size.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from math import log10

from gateway.console.home.numbers import Hour

HEIGHT = 160
TOP_MARGIN = 14
LABEL_EVERY = 6
GAP = 0.22
"""Of a bar's place, left empty."""
STEPS = (1, 2, 5, 10)


@dataclass(frozen=True, slots=True)
class Segment:
    """One decision's part of a bar. `tone` chooses colour and pattern; both differ, so either is enough."""

    tone: str
    y: float
    height: float


@dataclass(frozen=True, slots=True)
class Bar:
    x: float
    width: float
    label: str
    label_x: float
    hour: Hour
    segments: tuple[Segment, ...]


@dataclass(frozen=True, slots=True)
class Line:
    """A height to read the bars by."""

    y: float
    label: str


@dataclass(frozen=True, slots=True)
class Chart:
    bars: tuple[Bar, ...]
    lines: tuple[Line, ...]
    baseline: int = TOP_MARGIN + HEIGHT
    height: int = TOP_MARGIN + HEIGHT + 22


def calls_by_decision(hours: Sequence[Hour]) -> Chart:
    """Stacked from the bottom: permitted, asked, denied."""
    top = round_up(max((hour.calls for hour in hours), default=0))
    place = 100 / max(1, len(hours))
    bars = tuple(_bar(hour, index, place, top) for index, hour in enumerate(hours))
    lines = tuple(Line(_y(value, top), f"{value:,}") for value in sorted({top // 2, top} - {0}))
    return Chart(bars, lines)


def round_up(most: int) -> int:
    """The next of 1, 2, 5, 10, 20, 50 ..., at least 2."""
    if most <= 2:
        return 2
    power = int(10 ** int(log10(most)))
    return next(step * power for step in STEPS if step * power >= most)


def _bar(hour: Hour, index: int, place: float, top: int) -> Bar:
    segments, below = [], 0
    for tone, calls in (("permit", hour.permitted), ("ask", hour.asked), ("deny", hour.denied)):
        if calls:
            y = _y(below + calls, top)
            segments.append(Segment(tone, y, round(_y(below, top) - y, 2)))
            below += calls
    return Bar(
        x=round((index + GAP / 2) * place, 3),
        width=round(place * (1 - GAP), 3),
        label=f"{hour.start:%H:%M}" if hour.start.hour % LABEL_EVERY == 0 else "",
        label_x=round((index + 0.5) * place, 3),
        hour=hour,
        segments=tuple(segments),
    )


def _y(calls: int, top: int) -> float:
    """A few calls beside many still show: at least a pixel's height."""
    height = HEIGHT * calls / top
    return round(TOP_MARGIN + HEIGHT - (max(1.0, height) if calls else 0), 2)
