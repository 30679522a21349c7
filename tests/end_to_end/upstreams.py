"""Upstreams that live in this process beside a gateway that does not: servers on an event loop of their own."""

import asyncio
import threading
from collections.abc import Coroutine, Iterator
from contextlib import AbstractAsyncContextManager, contextmanager
from typing import Any, TypeVar

Served = TypeVar("Served")


class Background:
    """An event loop in a thread; `run` waits for a coroutine on it."""

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()

    def run(self, work: Coroutine[Any, Any, Served]) -> Served:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(30)

    def close(self) -> None:
        self.run(_cancel_others())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)
        self._loop.close()


async def _cancel_others() -> None:
    """Servers leave watchers behind that nobody awaits."""
    others = asyncio.all_tasks() - {asyncio.current_task()}
    for task in others:
        task.cancel()
    await asyncio.gather(*others, return_exceptions=True)


@contextmanager
def in_background(server: AbstractAsyncContextManager[Served]) -> Iterator[Served]:
    """Enters an asynchronous context manager from synchronous code, for as long as the block takes."""
    background = Background()
    try:
        served = background.run(server.__aenter__())
        try:
            yield served
        finally:
            background.run(server.__aexit__(None, None, None))
    finally:
        background.close()
