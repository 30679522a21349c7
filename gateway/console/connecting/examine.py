"""Trying a connector while somebody watches: ask the upstream, tell each step, keep the answer.

While the upstream takes its time, nothing is open in the database and no thread is held. What is kept at the end is
kept only if the connector is still the one that was asked, and the person still may.
"""

import asyncio
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from typing import Any, TypeVar
from urllib.parse import urlsplit

import orjson
from channels.db import database_sync_to_async
from django.conf import settings
from django.db import OperationalError
from django.views.decorators.debug import sensitive_variables

from connectors.base import UpstreamAuth, UpstreamFailure
from connectors.egress import Egress, resolve_by_system
from connectors.http1 import Answer
from connectors.kinds import KINDS
from gateway.actions import act
from gateway.discovery import Question, ask_all, spec_of
from gateway.trial_checks import Check, failed, not_trusted, tools
from governance.duties import still_may
from governance.facts import Recorder
from governance.models import Connector, Secret, SecretVersion
from governance.registry import Catalogue, Registration, register
from governance.vault import VaultError, auth_headers, keyring, open_secret_version

T = TypeVar("T")
Tell = Callable[[Check], Awaitable[None]]
PERMISSION = "governance.discover_connector"
LISTENING_SECONDS = 5.0

AT_ONCE = 8
"""Trials in all. Without sockets each holds one of the pages' turns for as long as its upstream takes; of these there
are more, so that the other screens go on."""

_running: set[str] = set()


class AlreadyRunning(Exception):
    """Somebody is trying this connector right now, or too many others are being tried."""


class Overtaken(Exception):
    """The connector was changed while its upstream was asked; nothing was kept."""


@contextmanager
def only_one(connector_id: str) -> Iterator[None]:
    """One trial per connector at a time. All of them run in the one process that serves the pages."""
    if connector_id in _running or len(_running) >= AT_ONCE:
        raise AlreadyRunning
    _running.add(connector_id)
    try:
        yield
    finally:
        _running.discard(connector_id)


@dataclass(frozen=True, slots=True)
class Asked:
    """A connector as it stood when its upstream was asked."""

    connector_id: Any
    secret_id: Any
    question: Question
    has_secret: bool


def asked(connector: Connector) -> Asked:
    """Reads the sealed secret; it is opened only when the request is made."""
    opener = partial(_open, connector.secret, _live(connector.secret)) if connector.secret else UpstreamAuth
    return Asked(connector.pk, connector.secret_id, Question(spec_of(connector), opener), bool(connector.secret))


def _live(secret: Secret) -> SecretVersion | None:
    return SecretVersion.objects.filter(secret=secret, retired_at=None).first()


@sensitive_variables("value")
def _open(secret: Secret, version: SecretVersion | None) -> UpstreamAuth:
    """Raises VaultError."""
    if version is None:
        raise VaultError(f"The secret {secret.name} has no value yet.")
    value = open_secret_version(version, keyring=keyring())
    return UpstreamAuth(auth_headers(secret.kind, secret.header_name, value), str(version.pk))


class Watched(Egress):
    """An egress that tells what it is doing."""

    def __init__(self, tell: Tell) -> None:
        super().__init__(allowed_networks=settings.UPSTREAM_ALLOWED_NETWORKS, resolve=self._resolve_aloud)
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
            await self._connected(url)
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

    async def _connected(self, url: str) -> None:
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
            await tell(await _failure(found.error, spec.urls[0], egress))
        else:
            await _tell_found(found, tell, has_secret=wanted.has_secret)
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


async def _tell_found(found: Catalogue, tell: Tell, *, has_secret: bool) -> None:
    await tell(Check("protocol", "good", f"It speaks MCP, revision {found.protocol_version}."))
    accepted = "It accepts our secret." if has_secret else "It lets us in without a secret."
    await tell(Check("access", "good" if has_secret else "warn", accepted))
    count = len(found.tools)
    if not count:
        await tell(Check("tools", "warn", "It offers no tools.", "Perhaps the secret may not see any."))
        return
    left_out = f" {len(found.unusable)} more have unusable names and are left out." if found.unusable else ""
    await tell(Check("tools", "warn" if left_out else "good", f"{tools(count)} found.{left_out}"))


def keep(wanted: Asked, found: Catalogue, *, by: str, person_id: Any) -> Registration:
    """Takes in the answer, or notes the error, in one short transaction. Raises Overtaken."""

    def work(record: Recorder, now: datetime) -> Registration:
        connector = Connector.objects.select_for_update().filter(pk=wanted.connector_id).first()
        is_same = connector is not None and tuple(connector.urls) == wanted.question.spec.urls
        if connector is None or not is_same or connector.secret_id != wanted.secret_id:
            raise Overtaken
        if not still_may(person_id, PERMISSION):
            raise Overtaken
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
    if done.waiting:
        return Check("kept", "warn", f"{tools(len(done.waiting))} new or changed: they wait for review.")
    if done.pinned:
        return Check("kept", "good", f"{tools(len(done.pinned))} pinned as they are now. No agent has them yet.")
    return Check("kept", "good", "Nothing is new: the tools are as they were.")
