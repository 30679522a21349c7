"""The snapshot as it would be after a change that is not saved yet. Pure: what is not touched stays the same object."""

from collections.abc import Callable, Collection, Iterable
from dataclasses import replace

from governance.snapshot import Agent, Bundle, Freeze, Person, Role, Snapshot


def with_agent(snapshot: Snapshot, agent: Agent) -> Snapshot:
    return replace(snapshot, agents={**snapshot.agents, agent.id: agent})


def with_person(snapshot: Snapshot, person: Person) -> Snapshot:
    """Her agents follow: they live and are ruled by what she is."""
    agents = {
        i: replace(agent, owner=person) if agent.owner.id == person.id else agent
        for i, agent in snapshot.agents.items()
    }
    return replace(snapshot, people={**snapshot.people, person.id: person}, agents=agents)


def with_role(snapshot: Snapshot, role: Role, *, holders: Collection[str]) -> Snapshot:
    """`holders` are the ids of all agents that hold the role from now on."""
    agents = {i: _holding(agent, role, holds=i in holders) for i, agent in snapshot.agents.items()}
    return replace(snapshot, agents=agents, roles={**snapshot.roles, role.id: role})


def _holding(agent: Agent, role: Role, *, holds: bool) -> Agent:
    others = tuple(held for held in agent.roles if held.id != role.id)
    if not holds and len(others) == len(agent.roles):
        return agent
    return replace(agent, roles=(*others, role) if holds else others)


def with_freezes(snapshot: Snapshot, freezes: Iterable[Freeze]) -> Snapshot:
    """With these and no others."""
    return replace(snapshot, freezes=tuple(freezes))


def without_tools(snapshot: Snapshot, gone: Collection[str]) -> Snapshot:
    """By id: in quarantine, or no longer pinned."""

    def narrowed(bundle: Bundle) -> Bundle:
        if bundle.tool_ids.isdisjoint(gone):
            return bundle
        return replace(
            bundle,
            tools={name: tool for name, tool in bundle.tools.items() if tool.id not in gone},
            by_union_name={name: tool for name, tool in bundle.by_union_name.items() if tool.id not in gone},
            tool_ids=bundle.tool_ids - set(gone),
        )

    tools = {i: tool for i, tool in snapshot.tools.items() if i not in gone}
    return replace(_with_bundles(snapshot, narrowed), tools=tools)


def without_connector(snapshot: Snapshot, connector_id: str) -> Snapshot:
    """Switched off, or deleted."""
    gone = {tool.id for tool in snapshot.tools.values() if tool.connector.id == connector_id}

    def narrowed(bundle: Bundle) -> Bundle:
        kept = tuple(selection for selection in bundle.selections if selection.connector.id != connector_id)
        return bundle if len(kept) == len(bundle.selections) else replace(bundle, selections=kept)

    return without_tools(_with_bundles(snapshot, narrowed), gone)


def _with_bundles(snapshot: Snapshot, change: Callable[[Bundle], Bundle]) -> Snapshot:
    """Published and staged ones."""
    bundles = {i: change(bundle) for i, bundle in snapshot.bundles.items()}
    return replace(snapshot, bundles=bundles, staged={i: change(bundle) for i, bundle in snapshot.staged.items()})
