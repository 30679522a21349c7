"""The open streams of this process for news, by whom and what they are for."""

import asyncio
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

from gateway.call import Frame
from gateway.mcp.revisions import META_SERVER, META_SUBSCRIPTION, NEWEST_LEGACY, SERVER_INFO
from gateway.mcp.sessions import Session
from gateway.mcp.stream import Stream, event_of
from governance.snapshot import Credential

ViewKey = tuple[str, str | None, str, frozenset[str] | None]
Watched = dict[tuple[str, str], str]
"""(connector id, upstream's URI) -> exposed URI."""


@dataclass(slots=True, eq=False)
class Listener:
    """One stream, for whom it is and what it wants."""

    stream: Stream
    frame: Frame = field(repr=False)
    credential: Credential = field(repr=False)
    agent_id: str
    wants: frozenset[str]
    uris: Watched
    session: Session | None = None
    subscription: str | int | None = None

    @property
    def view_key(self) -> ViewKey:
        return self.agent_id, self.frame.bundle, self.frame.source_ip, self.credential.bundles

    @property
    def hears_of_tasks(self) -> bool:
        return self.session is not None and self.session.revision == NEWEST_LEGACY

    def is_of(self, session: str) -> bool:
        """`session`: the digest of its id, hexadecimal."""
        return self.session is not None and self.session.digest.hex() == session

    def message(self, method: str, params: Mapping[str, Any] = MappingProxyType({})) -> bytes:
        said = dict(params)
        if self.subscription is not None:
            said["_meta"] = {META_SUBSCRIPTION: self.subscription}
        return event_of({"jsonrpc": "2.0", "method": method} | ({"params": said} if said else {}))

    def last_word(self) -> bytes:
        """The result of a listen that we end; streams of earlier revisions just end."""
        if self.subscription is None:
            return b""
        meta = {META_SUBSCRIPTION: self.subscription, META_SERVER: SERVER_INFO}
        return event_of(
            {"jsonrpc": "2.0", "id": self.subscription, "result": {"resultType": "complete", "_meta": meta}}
        )


@dataclass(slots=True, eq=False)
class View:
    """What all streams of one agent at one endpoint have in common. `reach`: connectors that have something of a kind
    to offer here; `seen`: what of that kind was visible at the last look."""

    listeners: set[Listener] = field(default_factory=set)
    reach: dict[str, frozenset[str]] = field(default_factory=dict)
    seen: dict[str, int] = field(default_factory=dict)
    following: asyncio.Task[None] | None = None
    """Of the agent's tasks up to 2025-11-25, where there is somebody to be told."""


class Listeners:
    """All that are open. A session has one stream: who comes takes the place of who is there."""

    def __init__(self) -> None:
        self.views: dict[ViewKey, View] = {}
        self.by_uri: dict[tuple[str, str], set[Listener]] = {}
        self.by_session: dict[str, Listener] = {}
        self._per_agent: Counter[str] = Counter()

    def __len__(self) -> int:
        return self._per_agent.total()

    def __iter__(self) -> Iterator[Listener]:
        return (listener for view in self.views.values() for listener in view.listeners)

    def count_of(self, agent_id: str) -> int:
        return self._per_agent[agent_id]

    def add(self, listener: Listener) -> View:
        view = self.views.setdefault(listener.view_key, View())
        view.listeners.add(listener)
        self._per_agent[listener.agent_id] += 1
        self._index(listener)
        if listener.session is not None:
            self.end_session(listener.session)
            self.by_session[listener.session.id] = listener
        return view

    def remove(self, listener: Listener) -> None:
        view = self.views[listener.view_key]
        view.listeners.discard(listener)
        if not view.listeners:
            del self.views[listener.view_key]
            if view.following is not None:
                view.following.cancel()
        self._unindex(listener)
        self._per_agent[listener.agent_id] -= 1
        if not self._per_agent[listener.agent_id]:
            del self._per_agent[listener.agent_id]
        if listener.session is not None and self.by_session.get(listener.session.id) is listener:
            del self.by_session[listener.session.id]

    def renew(self, listener: Listener, session: Session, uris: Watched) -> None:
        """What its session subscribes to has changed."""
        self._unindex(listener)
        listener.session, listener.uris = session, uris
        self._index(listener)

    def end_session(self, session: Session) -> None:
        if (listener := self.by_session.get(session.id)) is not None:
            listener.stream.end()

    def _index(self, listener: Listener) -> None:
        for key in listener.uris:
            self.by_uri.setdefault(key, set()).add(listener)

    def _unindex(self, listener: Listener) -> None:
        for key in listener.uris:
            self.by_uri[key].discard(listener)
            if not self.by_uri[key]:
                del self.by_uri[key]
