"""A gateway process that may be killed behind any stage of any request, and whose clock can be set, for the histories.

STRIKE_ONE_IN says how often a stage is its last (0: never); the stage is written down first. SIGUSR1 sets the wall
clock, as Python code sees it, to the next of JUMPS: by seconds from the true time. SIGUSR2 makes it tell in its log
what it holds. FLAW names one of flaws.py.
"""

import asyncio
import gc
import itertools
import json
import os
import random
import signal
import sys
import threading
import time
from datetime import datetime, tzinfo

import config.asgi  # noqa: F401  (loads all that reads a clock)
from gateway import http_server, operation, pipeline
from tests.end_to_end.flaws import FLAWS

ROOMS = ("audit", "connectors", "gateway", "governance")
JUMPS = (3600.0, 0.0, -5.0, 0.0)

_true_time, _true_time_ns, _passed = time.time, time.time_ns, operation.passed


class Clock:
    ahead = 0.0
    jumps = itertools.cycle(JUMPS)

    @classmethod
    def jump(cls, *_: object) -> None:
        cls.ahead = next(cls.jumps)


class _AnyDatetime(type(datetime)):  # type: ignore[misc]  # a metaclass that is computed
    def __instancecheck__(cls, value: object) -> bool:
        return isinstance(value, datetime)


class WrongDatetime(datetime, metaclass=_AnyDatetime):
    @classmethod
    def now(cls, tz: tzinfo | None = None) -> datetime:  # type: ignore[override]
        return datetime.fromtimestamp(time.time(), tz)


def own_the_clock() -> None:
    """Of everything that reads it in our rooms; databases keep theirs, as servers on other machines do."""
    time.time = lambda: _true_time() + Clock.ahead
    time.time_ns = lambda: _true_time_ns() + int(Clock.ahead * 1e9)
    for name, module in list(sys.modules.items()):
        if name.partition(".")[0] in ROOMS and vars(module).get("datetime") is datetime:
            module.datetime = WrongDatetime  # type: ignore[attr-defined]
    signal.signal(signal.SIGUSR1, Clock.jump)


def strike_by_chance(one_in: int) -> None:
    chance = random.Random(os.getpid())

    def passed(stage: operation.Stage) -> float:
        if chance.randrange(one_in) == 0:
            os.write(sys.stdout.fileno(), f"struck behind {stage.name}\n".encode())
            os.kill(os.getpid(), signal.SIGKILL)
        return _passed(stage)

    pipeline.passed = passed


def tell_what_is_held(*_: object) -> None:
    gc.collect()
    blocks = sys.getallocatedblocks()
    tasks = sorted(task.get_coro().__qualname__ for task in asyncio.all_tasks())
    held = {"blocks": blocks, "tasks": tasks, "threads": threading.active_count()}
    os.write(sys.stdout.fileno(), f"holds {json.dumps(held)}\n".encode())


def main(descriptor: int) -> None:
    own_the_clock()
    signal.signal(signal.SIGUSR2, tell_what_is_held)
    if one_in := int(os.environ["STRIKE_ONE_IN"]):
        strike_by_chance(one_in)
    if flaw := os.environ["FLAW"]:
        FLAWS[flaw]()
    http_server.main(descriptor)


if __name__ == "__main__":
    main(int(sys.argv[1]))
