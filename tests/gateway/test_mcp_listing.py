"""The four lists: what an agent may see of several upstreams, in pages, whatever one of them does."""

import asyncio
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from connectors.base import Catalog, UpstreamFailure
from gateway import catalogs
from gateway.commit.entry import Verdict
from gateway.mcp import listing
from gateway.mcp.paging import PAGE_ITEMS, BadCursor, page
from governance.snapshot import Bundle, Connector, Freeze, Snapshot
from tests import factories as make
from tests.gateway.mcp_surface import LEGACY, McpPorts, Surface, selection, world

PARAMS = -32602
WIKI, DESK = make.connector("wiki"), make.connector("desk")
KINDS = {
    "prompts/list": ("prompts", "name", "prompt"),
    "resources/list": ("resources", "uri", "resource"),
    "resources/templates/list": ("resourceTemplates", "uriTemplate", "resource"),
}


def items(key: str, *names: str) -> Catalog:
    return Catalog(tuple({key: name, "title": name.upper(), "vendor": {"kept": True}} for name in names))


def client(*selections: Any, lists: dict[Any, Catalog], **fields: Any) -> Surface:
    ports = McpPorts(world(selections=selections, **fields))
    ports.catalogs = lists
    return Surface(ports)


def many_tools(count: int) -> Bundle:
    return make.bundle(tools=tuple(make.tool(f"tool_{n:04}") for n in range(count)))


async def names(surface: Surface, method: str = "prompts/list", **params: Any) -> list[str]:
    member, key, _ = KINDS[method]
    return [item[key] for item in (await surface.ask(method, params)).result[member]]


@pytest.mark.parametrize("method", KINDS)
async def test_only_what_is_selected_is_shown_and_untouched(method: str) -> None:
    member, key, kind = KINDS[method]
    lists = {("wiki", method): items(key, "test:b", "test:a", "test:secret")}
    surface = client(selection(kind, "test:*", of=WIKI, deny=("*secret",)), lists=lists)
    result = (await surface.ask(method)).result
    assert result == {member: [dict(item) for item in items(key, "test:a", "test:b").items]}


@pytest.mark.parametrize("method", KINDS)
async def test_without_a_selection_nothing_is_asked_of_anybody(method: str) -> None:
    surface = client(selection("tool", of=WIKI), lists={})
    surface.ports.catalog = None  # type: ignore[assignment,method-assign]
    assert (await surface.ask(method)).result == {KINDS[method][0]: []}


async def test_several_upstreams_are_told_apart() -> None:
    lists = {
        ("wiki", "prompts/list"): items("name", "greet"),
        ("desk", "prompts/list"): items("name", "greet"),
        ("wiki", "resources/list"): items("uri", "test://a"),
    }
    both = [selection(kind, of=each) for kind in ("prompt", "resource") for each in (WIKI, DESK)]
    surface = client(*both, lists=lists)
    assert await names(surface) == ["desk__greet", "wiki__greet"]
    assert await names(surface, "resources/list") == ["wiki+test://a"]


async def test_the_union_endpoint_always_says_whose() -> None:
    surface = client(selection("prompt", of=WIKI), lists={("wiki", "prompts/list"): items("name", "greet")})
    assert await names(surface) == ["greet"]
    assert await names(surface.other(bundle=None)) == ["wiki__greet"]


@pytest.mark.parametrize("schema", [None, [], {"type": "string"}, {"properties": {"a": {}}}])
async def test_a_tool_with_a_schema_of_no_object_spoils_no_list(schema: Any) -> None:
    sound = make.tool("sound")
    odd = replace(make.tool("odd"), definition={"name": "odd", "inputSchema": schema})
    surface = Surface(McpPorts(world(make.bundle(tools=(sound, odd)))))
    tools = (await surface.ask("tools/list")).result["tools"]
    assert [tool["inputSchema"]["type"] for tool in tools] == ["object", "object"]
    assert tools[0]["name"] == "odd"


async def test_a_rule_hides() -> None:
    rules = (make.rule("deny", tools=("prompt:internal-*",)),)
    bundle = replace(make.bundle(rules=rules), selections=(selection("prompt", of=WIKI),))
    ports = McpPorts(world(bundle))
    ports.catalogs = {("wiki", "prompts/list"): items("name", "greet", "internal-greet")}
    assert await names(Surface(ports)) == ["greet"]


@pytest.mark.parametrize("state", [{"is_enabled": False}, {"secret_missing": True}])
async def test_an_upstream_that_may_not_be_used_is_not_asked(state: dict[str, bool]) -> None:
    surface = client(selection("prompt", of=make.connector("wiki", **state)), lists={})
    surface.ports.catalog = None  # type: ignore[assignment,method-assign]
    assert await names(surface) == []


async def test_a_frozen_upstream_is_not_asked() -> None:
    freeze = Freeze(None, WIKI.id, None, "", None)
    surface = client(selection("prompt", of=WIKI), lists={}, freezes=(freeze,))
    surface.ports.catalog = None  # type: ignore[assignment,method-assign]
    assert await names(surface) == []


async def test_a_vault_value_in_a_description_is_masked() -> None:
    catalog = Catalog(({"name": "greet", "description": "use hunter2-hunter2"},))
    surface = client(selection("prompt", of=WIKI), lists={("wiki", "prompts/list"): catalog})
    surface.ports.secrets = {"wiki-token": (b"hunter2-hunter2",)}
    assert "hunter2" not in (await surface.ask("prompts/list")).body.decode()


async def test_it_is_recorded_before_it_is_shown_and_decided_again_when_stale() -> None:
    surface = client(selection("prompt", of=WIKI), lists={("wiki", "prompts/list"): items("name", "greet")})
    surface.ports.verdicts = [Verdict.STALE]
    assert await names(surface) == ["greet"]
    assert surface.ports.log == ["STALE", "prompts.listed"]
    entry = surface.ports.entries[0]
    assert entry.event.details["prompts"] == 1
    assert entry.read_set is not None
    assert f"connector:{WIKI.id}" in entry.read_set
    surface.ports.broken_commits.add("prompts.listed")
    assert (await surface.ask("prompts/list")).status == 503


class Upstreams(McpPorts):
    """Upstreams that answer when told to, or break; `asked` counts."""

    def __init__(self, snapshot: Snapshot) -> None:
        super().__init__(snapshot)
        self.asked: list[str] = []
        self.broken: set[str] = set()
        self.confused: set[str] = set()
        self.gate = asyncio.Event()
        self.gate.set()

    async def catalog(self, connector: Connector, method: str) -> Catalog:
        self.asked.append(connector.name)
        await self.gate.wait()
        if connector.name in self.broken:
            raise UpstreamFailure("connect_failed", "It is away.", reached=False)
        if connector.name in self.confused:
            raise KeyError(connector.name)
        return await super().catalog(connector, method)


class TestUpstreams:
    def surface(self) -> tuple[Surface, Upstreams]:
        ports = Upstreams(world(selections=(selection("prompt", of=WIKI), selection("prompt", of=DESK))))
        ports.catalogs = {(name, "prompts/list"): items("name", "greet") for name in ("wiki", "desk")}
        return Surface(ports), ports

    async def test_one_that_is_broken_is_only_missing(self) -> None:
        surface, ports = self.surface()
        ports.broken.add("wiki")
        result = (await surface.ask("prompts/list")).result
        assert [item["name"] for item in result["prompts"]] == ["desk__greet"]
        assert result["_meta"] == {"com.gatehouse/missing": [{"connector": "wiki", "problem": "connect_failed"}]}
        assert ports.entries[-1].event.details["missing"] == ["wiki"]

    @pytest.mark.parametrize(
        ("trouble", "listed"), [("broken", ["desk__open"]), ("confused", ["desk__open", "wiki__find"])]
    )
    async def test_the_tools_of_one_that_is_down_vanish_with_a_note(self, trouble: str, listed: list[str]) -> None:
        """What no call would get through to; our own trouble with a list says nothing of the calls."""
        tools = (make.tool("find", of=WIKI), make.tool("open", of=DESK))
        ports = Upstreams(world(make.bundle(tools=tools)))
        getattr(ports, trouble).add("wiki")
        result = (await Surface(ports, bundle=None).ask("tools/list")).result
        assert [item["name"] for item in result["tools"]] == listed
        note = [{"connector": "wiki", "problem": "connect_failed"}]
        assert result.get("_meta") == ({"com.gatehouse/missing": note} if trouble == "broken" else None)
        assert ports.entries[-1].event.details["tools"] == len(listed)

    async def test_tools_wait_for_no_slow_one(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(listing, "LIVENESS_SECONDS", 0.05)
        ports = Upstreams(world(make.bundle(tools=(make.tool("find", of=WIKI),))))
        ports.gate.clear()
        assert [item["name"] for item in (await Surface(ports).ask("tools/list")).result["tools"]] == ["find"]

    async def test_our_own_failure_with_one_harms_no_other(self) -> None:
        surface, ports = self.surface()
        ports.catalogs = {("desk", "prompts/list"): items("name", "greet")}
        ports.confused.add("wiki")
        result = (await surface.ask("prompts/list")).result
        assert [item["name"] for item in result["prompts"]] == ["desk__greet"]
        assert result["_meta"]["com.gatehouse/missing"] == [{"connector": "wiki", "problem": "unforeseen"}]

    async def test_a_slow_one_is_missing_until_it_has_answered(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(catalogs, "PATIENCE_SECONDS", 0.05)
        surface, ports = self.surface()
        ports.gate.clear()
        result = (await surface.ask("prompts/list")).result
        assert (result["prompts"], len(result["_meta"]["com.gatehouse/missing"])) == ([], 2)
        ports.gate.set()
        monkeypatch.setattr(catalogs, "PATIENCE_SECONDS", 5.0)
        assert await names(surface) == ["desk__greet", "wiki__greet"]
        assert sorted(ports.asked) == ["desk", "wiki"]

    async def test_each_is_asked_once_for_all_who_wait_and_for_a_while(self) -> None:
        surface, ports = self.surface()
        ports.gate.clear()
        waiting = [asyncio.create_task(names(surface)) for _ in range(5)]
        await asyncio.sleep(0.05)
        ports.gate.set()
        assert {tuple(found) for found in await asyncio.gather(*waiting)} == {("desk__greet", "wiki__greet")}
        await names(surface)
        assert sorted(ports.asked) == ["desk", "wiki"]

    async def test_a_changed_connector_is_asked_again(self) -> None:
        surface, ports = self.surface()
        await names(surface)
        changed = make.connector("wiki", revision="2")
        ports.swap(world(selections=(selection("prompt", of=changed), selection("prompt", of=DESK)), epoch=2))
        await names(surface)
        assert sorted(ports.asked) == ["desk", "wiki", "wiki"]


class TestPages:
    async def test_two_thousand_tools_reach_a_client_that_turns_pages(self) -> None:
        surface = Surface(McpPorts(world(many_tools(2000))))
        found, cursor = [], None
        while True:
            result = (await surface.ask("tools/list", {"cursor": cursor} if cursor else {})).result
            found += [tool["name"] for tool in result["tools"]]
            cursor = result.get("nextCursor")
            if cursor is None:
                break
        assert found == [f"tool_{n:04}" for n in range(2000)]
        assert [entry.event.details["tools"] for entry in surface.ports.entries] == [PAGE_ITEMS] * 2

    async def test_a_cursor_serves_its_own_agent_endpoint_list_and_catalog_only(self) -> None:
        bundle = many_tools(PAGE_ITEMS + 1)
        ports = McpPorts(world(bundle))
        surface = Surface(ports)
        cursor = (await surface.ask("tools/list")).result["nextCursor"]
        assert (await surface.ask("tools/list", {"cursor": cursor})).status == 200
        assert (await surface.other(bundle=None).ask("tools/list", {"cursor": cursor})).code == PARAMS
        assert (await surface.ask("prompts/list", {"cursor": cursor})).code == PARAMS
        ports.swap(world(many_tools(PAGE_ITEMS + 2), epoch=2))
        assert (await surface.ask("tools/list", {"cursor": cursor})).code == PARAMS

    async def test_a_cursor_is_of_no_use_to_another_agent_with_the_same_list(self) -> None:
        bundle, role = many_tools(PAGE_ITEMS + 1), make.role("bundle-support")
        mine, theirs = (make.agent(name, roles=(role,)) for name in ("triage-bot", "night-bot"))
        keys = (make.credential(mine), make.credential(theirs, "another-key"))
        surface = Surface(McpPorts(make.snapshot(agents=(mine, theirs), bundles=(bundle,), credentials=keys)))
        cursor = (await surface.ask("tools/list")).result["nextCursor"]
        assert (await surface.ask("tools/list", {"cursor": cursor})).status == 200
        assert (await surface.other(key="another-key").ask("tools/list", {"cursor": cursor})).code == PARAMS

    @pytest.mark.parametrize("cursor", ["", "a", "=", "ü", "A" * 1000, 7, {"page": 2}, [], False])
    @pytest.mark.parametrize("method", ["tools/list", *KINDS])
    async def test_what_is_no_cursor_of_ours_is_named(self, method: str, cursor: Any) -> None:
        surface = Surface(McpPorts(world()))
        old, new = await surface.ask(method, {"cursor": cursor}), await surface.ask_modern(method, {"cursor": cursor})
        assert (old.status, old.code) == (200, PARAMS)
        assert (new.status, new.code) == (400, PARAMS)
        assert surface.ports.log == []

    async def test_null_is_the_first_page(self) -> None:
        assert (await Surface(McpPorts(world())).ask("tools/list", {"cursor": None})).status == 200


@given(st.text(max_size=300), st.lists(st.text(max_size=5), max_size=5))
def test_nobody_else_can_make_a_cursor(cursor: str, listed: list[str]) -> None:
    with pytest.raises(BadCursor):
        page(listed, cursor, bound_to="somebody")


class TestTools:
    def surface(self, **definition: Any) -> Surface:
        tool = replace(make.tool(), definition={"name": "ticket_get", "inputSchema": {"type": "object"}, **definition})
        return Surface(McpPorts(world(make.bundle(tools=(tool,)))))

    async def shown(self, surface: Surface, version: str) -> Any:
        reply = await (
            surface.ask_modern("tools/list") if version == "2026-07-28" else surface.ask("tools/list", version=version)
        )
        return reply.result["tools"][0]

    @pytest.mark.parametrize("schema", [{"type": "string"}, {"anyOf": [{}]}, True])
    async def test_an_output_schema_of_anything_is_modern(self, schema: Any) -> None:
        surface = self.surface(outputSchema=schema)
        assert "outputSchema" not in await self.shown(surface, LEGACY)
        assert (await self.shown(surface, "2026-07-28"))["outputSchema"] == schema

    async def test_an_output_schema_of_an_object_is_for_all(self) -> None:
        surface = self.surface(outputSchema={"type": "object"}, vendor=7)
        for version in ("2025-06-18", LEGACY, "2026-07-28"):
            shown = await self.shown(surface, version)
            assert (shown["outputSchema"], shown["vendor"]) == ({"type": "object"}, 7)

    @pytest.mark.parametrize(
        ("rule", "is_promised"),
        [
            (make.rule("mask", on="result", reads_content=True, findings=frozenset(("personal_data",))), False),
            (make.rule("mask", on="result", fields=("*.iban",)), False),
            (make.rule("flag", on="result", reads_content=True, findings=frozenset(("secret",))), True),
            (make.rule("mask", on="result", fields=("*.iban",), tools=("other",)), True),
        ],
        ids=["findings", "fields", "a flag", "another tool"],
    )
    async def test_no_schema_of_results_that_a_rule_may_mask_is_promised(self, rule: Any, is_promised: bool) -> None:
        tool = replace(make.tool(), definition={"name": "ticket_get", "outputSchema": {"type": "object"}})
        surface = Surface(McpPorts(world(make.bundle(tools=(tool,), rules=(rule,)))))
        assert ("outputSchema" in await self.shown(surface, LEGACY)) is is_promised

    @pytest.mark.parametrize(("version", "has"), [("2025-06-18", False), (LEGACY, True), ("2026-07-28", False)])
    async def test_whether_a_call_may_be_a_task_is_said_where_it_is_known(self, version: str, has: bool) -> None:
        shown = await self.shown(self.surface(execution={"taskSupport": "forbidden"}), version)
        assert shown.get("execution") == ({"taskSupport": "optional"} if has else None)
