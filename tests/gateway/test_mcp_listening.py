"""Streams of news: who hears what, of whom, and until when."""

import asyncio
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest

from connectors.base import Catalog, Interest, UpstreamFailure
from gateway import catalogs
from gateway.commit.entry import Committed, Entry, EvidenceUnavailable
from gateway.mcp import listening
from gateway.mcp.session_ends import ENDED
from gateway.mcp.stream import WAITING_LIMIT, Stream
from gateway.mcp.task_table import Task
from governance.snapshot import Connector, Snapshot
from tests import factories as make
from tests.gateway.limit_world import limit
from tests.gateway.mcp_surface import META, McpPorts, Open, Surface, modern_message, selection, world

WIKI = make.connector("wiki")
ALL = {"toolsListChanged": True, "promptsListChanged": True, "resourcesListChanged": True}
SELECTED = (selection("prompt", of=WIKI), selection("resource", "test://*", of=WIKI, deny=("*secret",)))
PARAMS = -32602


def busy(**fields: Any) -> Snapshot:
    return world(selections=SELECTED, **fields)


def with_tools(*names: str, epoch: int = 2) -> Snapshot:
    bundle = replace(make.bundle(tools=tuple(make.tool(name) for name in names)), selections=SELECTED)
    return world(bundle, epoch=epoch)


def revoked(epoch: int = 2) -> Snapshot:
    return replace(busy(epoch=epoch), credentials={})


async def followed(surface: Surface, session: str) -> Open:
    return await surface.open("GET", headers={"Mcp-Session-Id": session, "Accept": "text/event-stream"})


async def settled(ports: McpPorts, connector: str = "wiki") -> None:
    """Until the process listens to the upstream."""
    await ports.until(lambda: connector in ports.heard)


class Unsteady(McpPorts):
    """Its upstreams are there or not."""

    is_down = False

    async def catalog(self, connector: Connector, method: str) -> Catalog:
        if self.is_down:
            raise UpstreamFailure("connect_failed", "It is away.", reached=False)
        return await super().catalog(connector, method)


class TestListen:
    async def test_the_honoured_part_is_acknowledged_first(self) -> None:
        surface = Surface(McpPorts(busy()))
        asked = ALL | {"resourceSubscriptions": ["test://a", "test://secret", "other://x"], "unheardOf": True}
        stream = await surface.listen(asked, id="mine")
        assert (stream.status, stream.headers["content-type"]) == (200, "text/event-stream")
        assert stream.headers["x-accel-buffering"] == "no"
        first = await stream.next()
        assert first["method"] == "notifications/subscriptions/acknowledged"
        assert first["params"] == {
            "notifications": ALL | {"resourceSubscriptions": ["test://a"]},
            "_meta": {f"{META}subscriptionId": "mine"},
        }
        await stream.leave()

    async def test_what_may_be_heard_of_is_recorded_and_what_not_is_too(self) -> None:
        surface = Surface(McpPorts(busy()))
        stream = await surface.listen({"resourceSubscriptions": ["test://a", "test://secret"]})
        assert surface.ports.log == ["resource.watched", "call.refused"]
        await stream.leave()

    @pytest.mark.parametrize(
        "asked",
        [
            None,
            [],
            "all",
            {"taskIds": "t"},
            {"resourceSubscriptions": "a"},
            {"resourceSubscriptions": [7]},
            {"resourceSubscriptions": ["test://a"] * 101},
            {"resourceSubscriptions": ["a" * 5000]},
        ],
    )
    async def test_what_cannot_be_read_is_named(self, asked: Any) -> None:
        reply = await Surface(McpPorts(busy())).ask_modern("subscriptions/listen", {"notifications": asked})
        assert (reply.status, reply.code) == (400, PARAMS)

    async def test_only_what_was_asked_for_is_told(self) -> None:
        surface = Surface(McpPorts(busy()))
        stream = await surface.listen({"promptsListChanged": True})
        await stream.next()
        surface.ports.swap(with_tools("another"))
        assert await stream.quiet()
        await stream.leave()

    async def test_a_change_of_what_is_visible_is_told_once(self) -> None:
        surface = Surface(McpPorts(busy()))
        stream = await surface.listen(ALL, id=7)
        await stream.next()
        surface.ports.swap(with_tools("ticket_get", epoch=2))
        assert await stream.quiet()
        surface.ports.swap(with_tools("ticket_get", "another", epoch=3))
        told = await stream.next()
        assert told == {
            "jsonrpc": "2.0",
            "method": "notifications/tools/list_changed",
            "params": {"_meta": {f"{META}subscriptionId": 7}},
        }
        assert await stream.quiet()
        await stream.leave()

    async def test_that_an_upstream_goes_down_and_comes_back_is_told(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Its tools vanish from the list and come back; nobody has to ask for the list to be told."""
        monkeypatch.setattr(listening, "KEEP_ALIVE_SECONDS", 0.1)
        monkeypatch.setattr(catalogs, "KEPT_TOOLS_SECONDS", 0.05)
        monkeypatch.setattr(catalogs, "FAILED_SECONDS", 0.05)
        ports = Unsteady(busy())
        stream = await Surface(ports).listen({"toolsListChanged": True})
        await stream.next()
        assert await stream.quiet(0.4)
        for is_down in (True, False):
            ports.is_down = is_down
            assert (await stream.next())["method"] == "notifications/tools/list_changed"
            assert await stream.quiet(0.4)
        await stream.leave()

    async def test_a_changed_selection_changes_its_lists(self) -> None:
        surface = Surface(McpPorts(busy()))
        stream = await surface.listen(ALL)
        await stream.next()
        surface.ports.swap(world(selections=(SELECTED[0],), epoch=2))
        assert (await stream.next())["method"] == "notifications/resources/list_changed"
        await stream.leave()

    async def test_an_upstream_that_is_gone_is_listened_to_no_more(self) -> None:
        surface = Surface(McpPorts(busy()))
        stream = await surface.listen(ALL)
        await settled(surface.ports)
        surface.ports.swap(world(epoch=2))
        await surface.ports.until(lambda: not surface.ports.listening["wiki"])
        assert surface.ports.listening["helpdesk"]
        await stream.leave()

    async def test_it_ends_with_a_result_when_the_key_is_revoked(self) -> None:
        surface = Surface(McpPorts(busy()))
        stream = await surface.listen(ALL, id=7)
        await stream.next()
        surface.ports.swap(revoked())
        last = await stream.next()
        assert (last["id"], last["result"]["resultType"]) == (7, "complete")
        assert last["result"]["_meta"][f"{META}subscriptionId"] == 7
        assert await stream.next() is None

    async def test_news_of_the_moment_of_revocation_is_not_told(self) -> None:
        surface = Surface(McpPorts(busy()))
        stream = await surface.listen({"resourceSubscriptions": ["test://a"]})
        await stream.next()
        await settled(surface.ports)
        await surface.ports.heard["wiki"]("notifications/resources/updated", {"uri": "test://a"})
        surface.ports.swap(revoked())
        assert "result" in await stream.next()

    async def test_a_key_that_is_revoked_while_the_stream_opens_opens_none(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        surface = Surface(McpPorts(busy()))
        commit = surface.ports.commit

        async def commit_and_revoke(entry: Entry) -> Committed:
            committed = await commit(entry)
            surface.ports.swap(revoked())
            return committed

        monkeypatch.setattr(surface.ports, "commit", commit_and_revoke)
        asked = {"notifications": {"resourceSubscriptions": ["test://a"]}}
        assert (await surface.ask_modern("subscriptions/listen", asked)).status == 401

    async def test_all_end_before_the_process_does(self) -> None:
        surface = Surface(McpPorts(busy()))
        stream = await surface.listen(ALL)
        await stream.next()
        surface.app.end_streams()
        assert "result" in await stream.next()
        assert await stream.next() is None

    async def test_an_agent_has_a_bounded_number(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(listening, "AGENT_LIMIT", 2)
        surface = Surface(McpPorts(busy()))
        held = [await surface.listen(ALL), await surface.listen(ALL)]
        reply = await surface.ask_modern("subscriptions/listen", {"notifications": ALL})
        assert (reply.status, reply.headers["retry-after"]) == (429, "30")
        await held[0].leave()
        held[0] = await surface.listen(ALL)
        for each in held:
            await each.leave()

    async def test_a_process_has_a_bounded_number(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(listening, "PROCESS_LIMIT", 0)
        reply = await Surface(McpPorts(busy())).ask_modern("subscriptions/listen", {"notifications": ALL})
        assert (reply.status, "retry-after" in reply.headers) == (503, True)

    async def test_idle_streams_are_kept_alive_and_end_with_the_time_of_the_key(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(listening, "KEEP_ALIVE_SECONDS", 0.1)
        surface = Surface(McpPorts(busy()))
        stream = await surface.listen(ALL)
        await stream.next()
        assert await stream.quiet(0.5)
        assert b": ping" in stream.comments
        ended = replace(busy(), credentials={
            digest: replace(key, expires_at=surface.ports.at) for digest, key in busy().credentials.items()
        })  # fmt: skip
        surface.ports.views[:] = [ended]
        assert "result" in await stream.next()


class TestUpstreamNews:
    async def test_a_changed_list_is_told_to_those_in_whose_reach_it_is(self) -> None:
        surface = Surface(McpPorts(busy()))
        stream = await surface.listen(ALL)
        await stream.next()
        await settled(surface.ports)
        await surface.ports.heard["wiki"]("notifications/prompts/list_changed", {})
        assert (await stream.next())["method"] == "notifications/prompts/list_changed"
        await surface.ports.heard["wiki"]("notifications/tools/list_changed", {})
        assert await stream.quiet()
        await surface.ports.heard["helpdesk"]("notifications/tools/list_changed", {})
        assert (await stream.next())["method"] == "notifications/tools/list_changed"
        await stream.leave()

    async def test_a_changed_list_is_asked_for_again(self) -> None:
        surface = Surface(McpPorts(busy()))
        stream = await surface.listen(ALL)
        await stream.next()
        await settled(surface.ports)
        assert (await surface.ask("prompts/list")).result == {"prompts": []}
        surface.ports.catalogs = {("wiki", "prompts/list"): catalog_of("greet")}
        await surface.ports.heard["wiki"]("notifications/prompts/list_changed", {})
        assert [each["name"] for each in (await surface.ask("prompts/list")).result["prompts"]] == ["greet"]
        await stream.leave()

    async def test_an_update_is_told_under_the_exposed_uri_to_those_who_asked(self) -> None:
        both = (*SELECTED, selection("resource", of=make.connector("desk")))
        surface = Surface(McpPorts(world(selections=both)))
        stream = await surface.listen({"resourceSubscriptions": ["wiki+test://a"]}, id=7)
        other = await surface.listen({"resourceSubscriptions": ["wiki+test://b"]}, id=8)
        await stream.next(), await other.next()
        await settled(surface.ports)
        await surface.ports.heard["wiki"]("notifications/resources/updated", {"uri": "test://a"})
        assert (await stream.next())["params"]["uri"] == "wiki+test://a"
        assert await other.quiet()
        await stream.leave()
        await other.leave()

    async def test_an_update_of_what_may_no_longer_be_read_is_not_told(self) -> None:
        surface = Surface(McpPorts(busy()))
        stream = await surface.listen({"resourceSubscriptions": ["test://a"]})
        await stream.next()
        await settled(surface.ports)
        surface.ports.swap(world(selections=(SELECTED[0],), epoch=2))
        await surface.ports.heard["wiki"]("notifications/resources/updated", {"uri": "test://a"})
        assert await stream.quiet()
        await stream.leave()

    async def test_all_streams_share_one_listener_which_hears_for_all_of_them(self) -> None:
        surface = Surface(McpPorts(busy()))
        streams = [await surface.listen({"promptsListChanged": True}) for _ in range(3)]
        await settled(surface.ports)
        streams.append(await surface.listen({"resourceSubscriptions": ["test://a"]}))
        await surface.ports.until(lambda: len(surface.ports.interests) == 2)
        first, second = (interest for _, interest in surface.ports.interests)
        assert first == Interest(prompts=True)
        assert second == Interest(prompts=True, uris=frozenset({"test://a"}))
        for each in streams:
            await each.leave()

    @pytest.mark.parametrize("params", [{}, {"uri": 7}, {"uri": None}, {"uri": "test://never-asked-for"}])
    async def test_what_an_upstream_says_unasked_is_dropped(self, params: dict[str, Any]) -> None:
        surface = Surface(McpPorts(busy()))
        stream = await surface.listen(ALL | {"resourceSubscriptions": ["test://a"]})
        await stream.next()
        await settled(surface.ports)
        for method in ("notifications/resources/updated", "notifications/message", "sampling/createMessage"):
            await surface.ports.heard["wiki"](method, params)
        assert await stream.quiet()
        await stream.leave()

    async def test_a_flood_is_told_as_one(self) -> None:
        surface = Surface(McpPorts(busy()))
        stream = await surface.listen(ALL)
        await stream.next()
        await settled(surface.ports)
        for _ in range(1000):
            await surface.ports.heard["wiki"]("notifications/prompts/list_changed", {})
        assert (await stream.next())["method"] == "notifications/prompts/list_changed"
        assert await stream.quiet()
        await stream.leave()

    async def test_the_upstreams_are_listened_to_before_the_client_is_told(self) -> None:
        surface = Surface(McpPorts(busy()))
        surface.ports.stands_at_once = False
        opening = asyncio.create_task(surface.listen(ALL))
        await surface.ports.until(lambda: {"wiki", "helpdesk"} <= surface.ports.stands.keys())
        await asyncio.sleep(0.05)
        assert not opening.done()
        await surface.ports.heard["wiki"]("notifications/prompts/list_changed", {})
        for stands in surface.ports.stands.values():
            stands()
        stream = await opening
        assert (await stream.next())["method"] == "notifications/subscriptions/acknowledged"
        assert (await stream.next())["method"] == "notifications/prompts/list_changed"
        await stream.leave()

    async def test_a_slow_upstream_keeps_nobody_waiting(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(listening, "STANDING_SECONDS", 0.01)
        surface = Surface(McpPorts(busy()))
        surface.ports.stands_at_once = False
        stream = await surface.listen(ALL)
        assert (await stream.next())["method"] == "notifications/subscriptions/acknowledged"
        await stream.leave()

    async def test_a_key_that_is_revoked_while_the_stream_opens_ends_it(self) -> None:
        surface = Surface(McpPorts(busy()))
        surface.ports.stands_at_once = False
        opening = asyncio.create_task(surface.listen(ALL, id=7))
        await surface.ports.until(lambda: "wiki" in surface.ports.stands)
        surface.ports.swap(revoked())
        stream = await opening
        assert (await stream.next())["method"] == "notifications/subscriptions/acknowledged"
        assert (await stream.next())["id"] == 7
        assert await stream.next() is None

    async def test_who_listens_goes_on_until_who_wants_more_does(self) -> None:
        surface = Surface(McpPorts(busy()))
        first = await surface.listen({"promptsListChanged": True})
        await settled(surface.ports)
        await first.next()
        before = surface.ports.heard["wiki"]
        surface.ports.stands_at_once = False
        opening = asyncio.create_task(surface.listen({"resourcesListChanged": True}))
        await surface.ports.until(lambda: "wiki" in surface.ports.stands)
        assert surface.ports.listening["wiki"] == 2
        await before("notifications/prompts/list_changed", {})
        assert (await first.next())["method"] == "notifications/prompts/list_changed"
        surface.ports.stands["wiki"]()
        second = await opening
        await surface.ports.until(lambda: surface.ports.listening["wiki"] == 1)
        await first.leave()
        await second.leave()


class TestTasks:
    TASKS: Any = {"extensions": {f"{META}tasks": {}}}

    def task(self, task_id: str) -> Task:
        at = datetime(2026, 3, 2, tzinfo=UTC)
        return Task(task_id, "agent-triage-bot", "support", True, "working", "", 1000, at, at, {})

    async def test_changes_of_those_named_are_told(self) -> None:
        surface = Surface(McpPorts(busy()))
        surface.ports.tasks.kept = {"mine": self.task("mine")}
        message = modern_message(
            "subscriptions/listen", {"notifications": {"taskIds": ["mine", "theirs"]}}, capabilities=self.TASKS
        )
        stream = await surface.open_modern(message)
        assert (await stream.next())["params"]["notifications"] == {"taskIds": ["mine"]}
        await asyncio.sleep(0)
        assert surface.ports.tasks.tell is not None
        await surface.ports.tasks.tell(self.task("theirs"))
        await surface.ports.tasks.tell(self.task("mine"))
        told = await stream.next()
        assert (told["method"], told["params"]["taskId"]) == ("notifications/tasks", "mine")
        await stream.leave()

    async def test_who_does_not_declare_tasks_hears_of_none(self) -> None:
        surface = Surface(McpPorts(busy()))
        surface.ports.tasks.kept = {"mine": self.task("mine")}
        stream = await surface.listen({"taskIds": ["mine"]})
        assert (await stream.next())["params"]["notifications"] == {}
        await stream.leave()

    @pytest.mark.parametrize(("revision", "is_told"), [("2025-11-25", True), ("2025-06-18", False)])
    async def test_a_session_hears_of_its_agents_tasks(self, revision: str, is_told: bool) -> None:
        surface = Surface(McpPorts(busy()))
        streams = [await followed(surface, await surface.initialize(revision)) for _ in range(2)]
        await asyncio.sleep(0)
        assert (surface.ports.tasks.tell is not None) is is_told
        if surface.ports.tasks.tell is not None:
            await surface.ports.tasks.tell(replace(self.task("mine"), is_modern=False))
        for stream in streams:
            if is_told:
                told = await stream.next()
                assert (told["method"], told["params"]["taskId"]) == ("notifications/tasks/status", "mine")
            else:
                assert await stream.quiet(0.1)
            await stream.leave()


class TestSessions:
    async def test_the_stream_of_a_session_tells_what_changed(self) -> None:
        surface = Surface(McpPorts(busy()))
        stream = await followed(surface, await surface.initialize())
        assert stream.headers["content-type"] == "text/event-stream"
        surface.ports.swap(with_tools("another"))
        assert await stream.next() == {"jsonrpc": "2.0", "method": "notifications/tools/list_changed"}
        await stream.leave()

    async def test_a_subscription_is_decided_recorded_and_heard(self) -> None:
        surface = Surface(McpPorts(busy()))
        session = await surface.initialize()
        stream = await followed(surface, session)
        subscribed = await surface.ask("resources/subscribe", {"uri": "test://a"}, mcp_session_id=session)
        assert subscribed.result == {}
        assert surface.ports.log == ["resource.watched"]
        await surface.ports.until(lambda: any(interest.uris for _, interest in surface.ports.interests))
        await surface.ports.heard["wiki"]("notifications/resources/updated", {"uri": "test://a"})
        assert (await stream.next())["params"] == {"uri": "test://a"}
        await surface.ask("resources/unsubscribe", {"uri": "test://a"}, mcp_session_id=session)
        assert surface.ports.sessions.kept[session].subscriptions == ()
        async with asyncio.timeout(10):
            is_quiet = False
            while not is_quiet:
                await surface.ports.heard["wiki"]("notifications/resources/updated", {"uri": "test://a"})
                is_quiet = await stream.quiet()
        await stream.leave()

    async def test_taking_back_what_was_never_subscribed_wakes_no_process(self) -> None:
        """It is not governed, so nothing else would bound it."""
        surface = Surface(McpPorts(busy()))
        session = await surface.initialize()
        with surface.ports.bus.mailbox(listening.SUBSCRIPTIONS_CHANGED) as box:
            reply = await surface.ask("resources/unsubscribe", {"uri": "test://a"}, mcp_session_id=session)
            assert (reply.result, box.letters.empty()) == ({}, True)

    async def test_subscribing_counts_for_the_rate_limits(self) -> None:
        surface = Surface(McpPorts(replace(busy(), limits=(limit("few", max_requests=2),))))
        session = await surface.initialize()
        uris = [{"uri": f"test://{name}"} for name in "abc"]
        replies = [await surface.ask("resources/subscribe", uri, mcp_session_id=session) for uri in uris]
        assert [reply.status for reply in replies] == [200, 200, 429]
        assert int(replies[2].headers["retry-after"]) > 0
        assert surface.ports.log == ["resource.watched", "resource.watched", "call.refused"]
        assert surface.ports.sessions.kept[session].subscriptions == ("test://a", "test://b")

    async def test_what_may_not_be_read_may_not_be_subscribed_to(self) -> None:
        surface = Surface(McpPorts(busy()))
        session = await surface.initialize()
        for uri in ("test://secret", "other://x"):
            reply = await surface.ask("resources/subscribe", {"uri": uri}, mcp_session_id=session)
            assert (reply.status, reply.code) == (200, -32002)
        assert surface.ports.sessions.kept[session].subscriptions == ()
        assert (await surface.ask("resources/subscribe", {"uri": 7}, mcp_session_id=session)).code == PARAMS

    async def test_many_subscriptions_at_once_are_all_kept(self) -> None:
        surface = Surface(McpPorts(busy()))
        session = await surface.initialize()
        uris = [f"test://{n}" for n in range(20)]
        await asyncio.gather(
            *(surface.ask("resources/subscribe", {"uri": uri}, mcp_session_id=session) for uri in uris)
        )
        assert sorted(surface.ports.sessions.kept[session].subscriptions) == sorted(uris)

    async def test_a_newer_stream_takes_the_place_of_the_older(self) -> None:
        surface = Surface(McpPorts(busy()))
        session = await surface.initialize()
        older = await followed(surface, session)
        newer = await followed(surface, session)
        assert await older.next() is None
        surface.ports.swap(with_tools("another"))
        assert (await newer.next())["method"] == "notifications/tools/list_changed"
        await newer.leave()

    async def test_it_ends_with_the_session(self) -> None:
        surface = Surface(McpPorts(busy()))
        session = await surface.initialize()
        stream = await followed(surface, session)
        await surface.send("DELETE", headers={"Mcp-Session-Id": session})
        assert await stream.next() is None

    async def test_it_ends_when_another_process_ended_the_session(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(listening, "KEEP_ALIVE_SECONDS", 0.1)
        surface = Surface(McpPorts(busy()))
        session = await surface.initialize()
        stream = await followed(surface, session)
        del surface.ports.sessions.kept[session]
        assert await stream.next() is None

    async def test_it_ends_at_once_when_its_person_ended_the_session(self) -> None:
        surface = Surface(McpPorts(busy()))
        session, other = await surface.initialize(), await surface.initialize()
        stream, others = await followed(surface, session), await followed(surface, other)
        await surface.ports.bus.send(ENDED, surface.ports.sessions.kept[session].digest)
        assert await stream.next() is None
        assert await others.quiet()
        await others.leave()

    async def test_without_the_store_it_goes_on(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(listening, "KEEP_ALIVE_SECONDS", 0.1)
        surface = Surface(McpPorts(busy()))
        stream = await followed(surface, await surface.initialize())
        surface.ports.sessions.broken = EvidenceUnavailable("away")
        assert await stream.quiet(0.4)
        assert b": ping" in stream.comments
        surface.ports.swap(with_tools("another"))
        assert (await stream.next())["method"] == "notifications/tools/list_changed"
        await stream.leave()

    async def test_it_ends_when_the_key_is_revoked(self) -> None:
        surface = Surface(McpPorts(busy()))
        stream = await followed(surface, await surface.initialize())
        surface.ports.swap(revoked())
        assert await stream.next() is None


class TestSlowClients:
    async def test_one_that_reads_nothing_is_cut(self) -> None:
        stuck = asyncio.Event()
        sent: list[Any] = []

        async def send(message: Any) -> None:
            sent.append(message)
            if len(sent) > 2:
                await stuck.wait()

        async def receive() -> Any:
            await asyncio.Event().wait()

        stream = Stream(receive, send)
        held = asyncio.create_task(stream.hold([b"first"]))
        await asyncio.sleep(0)
        for number in range(WAITING_LIMIT + 2):
            stream.push(str(number).encode())
            await asyncio.sleep(0)
        async with asyncio.timeout(30):
            await held
        assert stream.is_over

    async def test_what_says_the_same_waits_once(self) -> None:
        sent, goes_on = [], asyncio.Event()

        async def send(message: Any) -> None:
            if len(sent) > 2:
                await goes_on.wait()
            sent.append(message.get("body"))

        async def receive() -> Any:
            await asyncio.Event().wait()

        stream = Stream(receive, send)
        held = asyncio.create_task(stream.hold([b"first"]))
        await asyncio.sleep(0)
        for _ in range(WAITING_LIMIT * 2):
            stream.push(b"news")
            await asyncio.sleep(0)
        assert not stream.is_over
        assert sent.count(b"news") <= 2
        held.cancel()
        await asyncio.wait([held])

    async def test_one_that_takes_no_keep_alive_is_cut(self) -> None:
        async def send(message: Any) -> None:
            if message.get("body") == b": ping\n\n":
                await asyncio.Event().wait()

        async def receive() -> Any:
            await asyncio.Event().wait()

        stream = Stream(receive, send)
        held = asyncio.create_task(stream.hold([b"first"]))
        for _ in range(3):
            await asyncio.sleep(0.01)
            stream.keep_alive()
        async with asyncio.timeout(30):
            await held
        assert stream.is_over

    async def test_what_waited_for_the_opening_is_not_told_to_who_may_no_longer_hear_it(self) -> None:
        sent: list[Any] = []
        has_ended = asyncio.Event()

        async def send(message: Any) -> None:
            sent.append(message.get("body"))
            if sent[-1] == b"":
                has_ended.set()

        async def receive() -> Any:
            await has_ended.wait()
            return {"type": "http.disconnect"}

        stream = Stream(receive, send)
        stream.push(b"news")
        stream.end_now(b"last")
        async with asyncio.timeout(30):
            await stream.hold([b"first"])
        assert sent == [None, b"first", b"last", b""]

    async def test_a_cancelled_request_stays_cancelled(self) -> None:
        async def send(message: Any) -> None: ...

        async def receive() -> Any:
            await asyncio.Event().wait()

        held = asyncio.create_task(Stream(receive, send).hold([b"first"]))
        await asyncio.sleep(0)
        held.cancel()
        with pytest.raises(asyncio.CancelledError):
            await held


def catalog_of(*names: str) -> Catalog:
    return Catalog(tuple({"name": name} for name in names))
