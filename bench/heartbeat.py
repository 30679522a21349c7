"""`python -m bench.heartbeat`: how long the event loop stands still while a large result is screened.

The pipeline alone, over the fakes of the tests, with all rules of the ready policy `baseline` that look at results.
Measured is the processor time of the loop's own thread between two turns of a task that only sleeps for a millisecond,
and what passes by the clock, to which a busy machine adds.
"""

import asyncio
import os
import time
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import django
import orjson

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings_test")
django.setup()

from connectors.base import RawResult  # noqa: E402
from gateway.pipeline import run  # noqa: E402
from tests import factories as make  # noqa: E402
from tests.fakes import FakePorts  # noqa: E402
from tests.gateway.test_content_rules import rule  # noqa: E402
from tests.gateway.test_pipeline import frame, world  # noqa: E402

TOKEN = "ghp_" + "16C7e42F292c6912E7710c838347Ae178B4a"
PROSE = "The meeting went on for a while, and nobody had anything to add to it. "
MEGABYTE = 1_000_000
ROUNDS = 5


class Gap(NamedTuple):
    wall_ms: float
    loop_ms: float


def results() -> Iterator[tuple[str, dict[str, Any]]]:
    yield "prose in one part", _of([PROSE * (MEGABYTE // len(PROSE))])
    yield "prose in 250 parts", _of([PROSE * 56] * 250)
    rows = [{"id": number, "name": "Ana Lima", "note": "nothing to add"} for number in range(18_000)]
    yield "a table", {"content": [], "structuredContent": {"rows": rows}}
    rows = [{"id": number, "key": f"{TOKEN[:-4]}{number:04}", "note": "n" * 30} for number in range(4_000)]
    yield "a table with 4,000 secrets (315 KB)", {"content": [], "structuredContent": {"rows": rows}}
    links = " ".join(f"https://host{number}.example/page " for number in range(10_000))
    yield "10,000 links (350 KB)", _of([links])


def _of(texts: list[str]) -> dict[str, Any]:
    return {"content": [{"type": "text", "text": text} for text in texts]}


async def widest(result: dict[str, Any]) -> Gap:
    rules = (
        rule("mask", "secret", "payment_card", on="result"),
        rule("flag", "injection", "suspected_injection", on="result", position=2),
        rule("mask", "untrusted_link", on="result", position=3),
    )
    ports = FakePorts(world(*rules))
    raw = RawResult(result, None, 1.0, len(orjson.dumps(result)))
    ports.upstream = lambda _: raw
    gaps: list[Gap] = []
    beating = asyncio.create_task(_beat(gaps.append))
    await asyncio.sleep(0.01)
    await run(frame(), ports)
    await asyncio.sleep(0.01)
    beating.cancel()
    return max(gaps, key=lambda gap: gap.loop_ms)


async def _beat(note: Callable[[Gap], None]) -> None:
    wall, own = time.perf_counter(), time.thread_time()
    while True:
        await asyncio.sleep(0.001)
        now, used = time.perf_counter(), time.thread_time()
        note(Gap((now - wall) * 1000 - 1, (used - own) * 1000))
        wall, own = now, used


def main() -> None:
    asyncio.run(widest(_of([make.KEY])))
    for name, result in results():
        gaps = [asyncio.run(widest(result)) for _ in range(ROUNDS)]
        own = sorted(gap.loop_ms for gap in gaps)
        wall = sorted(gap.wall_ms for gap in gaps)
        middle = ROUNDS // 2
        print(f"{name}: {own[middle]:.1f} ms of the loop at once (most {own[-1]:.1f}), {wall[middle]:.1f} by the clock")


if __name__ == "__main__":
    main()
