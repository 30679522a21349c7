"""Looking for what rules name in content: an agent's arguments, an upstream's answers and all it says meanwhile.

A process in which no rule looks at content never loads the engine. Small texts are looked at where they are. Unless a
glance tells that nothing is in them, others are looked at in a thread, so that the event loop goes on.
"""

import asyncio
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import lru_cache, partial
from typing import Any, Final, TypeVar

from django.utils.crypto import salted_hmac
from django.utils.module_loading import import_string

from gateway.anomalies import HourCounts
from gateway.call import NOTHING, Call
from gateway.canary_index import CanaryWatch
from gateway.class_tables import NO_CLASSES, NONE_WANTED, ClassTables, WantedClasses
from governance.answers import Screen
from governance.inspection.digest import pack_digest
from governance.inspection.findings import BESIDE, CONTAINED, Budget, Finding, Findings, Kind, kinds_named, names_of
from governance.inspection.redaction import Found, evidence
from governance.inspection.skim import Skim
from governance.snapshot import Snapshot

T = TypeVar("T")
ENGINE: Final = "governance.inspection.engine.inspect_value"
GLANCE: Final = "governance.inspection.engine.may_hold"
AT_ONCE_BYTES: Final = 4_096
GLANCED_BYTES: Final = 20_480
"""To glance at so much takes no longer than to look at AT_ONCE_BYTES in which there is as much as can be."""
LARGE_BYTES: Final = 32_768
"""What is done with so large a text takes milliseconds, even if nothing is looked for."""
THREADS: Final = 2
BUDGET: Final = Budget(cpu_seconds=1.5)
"""What is not looked at within it counts as everything that was looked for."""
MOST_TOLD: Final = 100
"""To conditions, of each name."""


class Inspector:
    """One of each gateway process."""

    def __init__(self) -> None:
        self._engine: Callable[..., Findings] | None = None
        self._threads = ThreadPoolExecutor(THREADS, thread_name_prefix="inspection")
        self._hands = ThreadPoolExecutor(THREADS, thread_name_prefix="screening")
        self._classes = ClassTables()
        self._canaries = CanaryWatch()
        self.hours = HourCounts()

    async def look(
        self,
        value: Any,
        names: frozenset[str],
        *,
        size: int,
        snapshot: Snapshot | None = None,
        skim: Skim | None = None,
    ) -> Findings:
        """What is surely there of what rules call `names`, and canaries. `size` is that of the value as JSON, in bytes;
        the snapshot knows data classes and canaries; `skim` remembers what a value holds between two looks at it."""
        canaries = self._canaries.index(snapshot.canaries) if snapshot is not None else None
        if canaries is None and names <= BESIDE:
            return NOTHING
        wanted = self._classes.wanted(names, snapshot.data_classes if snapshot is not None else NO_CLASSES)
        more: dict[str, Any] = {"known": canaries, "skim": skim} if canaries else {"skim": skim}
        found = await self._look(value, kinds_of(names) - CONTAINED, wanted, {"budget": BUDGET, **more}, size)
        if not found and not wanted.unknown:
            return _nothing_of(names)
        return replace(wanted.with_unknown(found.sure()), asked=names)

    async def look_for(
        self,
        value: Any,
        kinds: frozenset[Kind],
        *,
        size: int,
        most: int = BUDGET.findings,
        skim: Skim | None = None,
    ) -> Findings:
        if skim is not None and skim.rules_out(value, kinds):
            return NOTHING
        return await self._look(value, kinds, NONE_WANTED, {"budget": _budget(most), "skim": skim}, size)

    async def beside(self, work: Callable[[], T], *, size: int) -> T:
        """What is done with a large text does not hold the event loop up."""
        if size < LARGE_BYTES:
            return work()
        return await asyncio.get_running_loop().run_in_executor(self._hands, work)

    async def _look(
        self, value: Any, kinds: frozenset[Kind], wanted: WantedClasses, more: Mapping[str, Any], size: int
    ) -> Findings:
        look = partial(self._loaded, value, kinds, wanted, more)
        if self._engine is not None and wanted.is_ready:
            if size <= AT_ONCE_BYTES:
                return look()
            is_glanced_at = size <= GLANCED_BYTES and more["skim"] is not None
            if is_glanced_at and not import_string(GLANCE)(value, kinds=kinds, **wanted.table(), **more):
                return NOTHING
        return await asyncio.get_running_loop().run_in_executor(self._threads, look)

    def _loaded(self, value: Any, kinds: frozenset[Kind], wanted: WantedClasses, more: Mapping[str, Any]) -> Findings:
        if self._engine is None:
            self._engine = import_string(ENGINE)
        return self._engine(value, kinds=kinds, **wanted.table(), **more)


@lru_cache(maxsize=16)
def _nothing_of(names: frozenset[str]) -> Findings:
    return Findings(asked=names)


@lru_cache(maxsize=16)
def _budget(most: int) -> Budget:
    return replace(BUDGET, findings=most)


@lru_cache(maxsize=16)
def kinds_of(names: frozenset[str]) -> frozenset[Kind]:
    return frozenset(kind for name in names for kind in kinds_named(name))


def proof_of(value: Any, found: Findings) -> tuple[Found, ...]:
    """For the record: never the values themselves."""
    return tuple(evidence(value, (*found.found, *found.excepted), fingerprint)) if found else ()


def fingerprint(text: str) -> str:
    return salted_hmac("gatehouse.inspection", text, algorithm="sha256").hexdigest()[:32]


def told(found: Findings) -> tuple[dict[str, Any], ...]:
    """As conditions read it: each finding by the names under which rules know it. However much there is of one name,
    another is told."""
    return tuple(_told(found))


def _told(found: Findings) -> Iterator[dict[str, Any]]:
    counts: Counter[tuple[str, bool]] = Counter()
    for finding in found:
        is_limit = finding.kind == "limit"
        for name in sorted(found.unseen_by(finding) if is_limit else names_of(finding)):
            counts[name, is_limit] += 1
            if counts[name, is_limit] <= MOST_TOLD:
                yield {
                    "kind": name,
                    "rule": finding.rule,
                    "severity": finding.severity.name.lower(),
                    "confidence": finding.confidence,
                    "path": finding.path,
                    "inspected": not is_limit,
                }


def met(screens: Iterable[Screen], found: Findings) -> list[Screen]:
    """Those whose findings are there, or may be."""
    names, unseen = found.named(), found.unseen()
    return [screen for screen in screens if screen.counts(names, unseen)]


def masked_by(screens: Iterable[Screen], found: Findings) -> list[Finding]:
    names = frozenset(name for screen in screens if screen.effect == "mask" for name in screen.findings) - BESIDE
    return [finding for finding in found if not names.isdisjoint(names_of(finding))]


def blind(screens: Iterable[Screen], found: Findings) -> Screen | None:
    """The first that would have to mask what nobody could look at."""
    unseen = found.unseen()
    return next((screen for screen in screens if screen.is_blind(unseen)), None) if unseen else None


def findings_facts(call: Call) -> dict[str, Any]:
    facts: dict[str, Any] = {}
    if call.found:
        facts["findings"] = [found.as_json() for found in call.found]
        facts["pack"] = pack_digest()
    if call.detectors:
        facts["detectors"] = [asked.as_json() for asked in call.detectors]
    if call.redacted_by:
        facts["redacted_by"] = list(call.redacted_by)
    return facts
