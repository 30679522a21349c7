"""Which era a request is in, what each demands before it acts, and in which words it is answered."""

import json
from dataclasses import replace
from typing import Any

import pytest

from connectors.base import RawResult
from gateway.commit.entry import EvidenceUnavailable
from tests import factories as make
from tests.fakes import answer
from tests.gateway.mcp_surface import (
    LEGACY,
    META,
    MODERN,
    McpPorts,
    Surface,
    modern_headers,
    modern_message,
    selection,
    world,
)

PARSE, REQUEST, METHOD, PARAMS, MISMATCH, CAPABILITY, VERSION = -32700, -32600, -32601, -32602, -32020, -32021, -32022
TASKS: dict[str, Any] = {"extensions": {f"{META}tasks": {}}}
OTHER_KEY = "gate_ak_" + "1" * 49


def surface(**fields: Any) -> Surface:
    return Surface(McpPorts(world(**fields)))


def crowd() -> McpPorts:
    """Two agents that hold the same bundle."""
    both = [make.agent(name, roles=(make.role("bundle-support"),)) for name in ("triage-bot", "night-bot")]
    keys = (make.credential(both[0]), make.credential(both[1], OTHER_KEY))
    return McpPorts(make.snapshot(agents=tuple(both), bundles=(make.bundle(),), credentials=keys))


async def sent(to: Surface, message: dict[str, Any], **headers: str | None) -> tuple[int, int]:
    """(status, code) with right headers but those given (`_` for `-`); None leaves one out."""
    given = {name.replace("_", "-"): value for name, value in headers.items()}
    right = {name: value for name, value in modern_headers(message).items() if name not in given}
    body = json.dumps(message).encode()
    reply = await to.send("POST", body, right | {k: v for k, v in given.items() if v is not None})
    return reply.status, reply.code if "error" in reply.message else 0


class TestModernLadder:
    @pytest.mark.parametrize("lacking", ["protocolVersion", "clientCapabilities"])
    async def test_metadata_comes_first(self, lacking: str) -> None:
        message = modern_message("tools/list")
        del message["params"]["_meta"][META + lacking]
        assert await sent(surface(), message, Mcp_Method="wrong") == (400, PARAMS)

    async def test_client_info_is_optional(self) -> None:
        assert (await surface().ask_modern("tools/list")).status == 200

    @pytest.mark.parametrize("name", ["MCP_Protocol_Version", "Mcp_Method", "Mcp_Name"])
    @pytest.mark.parametrize("value", [None, "other", "=?base64?%%?="])
    async def test_headers_must_say_what_the_body_says(self, name: str, value: str | None) -> None:
        message = modern_message("tools/call", {"name": "ticket_get", "arguments": {}})
        assert await sent(surface(), message, **{name: value}) == (400, MISMATCH)

    @pytest.mark.parametrize(
        ("method", "params"),
        [("prompts/get", {"name": "greet"}), ("resources/read", {"uri": "test://a"}), ("tasks/get", {"taskId": "t"})],
    )
    async def test_what_names_the_target_is_mirrored(self, method: str, params: dict[str, str]) -> None:
        message = modern_message(method, params, capabilities=TASKS)
        assert await sent(surface(), message, Mcp_Name="other") == (400, MISMATCH)
        assert (await sent(surface(), message))[1] != MISMATCH

    async def test_disagreement_comes_before_an_unknown_version(self) -> None:
        message = modern_message("tools/list")
        message["params"]["_meta"][f"{META}protocolVersion"] = "2099-01-01"
        assert await sent(surface(), message) == (400, MISMATCH)
        assert await sent(surface(), message, MCP_Protocol_Version="2099-01-01") == (400, VERSION)

    async def test_an_unknown_version_is_told_which_are_served(self) -> None:
        message = modern_message("nothing")
        message["params"]["_meta"][f"{META}protocolVersion"] = "2099-01-01"
        headers = modern_headers(message) | {"MCP-Protocol-Version": "2099-01-01"}
        reply = await surface().send("POST", json.dumps(message).encode(), headers)
        assert reply.error["data"] == {
            "supported": [MODERN, "2025-11-25", "2025-06-18", "2025-03-26"],
            "requested": "2099-01-01",
        }

    async def test_a_capability_that_is_needed_and_lacking_is_named(self) -> None:
        reply = await surface().ask_modern("tasks/get", {"taskId": "t"})
        assert (reply.status, reply.code) == (400, CAPABILITY)
        assert reply.error["data"] == {"requiredCapabilities": TASKS}
        assert (await surface().ask_modern("tasks/get", {"taskId": "t"}, capabilities=TASKS)).code == PARAMS

    @pytest.mark.parametrize("value", [["2026-07-28"] * 2, ["2026-07-28", "2025-11-25"]])
    async def test_a_header_that_decides_comes_once(self, value: list[str]) -> None:
        message = modern_message("tools/list")
        headers = modern_headers(message) | {"MCP-Protocol-Version": value}
        reply = await surface().send("POST", json.dumps(message).encode(), headers)
        assert (reply.status, reply.code) == (400, MISMATCH)

    @pytest.mark.parametrize(
        ("header", "code"),
        [("Mcp-Method", -32020), ("Mcp-Name", -32020), ("Mcp-Param-Region", -32020), ("Mcp-Session-Id", REQUEST)],
    )
    async def test_two_readers_never_believe_two_headers(self, header: str, code: int) -> None:
        message = modern_message("tools/list")
        headers = modern_headers(message) | {header: ["same", "same"]}
        reply = await surface().send("POST", json.dumps(message).encode(), headers)
        assert (reply.status, reply.code) == (400, code)

    @pytest.mark.parametrize("method", ["GET", "DELETE"])
    async def test_only_post_has_a_meaning(self, method: str) -> None:
        client = surface()
        headers = {"MCP-Protocol-Version": MODERN, "Mcp-Session-Id": await client.initialize()}
        reply = await client.send(method, headers=headers | {"Accept": "text/event-stream"})
        assert (reply.status, reply.headers["allow"]) == (405, "POST")

    async def test_a_session_id_means_nothing(self) -> None:
        reply = await surface().ask_modern("tools/list", Mcp_Session_Id="nobodys")
        assert reply.status == 200

    async def test_metadata_decides_even_without_a_header(self) -> None:
        message = modern_message("tools/list")
        assert await sent(surface(), message, MCP_Protocol_Version=None) == (400, MISMATCH)

    async def test_initialize_under_a_modern_header_is_an_unknown_method(self) -> None:
        assert await sent(surface(), modern_message("initialize")) == (404, METHOD)

    async def test_a_notification_is_dropped(self) -> None:
        message = {"jsonrpc": "2.0", "method": "notifications/cancelled", "params": {"requestId": 1}}
        reply = await surface().post(message, mcp_protocol_version=MODERN)
        assert (reply.status, reply.body) == (202, b"")

    async def test_a_wrong_log_level_is_named(self) -> None:
        message = modern_message("tools/list")
        message["params"]["_meta"][f"{META}logLevel"] = "loud"
        assert await sent(surface(), message) == (400, PARAMS)


class TestMirroredArguments:
    def client(self) -> Surface:
        region = {"type": "string", "x-mcp-header": "Region"}
        schema = {"type": "object", "properties": {"region": region}}
        tool = make.tool("route")
        tool = replace(tool, definition_digest="mirrored", definition={"name": "route", "inputSchema": schema})
        return Surface(McpPorts(world(make.bundle(tools=(tool,)))))

    @pytest.mark.parametrize(
        ("arguments", "header", "status"),
        [({"region": "eu"}, "eu", 200), ({"region": "eu"}, "us", 400), ({"region": "eu"}, None, 400), ({}, "eu", 400)],
    )
    async def test_are_checked_before_anything_is_decided(
        self, arguments: dict[str, str], header: str | None, status: int
    ) -> None:
        client = self.client()
        message = modern_message("tools/call", {"name": "route", "arguments": arguments})
        assert (await sent(client, message, Mcp_Param_Region=header))[0] == status
        assert ("call.intent" in client.ports.log) == (status == 200)


class TestSessions:
    @pytest.mark.parametrize(
        ("asked", "told"), [("2025-03-26", "2025-03-26"), (MODERN, LEGACY), ("1999-01-01", LEGACY), (None, LEGACY)]
    )
    async def test_initialize_agrees_on_a_revision_and_opens_one(self, asked: str | None, told: str) -> None:
        client = surface()
        reply = await client.ask("initialize", {"protocolVersion": asked, "capabilities": {"roots": {}}}, version="")
        session = client.ports.sessions.kept[reply.headers["mcp-session-id"]]
        assert reply.result["protocolVersion"] == told == session.revision
        assert session.capabilities == {"roots": {}}

    async def test_a_request_of_one_is_served_in_its_revision(self) -> None:
        client = surface()
        session = await client.initialize("2025-06-18")
        assert (await client.ask("tools/list", version="", mcp_session_id=session)).status == 200
        assert (await client.ask("tasks/list", version="", mcp_session_id=session)).code == METHOD

    async def test_unknown_ended_and_somebody_elses_look_alike(self) -> None:
        ports = crowd()
        mine, theirs = Surface(ports), Surface(ports).other(key=OTHER_KEY)
        theirs.app = mine.app
        session, ended = await mine.initialize(), await mine.initialize()
        assert (await mine.send("DELETE", headers={"Mcp-Session-Id": ended})).status == 204
        answers = [
            await mine.ask("ping", mcp_session_id="never-was"),
            await mine.ask("ping", mcp_session_id=ended),
            await mine.other(bundle=None).ask("ping", mcp_session_id=session),
            await theirs.ask("ping", mcp_session_id=session),
        ]
        assert {(each.status, each.body) for each in answers} == {(404, answers[0].body)}
        assert (await mine.ask("ping", mcp_session_id=session)).status == 200

    @pytest.mark.parametrize("method", ["GET", "DELETE"])
    async def test_somebody_elses_can_neither_be_followed_nor_ended(self, method: str) -> None:
        ports = crowd()
        mine = Surface(ports)
        session = await mine.initialize()
        headers = {"Mcp-Session-Id": session, "Accept": "text/event-stream"}
        assert (await mine.other(key=OTHER_KEY).send(method, headers=headers)).status == 404
        assert session in ports.sessions.kept

    async def test_who_names_none_is_served_all_the_same(self) -> None:
        assert (await surface().ask("tools/list")).status == 200

    @pytest.mark.parametrize("method", ["GET", "DELETE"])
    async def test_without_one_there_is_nothing_to_follow_or_end(self, method: str) -> None:
        reply = await surface().send(method, headers={"Accept": "text/event-stream"})
        assert (reply.status, reply.headers["allow"]) == (405, "POST")

    async def test_a_stream_must_be_accepted(self) -> None:
        client = surface()
        headers = {"Mcp-Session-Id": await client.initialize(), "Accept": "application/json"}
        assert (await client.send("GET", headers=headers)).status == 406

    async def test_the_log_level_is_kept(self) -> None:
        client = surface()
        session = await client.initialize()
        assert (await client.ask("logging/setLevel", {"level": "error"}, mcp_session_id=session)).result == {}
        assert client.ports.sessions.kept[session].log_level == "error"
        assert (await client.ask("logging/setLevel", {"level": "loud"}, mcp_session_id=session)).code == PARAMS

    async def test_an_unknown_version_is_refused(self) -> None:
        assert (await surface().ask("ping", version="2024-01-01")).status == 400

    async def test_without_the_store_the_client_is_asked_to_wait(self) -> None:
        client = surface()
        session = await client.initialize()
        client.ports.sessions.broken = EvidenceUnavailable("away")
        reply = await client.ask("ping", mcp_session_id=session)
        assert (reply.status, reply.headers["retry-after"]) == (503, "1")

    @pytest.mark.parametrize("capabilities", [[], "a", 7, None])
    async def test_capabilities_are_an_object(self, capabilities: Any) -> None:
        reply = await surface().ask("initialize", {"capabilities": capabilities}, version="")
        assert (reply.status, reply.code) == (200, PARAMS)


class TestCapabilities:
    async def test_agree_with_what_the_bundle_gives(self) -> None:
        bare = (await surface().ask_modern("server/discover")).result["capabilities"]
        assert bare == {"tools": {"listChanged": True}, "logging": {}, **TASKS}
        full = surface(selections=(selection("prompt"), selection("resource")))
        found = (await full.ask_modern("server/discover")).result["capabilities"]
        assert found["prompts"] == {"listChanged": True}
        assert found["resources"] == {"subscribe": True, "listChanged": True}
        assert found["completions"] == {}

    @pytest.mark.parametrize(("version", "has_tasks"), [("2025-03-26", False), ("2025-06-18", False), (LEGACY, True)])
    async def test_know_their_revision(self, version: str, has_tasks: bool) -> None:
        reply = await surface().ask("initialize", {"protocolVersion": version, "capabilities": {}}, version="")
        found = reply.result["capabilities"]
        assert found["logging"] == {}
        assert ("tasks" in found) == has_tasks
        assert "extensions" not in found

    async def test_what_is_not_announced_still_answers_empty(self) -> None:
        assert (await surface().ask("prompts/list")).result == {"prompts": []}
        assert (await surface().ask("resources/list")).result == {"resources": []}
        assert (await surface().ask("resources/templates/list")).result == {"resourceTemplates": []}

    async def test_discovery_may_be_kept_by_nobody_else(self) -> None:
        result = (await surface().ask_modern("server/discover")).result
        assert (result["cacheScope"], result["resultType"]) == ("private", "complete")
        assert result["supportedVersions"][0] == MODERN
        assert result["_meta"][f"{META}serverInfo"]["name"] == "gatehouse"


class TestWords:
    """The same upstream answer in each era."""

    CALL = {"name": "ticket_get", "arguments": {}}
    READ = {"uri": "test://a"}

    def client(self, told: RawResult) -> Surface:
        ports = McpPorts(world(selections=(selection("resource"), selection("prompt"))))
        ports.upstream = lambda intent: told
        return Surface(ports)

    async def test_what_only_one_era_has_is_stripped_or_added(self) -> None:
        said = {"content": [], "vendor": 1, "ttlMs": 5, "cacheScope": "public", "_meta": {f"{META}x": 1, "com.a/b": 2}}
        old = (await self.client(answer(said)).ask("tools/call", self.CALL)).result
        assert old == {"content": [], "vendor": 1, "_meta": {"com.a/b": 2}}
        new = (await self.client(answer(said)).ask_modern("tools/call", self.CALL)).result
        assert new["resultType"] == "complete"
        assert new["_meta"]["com.a/b"] == 2
        assert new["vendor"] == 1

    @pytest.mark.parametrize(("ttl", "told"), [(5, 5), (None, 0), (-1, 0), ("9", 0), (True, 0), (1e308, 86_400_000)])
    async def test_a_resource_is_never_public(self, ttl: Any, told: int) -> None:
        said = {"contents": [], "cacheScope": "public"} | ({"ttlMs": ttl} if ttl is not None else {})
        result = (await self.client(answer(said)).ask_modern("resources/read", self.READ)).result
        assert (result["cacheScope"], result["ttlMs"]) == ("private", told)

    @pytest.mark.parametrize("content", [[1], "text", 7, None, True])
    async def test_structured_content_was_an_object_once(self, content: Any) -> None:
        said = {"content": [], "structuredContent": content}
        assert (await self.client(answer(said)).ask("tools/call", self.CALL)).result == {"content": []}
        new = (await self.client(answer(said)).ask_modern("tools/call", self.CALL)).result
        assert new["structuredContent"] == content

    async def test_a_resource_link_was_text_once(self) -> None:
        link = {"type": "resource_link", "uri": "test://a", "name": "A"}
        client = self.client(answer({"content": [link]}))
        oldest = (await client.ask("tools/call", self.CALL, version="2025-03-26")).result
        assert oldest["content"] == [{"type": "text", "text": "A\ntest://a"}]
        assert (await client.ask("tools/call", self.CALL)).result["content"] == [link]

    @pytest.mark.parametrize(
        ("said", "old", "new"),
        [
            (-32002, -32002, -32602),
            (-32020, -32603, -32020),
            (-32021, -32603, -32021),
            (-32603, -32603, -32603),
            (7, 7, 7),
        ],
    )
    async def test_codes_keep_to_their_era(self, said: int, old: int, new: int) -> None:
        client = self.client(answer(None, {"code": said, "message": "no"}))
        assert (await client.ask("resources/read", self.READ)).code == old
        reply = await client.ask_modern("resources/read", self.READ)
        assert (reply.code, reply.status) == (new, 400 if new in (-32020, -32021) else 200)

    async def test_an_invisible_resource_is_not_found_in_either(self) -> None:
        assert (await surface().ask("resources/read", self.READ)).code == -32002
        assert (await surface().ask_modern("resources/read", self.READ)).code == -32602

    async def test_completions_are_bounded(self) -> None:
        values = [str(n) for n in range(150)]
        client = self.client(answer({"completion": {"values": values, "hasMore": False}}))
        params = {"ref": {"type": "ref/prompt", "name": "greet"}, "argument": {"name": "who", "value": "a"}}
        told = (await client.ask("completion/complete", params)).result["completion"]
        assert told == {"values": values[:100], "hasMore": True}

    async def test_an_upstream_without_completions_has_nothing_to_suggest(self) -> None:
        client = self.client(answer(None, {"code": METHOD, "message": "no"}))
        params = {"ref": {"type": "ref/prompt", "name": "greet"}, "argument": {"name": "who", "value": "a"}}
        assert (await client.ask("completion/complete", params)).result == {
            "completion": {"values": [], "hasMore": False}
        }

    @pytest.mark.parametrize(
        "params",
        [
            {},
            {"ref": {"type": "ref/prompt", "name": "greet"}},
            {"ref": {"type": "ref/tool", "name": "a"}, "argument": {"name": "a", "value": "b"}},
            {"ref": {"type": "ref/prompt", "uri": "a"}, "argument": {"name": "a", "value": "b"}},
            {"ref": {"type": "ref/prompt", "name": "a"}, "argument": {"name": "a", "value": 7}},
            {"ref": {"type": "ref/prompt", "name": "a"}, "argument": {"name": "a", "value": "b"}, "context": 7},
        ],
    )
    async def test_a_completion_of_the_wrong_shape_is_named(self, params: Any) -> None:
        assert (await surface().ask("completion/complete", params)).code == PARAMS
        assert (await surface().ask_modern("completion/complete", params)).status == 400
