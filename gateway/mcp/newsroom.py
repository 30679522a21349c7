"""What we hear from upstreams on our own: one listener for each upstream, shared by all who are interested."""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from connectors.base import Heard, Interest, Stands, UpstreamFailure
from governance.snapshot import Connector

logger = logging.getLogger(__name__)

Listen = Callable[[Connector, Interest, Heard, Stands], Awaitable[None]]
Tell = Callable[[str, str, dict[str, Any]], None]
"""(connector id, method, params)."""


@dataclass(slots=True, eq=False)
class _Ear:
    """`tasks` are who listens, and until that one `stands` who listened before with less interest."""

    footing: tuple[str, str]
    interest: Interest
    tasks: list[asyncio.Task[bool]] = field(default_factory=list)
    stands: bool = False

    @property
    def has_failed(self) -> bool:
        task = self.tasks[-1]
        return task.done() and not task.cancelled() and not task.result()


class Newsroom:
    """Who is wanted is told from time to time; connections change only when that makes a difference."""

    def __init__(self, listen: Listen, tell: Tell) -> None:
        self._listen = listen
        self._tell = tell
        self._ears: dict[str, _Ear] = {}
        self._stood = asyncio.Event()

    def want(self, wanted: Mapping[str, tuple[Connector, Interest]], *, is_tidying: bool) -> None:
        """Listens for what is wanted more at once. Only when tidying does it want less and try again where it failed:
        a client that comes and goes must not make upstreams do the same."""
        for connector_id, (connector, interest) in wanted.items():
            ear = self._ears.get(connector_id)
            if ear is None or _must_restart(ear, connector, interest, is_tidying=is_tidying):
                self._start(connector, interest)
        unwanted = self._ears.keys() - wanted.keys()
        if is_tidying and unwanted:
            self._stop(unwanted)

    def keep_only(self, connectors: Mapping[str, Connector]) -> None:
        """Of upstreams that are gone or switched off nobody wants news: a local server would run on for them."""
        self._stop([i for i in self._ears if (connector := connectors.get(i)) is None or not connector.is_enabled])

    async def standing(self, wanted: Mapping[str, Interest]) -> None:
        """Waits until no news of this can be missed any more, as far as the upstreams have such news."""
        while not all(self._is_standing(connector_id, interest) for connector_id, interest in wanted.items()):
            await self._stood.wait()

    def _is_standing(self, connector_id: str, interest: Interest) -> bool:
        ear = self._ears.get(connector_id)
        return ear is not None and ear.stands and _is_covered(interest, ear.interest)

    def close(self) -> None:
        self._stop(list(self._ears))

    def _start(self, connector: Connector, interest: Interest) -> None:
        """Who listens already goes on until this one stands, so that nothing is missed in between."""
        before, ear = self._ears.pop(connector.id, None), _Ear(connector.footing, interest)
        if before is not None and before.footing == ear.footing:
            ear.tasks = list(before.tasks)
        elif before is not None:
            _cancel(before.tasks)
        ear.tasks.append(asyncio.create_task(self._hear(connector, ear), name=f"news of {connector.name}"))
        self._ears[connector.id] = ear

    def _stop(self, connector_ids: Iterable[str]) -> None:
        for connector_id in connector_ids:
            _cancel(self._ears.pop(connector_id).tasks)

    def _stands(self, ear: _Ear) -> None:
        if ear.stands:
            return
        ear.stands = True
        _cancel(ear.tasks[:-1])
        del ear.tasks[:-1]
        self._stood.set()
        self._stood = asyncio.Event()

    async def _hear(self, connector: Connector, ear: _Ear) -> bool:
        """Whether it ended as it should: the upstream has no such news."""
        try:
            await self._listen(connector, ear.interest, partial(self._heard, connector.id), partial(self._stands, ear))
        except UpstreamFailure as failure:
            logger.info("no news of %s: %s", connector.name, failure.code)
            return False
        except Exception:
            logger.exception("unforeseen failure while listening to %s", connector.name)
            return False
        finally:
            self._stands(ear)
        return True

    async def _heard(self, connector_id: str, method: str, params: dict[str, Any]) -> None:
        self._tell(connector_id, method, params)


def _must_restart(ear: _Ear, connector: Connector, interest: Interest, *, is_tidying: bool) -> bool:
    if ear.footing != connector.footing or not _is_covered(interest, ear.interest):
        return True
    return is_tidying and (ear.has_failed or interest != ear.interest)


def _cancel(tasks: Iterable[asyncio.Task[bool]]) -> None:
    for task in tasks:
        task.cancel()


def _is_covered(interest: Interest, by: Interest) -> bool:
    flags = ((interest.tools, by.tools), (interest.prompts, by.prompts), (interest.resources, by.resources))
    return all(covers or not wants for wants, covers in flags) and interest.uris <= by.uris
