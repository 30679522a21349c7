"""Findings that humans except for a time: rules do not see them, the record does, with the name of the exception.
What a detection rule finds that is switched off is not there at all.

Where nothing is excepted this costs a look at an empty tuple.
"""

from collections.abc import Iterable
from dataclasses import replace
from datetime import datetime
from typing import Any, Final

from gateway.call import Call
from gateway.inspecting import fingerprint
from governance.decision import Decision
from governance.inspection.findings import Finding, Findings
from governance.inspection.redaction import places
from governance.pattern_exceptions import is_exceptable
from governance.snapshot_values import AllowedPattern, matcher

ALWAYS: Final = frozenset(("limit", "anomaly"))
"""Kinds of finding that say nothing of a text."""


def excepting(found: Findings, value: Any, call: Call, *, now: datetime) -> Findings:
    """The same with what is excepted at this call set apart."""
    snapshot = call.caller.snapshot
    if not found.found or not (snapshot.exceptions or snapshot.detection_off):
        return found
    found, patterns = without(found, snapshot.detection_off), snapshot.exceptions
    standing = [pattern for pattern in patterns if now < pattern.ends_at and _is_for(pattern, call)]
    return set_apart(found, value, standing) if standing else found


def without(found: Findings, rules: frozenset[str]) -> Findings:
    """As if these detection rules looked for nothing."""
    if rules.isdisjoint(each.rule for each in found):
        return found
    return replace(found, found=tuple(each for each in found if each.rule not in rules or not may_be_excepted(each)))


def set_apart(found: Findings, value: Any, patterns: Iterable[AllowedPattern]) -> Findings:
    by_rule: dict[str, list[AllowedPattern]] = {}
    for pattern in patterns:
        by_rule.setdefault(pattern.rule, []).append(pattern)
    asked = [each for each in found if each.rule in by_rule and may_be_excepted(each)]
    if not asked:
        return found
    excepted: dict[Finding, str] = {}
    for finding, shown, text in places(value, asked, among=found):
        name = _excepted_by(by_rule[finding.rule], shown, text)
        if name:
            excepted[finding] = name
    return replace(
        found,
        found=tuple(each for each in found if each not in excepted),
        excepted=tuple(replace(each, exception=name) for each, name in excepted.items()),
    )


def may_be_excepted(finding: Finding) -> bool:
    """A value that is known to be secret, of the vault or a canary, always counts."""
    is_known = finding.kind == "secret" and bool(finding.subject)
    return finding.kind not in ALWAYS and not is_known and is_exceptable(finding.rule)


def bounded(decision: Decision, call: Call) -> Decision:
    """A decision that rests on an exception ends with it."""
    if not call.findings.excepted:
        return decision
    names = {each.exception for each in call.findings.excepted}
    ends = [pattern.ends_at for pattern in call.caller.snapshot.exceptions if pattern.name in names]
    limits = [*ends, *([decision.valid_until] if decision.valid_until else [])]
    return decision._replace(valid_until=min(limits, default=None))


def _is_for(pattern: AllowedPattern, call: Call) -> bool:
    """Of several bundles through which a call may go, an exception holds for all or for none."""
    if pattern.tool_id:
        return pattern.tool_id == call.tool.id
    if pattern.connector_id:
        return pattern.connector_id == call.tool.connector.id
    return all(bundle.id == pattern.bundle_id for bundle in call.candidates)


def _excepted_by(patterns: Iterable[AllowedPattern], shown: str, text: str) -> str:
    print_ = ""
    for pattern in patterns:
        if pattern.path and not matcher(pattern.path)(shown):
            continue
        if pattern.fingerprint:
            print_ = print_ or fingerprint(text)
            if pattern.fingerprint != print_:
                continue
        return pattern.name
    return ""
