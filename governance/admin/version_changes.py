"""What a version changed against the one before, in words."""

from collections.abc import Iterable

from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString

from gateway.console.base import visible
from governance import version_diff
from governance.bundles import BundleContent
from governance.models import BundleVersion, PolicyVersion, Rule
from governance.policies import PolicyContent

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
    return _told(
        version_diff.bundle_changes(BundleContent.of(before).plain(), BundleContent.of(after).plain(), known={})
    )


def policy_changes(before: PolicyVersion, after: PolicyVersion) -> list[Change]:
    return _told(version_diff.policy_changes(PolicyContent.of(before).plain(), PolicyContent.of(after).plain()))


def _told(changes: Iterable[version_diff.Change]) -> list[Change]:
    return [(change.sign, str(change)) for change in changes]


def rule_sentence(rule: Rule) -> str:
    return version_diff.rule_sentence(rule.manifest_entry())
