"""One version of a bundle or policy, seen from outside: against another, and as the snapshot would be under it."""

from typing import Any

from django.db.models import prefetch_related_objects

from governance.lifecycle import noun_of, subject_of, version_in_force
from governance.models import BundleVersion
from governance.models.versions import State
from governance.publishing import content_of
from governance.rule_world import read_world
from governance.snapshot import Snapshot
from governance.snapshot_builder import Draft, revised_snapshot
from governance.version_diff import Change, bundle_changes, policy_changes


def compared_with(version: Any) -> Any:
    """What a reader holds it against: what is in force, or for history what came before. None if there is nothing."""
    in_force = version_in_force(subject_of(version))
    if version.state in (State.DRAFT, State.REVIEW, State.STAGED):
        return in_force
    versions = subject_of(version).versions.exclude(state=State.DISCARDED)
    return versions.filter(number__lt=version.number).order_by("-number").first()


def changes_between(before: Any, after: Any) -> list[Change]:
    """`before` is None for what begins with nothing."""
    was, becomes = content_of(before).plain() if before else {}, content_of(after).plain()
    if isinstance(after, BundleVersion):
        return bundle_changes(was, becomes, known=read_world().tools)
    return policy_changes(was, becomes)


def draft_of(version: Any) -> Draft:
    """The rows as if this version were in force."""
    subject = subject_of(version)
    if isinstance(version, BundleVersion):
        prefetch_related_objects([version], "tools", "selections", "parents", "policies")
        return Draft(versions={subject.pk.hex: version})
    rules = version.rules.select_related("version__policy").order_by("position")
    return Draft(rules={subject.pk.hex: list(rules)})


def under(version: Any, snapshot: Snapshot) -> Snapshot:
    """The snapshot as it would be with this version in force for all."""
    return revised_snapshot(snapshot, draft_of(version))


def full_name(version: Any) -> str:
    """E.g. `bundle support v7`."""
    return f"{noun_of(version)} {version}"
