"""Who reaches which tool, as rows and columns cut out of a snapshot. Pure: nothing here touches the database."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import islice
from typing import TypeVar

from gateway.reach.details import NOTHING, Detail, detail_of
from gateway.reach.verdicts import Verdict, View, gives, reach_of_tools, verdict_of
from governance.reach import Holds
from governance.snapshot import Agent, Person, Snapshot, Tool

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
    detail: Detail = NOTHING


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


def agent_rows(agents: Iterable[Agent], tools: list[Tool], view: View) -> Iterator[Row]:
    for some in _in_parts(agents):
        reach = reach_of_tools(tools, view)
        for agent in some:
            holds = reach.of(view.seen.agents.get(agent.id))
            cells = tuple(_cell(agent, tool, holds, view) for tool in tools)
            yield Row(agent.name, agent.owner.email, agent.id, cells)


def _cell(agent: Agent, tool: Tool, holds: Holds, view: View, *, through: str = "") -> Cell:
    verdict = verdict_of(agent, tool, holds, view.snapshot)
    return Cell(verdict, through, detail_of(agent, tool, verdict, view))


def people_rows(people: Iterable[Person], tools: list[Tool], view: View) -> Iterator[Row]:
    """What a person's own roles would give her, and what she reaches through agents that she answers for."""
    owned = _by_owner(view.snapshot)
    for some in _in_parts(people):
        with_people = view.with_agents(as_agent(person, view.snapshot) for person in some)
        reach = reach_of_tools(tools, with_people)
        for person in some:
            agents = owned.get(person.id, [])
            own = reach.of(with_people.seen.agents[person.id])
            through = _first_reaching((agent, reach.of(with_people.seen.agents[agent.id])) for agent in agents)
            cells = tuple(_person_cell(person, tool, own, through, with_people) for tool in tools)
            yield Row(person.email, f"{len(agents)} agent{'' if len(agents) == 1 else 's'}", person.id, cells)


def _in_parts(subjects: Iterable[Subject]) -> Iterator[list[Subject]]:
    """What a reach has worked out it keeps; a long export must not keep it all."""
    rest = iter(subjects)
    while part := list(islice(rest, SUBJECTS_A_PART)):
        yield part


def as_agent(person: Person, snapshot: Snapshot) -> Agent:
    """A person's own client counts as an agent that she owns and that has her roles; her grants go by her id."""
    lasting = tuple(role for role in snapshot.roles_of(person) if not role.grant_id)
    return Agent(
        person.id, person.email, "live", person, lasting, {"name": "", "title": "", "purpose": "", "owner": ""}
    )


def _by_owner(snapshot: Snapshot) -> dict[str, list[Agent]]:
    owned: dict[str, list[Agent]] = {}
    for agent in snapshot.agents.values():
        if agent.status != "retired":
            owned.setdefault(agent.owner.id, []).append(agent)
    return owned


def _first_reaching(agents: Iterable[tuple[Agent, Holds]]) -> dict[str, tuple[Agent, Holds]]:
    """Tool id -> an agent that reaches it; agents of the same kind share one answer, so it is looked at once."""
    found: dict[str, tuple[Agent, Holds]] = {}
    seen: set[int] = set()
    for agent, holds in sorted(agents, key=lambda each: each[0].name):
        if id(holds) not in seen:
            seen.add(id(holds))
            for tool in holds:
                found.setdefault(tool, (agent, holds))
    return found


def _person_cell(
    person: Person, tool: Tool, own: Holds, through: Mapping[str, tuple[Agent, Holds]], view: View
) -> Cell:
    if tool.id in own or tool.id not in through:
        return _cell(view.snapshot.agents[person.id], tool, own, view)
    agent, holds = through[tool.id]
    return _cell(agent, tool, holds, view, through=agent.name)


def callers_of(tool: Tool, view: View) -> list[tuple[Agent, Verdict]]:
    """Agents that reach the tool or have it but are stopped, by name."""
    reach = reach_of_tools([tool], view)
    agents = (agent for agent in view.snapshot.agents.values() if agent.status != "retired")
    holding = (agent for agent in agents if gives(agent, tool, view.snapshot))
    return [
        (agent, verdict_of(agent, tool, reach.of(view.seen.agents[agent.id]), view.snapshot))
        for agent in sorted(holding, key=lambda agent: agent.name)
    ]
