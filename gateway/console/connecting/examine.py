"""Trying a connector while somebody watches: ask the upstream, tell each step, keep the answer.

While the upstream takes its time, nothing is open in the database and no thread is held. What is kept at the end is
kept only if the connector is still the one that was asked, and the person still may.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from datetime import datetime
from typing import Any, TypeVar
from urllib.parse import urlsplit

import orjson
from channels.db import database_sync_to_async
from django.conf import settings
from django.db import OperationalError

from connectors.base import UpstreamFailure
from connectors.egress import Egress, resolve_by_system
from connectors.http1 import Answer
from connectors.kinds import KINDS
from gateway.actions import act
from gateway.asked import Asked, Overtaken, asked, only_one, still_asked
from gateway.discovery import ask_all
from gateway.drift import reacting
from gateway.trial_checks import Check, failed, not_trusted, tools
from governance.facts import Recorder
from governance.models import Connector
from governance.registry import Catalogue, Registration, register

T = TypeVar("T")
Tell = Callable[[Check], Awaitable[None]]
LISTENING_SECONDS = 5.0


class Watched(Egress):
    """An egress that tells what it is doing."""

    def __init__(self, tell: Tell) -> None:
        super().__init__(
            allowed_networks=settings.UPSTREAM_ALLOWED_NETWORKS,
            allowed_programs=settings.STDIO_ALLOWED_COMMANDS,
            resolve=self._resolve_aloud,
        )
        self._tell = tell
        self.addresses: tuple[str, ...] = ()
        self.is_connected = False
        self.is_speaking = False
        self.pages = 0

    async def _resolve_aloud(self, host: str, port: int) -> Sequence[str]:
        await self._tell(Check("address", "running", f"Looking up {host}"))
        self.addresses = tuple(await resolve_by_system(host, port))
        return self.addresses

    async def send(
        self,
        method: str,
        url: str,
        *,
        headers: Any,
        body: bytes,
        timeout_seconds: float,
        read: Callable[[Answer], Awaitable[T]],
        send_before_ns: int | None = None,
    ) -> T:
        async def read_aloud(answer: Answer) -> T:
            await self._reached(url)
            return await read(answer)

        if is_listing(body):
            await self._listing()
        return await super().send(
            method,
            url,
            headers=headers,
            body=body,
            timeout_seconds=timeout_seconds,
            read=read_aloud,
            send_before_ns=send_before_ns,
        )

    async def _reached(self, url: str) -> None:
        if self.is_connected:
            return
        self.is_connected = True
        await self._tell(Check("address", "good", _where(url, self.addresses)))
        await self._tell(_secured(url))
        await self._tell(Check("protocol", "running", "Asking which revision it speaks"))

    async def _listing(self) -> None:
        self.is_speaking = True
        self.pages += 1
        page = f", page {self.pages}" if self.pages > 1 else ""
        await self._tell(Check("protocol", "good", "It speaks MCP."))
        await self._tell(Check("access", "running"))
        await self._tell(Check("tools", "running", f"Asking for its tools{page}"))


def is_listing(body: bytes) -> bool:
    return bool(orjson.loads(body).get("method") == "tools/list") if body else False


def _where(url: str, addresses: tuple[str, ...]) -> str:
    host = urlsplit(url).hostname or ""
    return f"{host} is at {', '.join(addresses[:4])}." if addresses != (host,) else f"{host} may be reached."


def _secured(url: str) -> Check:
    if url.startswith("https:"):
        return Check("connection", "good", "Connected with TLS; the certificate is valid.")
    return Check("connection", "warn", "Connected without TLS: fine on this machine, readable on any network.")


async def examine(wanted: Asked, tell: Tell) -> Catalogue:
    """Asks the upstream and tells the checks up to the tools. Never raises for what an upstream does."""
    spec = wanted.question.spec
    egress = Watched(tell)
    connector = KINDS[spec.kind](egress)
    try:
        found = (await ask_all([wanted.question], {spec.kind: connector}))[spec.name]
        if found.error:
            await tell(await _failure(found.error, next(iter(spec.urls), ""), egress))
        else:
            await (_tell_started if spec.child else _tell_let_in)(tell, has_secret=wanted.has_secret)
            await _tell_found(found, tell)
    finally:
        await connector.close()
        egress.close()
    return found


async def _failure(error: str, url: str, egress: Watched) -> Check:
    host = urlsplit(url).hostname or ""
    is_refused = error.startswith("connect_failed") and bool(egress.addresses) and url.startswith("https:")
    if is_refused and await _is_listening(url):
        return not_trusted(host)
    return failed(
        error,
        host=host,
        addresses=egress.addresses,
        is_connected=egress.is_connected,
        is_speaking=egress.is_speaking,
    )


async def _is_listening(url: str) -> bool:
    """Whether anything accepts connections there: then it was TLS that failed. Sends no secret."""

    async def enough(_: Answer) -> bool:
        return True

    parts = urlsplit(url)
    plain = parts._replace(scheme="http", netloc=f"{parts.hostname}:{parts.port or 443}", query="").geturl()
    egress = Egress(allowed_networks=settings.UPSTREAM_ALLOWED_NETWORKS)
    try:
        return await egress.send("GET", plain, headers=(), body=b"", timeout_seconds=LISTENING_SECONDS, read=enough)
    except UpstreamFailure:
        return False
    finally:
        egress.close()


async def _tell_let_in(tell: Tell, *, has_secret: bool) -> None:
    accepted = "It accepts our secret." if has_secret else "It lets us in without a secret."
    await tell(Check("access", "good" if has_secret else "warn", accepted))


async def _tell_started(tell: Tell, *, has_secret: bool) -> None:
    await tell(Check("address", "good", "The installation allows this program."))
    await tell(Check("connection", "good", "It was started, and it answers."))
    await tell(Check("access", "good", "It is given the secret." if has_secret else "It is given no secret."))


async def _tell_found(found: Catalogue, tell: Tell) -> None:
    await tell(Check("protocol", "good", f"It speaks MCP, revision {found.protocol_version}."))
    count = len(found.tools)
    if not count:
        await tell(Check("tools", "warn", "It offers no tools.", "Perhaps the secret may not see any."))
        return
    left_out = f" {len(found.unusable)} more have unusable names and are left out." if found.unusable else ""
    await tell(Check("tools", "warn" if left_out else "good", f"{tools(count)} found.{left_out}"))


def keep(wanted: Asked, found: Catalogue, *, by: str, person_id: Any) -> Registration:
    """Takes in the answer, or notes the error, in one short transaction. Raises Overtaken."""

    def work(record: Recorder, now: datetime) -> Registration:
        connector = still_asked(wanted, person_id=person_id)
        with reacting({connector.name: found}, record=record, now=now):
            return register(connector, found, by=by, record=record, now=now)

    return act(work, by=by)


async def try_out(connector: Connector, tell: Tell, *, by: str, person_id: Any) -> bool:
    """The whole of it; True when the tools were found and kept. Raises AlreadyRunning."""
    with only_one(str(connector.pk)):
        wanted = await database_sync_to_async(asked)(connector)
        found = await examine(wanted, tell)
        try:
            done = await asyncio.shield(database_sync_to_async(keep)(wanted, found, by=by, person_id=person_id))
        except (Overtaken, OperationalError) as reason:
            await tell(Check("kept", "bad", _not_kept(reason), "Test again."))
            return False
        if not found.error:
            await tell(_kept(done))
        return not found.error


def _not_kept(reason: Exception) -> str:
    if isinstance(reason, Overtaken):
        return "Somebody changed the connector meanwhile, so nothing was kept."
    return "The database was busy, so nothing was kept."


def _kept(done: Registration) -> Check:
    pinned = f" {tools(len(done.pinned))} pinned as they are now." if done.pinned else ""
    if done.held:
        said = f"In what {tools(len(done.held))} say of themselves something is suspicious: they wait for review."
        return Check("kept", "warn", f"{said}{pinned}")
    if done.waiting:
        return Check("kept", "warn", f"{tools(len(done.waiting))} new or changed: they wait for review.{pinned}")
    if done.pinned:
        return Check("kept", "good", f"{tools(len(done.pinned))} pinned as they are now. No agent has them yet.")
    return Check("kept", "good", "Nothing is new: the tools are as they were.")
