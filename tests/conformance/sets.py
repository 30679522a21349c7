"""What is run through a gateway, and what must not fail."""

from dataclasses import dataclass

from tests.conformance.harness import EARLIER, FIRST, LEGACY, MODERN

TASKS = frozenset(
    f"tasks-{name}"
    for name in (
        "lifecycle",
        "capability-negotiation",
        "wire-fields",
        "request-state-removal",
        "mrtr-input",
        "request-headers",
        "dispatch-and-envelope",
        "status-notifications",
        "required-task-error",
        "mrtr-composition",
    )
)
"""Unscored by the suite, since tasks are an extension; to us they carry approvals."""

ROUTING = frozenset({"http-header-validation", "http-custom-header-server-validation", "json-schema-2020-12"})
"""Unscored as yet; a gateway that does not pass them can be led around its policy, or loses parts of schemas."""


SESSIONS = frozenset({"server-session-lifecycle"})


@dataclass(frozen=True, slots=True)
class Set:
    """One run of the suite. `demanded` names scenarios that must be among those that ran."""

    name: str
    words: tuple[str, ...]
    demanded: frozenset[str]
    count: int
    """Scenarios at least: a suite that runs less has changed and proves less."""


SETS = {
    each.name: each
    for each in (
        Set("2026-07-28", MODERN, TASKS | ROUTING | {"server-stateless", "caching", "dns-rebinding-protection"}, 50),
        Set(
            "2025-11-25", LEGACY, frozenset({"server-initialize", "server-session-lifecycle", "server-sse-polling"}), 33
        ),
        Set("2025-06-18", EARLIER, frozenset({"server-initialize", "server-session-lifecycle"}), 27),
        Set("2025-03-26", FIRST, frozenset({"server-session-lifecycle"}), 1),
    )
}
