"""The snapshot as it would be after a change that is not saved yet. Pure: what is not touched stays the same object."""

from collections.abc import Collection, Iterable
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
    return replace(snapshot, agents=agents)


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
    bundles = {
        i: bundle
        if bundle.tool_ids.isdisjoint(gone)
        else replace(
            bundle,
            tools={name: tool for name, tool in bundle.tools.items() if tool.id not in gone},
            by_union_name={name: tool for name, tool in bundle.by_union_name.items() if tool.id not in gone},
            tool_ids=bundle.tool_ids - set(gone),
        )
        for i, bundle in snapshot.bundles.items()
    }
    tools = {i: tool for i, tool in snapshot.tools.items() if i not in gone}
    return replace(snapshot, tools=tools, bundles=bundles)


def without_connector(snapshot: Snapshot, connector_id: str) -> Snapshot:
    """Switched off, or deleted."""
    gone = {tool.id for tool in snapshot.tools.values() if tool.connector.id == connector_id}
    bundles = {i: _without_selections(bundle, connector_id) for i, bundle in snapshot.bundles.items()}
    return without_tools(replace(snapshot, bundles=bundles), gone)


def _without_selections(bundle: Bundle, connector_id: str) -> Bundle:
    kept = tuple(selection for selection in bundle.selections if selection.connector.id != connector_id)
    return bundle if len(kept) == len(bundle.selections) else replace(bundle, selections=kept)
