"""Which agents run which version of a bundle."""

from dataclasses import dataclass

from governance.lifecycle import version_in_force
from governance.models import Agent, BundleVersion
from governance.models.versions import State

MOST = 500


@dataclass(frozen=True, slots=True)
class Rollout:
    """`agents` hold the bundle, by name, each with whether it has the staged version; `more` are not listed."""

    agents: tuple[tuple[str, bool], ...]
    more: int
    in_force: int
    """The number of the version that all others have; 0 for none."""


def rollout_of(version: BundleVersion) -> Rollout:
    holders = Agent.objects.filter(roles__bundles=version.bundle, status=Agent.Status.LIVE).distinct().order_by("name")
    staged = set(version.staged_agents.values_list("name", flat=True)) if version.state == State.STAGED else set()
    names = list(holders.values_list("name", flat=True)[: MOST + 1])
    published = version_in_force(version.bundle)
    return Rollout(
        agents=tuple((name, name in staged) for name in names[:MOST]),
        more=max(0, holders.count() - MOST),
        in_force=published.number if published else 0,
    )
