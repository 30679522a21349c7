"""The payload keys that a process has open, so that sealing a known subject's payload asks nobody.

What keeps a destroyed key from being used on: an erasure moves the epoch, so every call that was decided before it is
decided again, on a snapshot that knows of it; and as such a snapshot becomes the current one, all keys are let go.
"""

import asyncio
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from functools import lru_cache

from gateway.commit.entry import EvidenceUnavailable
from governance.payload_keys import PayloadSealer, Place, sealer_at, subject_of
from governance.retention import period_of
from governance.vault import Keyring, VaultError

MOST_OPEN = 10_000
Runs = Callable[[Callable[[], PayloadSealer]], Awaitable[PayloadSealer]]


def place_of(person_id: str, retention: str, now: datetime) -> Place:
    """Of what is sealed at this moment, in UTC."""
    return _place(person_id, retention, now.year, now.month)


@lru_cache(maxsize=MOST_OPEN)
def _place(person_id: str, retention: str, year: int, month: int) -> Place:
    """Made once a month, not for every payload."""
    return Place(subject_of(person_id), retention, period_of(datetime(year, month, 1, tzinfo=UTC)))


class CannotSeal(EvidenceUnavailable):
    """No key could be had: what was to be recorded is not."""


class Sealers:
    """On the event loop; `run` takes database work off it."""

    def __init__(self, keyring: Keyring, run: Runs, *, most: int = MOST_OPEN) -> None:
        self._keyring = keyring
        self._run = run
        self._most = most
        self._open: dict[Place, PayloadSealer] = {}
        self._opening: dict[Place, asyncio.Task[PayloadSealer]] = {}
        self._erasures = 0

    def known(self, place: Place) -> PayloadSealer | None:
        return self._open.get(place)

    async def opened(self, place: Place) -> PayloadSealer:
        """Its key, made if need be. Usable until the next await. Raises CannotSeal."""
        while (sealer := self._open.get(place)) is None:
            task = self._opening.get(place)
            if task is None:
                task = self._opening[place] = asyncio.create_task(self._keep(place, self._erasures))
            await asyncio.shield(task)
        return sealer

    def follow(self, erasures: int) -> None:
        """Called as a snapshot becomes the current one."""
        if erasures != self._erasures:
            self._erasures = erasures
            self._open.clear()
            self._opening.clear()

    async def _keep(self, place: Place, erasures: int) -> PayloadSealer:
        """One that was read before an erasure that we have heard of meanwhile is not kept: it may be destroyed."""
        task = asyncio.current_task()
        try:
            sealer = await self._run(lambda: sealer_at(place, self._keyring))
            if erasures == self._erasures:
                self._make_room()
                self._open[place] = sealer
            return sealer
        except (VaultError, EvidenceUnavailable) as error:
            raise CannotSeal(type(error).__name__) from error
        finally:
            if self._opening.get(place) is task:
                del self._opening[place]

    def _make_room(self) -> None:
        """The oldest half goes: opening one again costs a read."""
        if len(self._open) >= self._most:
            for place in list(self._open)[: max(1, self._most // 2)]:
                del self._open[place]
