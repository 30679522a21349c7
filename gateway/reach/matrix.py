"""Who reaches which tool, as rows and columns cut out of a snapshot. Pure: nothing here touches the database."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from itertools import islice
from typing import TypeVar

from gateway.reach.verdicts import Verdict, reach_of_tools, verdict_of
from governance.reach import Holds
from governance.snapshot import Agent, Person, Role, Snapshot, Tool

SUBJECTS_A_PART = 500

Subject = TypeVar("Subject")


@dataclass(frozen=True, slots=True)
class Choice:
    """What a viewer wants to see; empty means all. `team` is a team's id: of the person, or of the agent's owner."""

    connector: str = ""
    bundle: str = ""
    team: str = ""
    risk: str = ""
    only_writes: bool = False
    text: str = ""


@dataclass(frozen=True, slots=True)
class Cell:
    """`through` names the agent by which a person reaches what her roles would not give her."""

    verdict: Verdict
    through: str = ""


@dataclass(frozen=True, slots=True)
class Row:
    name: str
    note: str
    id: str
    cells: tuple[Cell, ...]


def tools_of(snapshot: Snapshot, choice: Choice) -> list[Tool]:
    """The columns, by connector and name."""
    bundle = snapshot.bundles.get(snapshot.bundle_ids.get(choice.bundle, ""))
    return sorted(
        (
            tool
            for tool in snapshot.tools.values()
            if choice.connector in ("", tool.connector.name)
            and (not choice.bundle or (bundle is not None and tool.id in bundle.tool_ids))
            and choice.risk in ("", tool.variables["risk"])
            and not (choice.only_writes and tool.variables["read_only"])
        ),
        key=lambda tool: (tool.connector.name, tool.name),
    )


def agents_of(snapshot: Snapshot, choice: Choice) -> list[Agent]:
    """The rows: all that are not retired, by name."""
    wanted = choice.text.lower()
    return sorted(
        (
            agent
            for agent in snapshot.agents.values()
            if agent.status != "retired"
            and (not choice.team or choice.team in agent.owner.team_ids)
            and (wanted in agent.name or wanted in agent.owner.email.lower())
        ),
        key=lambda agent: agent.name,
    )


def people_of(snapshot: Snapshot, choice: Choice) -> list[Person]:
    wanted = choice.text.lower()
    return sorted(
        (
            person
            for person in snapshot.people.values()
            if person.is_active
            and (not choice.team or choice.team in person.team_ids)
            and (wanted in person.email.lower() or wanted in person.name.lower())
        ),
        key=lambda person: person.email,
    )


def agent_rows(agents: Iterable[Agent], tools: list[Tool], snapshot: Snapshot, *, at: datetime) -> Iterator[Row]:
    for some in _in_parts(agents):
        reach = reach_of_tools(tools, snapshot, at=at)
        for agent in some:
            holds = reach.of(agent)
            cells = tuple(Cell(verdict_of(agent, tool, holds, snapshot)) for tool in tools)
            yield Row(agent.name, agent.owner.email, agent.id, cells)


def people_rows(
    people: Iterable[Person],
    tools: list[Tool],
    snapshot: Snapshot,
    *,
    roles: Mapping[str, tuple[Role, ...]],
    at: datetime,
) -> Iterator[Row]:
    """What a person's own roles would give her, and what she reaches through agents that she answers for."""
    owned = _by_owner(snapshot)
    for some in _in_parts(people):
        reach = reach_of_tools(tools, snapshot, at=at)
        for person in some:
            herself, agents = as_agent(person, roles.get(person.id, ())), owned.get(person.id, [])
            own = reach.of(herself)
            through = _first_reaching((agent.name, reach.of(agent)) for agent in agents)
            cells = tuple(_person_cell(herself, tool, own, through, snapshot) for tool in tools)
            yield Row(person.email, f"{len(agents)} agent{'' if len(agents) == 1 else 's'}", person.id, cells)


def _in_parts(subjects: Iterable[Subject]) -> Iterator[list[Subject]]:
    """What a reach has worked out it keeps; a long export must not keep it all."""
    rest = iter(subjects)
    while part := list(islice(rest, SUBJECTS_A_PART)):
        yield part


def as_agent(person: Person, roles: tuple[Role, ...]) -> Agent:
    """A person's own client counts as an agent that she owns and that has her roles."""
    return Agent(person.id, person.email, "live", person, roles, {"name": "", "title": "", "purpose": "", "owner": ""})


def _by_owner(snapshot: Snapshot) -> dict[str, list[Agent]]:
    owned: dict[str, list[Agent]] = {}
    for agent in snapshot.agents.values():
        if agent.status != "retired":
            owned.setdefault(agent.owner.id, []).append(agent)
    return owned


def _first_reaching(agents: Iterable[tuple[str, Holds]]) -> dict[str, tuple[str, Holds]]:
    """Tool id -> an agent that reaches it; agents of the same kind share one answer, so it is looked at once."""
    found: dict[str, tuple[str, Holds]] = {}
    seen: set[int] = set()
    for name, holds in sorted(agents, key=lambda each: each[0]):
        if id(holds) not in seen:
            seen.add(id(holds))
            for tool in holds:
                found.setdefault(tool, (name, holds))
    return found


def _person_cell(
    herself: Agent, tool: Tool, own: Holds, through: Mapping[str, tuple[str, Holds]], snapshot: Snapshot
) -> Cell:
    verdict = verdict_of(herself, tool, own, snapshot)
    if verdict not in (Verdict.NO, Verdict.STOPPED) or tool.id not in through:
        return Cell(verdict)
    name, holds = through[tool.id]
    return Cell(verdict_of(herself, tool, holds, snapshot), name)


def callers_of(tool: Tool, snapshot: Snapshot, *, at: datetime) -> list[tuple[Agent, Verdict]]:
    """Agents that reach the tool or have it but are stopped, by name."""
    reach = reach_of_tools([tool], snapshot, at=at)
    bundles = {bundle.id for bundle in snapshot.bundles.values() if tool.id in bundle.tool_ids}
    holding = (
        agent
        for agent in snapshot.agents.values()
        if agent.status != "retired" and any(not role.bundle_ids.isdisjoint(bundles) for role in agent.roles)
    )
    return [
        (agent, verdict_of(agent, tool, reach.of(agent), snapshot))
        for agent in sorted(holding, key=lambda agent: agent.name)
    ]
