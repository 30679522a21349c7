"""The life of one gateway process: start, heartbeat, drain, end."""

import asyncio
import logging
import os
import signal
import socket
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any, TypeVar
from uuid import UUID

import psycopg
from django.conf import settings
from django.core.exceptions import ImproperlyConfigured
from django.db import connection
from django.db.models.functions import Now
from django.db.utils import Error as DatabaseError
from django.utils.module_loading import import_string

from audit.event import AuditEvent, uuid7
from audit.newest_signed import newest_signed
from connectors.egress import Egress
from connectors.kinds import KINDS
from connectors.resilience import Guarded
from gateway import credential_uses, sent_to
from gateway.commit.entry import Backend, Entry, EvidenceUnavailable, RecordRefused
from gateway.commit.group import GroupCommitter
from gateway.commit.postgresql import PostgresqlBackend
from gateway.commit.sqlite import SqliteBackend
from gateway.database import connection_parameters
from gateway.draining import DRAIN, DRAIN_SECONDS
from gateway.metrics import METRICS
from gateway.models import GatewayProcess
from gateway.probing import answer, subjects_of, tried, unanswered
from gateway.recovery import close_open_calls, recover
from gateway.snapshots import with_live_connection
from gateway.wiring import GatewayPorts
from governance.fence import triggers
from governance.payload_keys import check_newest_key
from governance.vault import keyring

logger = logging.getLogger(__name__)

HOLD = "gateway.restored.hold_if_other_database"
BEAT_SECONDS = 1.0
RECOVER_EVERY_BEATS = 5
SUMS_EVERY_BEATS = 10
UNCERTAIN_SECONDS = 12.0
LAST_WORDS_SECONDS = 3.0

Result = TypeVar("Result")


@dataclass(frozen=True, slots=True)
class Pulse:
    applied_epoch: int
    calls_in_flight: int
    oldest_in_flight: UUID
    upstreams: list[dict[str, Any]]


class GatewayRuntime:
    """Owns what a process needs to serve; `ports` is what its endpoint calls."""

    def __init__(self) -> None:
        self.process_id = uuid7()
        self.committer = GroupCommitter(make_backend(self.process_id))
        egress = Egress(
            allowed_networks=settings.UPSTREAM_ALLOWED_NETWORKS, allowed_programs=settings.STDIO_ALLOWED_COMMANDS
        )
        self._egress = egress
        self._kinds = {name: Guarded(kind(egress)) for name, kind in KINDS.items()}
        self.ports = GatewayPorts(
            process_id=self.process_id, committer=self.committer, kinds=self._kinds, keyring=keyring()
        )
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="heartbeat")
        self._tasks: list[asyncio.Task[None]] = []
        self._beats = 0
        self._beaten_epoch = 0

    async def start(self) -> None:
        """Raises ImproperlyConfigured or django.db.Error: a gateway that cannot be sure does not serve."""
        await self._in_thread(self._prepare)
        await self.ports.keeper.start()
        await self.ports.store.start()
        await self._in_thread(self._register)
        self.ports.limits.start()
        self._tasks = [
            asyncio.create_task(self.ports.keeper.watch(connection_parameters()), name="watch"),
            asyncio.create_task(self._beat_forever(), name="heartbeat"),
        ]

    def begin_to_end(self) -> None:
        """Clients are not waited for any more. What still runs when the time is nearly over is cut off, with a record
        and an answer, not just killed."""
        self.ports.waiting.end()
        asyncio.get_running_loop().call_later(DRAIN_SECONDS - LAST_WORDS_SECONDS, self.ports.cut_all)

    async def stop(self) -> None:
        """Lets running calls end, says goodbye, closes everything."""
        with suppress(TimeoutError):
            async with asyncio.timeout(DRAIN.seconds_left):
                while self.ports.open_intents:  # noqa: ASYNC110  (ends within a call; an event would cost each call)
                    await asyncio.sleep(0.02)
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._tell_sums()
        await self._write_uses()
        await self.ports.limits.stop()
        await self.ports.limits_thread.close()
        await self.ports.keys_thread.close()
        await self.ports.masks_thread.close()
        await self.ports.accounts.stop()
        await self.ports.store.stop()
        for kind in self._kinds.values():
            await kind.close()
        self._egress.close()
        self.ports.detectors.close()
        await self.committer.close()
        with suppress(DatabaseError):
            await self._in_thread(self._deregister)
        await self.ports.keeper.close()
        self._thread.shutdown()

    async def _beat_forever(self) -> None:
        while True:
            await self._sleep_until_beat()
            METRICS.fold()
            self._beats += 1
            try:
                await self._beat()
            except (DatabaseError, EvidenceUnavailable, RecordRefused) as error:
                logger.warning("heartbeat not recorded: %s", type(error).__name__)
            except Exception:
                logger.exception("heartbeat failed")

    async def _sleep_until_beat(self) -> None:
        """A new snapshot is told at once: somebody may be waiting to hear that it is enforced here."""
        for _ in range(int(BEAT_SECONDS / 0.02)):
            if self.ports.snapshot().epoch != self._beaten_epoch:
                return
            await asyncio.sleep(0.02)

    async def _beat(self) -> None:
        pulse = self._pulse()
        if not await self._in_thread(lambda: self._write_pulse(pulse)):
            logger.critical("this process was declared dead by another; stopping")
            os.kill(os.getpid(), signal.SIGTERM)
        self._beaten_epoch = pulse.applied_epoch
        await self._answer_probes()
        if self._beats % RECOVER_EVERY_BEATS == 0:
            await self._in_thread(recover)
            await self._close_uncertain()
            await self.ports.retry_lost_outcomes()
            self.ports.forget_outdated(self.ports.snapshot())
        if self._beats % SUMS_EVERY_BEATS == 0:
            await self._tell_sums()
            await self._write_uses()

    async def _answer_probes(self) -> None:
        for probe in await self._in_thread(lambda: unanswered(self.process_id)):
            subjects = await self._in_thread(partial(subjects_of, probe))
            epoch = self.ports.snapshot().epoch
            live = await tried(subjects, self.ports)
            say = partial(answer, probe, self.process_id, epoch=epoch, count=len(subjects), live=live)
            await self._in_thread(say)

    async def _tell_sums(self) -> None:
        again = self.ports.refused.take(now=self.ports.now(), process_id=self.process_id)
        for entry in filter(None, (self.ports.take_strangers(), again)):
            with suppress(EvidenceUnavailable, RecordRefused):
                await self.committer.commit(entry)

    async def _write_uses(self) -> None:
        """Nobody is allowed anything by them: what cannot be written is lost."""
        uses, sent, now = self.ports.uses.take(), self.ports.sent_to.take(), self.ports.now()
        with suppress(DatabaseError):
            await self._in_thread(lambda: credential_uses.write(uses))
        with suppress(DatabaseError):
            await self._in_thread(lambda: sent_to.write(sent, now))

    def _pulse(self) -> Pulse:
        """The bound is taken before the epoch is read: it may be too old, never too young."""
        uncertain = (item.event_id for item in self.committer.uncertain)
        oldest = min((*self.ports.open_intents.values(), *uncertain), default=uuid7())
        unusual = [asdict(state) for state in self.ports.upstream_states() if state.is_unusual]
        return Pulse(self.ports.snapshot().epoch, len(self.ports.open_intents), oldest, unusual)

    async def _close_uncertain(self) -> None:
        for call_id in await self.committer.resolve_uncertain(older_than_seconds=UNCERTAIN_SECONDS):
            event = AuditEvent(
                kind="call.outcome",
                at=self.ports.now(),
                actor="system:gateway",
                call_id=call_id,
                outcome="not_sent",
                process_id=self.process_id,
                details={"code": "commit_uncertain"},
            )
            await self.committer.commit(Entry(event))

    def _prepare(self) -> None:
        if absent := triggers.missing(connection):
            raise ImproperlyConfigured(f"Run `manage.py migrate`: the fence lacks {', '.join(absent[:3])}.")
        check_newest_key(keyring())
        if newest_signed().contradicts():
            import_string(HOLD)()

    def _register(self) -> None:
        pulse = self._pulse()
        GatewayProcess.objects.create(
            id=self.process_id,
            host=socket.gethostname()[:255],
            pid=os.getpid(),
            started_at=self.ports.now(),
            beat_at=Now(),
            applied_epoch=pulse.applied_epoch,
            oldest_in_flight=pulse.oldest_in_flight,
        )

    def _write_pulse(self, pulse: Pulse) -> int:
        return GatewayProcess.objects.filter(id=self.process_id, ended_at=None).update(
            beat_at=Now(),
            applied_epoch=pulse.applied_epoch,
            calls_in_flight=pulse.calls_in_flight,
            oldest_in_flight=pulse.oldest_in_flight,
            upstreams=pulse.upstreams,
        )

    def _deregister(self) -> None:
        """Nothing commits for it any more. Who is killed meanwhile is found to be silent."""
        row = GatewayProcess.objects.get(id=self.process_id)
        close_open_calls(row)
        GatewayProcess.objects.filter(id=row.id).update(ended_at=Now(), calls_in_flight=0)
        connection.close()

    async def _in_thread(self, work: Callable[[], Result]) -> Result:
        return await asyncio.get_running_loop().run_in_executor(self._thread, with_live_connection, work)


def make_backend(process_id: UUID) -> Backend:
    if connection.vendor == "postgresql":
        return PostgresqlBackend(psycopg.conninfo.make_conninfo(**connection_parameters()), process_id)
    return SqliteBackend(Path(connection.settings_dict["NAME"]))
