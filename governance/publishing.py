"""Putting versions into force, with all that stands before it, whichever door they come through: their tests pass,
their rules mean something where they are used, and somebody has seen the warnings. And drafts that begin as a copy.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from governance import lifecycle
from governance.bundles import BundleContent
from governance.facts import Fact, Recorder
from governance.lifecycle import Content, Refused, Subject, noun_of, open_version, save_draft, subject_of
from governance.models import Agent, BundleVersion
from governance.models.versions import State
from governance.policies import PolicyContent
from governance.rule_checks import RuleFault, Severity, check_bundle_version, check_policy
from governance.rule_tests import TestCaseError, run_tests
from governance.rule_texts import BundleText, RuleText, Selection, World
from governance.rule_world import read_world, rule_text

PAST = (State.SUPERSEDED, State.PUBLISHED)
"""What a draft may go back to: it has been in force."""
MOST_TOLD = 5


@dataclass(frozen=True, slots=True)
class Gate:
    """`refusals` stand against publishing; `warnings` must be acknowledged; `passed` tests of `tests` say yes."""

    refusals: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()
    tests: int = 0

    @property
    def is_open(self) -> bool:
        return not self.refusals


def content_of(version: Any) -> Content:
    return BundleContent.of(version) if isinstance(version, BundleVersion) else PolicyContent.of(version)


# -- the gate


def gate_of(subject: Subject, content: Content, *, world: World | None = None) -> Gate:
    """For this content, if it were published now."""
    world = world or read_world()
    if isinstance(content, BundleContent):
        found = check_bundle_version(_bundle_text(subject.name, content.plain()), world=world)
        return _gate((f"{policy}, rule", fault) for policy, faults in found.items() for fault in faults)
    assert isinstance(content, PolicyContent)
    rules = [rule_text(row) for row in content.rules]
    gate = _gate(("Rule", fault) for fault in check_policy(subject.name, rules=rules, world=world))
    failed = _failed_tests(rules, content.tests, world)
    return replace(gate, refusals=(*gate.refusals, *failed), tests=len(content.tests))


def _gate(faults: Iterable[tuple[str, RuleFault]]) -> Gate:
    """Of faults, each with whose rule it is."""
    told = [(fault.severity, f"{whose} {fault.position}: {fault.message}") for whose, fault in faults]
    return Gate(
        tuple(text for severity, text in told if severity is Severity.REFUSE),
        tuple(text for severity, text in told if severity is not Severity.REFUSE),
    )


def _failed_tests(rules: list[RuleText], tests: Sequence[Mapping[str, Any]], world: World) -> list[str]:
    if not tests:
        return []
    tools = [tool for of_connector in world.tools.values() for tool in of_connector.values()]
    try:
        results = run_tests(rules, tests, tools, calendar=world.calendar)
    except TestCaseError as error:
        return [f"Test {error.position}: {error.field}: {error}"]
    return [result.sentence for result in results if not result.passed]


def _bundle_text(name: str, plain: dict[str, Any]) -> BundleText:
    return BundleText(
        name=name,
        inherits=tuple(plain["inherits"]),
        policies=tuple(plain["policies"]),
        tools=tuple(
            Selection(entry["connector"], tuple(entry["allow"]), tuple(entry.get("deny", ())))
            for entry in plain["tools"]
        ),
    )


def _pass(version: Any, *, acknowledged: bool) -> None:
    """Raises Refused with what stands against it."""
    gate = gate_of(subject_of(version), content_of(version))
    if gate.refusals:
        raise Refused("checks_failed", " ".join(gate.refusals[:MOST_TOLD]))
    if gate.warnings and not acknowledged:
        told = " ".join(gate.warnings[:MOST_TOLD])
        raise Refused("warnings_open", f"Look at the warnings and confirm them: {told}", field="acknowledged")


# -- into force


def publish(version: Any, *, seen: int, acknowledged: bool, by: str, record: Recorder) -> None:
    """For all, as it was looked at (`seen` is its revision). Raises Refused."""
    _pass(version, acknowledged=acknowledged)
    lifecycle.publish(version, seen=seen, by=by, record=record)


def stage(
    version: BundleVersion, agents: Iterable[Agent], *, seen: int, acknowledged: bool, by: str, record: Recorder
) -> None:
    """For these agents. Raises Refused."""
    _pass(version, acknowledged=acknowledged)
    lifecycle.stage(version, agents, seen=seen, by=by, record=record)


# -- drafts from other versions


def roll_back(version: Any, *, by: str, record: Recorder) -> Any:
    """A draft equal to this version; it comes into force as any other does. Raises Refused."""
    subject = subject_of(version)
    if version.state not in PAST:
        raise Refused("wrong_state", f"Version {version.number} was never in force; there is nothing to go back to.")
    if (other := open_version(subject)) is not None:
        state = other.get_state_display().lower()
        raise Refused("wrong_state", f"Version {other.number} is on its way ({state}). Finish or discard it first.")
    draft = save_draft(subject, content_of(version), summary=f"Back to v{version.number}.", by=by, record=record)
    details = {"version": draft.number, "to": version.number}
    record(Fact(f"{noun_of(version)}.rolled_back", f"{noun_of(version)}:{subject.name}", details))
    return draft


def take_over(version: Any, *, by: str, record: Recorder) -> Any:
    """The same content as a new draft on what is in force by now; the outdated one is discarded. Raises Refused."""
    content, authors = content_of(version), list(version.authors)
    lifecycle.discard(version, by=by, record=record)
    draft = save_draft(subject_of(version), content, summary=version.summary, by=by, record=record)
    draft.authors = list(dict.fromkeys([*authors, *draft.authors]))
    draft.save(update_fields=("authors",))
    return draft
