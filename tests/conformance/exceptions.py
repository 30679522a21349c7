"""What fails and may: one reason per line, exact. A line that fails no more fails the run, so the list only shrinks."""

from collections.abc import Mapping

NO_KEYS = "a legacy question has no key of its own, so the gateway has to make one up"
ONE_BY_ONE = "a legacy upstream asks one question after another, so no two can be handed on together"
ASKS_INSIDE = "a legacy task asks while it runs: no question can come before it is made"
SERVED = "a legacy upstream's task is waited for by the gateway, so nobody has to be refused"

LEGACY_UPSTREAM = {
    "input-required-result-basic-elicitation: sep-2322-elicitation-incomplete": NO_KEYS,
    "input-required-result-ignore-extra-params: sep-2322-ignore-unexpected-params": NO_KEYS,
    "input-required-result-multiple-input-requests: sep-2322-multiple-inputs-incomplete": ONE_BY_ONE,
    "tasks-mrtr-input: tasks-mrtr-partial-fulfillment": ONE_BY_ONE,
    "tasks-mrtr-composition: sep-2663-mrtr-synchronous-before-task-creation": ASKS_INSIDE,
    "tasks-required-task-error: sep-2663-server-returns-missing-capability-when-required": SERVED,
}
"""Over an upstream that speaks only revisions up to 2025-11-25, for clients of 2026-07-28. The other way round nothing
gets lost."""


def allowed(revision: str, era: str) -> Mapping[str, str]:
    """`scenario: check` -> why it may fail."""
    return LEGACY_UPSTREAM if revision == "2026-07-28" and era == "legacy" else {}
