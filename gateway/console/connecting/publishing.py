"""Publishing a connector's tools in a bundle, and giving the bundle to an agent: the last step of the wizard."""

import glob
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from datetime import datetime
from fnmatch import fnmatchcase
from typing import Any

from gateway.console.acting import act_in_epoch, person_named
from gateway.reviewing import submit
from governance.bundles import BundleContent
from governance.facts import Fact, Recorder
from governance.lifecycle import open_version, publish_at_once, review_is_required, save_draft
from governance.models import Agent, Bundle, BundleSelection, BundleTool, BundleVersion, Connector, Role, User


class Overtaken(Exception):
    """Somebody published the bundle, or took a name, after the effect was shown; nothing was done."""


@dataclass(frozen=True, slots=True)
class Wish:
    """`bundle` and `agent` are rows, or else new ones by name; no agent at all is both empty."""

    tools: tuple[str, ...]
    bundle: Bundle | None
    bundle_name: str
    agent: Agent | None
    agent_name: str
    seen: int
    """The bundle's version number when the effect was shown; 0 for a new bundle."""

    @property
    def called(self) -> str:
        return self.bundle.name if self.bundle else self.bundle_name


@dataclass(frozen=True, slots=True)
class Effect:
    """What a wish would do: which tools come and go for those who hold the bundle, and who joins them."""

    gained: tuple[str, ...]
    lost: tuple[str, ...]
    holders: tuple[str, ...]
    receiver: str
    receiver_gains: int
    replaces_patterns: bool


@dataclass(frozen=True, slots=True)
class Published:
    bundle: Bundle
    agent: Agent | None
    version: BundleVersion
    epoch: int

    @property
    def waits(self) -> bool:
        """For somebody else to review it."""
        return self.version.state != BundleVersion.State.PUBLISHED


def published_version(bundle: Bundle | None) -> BundleVersion | None:
    if bundle is None:
        return None
    return bundle.versions.filter(state=BundleVersion.State.PUBLISHED).prefetch_related("tools").first()


def given(version: BundleVersion | None, connector: Connector, names: Iterable[str]) -> tuple[str, ...]:
    """Which of these tools of the connector the version holds."""
    entry = _entry(version, connector)
    return tuple(name for name in names if entry and selects(entry, name))


def _entry(version: BundleVersion | None, connector: Connector) -> BundleTool | None:
    return next((tool for tool in version.tools.all() if tool.connector_id == connector.pk), None) if version else None


def selects(entry: BundleTool, name: str) -> bool:
    return any(fnmatchcase(name, allowed) for allowed in entry.allow) and not any(
        fnmatchcase(name, denied) for denied in entry.deny
    )


def exactly(name: str) -> str:
    """A pattern for this name alone: an upstream may call a tool `*`, which as a pattern would give everything."""
    return glob.escape(name)


def effect(connector: Connector, wish: Wish, *, names: Collection[str]) -> Effect:
    version = published_version(wish.bundle)
    before, after = set(given(version, connector, names)), set(wish.tools)
    entry = _entry(version, connector)
    holders = _holders(wish.bundle)
    receiver = wish.agent.name if wish.agent else wish.agent_name
    return Effect(
        gained=tuple(sorted(after - before)),
        lost=tuple(sorted(before - after)),
        holders=holders,
        receiver=receiver if receiver not in holders else "",
        receiver_gains=len(after),
        replaces_patterns=bool(entry and before != after and _has_patterns(entry)),
    )


def _has_patterns(entry: BundleTool) -> bool:
    return any(exactly(pattern) != pattern for pattern in (*entry.allow, *entry.deny))


def _holders(bundle: Bundle | None) -> tuple[str, ...]:
    if bundle is None:
        return ()
    agents = Agent.objects.filter(roles__bundles=bundle, status=Agent.Status.LIVE, owner__is_active=True)
    return tuple(agents.order_by("name").values_list("name", flat=True).distinct())


def publish(connector: Connector, wish: Wish, *, person: User) -> Published:
    """One transaction: bundle, role and agent, or none of them. Raises Overtaken."""
    by = person_named(person)

    def work(record: Recorder, now: datetime) -> tuple[Bundle, Agent | None, BundleVersion]:
        bundle, version = _publish_bundle(connector, wish, by=by, record=record)
        agent = _agent(wish, person, record)
        if agent is not None:
            _give(bundle, agent, record)
        return bundle, agent, version

    (bundle, agent, version), epoch = act_in_epoch(work, by=by)
    return Published(bundle, agent, version, epoch)


def _publish_bundle(connector: Connector, wish: Wish, *, by: str, record: Recorder) -> tuple[Bundle, BundleVersion]:
    bundle = wish.bundle or _new_bundle(wish.bundle_name)
    Bundle.objects.select_for_update().get(pk=bundle.pk)
    before = published_version(bundle)
    if (before.number if before else 0) != wish.seen:
        raise Overtaken(f"Somebody else changed the bundle {bundle.name} meanwhile. Look at the effect again.")
    content = BundleContent(
        tools=[*_others(before, connector), _selection(connector, wish, before)],
        selections=_as_before(before),
        parents=list(before.parents.all()) if before else [],
        policies=list(before.policies.all()) if before else [],
        names=before.names if before else BundleVersion.Names.AUTO,
        recording=before.recording if before else BundleVersion.Recording.FULL,
    )
    return bundle, _put_forward(bundle, content, connector, by=by, record=record)


def _put_forward(
    bundle: Bundle, content: BundleContent, connector: Connector, *, by: str, record: Recorder
) -> BundleVersion:
    """Published, or sent to somebody else where changes are reviewed."""
    version: BundleVersion
    if not review_is_required():
        version = publish_at_once(bundle, content, by=by, record=record)
        return version
    if (other := open_version(bundle)) is not None:
        state = other.get_state_display().lower()
        raise Overtaken(f"Version {other.number} of {bundle.name} is on its way ({state}). Go on with that one.")
    version = save_draft(bundle, content, by=by, record=record)
    submit(version, summary=f"Tools of {connector.name}.", seen=version.revision, by=by, record=record)
    return version


def _new_bundle(name: str) -> Bundle:
    bundle, is_new = Bundle.objects.get_or_create(name=name)
    if not is_new:
        raise Overtaken(f"There is a bundle {name} by now. Choose it, or another name.")
    return bundle


def _others(version: BundleVersion | None, connector: Connector) -> list[BundleTool]:
    rows = version.tools.exclude(connector=connector) if version else BundleTool.objects.none()
    return [BundleTool(connector_id=row.connector_id, allow=row.allow, deny=row.deny) for row in rows]


def _as_before(version: BundleVersion | None) -> list[BundleSelection]:
    """Resources and prompts are chosen elsewhere."""
    rows = version.selections.all() if version else BundleSelection.objects.none()
    return [
        BundleSelection(connector_id=row.connector_id, kind=row.kind, allow=row.allow, deny=row.deny) for row in rows
    ]


def _selection(connector: Connector, wish: Wish, before: BundleVersion | None) -> BundleTool:
    """The patterns that are there, if they give what is wanted; else the tools by name."""
    entry = _entry(before, connector)
    names = connector.tools.values_list("name", flat=True)
    if entry and set(given(before, connector, names)) == set(wish.tools):
        return BundleTool(connector=connector, allow=entry.allow, deny=entry.deny)
    return BundleTool(connector=connector, allow=sorted(map(exactly, wish.tools)), deny=[])


def _agent(wish: Wish, person: User, record: Recorder) -> Agent | None:
    if wish.agent or not wish.agent_name:
        return wish.agent
    agent, is_new = Agent.objects.get_or_create(name=wish.agent_name, defaults={"owner": person})
    if not is_new:
        raise Overtaken(f"There is an agent {wish.agent_name} by now. Choose it, or another name.")
    record(Fact("agent.created", f"agent:{agent.name}", {"owner": person.email}))
    return agent


def _give(bundle: Bundle, agent: Agent, record: Recorder) -> None:
    """By a role that gives just this bundle, always, to agents: an existing one or a new one of the bundle's name."""
    if agent.roles.filter(bundles=bundle, starts_at=None, ends_at=None, schedule={}).exists():
        return
    role = _plain_role(bundle) or _new_role(bundle)
    role.agents.add(agent)
    details: dict[str, Any] = {"role": role.name, "bundle": bundle.name}
    record(Fact("role.given", f"agent:{agent.name}", details))


def _plain_role(bundle: Bundle) -> Role | None:
    timeless = Role.objects.filter(bundles=bundle, starts_at=None, ends_at=None, schedule={})
    return next((role for role in timeless.order_by("name") if role.bundles.count() == 1), None)


def _new_role(bundle: Bundle) -> Role:
    taken = set(Role.objects.filter(name__startswith=bundle.name[:55]).values_list("name", flat=True))
    names = [bundle.name, *(f"{bundle.name[:55]}-users-{number}" for number in range(1, len(taken) + 2))]
    role = Role.objects.create(name=next(name for name in names if name not in taken))
    role.bundles.add(bundle)
    return role
