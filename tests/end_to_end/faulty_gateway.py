"""A gateway process that dies or freezes at one point of its first calls, for the crash tests only.

FAULT is `<kill|freeze>:<before|after>:<stage of gateway.pipeline>`. A frozen process waits for SIGCONT.
"""

import asyncio
import inspect
import os
import signal
import sys
from collections.abc import Callable
from typing import Any

import django

django.setup()

from gateway import http_server, pipeline  # noqa: E402

SIGNALS = {"kill": signal.SIGKILL, "freeze": signal.SIGSTOP}


def arm(fault: str) -> None:
    effect, moment, stage = fault.split(":")
    fuse = [SIGNALS[effect]]

    def strike() -> None:
        if fuse:
            os.kill(os.getpid(), fuse.pop())

    original = getattr(pipeline, stage)
    setattr(pipeline, stage, _around(original, strike if moment == "before" else None, strike))


def _around(stage: Callable[..., Any], before: Callable[[], None] | None, after: Callable[[], None]) -> Any:
    async def wrapped(*arguments: Any, **options: Any) -> Any:
        if before is not None:
            before()
        result = stage(*arguments, **options)
        if inspect.isawaitable(result):
            result = await result
        after()
        return result

    def wrapped_pure(*arguments: Any, **options: Any) -> Any:
        if before is not None:
            before()
        result = stage(*arguments, **options)
        after()
        return result

    return wrapped if asyncio.iscoroutinefunction(stage) else wrapped_pure


if __name__ == "__main__":
    arm(os.environ["FAULT"])
    http_server.main(int(sys.argv[1]))
