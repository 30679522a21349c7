"""Our own two tools, where agents may ask, and what descriptions tell of an agent's limits."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import pytest
from hypothesis import given
from hypothesis import strategies as some

from gateway.mcp.listing import LIMIT_LENGTH
from gateway.mcp.own_tools import DEFINITIONS, UNKNOWN
from gateway.mcp.revisions import APPROVALS, REQUEST_ACCESS
from gateway.requests_of_agents import Standing, Wish
from governance.conditions import compile_condition
from governance.snapshot import Scope, Snapshot
from tests import factories as make
from tests.gateway.mcp_surface import McpPorts, Surface, world

AT = datetime(2026, 3, 2, 12, tzinfo=UTC)


class Requests:
    """What agents asked for, without a database; `waiting` is of the agent at hand."""

    def __init__(self) -> None:
        self.wishes: list[Wish] = []
        self.waiting: dict[str, list[Standing]] = {}

    async def ask(self, wish: Wish, snapshot: Snapshot) -> Standing:
        self.wishes.append(wish)
        return standing("APR-1")

    async def latest(self, agent_id: str) -> list[Standing]:
        return self.waiting.get(agent_id, [])


def standing(name: str, state: str = "pending", because: str = "") -> Standing:
    url, until = f"https://gatehouse.example/approvals/{name}/", AT + timedelta(hours=1)
    return Standing(uuid4(), name, "access to billing", state, because, url, until)


def snapshot(**fields: Any) -> Snapshot:
    """The agent holds `support`; its owner holds `billing`, and nobody `secret`."""
    bundles = [make.bundle(name) for name in ("support", "billing", "secret")]
    owner = make.person()
    agent = make.agent(owner=owner, roles=(make.role("bundle-support"),))
    hers = make.role("bundle-billing", name="hers", person_ids=frozenset({owner.id}))
    return world(*bundles, agent=agent, roles={hers.id: hers}, **{"agents_may_ask": True, **fields})


@pytest.fixture
def surface() -> Surface:
    return at(snapshot())


def at(view: Snapshot) -> Surface:
    ports = McpPorts(view)
    ports.requests = Requests()  # type: ignore[assignment]
    return Surface(ports)


async def names(surface: Surface, **options: str) -> list[str]:
    return [tool["name"] for tool in (await surface.ask("tools/list", **options)).result["tools"]]


async def call(surface: Surface, name: str, **arguments: Any) -> Any:
    return (await surface.ask("tools/call", {"name": name, "arguments": arguments})).result


def text_of(result: Any) -> str:
    return str(result["content"][0]["text"])


async def test_where_agents_may_not_ask_nothing_is_different() -> None:
    surface = at(snapshot(agents_may_ask=False))
    assert await names(surface) == ["ticket_get"]
    answer = await surface.ask("tools/call", {"name": REQUEST_ACCESS, "arguments": {}})
    stranger = await surface.ask("tools/call", {"name": "no_such_tool", "arguments": {}})
    assert (answer.code, answer.error["message"]) == (stranger.code, stranger.error["message"])


@pytest.mark.parametrize("version", ["2025-03-26", "2025-06-18", "2025-11-25"])
async def test_where_they_may_both_are_at_the_end_of_every_list(surface: Surface, version: str) -> None:
    assert await names(surface, version=version) == ["ticket_get", REQUEST_ACCESS, APPROVALS]
    modern = (await surface.ask_modern("tools/list")).result["tools"]
    assert [tool["name"] for tool in modern] == ["ticket_get", REQUEST_ACCESS, APPROVALS]


async def test_an_upstreams_tool_is_never_taken_for_one_of_ours() -> None:
    view = snapshot()
    theirs = make.bundle("support", tools=(make.tool(REQUEST_ACCESS), make.tool()))
    surface = at(replace(view, bundles={**view.bundles, theirs.id: theirs}, tools={**view.tools}))
    listed = (await surface.ask("tools/list")).result["tools"]
    ours = [tool for tool in listed if tool["name"] == REQUEST_ACCESS]
    assert [tool["title"] for tool in ours] == [DEFINITIONS[REQUEST_ACCESS]["title"]]
    await call(surface, REQUEST_ACCESS, bundle="billing", minutes=5, reason="It is due.")
    assert not surface.ports.sent


@pytest.mark.parametrize("wanted", [{"bundle": "billing"}, {"tool": "helpdesk__ticket_get"}])
async def test_an_agent_asks_for_what_its_person_holds(surface: Surface, wanted: dict[str, str]) -> None:
    result = await call(surface, REQUEST_ACCESS, minutes=30, reason=" The queue is long. ", **wanted)
    assert not result["isError"]
    assert "APR-1" in text_of(result)
    (wish,) = surface.ports.requests.wishes  # type: ignore[attr-defined]
    assert (wish.bundle_id, wish.minutes, wish.reason) == ("bundle-billing", 30, "The queue is long.")
    assert bool(wish.tool_id) == ("tool" in wanted)


@pytest.mark.parametrize(
    "wanted", [{"bundle": "secret"}, {"bundle": "nonsense"}, {"tool": "x__y"}, {"bundle": 7}, {}, {"tool": None}]
)
async def test_what_it_may_not_ask_for_answers_as_what_is_not_there(surface: Surface, wanted: Any) -> None:
    result = await call(surface, REQUEST_ACCESS, minutes=30, reason="Because.", **wanted)
    assert (text_of(result), result["isError"]) == (UNKNOWN, True)
    assert not surface.ports.requests.wishes  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    "arguments",
    [{"minutes": 0}, {"minutes": True}, {"minutes": 9**9}, {"minutes": "5"}, {"reason": " "}, {"reason": 1}],
)
async def test_what_is_wrong_is_named(surface: Surface, arguments: dict[str, Any]) -> None:
    given_arguments = {"bundle": "billing", "minutes": 5, "reason": "Because."} | arguments
    result = await call(surface, REQUEST_ACCESS, **given_arguments)
    assert result["isError"]
    assert f"'{next(iter(arguments))}'" in text_of(result)


async def test_an_agent_sees_its_own_requests_only(surface: Surface) -> None:
    requests: Any = surface.ports.requests
    requests.waiting = {
        "agent-triage-bot": [standing("APR-2", "denied", "Not today.")],
        "agent-other": [standing("APR-3", "approved")],
    }
    result = await call(surface, APPROVALS)
    assert text_of(result) == "APR-2: access to billing: denied (Not today.)"
    assert [each["id"] for each in result["structuredContent"]["requests"]] == ["APR-2"]
    foreign, absent = await call(surface, APPROVALS, id="APR-3"), await call(surface, APPROVALS, id="APR-99")
    assert foreign["isError"]
    assert foreign["content"] == absent["content"]


async def test_what_is_told_is_on_record(surface: Surface) -> None:
    await call(surface, APPROVALS)
    (entry,) = [entry for entry in surface.ports.entries if entry.event.kind == "approvals.listed"]
    assert entry.event.agent == "triage-bot"
    assert entry.read_set is not None
    assert "agent:agent-triage-bot" in entry.read_set


async def test_they_are_no_tasks(surface: Surface) -> None:
    support = {
        tool["name"]: tool["execution"]["taskSupport"] for tool in (await surface.ask("tools/list")).result["tools"]
    }
    assert support == {"ticket_get": "optional", REQUEST_ACCESS: "forbidden", APPROVALS: "forbidden"}
    assert (await surface.ask("tools/call", {"name": APPROVALS, "arguments": {}, "task": {}})).code == -32601


# -- limits


def limited(*texts: str) -> Surface:
    scopes = tuple(Scope(("*",), compile_condition("args.project == 'SUP'"), text) for text in texts)
    agent = make.agent(roles=(make.role("bundle-support", scopes=scopes),))
    return at(world(make.bundle(), agent=agent))


async def described(surface: Surface, version: str = "2025-11-25") -> str:
    (tool,) = (await surface.ask("tools/list", version=version)).result["tools"]
    return str(tool.get("description", ""))


@pytest.mark.parametrize("version", ["2025-03-26", "2025-06-18", "2025-11-25"])
async def test_limits_are_told_in_the_description(version: str) -> None:
    assert await described(limited("only project SUP", "amount under 500."), version) == (
        "Limit here: only project SUP; amount under 500."
    )
    assert await described(limited(), version) == ""


async def test_the_tools_own_description_comes_first() -> None:
    surface = limited("only project SUP")
    (tool,) = surface.ports.snapshot().tools.values()
    tool.definition["description"] = "Reads a ticket."  # type: ignore[index]
    assert await described(surface) == "Reads a ticket.\n\nLimit here: only project SUP."


@given(some.text(min_size=1))
async def test_a_limit_is_one_short_line(text: str) -> None:
    told = await described(limited(text))
    assert len(told) <= LIMIT_LENGTH + len("Limit here: .")
    assert told.isprintable()
