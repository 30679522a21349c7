"""Bundles: what a version says, and publishing it."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from django.db.models import Exists, OuterRef, Q

from governance.facts import Recorder
from governance.lifecycle import publish_at_once, withdraw
from governance.models import Bundle, BundleSelection, BundleTool, BundleVersion, Connector, Policy

Entry = BundleTool | BundleSelection
SECTIONS = {BundleSelection.Kind.RESOURCE: "resources", BundleSelection.Kind.PROMPT: "prompts"}


@dataclass(frozen=True, slots=True)
class BundleContent:
    """`tools` and `selections` are unsaved rows."""

    tools: Sequence[BundleTool]
    selections: Sequence[BundleSelection]
    parents: Sequence[Bundle]
    policies: Sequence[Policy]
    names: str
    recording: str

    @classmethod
    def of(cls, version: BundleVersion) -> "BundleContent":
        tools = version.tools.select_related("connector").order_by("connector__name")
        selections = version.selections.select_related("connector").order_by("kind", "connector__name")
        return cls(
            tools=[BundleTool(connector=row.connector, allow=row.allow, deny=row.deny) for row in tools],
            selections=[
                BundleSelection(connector=row.connector, kind=row.kind, allow=row.allow, deny=row.deny)
                for row in selections
            ],
            parents=list(version.parents.all()),
            policies=list(version.policies.all()),
            names=version.names,
            recording=version.recording,
        )

    def plain(self) -> dict[str, Any]:
        """As a manifest writes it."""
        return {
            "tools": _entries(self.tools),
            **{
                section: _entries(entry for entry in self.selections if entry.kind == kind)
                for kind, section in SECTIONS.items()
            },
            "inherits": sorted(parent.name for parent in self.parents),
            "policies": sorted(policy.name for policy in self.policies),
            "names": self.names,
            "recording": self.recording,
        }

    def write(self, version: BundleVersion) -> None:
        """In place of what the version held."""
        version.tools.all().delete()
        version.selections.all().delete()
        version.names, version.recording = self.names, self.recording
        version.save(update_fields=("names", "recording"))
        version.parents.set(self.parents)
        version.policies.set(self.policies)
        entries: list[Entry] = [*self.tools, *self.selections]
        for entry in entries:
            entry.version = version
            entry.save(force_insert=True)


def _entries(entries: Iterable[Entry]) -> list[dict[str, Any]]:
    return [_entry(row) for row in sorted(entries, key=lambda entry: entry.connector.name)]


def _entry(row: Entry) -> dict[str, Any]:
    deny = {"deny": sorted(row.deny)} if row.deny else {}
    return {"connector": row.connector.name, "allow": sorted(row.allow), **deny}


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
    is_manifest: bool = False,
) -> BundleVersion:
    """Gives what `tools` and `selections` (unsaved) select, under these policies, from the caller's commit on.

    Raises Refused where somebody else has to review it first.
    """
    content = BundleContent([*tools], [*selections], [*parents], [*policies], names, recording)
    version: BundleVersion = publish_at_once(bundle, content, by=by, record=record, is_manifest=is_manifest)
    return version


def withdraw_bundle(bundle: Bundle, *, record: Recorder) -> bool:
    """The bundle gives nothing any more; its history stays. False if it gave nothing before."""
    return withdraw(bundle, record=record)


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
