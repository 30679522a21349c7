"""Asking detectors of somebody else's: in time, not too many at once, and none that is known to be broken.

One instance a process; all methods run on its event loop, and nothing is held while a service takes its time. What it
answered is kept for a moment by the text's digest: a call may be decided more than once.
"""

import asyncio
import logging
import time
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from hashlib import blake2b
from ipaddress import ip_address
from typing import Final
from urllib.parse import urlsplit

from django.views.decorators.debug import sensitive_variables

from connectors.base import UpstreamFailure
from connectors.breaker import Breaker
from connectors.bulkhead import Bulkhead, NoRoom, NoTurn
from connectors.detectors import DETECTOR_KINDS
from connectors.detectors.base import Detector, DetectorFailure, Hit, Wire
from connectors.egress import Egress, IPNetwork, resolve_by_system
from gateway.metrics import METRICS
from governance.snapshot_values import OutsideDetector, SealedSecret
from governance.vault import Envelope, Keyring, VaultError, open_envelope

logger = logging.getLogger(__name__)

MAX_RUNNING: Final = 16
MAX_WAITING: Final = 64
KEPT_SECONDS: Final = 30.0
FAILURE_KEPT_SECONDS: Final = 1.0
"""The same text is not asked about again at once by the same call, decided a second time."""
MOST_KEPT: Final = 512
UNHURT: Final = frozenset(("crowded", "broken", "too_large"))
"""Failures that say nothing of the service."""


@dataclass(frozen=True, slots=True)
class Answered:
    """What came of one question. `outcome` is ok, or the code of a failure."""

    outcome: str
    hits: tuple[Hit, ...] = ()
    ms: float = 0.0
    message: str = ""
    model: str = ""
    """The digest of the model that looked, where one was run here."""

    @property
    def is_ok(self) -> bool:
        return self.outcome == "ok"


@dataclass(slots=True)
class Service:
    """One detector as it is set up now, and how it does."""

    state: tuple[int, str]
    """The versions of its settings and of its secret."""
    detector: Detector | None = field(repr=False)
    fault: str = ""
    breaker: Breaker = field(default_factory=Breaker)
    places: Bulkhead = field(default_factory=lambda: Bulkhead(max_running=MAX_RUNNING, max_waiting=MAX_WAITING))


class Detectors:
    def __init__(
        self,
        keyring: Keyring,
        *,
        allowed_networks: Sequence[IPNetwork] = (),
        model_folders: Sequence[str] = (),
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._keyring = keyring
        self._ways = Ways(allowed_networks)
        self._model_folders = model_folders
        self._clock = clock
        self._services: dict[str, Service] = {}
        self._kept: OrderedDict[tuple[object, ...], tuple[float, Answered]] = OrderedDict()

    async def ask(self, about: OutsideDetector, text: str, *, is_answer: bool, secret: SealedSecret | None) -> Answered:
        """Never raises but for a cancellation."""
        service = self._service(about, secret)
        key = (about.id, service.state, is_answer, blake2b(text.encode(), digest_size=32).digest())
        if (kept := self._kept.get(key)) is not None and self._clock() < kept[0]:
            return kept[1]
        started = self._clock()
        try:
            hits = await self._asked(about, service, text, is_answer=is_answer)
            answered = Answered("ok", tuple(hits), model=service.detector.model if service.detector else "")
        except DetectorFailure as failure:
            answered = Answered(failure.code, message=failure.message)
        seconds = self._clock() - started
        METRICS.detectors.of(about.name, answered.outcome).add(seconds)
        answered = replace(answered, ms=round(seconds * 1000, 3))
        self._keep(key, answered)
        return answered

    def status(self, detector_id: str) -> str:
        """Of its breaker, empty where it was never asked."""
        service = self._services.get(detector_id)
        return service.breaker.status if service is not None else ""

    def close(self) -> None:
        for service in self._services.values():
            if service.detector is not None:
                service.detector.close()
        self._services.clear()
        self._ways.close()

    async def _asked(self, about: OutsideDetector, service: Service, text: str, *, is_answer: bool) -> Sequence[Hit]:
        """Raises DetectorFailure."""
        if service.detector is None:
            raise DetectorFailure("settings", service.fault)
        breaker = service.breaker
        is_check = not breaker.is_closed and breaker.is_due
        if not breaker.is_closed and not is_check:
            raise DetectorFailure("broken", "It failed again and again and is not asked for a while.")
        if is_check:
            breaker.begin_check()
        passed = False
        try:
            hits = await self._in_time(about, service.detector, service.places, text, is_answer=is_answer)
            passed = True
            breaker.note_success()
            return hits
        except DetectorFailure as failure:
            if failure.code not in UNHURT:
                breaker.note_failure()
            raise
        finally:
            if is_check:
                breaker.end_check(passed=passed)

    async def _in_time(
        self, about: OutsideDetector, detector: Detector, places: Bulkhead, text: str, *, is_answer: bool
    ) -> Sequence[Hit]:
        seconds = about.timeout_ms / 1000
        wire = Wire(self._ways.to, seconds, self._model_folders)
        try:
            async with asyncio.timeout(seconds):
                await places.enter(wait_seconds=None)
                try:
                    return await detector.look(text, is_answer=is_answer, wire=wire)
                finally:
                    places.leave()
        except TimeoutError:
            raise DetectorFailure("timeout", "It did not answer in time.") from None
        except (NoRoom, NoTurn):
            raise DetectorFailure("crowded", "Too many questions wait for it already.") from None
        except DetectorFailure:
            raise
        except Exception:
            logger.exception("unforeseen failure of detector %s", about.name)
            raise DetectorFailure("unforeseen", "The gateway failed while it asked.") from None

    def _service(self, about: OutsideDetector, secret: SealedSecret | None) -> Service:
        state = (about.version, secret.version_id if secret is not None else "")
        service = self._services.get(about.id)
        if service is None or service.state != state:
            if service is not None and service.detector is not None:
                service.detector.close()
            service = self._services[about.id] = self._built(about, secret, state)
        return service

    @sensitive_variables()
    def _built(self, about: OutsideDetector, secret: SealedSecret | None, state: tuple[int, str]) -> Service:
        try:
            return Service(state, made(about, self._opened(secret) if secret is not None else ""))
        except DetectorFailure as failure:
            return Service(state, None, failure.message)
        except VaultError:
            return Service(state, None, "Its secret cannot be opened.")

    def _opened(self, secret: SealedSecret) -> str:
        envelope = Envelope(secret.key_id, secret.wrapped_key, secret.ciphertext)
        context = f"secret_version:{secret.version_id}:value"
        return open_envelope(envelope, context=context, keyring=self._keyring).decode()

    def _keep(self, key: tuple[object, ...], answered: Answered) -> None:
        lasts = KEPT_SECONDS if answered.is_ok else FAILURE_KEPT_SECONDS
        self._kept[key] = (self._clock() + lasts, answered)
        self._kept.move_to_end(key)
        while len(self._kept) > MOST_KEPT:
            self._kept.popitem(last=False)


@sensitive_variables()
def made(about: OutsideDetector, secret: str) -> Detector:
    """Raises DetectorFailure."""
    kind = DETECTOR_KINDS.get(about.kind)
    if kind is None:
        raise DetectorFailure("settings", "This release cannot ask such a service.")
    if kind.needs and not kind.may_lack_it and not secret:
        raise DetectorFailure("secret", "It has no secret.")
    try:
        kind.check(about.settings)
    except ValueError as error:
        raise DetectorFailure("settings", f"Its settings do not fit: {error}") from None
    return kind.build(about.settings, secret)


class Ways:
    """https leads wherever connectors may go; plain http only to networks that the installation allows by name."""

    def __init__(self, allowed_networks: Sequence[IPNetwork]) -> None:
        self._networks = tuple(allowed_networks)
        self._sealed = Egress(allowed_networks=allowed_networks)
        self._plain = Egress(allowed_networks=allowed_networks, resolve=self._resolve_inside)

    def to(self, url: str) -> Egress:
        return self._sealed if urlsplit(url).scheme == "https" else self._plain

    def close(self) -> None:
        self._sealed.close()
        self._plain.close()

    async def _resolve_inside(self, host: str, port: int) -> Sequence[str]:
        found = await resolve_by_system(host, port)
        if not all(any(ip_address(text) in network for network in self._networks) for text in found):
            told = "Plain http leads only to networks in UPSTREAM_ALLOWED_NETWORKS."
            raise UpstreamFailure("address_refused", told, reached=False)
        return found
