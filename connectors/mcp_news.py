"""Who wants to hear what of one upstream's news."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Final

from connectors.base import Heard, Interest, Stands, unheeded

TOOLS_CHANGED: Final = "notifications/tools/list_changed"
UPDATED: Final = "notifications/resources/updated"
_LISTS: Final[Mapping[str, str]] = {
    TOOLS_CHANGED: "tools",
    "notifications/prompts/list_changed": "prompts",
    "notifications/resources/list_changed": "resources",
}


def is_wanted(interest: Interest, method: str) -> bool:
    """A resource that is no part of what was subscribed to may still be part of one that is: whoever hears it knows."""
    return bool(interest.uris) if method == UPDATED else getattr(interest, _LISTS.get(method, ""), False)


def everything(interest: Interest) -> Iterator[tuple[str, dict[str, Any]]]:
    """The news that may have been missed while nobody listened."""
    for method in _LISTS:
        if is_wanted(interest, method):
            yield method, {}
    for uri in sorted(interest.uris):
        yield UPDATED, {"uri": uri}


@dataclass(frozen=True, slots=True, eq=False)
class Listener:
    interest: Interest
    heard: Heard
    stands: Stands = unheeded

    async def hear(self, method: str, params: dict[str, Any]) -> None:
        if is_wanted(self.interest, method):
            await self.heard(method, params)

    async def catch_up(self) -> None:
        for method, params in everything(self.interest):
            await self.heard(method, params)


class News:
    """The listeners of one line, and the resources that its session was asked to tell about."""

    __slots__ = ("_listeners", "_subscribed")

    def __init__(self) -> None:
        self._listeners: set[Listener] = set()
        self._subscribed: set[str] = set()

    @contextmanager
    def listening(self, listener: Listener) -> Iterator[None]:
        self._listeners.add(listener)
        try:
            yield
        finally:
            self._listeners.discard(listener)

    async def spread(self, method: str, params: dict[str, Any]) -> None:
        for listener in tuple(self._listeners):
            await listener.hear(method, params)

    async def catch_up(self) -> None:
        for listener in tuple(self._listeners):
            await listener.catch_up()

    def unsubscribed(self) -> tuple[str, ...]:
        """The URIs somebody wants to hear of and nobody has subscribed to."""
        return tuple(sorted(self._wanted_uris() - self._subscribed))

    def note_subscribed(self, uri: str) -> None:
        self._subscribed.add(uri)

    def take_unwanted(self) -> frozenset[str]:
        """The URIs that are subscribed to although nobody wants to hear of them; from now on they are not."""
        unwanted = frozenset(self._subscribed) - self._wanted_uris()
        self._subscribed -= unwanted
        return unwanted

    def forget_subscriptions(self) -> None:
        """The session that had them is gone."""
        self._subscribed.clear()

    def _wanted_uris(self) -> frozenset[str]:
        return frozenset().union(*(listener.interest.uris for listener in self._listeners))
