"""Policies: what a version says, and publishing it. Rules in force are never edited: a new version replaces them."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from governance.facts import Recorder
from governance.lifecycle import Refused, publish_at_once, review_is_required, withdraw
from governance.models import BundleVersion, Policy, PolicyVersion, Rule

COPIED = (
    *("effect", "tools", "connectors", "data_classes", "risks", "access", "on", "condition", "findings"),
    *("on_failure", "fields", "reversible", "keep_last", "approvers", "reason", "is_checked"),
)
"""What a rule says, apart from where it stands."""


@dataclass(frozen=True, slots=True)
class PolicyContent:
    """`rules` are unsaved rows in their order; `tests` as stored, see `rule_tests.py`."""

    rules: Sequence[Rule]
    tests: Sequence[Mapping[str, Any]] = ()

    @classmethod
    def of(cls, version: PolicyVersion) -> "PolicyContent":
        rows = version.rules.order_by("position")
        return cls([Rule(**{name: getattr(row, name) for name in COPIED}) for row in rows], version.tests)

    def plain(self) -> dict[str, Any]:
        """As a manifest writes it."""
        tests = {"tests": [*self.tests]} if self.tests else {}
        return {"rules": [rule.manifest_entry() for rule in self.rules], **tests}

    def write(self, version: PolicyVersion) -> None:
        """In place of what the version held."""
        version.rules.all().delete()
        version.tests = list(self.tests)
        version.save(update_fields=("tests",))
        for position, rule in enumerate(self.rules, start=1):
            rule.version, rule.position = version, position
            rule.save(force_insert=True)


def publish_policy(
    policy: Policy,
    *,
    rules: Iterable[Rule],
    tests: Iterable[Mapping[str, Any]] = (),
    by: str,
    record: Recorder,
    is_manifest: bool = False,
) -> PolicyVersion:
    """Puts `rules` (unsaved, in order) into force as the policy's next version.

    Raises Refused where somebody else has to review them first.
    """
    content = PolicyContent([*rules], [*tests])
    version: PolicyVersion = publish_at_once(policy, content, by=by, record=record, is_manifest=is_manifest)
    return version


def withdraw_policy(policy: Policy, *, record: Recorder, is_manifest: bool = False) -> bool:
    """No version is in force any more; the history stays. False if none was.

    To take rules away loosens: where changes are reviewed it takes a version without them. Raises Refused.
    """
    if counts(policy) and review_is_required() and not is_manifest:
        raise Refused("review_required", "Somebody else has to review this: submit a version without rules instead.")
    return withdraw(policy, record=record)


def binds(policy: Policy) -> bool:
    """Something names it; it is taken off there first, where its reach is seen."""
    return policy.bundle_versions.exists() or policy.teams.exists() or policy.organizations.exists()


def counts(policy: Policy) -> bool:
    """Its rules take part in decisions now: as `binds`, without what history holds."""
    published = policy.bundle_versions.filter(state=BundleVersion.State.PUBLISHED)
    return published.exists() or policy.teams.exists() or policy.organizations.exists()
