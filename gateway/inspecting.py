"""Looking for what rules name in content: an agent's arguments, an upstream's answers and all it says meanwhile.

A process in which no rule looks at content never loads the engine. Small texts are looked at where they are; others in
a thread, so that the event loop goes on.
"""

import asyncio
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache, partial
from typing import Any, Final

from django.utils.crypto import salted_hmac
from django.utils.module_loading import import_string

from gateway.call import NOTHING, Call
from governance.answers import Screen
from governance.inspection.findings import NAMED, Budget, Finding, Findings, Kind
from governance.inspection.redaction import Found, evidence

ENGINE: Final = "governance.inspection.engine.inspect_value"
AT_ONCE_BYTES: Final = 4_096
THREADS: Final = 2
BUDGET: Final = Budget(cpu_seconds=1.5)
"""What is not looked at within it counts as everything that was looked for."""
MOST_TOLD: Final = 100
"""To conditions."""


class Inspector:
    """One of each gateway process."""

    def __init__(self) -> None:
        self._engine: Callable[..., Findings] | None = None
        self._threads = ThreadPoolExecutor(THREADS, thread_name_prefix="inspection")

    async def look(self, value: Any, names: frozenset[str], *, size: int) -> Findings:
        """What is surely there of what rules call `names`. `size` is that of the value as JSON, in bytes."""
        if not names:
            return NOTHING
        if self._engine is not None and size <= AT_ONCE_BYTES:
            return self._engine(value, kinds=kinds_of(names), budget=BUDGET).sure()
        loop = asyncio.get_running_loop()
        return (await loop.run_in_executor(self._threads, partial(self._loaded, value, kinds_of(names)))).sure()

    def _loaded(self, value: Any, kinds: frozenset[Kind]) -> Findings:
        if self._engine is None:
            self._engine = import_string(ENGINE)
        return self._engine(value, kinds=kinds, budget=BUDGET)


@lru_cache(maxsize=16)
def kinds_of(names: frozenset[str]) -> frozenset[Kind]:
    return frozenset(kind for name in names for kind in NAMED[name])


def proof_of(value: Any, found: Findings) -> tuple[Found, ...]:
    """For the record: never the values themselves."""
    return tuple(evidence(value, found, fingerprint)) if found else ()


def fingerprint(text: str) -> str:
    return salted_hmac("gatehouse.inspection", text, algorithm="sha256").hexdigest()[:32]


def told(found: Findings) -> tuple[dict[str, Any], ...]:
    """As conditions read it: each finding by the names under which rules know it."""
    return tuple(
        {
            "kind": name,
            "rule": finding.rule,
            "severity": finding.severity.name.lower(),
            "confidence": finding.confidence,
            "path": finding.path,
        }
        for name in sorted(NAMED)
        for finding in found.found[:MOST_TOLD]
        if finding.kind == "limit" or finding.kind in NAMED[name]
    )


def met(screens: Iterable[Screen], found: Findings) -> list[Screen]:
    """Those whose findings are there."""
    names = found.named()
    return [screen for screen in screens if not screen.findings or not screen.findings.isdisjoint(names)]


def masked_by(screens: Iterable[Screen], found: Findings) -> list[Finding]:
    kinds = kinds_of(frozenset(name for screen in screens if screen.effect == "mask" for name in screen.findings))
    return [finding for finding in found if finding.kind in kinds]


def findings_facts(call: Call) -> dict[str, Any]:
    facts: dict[str, Any] = {}
    if call.found:
        facts["findings"] = [found.as_json() for found in call.found]
    if call.redacted_by:
        facts["redacted_by"] = list(call.redacted_by)
    return facts
