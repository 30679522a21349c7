"""Publishing policies: rules are never edited in place; a new version takes the place of the old."""

from collections.abc import Iterable

from governance.facts import Fact, Recorder
from governance.models import BundleVersion, Policy, PolicyVersion, Rule


def publish_policy(policy: Policy, *, rules: Iterable[Rule], by: str, record: Recorder) -> PolicyVersion:
    """Puts `rules` (unsaved, in order) into force as the policy's next version."""
    newest = policy.versions.order_by("-number").first()
    policy.versions.filter(state=PolicyVersion.State.PUBLISHED).update(state=PolicyVersion.State.SUPERSEDED)
    version = PolicyVersion.objects.create(policy=policy, number=newest.number + 1 if newest else 1, created_by=by)
    for position, rule in enumerate(rules, start=1):
        rule.version, rule.position = version, position
        rule.save(force_insert=True)
    record(Fact("policy.published", f"policy:{policy.name}", {"version": version.number}))
    return version


def withdraw_policy(policy: Policy, *, record: Recorder) -> bool:
    """No version is in force any more; the history stays. False if none was."""
    in_force = policy.versions.filter(state=PolicyVersion.State.PUBLISHED)
    if not in_force.update(state=PolicyVersion.State.SUPERSEDED):
        return False
    record(Fact("policy.withdrawn", f"policy:{policy.name}"))
    return True


def binds(policy: Policy) -> bool:
    """Something names it; it is taken off there first, where its reach is seen."""
    return policy.bundle_versions.exists() or policy.teams.exists() or policy.organizations.exists()


def counts(policy: Policy) -> bool:
    """Its rules take part in decisions now: as `binds`, without what history holds."""
    published = policy.bundle_versions.filter(state=BundleVersion.State.PUBLISHED)
    return published.exists() or policy.teams.exists() or policy.organizations.exists()
