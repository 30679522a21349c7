"""Sessions of clients up to 2025-11-25, in the database, so that any process serves any request of any of them.

A session never authenticates: each request brings its key, and somebody else's session is unknown. Only the digest of
an id is stored.
"""

import asyncio
import json
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from functools import partial
from hashlib import sha256
from typing import Any
from uuid import UUID

from django.db.models import Q, QuerySet

from gateway.commit.entry import EvidenceUnavailable
from gateway.database import DatabaseThread
from gateway.mcp.errors import INVALID_PARAMS, ProtocolError
from gateway.mcp.streams import Streams
from gateway.models import McpSession

ID_BYTES = 32
ID_LIMIT = 128
IDLE_FOR = timedelta(hours=24)
KEPT_AFTER_END = timedelta(hours=1)
OF_ONE_AGENT = 1_000
"""Sessions; one more ends the one that was seen least lately."""
SWEPT_AT_ONCE = 100
LABEL = 32
"""Letters of the digest that stand for a session in rules and evidence: its id is for the client alone."""
NOTE_EVERY = timedelta(minutes=1)
CAPABILITIES_LIMIT = 16 * 1024
SUBSCRIPTIONS_LIMIT = 256 * 1024
"""Bytes of JSON that a client may make us keep."""


@dataclass(frozen=True, slots=True)
class Session:
    """`id` is what the client shows. `bundle` is None at the union endpoint; `subscriptions` are exposed URIs."""

    id: str = field(repr=False)
    agent_id: str
    bundle: str | None
    revision: str
    capabilities: Mapping[str, Any] = field(default_factory=dict)
    client: str = ""
    log_level: str = ""
    subscriptions: tuple[str, ...] = ()

    @property
    def digest(self) -> bytes:
        return digest_of(self.id)


@dataclass(frozen=True, slots=True)
class Kept:
    session: Session
    seen_at: datetime


class Sessions:
    """`streams` are theirs: a stream without a session cannot be resumed."""

    def __init__(self, thread: DatabaseThread, streams: Streams) -> None:
        self.streams = streams
        self._thread = thread
        self._asked: dict[str, asyncio.Future[Kept | None]] = {}
        self._reading: asyncio.Task[None] | None = None
        self._noting: set[asyncio.Task[None]] = set()

    async def create(
        self, agent_id: str, bundle: str | None, *, revision: str, capabilities: Mapping[str, Any], client: str = ""
    ) -> Session:
        """Raises EvidenceUnavailable, or ProtocolError for capabilities that nobody could store."""
        _storable("capabilities", capabilities, CAPABILITIES_LIMIT)
        session_id = secrets.token_urlsafe(ID_BYTES)
        session = Session(session_id, UUID(agent_id).hex, bundle, revision, capabilities, _plain(client)[:130])
        await self._thread.run(partial(_insert, session))
        return session

    async def find(self, session_id: str, agent_id: str, bundle: str | None) -> Session | None:
        """None for an unknown, ended or idle one, and for another agent's or endpoint's. Raises EvidenceUnavailable."""
        if not 0 < len(session_id) <= ID_LIMIT:
            return None
        kept = await self._look_up(session_id)
        if kept is None or not _is_of(kept.session, agent_id, bundle):
            return None
        if datetime.now(UTC) - kept.seen_at > NOTE_EVERY:
            self._note_seen(kept.session)
        return kept.session

    async def end(self, session: Session) -> None:
        """What the client made us keep goes at once: it may begin and end sessions all day. Raises
        EvidenceUnavailable."""
        await self._update(session, ended_at=datetime.now(UTC), capabilities={}, subscriptions=[])

    async def set_log_level(self, session: Session, level: str) -> Session:
        """Raises EvidenceUnavailable."""
        await self._update(session, log_level=level)
        return replace(session, log_level=level)

    async def set_subscriptions(self, session: Session, uris: tuple[str, ...]) -> Session:
        """Raises EvidenceUnavailable, or ProtocolError when there are too many."""
        _storable("subscriptions", list(uris), SUBSCRIPTIONS_LIMIT)
        await self._update(session, subscriptions=list(uris))
        return replace(session, subscriptions=uris)

    async def stop(self) -> None:
        running = [*self._noting, *([self._reading] if self._reading else [])]
        for task in running:
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)

    async def _look_up(self, session_id: str) -> Kept | None:
        """All who ask while one query runs share the next, so that its cost does not grow with the load."""
        asked = self._asked.get(session_id)
        if asked is None:
            asked = self._asked[session_id] = asyncio.get_running_loop().create_future()
        if self._reading is None:
            self._reading = asyncio.create_task(self._read(), name="sessions")
        return await asyncio.shield(asked)

    async def _read(self) -> None:
        """Steps down in the same step in which nothing is asked any more: nobody is forgotten in between."""
        try:
            while self._asked:
                asked, self._asked = self._asked, {}
                await self._answer(asked)
        finally:
            self._reading = None

    async def _answer(self, asked: dict[str, asyncio.Future[Kept | None]]) -> None:
        found: Mapping[str, Kept] | EvidenceUnavailable = EvidenceUnavailable("stopped")
        try:
            found = await self._thread.run(partial(_select, list(asked)))
        except EvidenceUnavailable as error:
            found = error
        finally:
            for session_id, future in asked.items():
                _settle(future, found if isinstance(found, EvidenceUnavailable) else found.get(session_id))

    def _note_seen(self, session: Session) -> None:
        task = asyncio.create_task(self._note(session), name="session-seen")
        self._noting.add(task)
        task.add_done_callback(self._noting.discard)

    async def _note(self, session: Session) -> None:
        """Lost, it is made good by the next request."""
        now = datetime.now(UTC)
        rows = McpSession.objects.filter(digest=session.digest, seen_at__lt=now - NOTE_EVERY)
        try:
            await self._thread.run(partial(rows.update, seen_at=now))
        except EvidenceUnavailable:
            return

    async def _update(self, session: Session, **values: Any) -> None:
        await self._thread.run(partial(McpSession.objects.filter(digest=session.digest).update, **values))


def digest_of(session_id: str) -> bytes:
    return sha256(session_id.encode()).digest()


def label_of(digest: bytes) -> str:
    return digest.hex()[:LABEL]


def open_sessions(now: datetime) -> QuerySet[McpSession]:
    return McpSession.objects.filter(ended_at=None, seen_at__gte=now - IDLE_FOR)


def forget_sessions(now: datetime) -> None:
    over = Q(seen_at__lt=now - IDLE_FOR) | Q(ended_at__lt=now - KEPT_AFTER_END)
    McpSession.objects.filter(over).delete()


def _settle(future: asyncio.Future[Kept | None], found: Kept | EvidenceUnavailable | None) -> None:
    if future.done():
        return
    if isinstance(found, EvidenceUnavailable):
        future.set_exception(found)
    else:
        future.set_result(found)


def _is_of(session: Session, agent_id: str, bundle: str | None) -> bool:
    return session.agent_id == UUID(agent_id).hex and session.bundle == bundle


def _insert(session: Session) -> None:
    now = datetime.now(UTC)
    row = McpSession(
        digest=session.digest,
        agent_id=session.agent_id,
        bundle=session.bundle or "",
        revision=session.revision,
        capabilities=dict(session.capabilities),
        client=session.client,
        created_at=now,
        seen_at=now,
    )
    McpSession.objects.bulk_create([row], ignore_conflicts=True)
    live = McpSession.objects.filter(agent_id=session.agent_id, ended_at=None).order_by("-seen_at", "digest")
    surplus = list(live.values_list("digest", flat=True)[OF_ONE_AGENT : OF_ONE_AGENT + SWEPT_AT_ONCE])
    if surplus:
        McpSession.objects.filter(digest__in=surplus).delete()


def _select(session_ids: list[str]) -> dict[str, Kept]:
    by_digest = {digest_of(session_id): session_id for session_id in session_ids}
    rows = open_sessions(datetime.now(UTC)).filter(digest__in=list(by_digest))
    return {by_digest[bytes(row.digest)]: _kept(row, by_digest[bytes(row.digest)]) for row in rows}


def _kept(row: McpSession, session_id: str) -> Kept:
    session = Session(
        id=session_id,
        agent_id=row.agent_id.hex,
        bundle=row.bundle or None,
        revision=row.revision,
        capabilities=row.capabilities,
        client=row.client,
        log_level=row.log_level,
        subscriptions=tuple(row.subscriptions),
    )
    return Kept(session, row.seen_at)


def _plain(text: str) -> str:
    """PostgreSQL stores no NUL."""
    return text.replace("\0", "")


def _storable(what: str, value: Any, limit: int) -> None:
    encoded = json.dumps(value)
    if len(encoded) > limit or "\\u0000" in encoded:
        raise ProtocolError(
            INVALID_PARAMS, f"These {what} cannot be kept: over {limit} bytes, or with a NUL.", status=200
        )
