"""What a version changed against the one before, in words."""

from collections.abc import Iterable, Iterator

from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString

from gateway.console.base import visible
from governance.models import BundleSelection, BundleTool, BundleVersion, PolicyVersion, Rule

Change = tuple[str, str]
"""A sign, `+`, `−` or `~`, and a sentence."""
MEANINGS = {"+": "new: ", "−": "gone: ", "~": "other: "}


def listed(changes: Iterable[Change]) -> SafeString | str:
    rows = [(sign, MEANINGS[sign], visible(text)) for sign, text in changes]
    if not rows:
        return "Nothing differs."
    line = '<li><span aria-hidden="true">{}</span> <span class="gh-only-heard">{}</span>{}</li>'
    return format_html('<ul class="gh-version-changes">{}</ul>', format_html_join("", line, rows))


def bundle_changes(before: BundleVersion, after: BundleVersion) -> list[Change]:
    changes = [
        *_added_and_gone(_given(before), _given(after)),
        *_added_and_gone(_withheld(before), _withheld(after)),
        *_added_and_gone(_bonds(before), _bonds(after)),
    ]
    for was, becomes, what in (
        (before.get_names_display(), after.get_names_display(), "names of the tools"),
        (before.get_recording_display(), after.get_recording_display(), "what evidence keeps"),
    ):
        if was != becomes:
            changes.append(("~", f"{what}: {was} → {becomes}"))
    return changes


def _given(version: BundleVersion) -> set[str]:
    return {f"gives {what}: {glob}" for what, entry in _entries(version) for glob in entry.allow}


def _withheld(version: BundleVersion) -> set[str]:
    return {f"but never {what}: {glob}" for what, entry in _entries(version) for glob in entry.deny}


def _entries(version: BundleVersion) -> Iterator[tuple[str, BundleTool | BundleSelection]]:
    yield from ((tool.connector.name, tool) for tool in version.tools.all())
    for entry in version.selections.all():
        yield f"{entry.get_kind_display().lower()} of {entry.connector.name}", entry


def _bonds(version: BundleVersion) -> set[str]:
    parents = {f"inherits the rules of {parent.name}" for parent in version.parents.all()}
    return parents | {f"is bound by policy {policy.name}" for policy in version.policies.all()}


def policy_changes(before: PolicyVersion, after: PolicyVersion) -> list[Change]:
    was, becomes = ({rule_sentence(rule) for rule in version.rules.all()} for version in (before, after))
    return list(_added_and_gone(was, becomes))


def rule_sentence(rule: Rule) -> str:
    """E.g. `ask support-leads (1 of them) before billing_refund when args.amount > 100: Refunds need a lead`."""
    who = f" {rule.approvers['team']} ({rule.approvers.get('count', 1)} of them)" if rule.approvers else ""
    before = " before" if rule.effect == Rule.Effect.ASK else ""
    side = " in results" if rule.on == Rule.Side.RESULT else ""
    found = f" where {' or '.join(rule.findings)} is found" if rule.findings else ""
    when = f" when {rule.condition}" if rule.condition else ""
    why = f": {rule.reason}" if rule.reason else ""
    return f"{rule.effect}{who}{before} {', '.join(rule.tools)}{side}{found}{when}{why}"


def _added_and_gone(before: set[str], after: set[str]) -> Iterator[Change]:
    yield from (("+", text) for text in sorted(after - before))
    yield from (("−", text) for text in sorted(before - after))
