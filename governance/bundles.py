"""Publishing bundles: a version is frozen; a new one takes the place of the old."""

from collections.abc import Collection, Iterable, Mapping

from django.db.models import Exists, OuterRef, Q

from governance.facts import Fact, Recorder
from governance.models import Bundle, BundleSelection, BundleTool, BundleVersion, Connector, Policy


def publish_bundle(
    bundle: Bundle,
    *,
    tools: Iterable[BundleTool],
    selections: Iterable[BundleSelection] = (),
    parents: Iterable[Bundle],
    policies: Iterable[Policy],
    names: str,
    recording: str,
    by: str,
    record: Recorder,
) -> BundleVersion:
    """Gives what `tools` and `selections` (unsaved) select, under these policies, from the caller's commit on."""
    newest = bundle.versions.order_by("-number").first()
    bundle.versions.filter(state=BundleVersion.State.PUBLISHED).update(state=BundleVersion.State.SUPERSEDED)
    version = BundleVersion.objects.create(
        bundle=bundle,
        number=newest.number + 1 if newest else 1,
        names=names,
        recording=recording,
        created_by=by,
    )
    version.parents.set(parents)
    version.policies.set(policies)
    entries: list[BundleTool | BundleSelection] = [*tools, *selections]
    for entry in entries:
        entry.version = version
        entry.save(force_insert=True)
    record(Fact("bundle.published", f"bundle:{bundle.name}", {"version": version.number}))
    return version


def withdraw_bundle(bundle: Bundle, *, record: Recorder) -> bool:
    """The bundle gives nothing any more; its history stays. False if it gave nothing before."""
    published = bundle.versions.filter(state=BundleVersion.State.PUBLISHED)
    if not published.update(state=BundleVersion.State.SUPERSEDED):
        return False
    record(Fact("bundle.withdrawn", f"bundle:{bundle.name}"))
    return True


def given() -> Q:
    """Of connectors: those of which a published bundle gives something: tools, resources or prompts."""
    published = {"connector": OuterRef("pk"), "version__state": BundleVersion.State.PUBLISHED}
    return Q(Exists(BundleTool.objects.filter(**published))) | Q(Exists(BundleSelection.objects.filter(**published)))


def holding(connector: Connector) -> Q:
    """Of bundle versions: those that select something of it."""
    return Q(tools__connector=connector) | Q(selections__connector=connector)


def is_in_use(bundle: Bundle) -> bool:
    """Roles give it, or others build on it: when it goes, it takes its rules along."""
    return bundle.roles.exists() or bundle.child_versions.filter(state=BundleVersion.State.PUBLISHED).exists()


def cycle_in(parents: Mapping[str, Collection[str]]) -> list[str]:
    """The names along a circle of inheritance, first one repeated at the end; empty when there is none."""
    done: set[str] = set()
    for start in parents:
        path: list[str] = []
        pending = [(start, False)]
        while pending:
            name, is_left = pending.pop()
            if is_left:
                done.add(path.pop())
            elif name in path:
                return [*path[path.index(name) :], name]
            elif name not in done:
                path.append(name)
                pending.append((name, True))
                pending += [(parent, False) for parent in sorted(parents.get(name, ()))]
    return []
