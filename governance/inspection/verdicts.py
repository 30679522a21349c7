"""What the findings come to for one text, in the form of `manage.py inspect`."""

import time
from collections.abc import Mapping
from typing import Any, Final

from governance.inspection.engine import inspect_text
from governance.inspection.findings import KINDS, MEASURED, SURE, Finding, Findings, Kind, Severity

TASKS: Final[Mapping[str, frozenset[Kind]]] = {
    "secrets": frozenset(("secret",)),
    "pii": frozenset(("personal", "card")),
    "injection": frozenset(("injection", "suspicion", "guess", "unicode")),
    "tool_description": frozenset(("definition", "injection", "suspicion", "unicode")),
}
"""Which kinds of finding answer a task; of any other task, all."""
MASKED: Final = frozenset(("secret", "personal", "card"))


def verdict(record: Mapping[str, Any]) -> dict[str, Any]:
    kinds = TASKS.get(record.get("task", ""), KINDS)
    started = time.perf_counter()
    found = inspect_text(record["text"], kinds=kinds)
    elapsed = time.perf_counter() - started
    told = [finding for finding in found if finding.kind in kinds - MEASURED]
    sure = [finding for finding in told if finding.confidence >= SURE]
    return {
        "id": record["id"],
        "flagged": bool(sure),
        "score": round(_score(found), 4),
        "action": _action(sure),
        "spans": [[finding.start, finding.end, finding.rule] for finding in sure],
        "complete": found.is_complete,
        "ms": round(1000 * elapsed, 4),
    }


def _score(found: Findings) -> float:
    """Several findings together are surer than the surest alone; those of injection have weighed that already, and a
    guess has weighed them. The score grades texts of which nothing is told as well."""
    ordered = found.of("guess") or found.of("injection", "suspicion")
    doubt = 1.0 - max((finding.confidence for finding in ordered), default=0.0)
    for finding in found:
        if finding.kind not in ("limit", "injection", "suspicion", "guess"):
            doubt *= 1.0 - finding.confidence
    return 1.0 - doubt


def _action(sure: list[Finding]) -> str:
    if not sure:
        return "allow"
    if all(finding.kind in MASKED for finding in sure):
        return "mask"
    return "block" if max(finding.severity for finding in sure) >= Severity.HIGH else "flag"
