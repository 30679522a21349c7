"""Resources, prompts and completions pass the same stages as tools, under the rules of their own bundles."""

from base64 import b64encode
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest

from connectors.base import RawResult, UpstreamFailure
from gateway.call import Answer, Call, Frame, Intent
from gateway.commit.entry import Verdict
from gateway.pipeline import DENIED_CODE, RESOURCE_NOT_FOUND, run, watch
from governance.snapshot import Freeze, Rule, Selection, Snapshot
from tests import factories as make
from tests.fakes import FakePorts, answer

URI = "file:///handbook/holidays"
SECRET = "s3cr3t-value-of-vault"
HANDBOOK = make.selection("resource", allow=("file:///handbook/*",))
PROMPTS = make.selection("prompt", allow=("greet*",))
READ = {"contents": [{"uri": URI, "text": "Fridays"}]}
GOT = {"messages": [{"role": "user", "content": {"type": "text", "text": "Hello"}}]}


def world(
    *rules: Rule, selections: tuple[Selection, ...] = (HANDBOOK, PROMPTS), epoch: int = 1, **fields: Any
) -> Snapshot:
    agent = make.agent(roles=(make.role("bundle-support"),))
    bundle = make.bundle(rules=rules, selections=selections)
    return make.snapshot(
        agents=(agent,), bundles=(bundle,), credentials=(make.credential(agent),), epoch=epoch, **fields
    )


def frame(method: str, name: str, arguments: Mapping[str, Any] | None = None, **fields: Any) -> Frame:
    defaults = {"token": make.KEY, "bundle": "support", "revision": "2026-07-28"} | fields
    return Frame(name=name, arguments=dict(arguments or {}), method=method, **defaults)


def reading(uri: str = URI, **fields: Any) -> Frame:
    return frame("resources/read", uri, {"uri": uri}, **fields)


def completing(reference: Mapping[str, Any], name: str, **fields: Any) -> Frame:
    arguments = {"ref": reference, "argument": {"name": "day", "value": "F"}, "vendor": 1}
    return frame("completion/complete", name, arguments, **fields)


REQUESTS = [
    (reading(), "resource:file:///handbook/holidays", {"uri": b'"file:///handbook/holidays"'}),
    (
        frame("prompts/get", "greet", {"b": "x", "a": "y"}),
        "prompt:greet",
        {"name": b'"greet"', "arguments": b'{"a":"y","b":"x"}'},
    ),
    (
        completing({"type": "ref/prompt", "name": "greet"}, "greet"),
        "prompt:greet",
        {"ref": b'{"name":"greet","type":"ref/prompt"}', "argument": b'{"name":"day","value":"F"}'},
    ),
    (
        completing({"type": "ref/resource", "uri": "file:///handbook/{day}"}, "file:///handbook/{day}"),
        "resource:file:///handbook/{day}",
        {"ref": b'{"type":"ref/resource","uri":"file:///handbook/{day}"}', "argument": b'{"name":"day","value":"F"}'},
    ),
]


@pytest.mark.parametrize(("asked", "tool", "params"), REQUESTS, ids=lambda value: getattr(value, "method", None))
async def test_each_is_recorded_before_and_after_and_sent_as_decided(
    asked: Frame, tool: str, params: Mapping[str, bytes]
) -> None:
    ports = FakePorts(world())
    ports.upstream = lambda _: answer({"ok": 1})
    assert (await run(asked, ports)).result == {"ok": 1}
    assert ports.log == ["call.intent", "sent", "call.outcome"]
    assert {entry.event.tool for entry in ports.entries} == {tool}
    assert ports.entries[0].event.details["method"] == asked.method
    assert ports.entries[0].read_set is not None
    assert not any(key.startswith("tool:") for key in ports.entries[0].read_set)
    (question,) = ports.questions
    assert (question.method, dict(question.params)) == (asked.method, params)
    assert question.is_repeatable


async def test_a_prefixed_name_goes_upstream_without_its_prefix() -> None:
    ports = FakePorts(world())
    await run(reading(f"helpdesk+{URI}", bundle=None), ports)
    await run(frame("prompts/get", "helpdesk__greet", bundle=None), ports)
    await run(completing({"type": "ref/prompt", "name": "helpdesk__greet"}, "helpdesk__greet", bundle=None), ports)
    assert [question.name for question in ports.questions] == [URI, "greet", "greet"]
    assert ports.questions[2].params["ref"] == b'{"name":"greet","type":"ref/prompt"}'


INVISIBLE = [
    (
        "resources/read",
        RESOURCE_NOT_FOUND,
        "Resource not found",
        ["file:///etc/passwd", "file:///handbook/../x", "", "x"],
    ),
    ("resources/subscribe", RESOURCE_NOT_FOUND, "Resource not found", ["file:///etc/passwd"]),
    ("prompts/get", -32602, "Unknown prompt", ["secret_prompt", "", "ticket_get"]),
    ("completion/complete", -32602, "Unknown reference", ["greet"]),
]


@pytest.mark.parametrize(("method", "code", "message", "names"), INVISIBLE)
async def test_what_is_not_given_answers_as_what_is_not_there(
    method: str, code: int, message: str, names: list[str]
) -> None:
    views = (world(), world(selections=()), world(make.rule("deny", tools=("resource:*", "prompt:*"))))
    for view in views:
        for name in names if view is views[0] else [URI, "greet"]:
            ports = FakePorts(view)
            told = await run(frame(method, name), ports)
            assert told == Answer(error={"code": code, "message": message})
            assert (ports.log, ports.sent) == (["call.refused"], [])


async def test_rules_see_the_uri_and_bind_resources_and_prompts() -> None:
    late = make.rule("deny", "args.uri.endsWith('holidays')", tools=("resource:*",), reason="Not before Friday")
    told = await run(reading(), FakePorts(world(late)))
    assert told.error is not None
    assert told.error["code"] == DENIED_CODE
    assert "Not before Friday" in told.error["message"]
    assert told.error["data"]["com.gatehouse/decision"]["code"] == "denied_by_rule"
    ports = FakePorts(world(late))
    assert (await run(frame("prompts/get", "greet"), ports)).error is None


async def test_a_rule_for_all_tools_binds_resources_too() -> None:
    told = await run(reading(), FakePorts(world(make.rule("deny", "true"))))
    assert told.error is not None
    assert told.error["data"]["com.gatehouse/decision"]["code"] == "denied_by_rule"


async def test_nobody_is_asked_about_a_completion() -> None:
    asked = completing({"type": "ref/prompt", "name": "greet"}, "greet")
    ports = FakePorts(world(make.rule("ask", "true")))
    told = await run(asked, ports)
    assert told.error is not None
    assert told.error["data"]["com.gatehouse/decision"]["code"] == "approval_required"
    assert (ports.log, ports.sent) == (["call.refused"], [])


async def test_a_frozen_connector_reads_nothing() -> None:
    freeze = Freeze(None, make.connector().id, None, "", None)
    told = await run(reading(), FakePorts(world(freezes=(freeze,))))
    assert told.error is not None
    assert told.error["data"]["com.gatehouse/decision"]["code"] == "frozen"


@pytest.mark.parametrize("secret", [make.KEY, SECRET])
@pytest.mark.parametrize(
    "asked",
    [
        reading("file:///handbook/{secret}"),
        frame("prompts/get", "greet {secret}"),
        frame("prompts/get", "greet", {"name": "{secret}"}),
        frame("tools/call", "ticket_get", resumed={"inputResponses": {"a": {"content": {"b": "{secret}"}}}}),
    ],
    ids=lambda asked: asked.method,
)
async def test_no_credential_travels_or_stays_in_evidence(asked: Frame, secret: str) -> None:
    def filled(value: Any) -> Any:
        if isinstance(value, str):
            return value.replace("{secret}", secret)
        return {key: filled(member) for key, member in value.items()} if isinstance(value, dict) else value

    ports = FakePorts(world())
    ports.secrets = {"helpdesk-token": (SECRET.encode(),)}
    hostile = replace(asked, name=filled(asked.name), arguments=filled(asked.arguments), resumed=filled(asked.resumed))
    await run(hostile, ports)
    assert (ports.log, ports.questions) == (["call.refused"], [])
    assert secret.encode() not in ports.entries[0].event.header()


async def test_what_resumes_a_call_is_sent_and_recorded_like_arguments() -> None:
    ports = FakePorts(world())
    resumed = {"inputResponses": {"q": {"action": "accept"}}, "requestState": "theirs", "name": "other"}
    await run(frame("tools/call", "ticket_get", {"id": 7}, resumed=resumed), ports)
    (question,) = ports.questions
    assert set(question.params) == {"name", "arguments", "inputResponses", "requestState"}
    assert question.params["name"] == b'"ticket_get"'
    assert question.params["requestState"] == b'"theirs"'
    assert not question.is_repeatable
    recorded = ports.entries[0].payload
    assert recorded is not None
    assert b'"action":"accept"' in recorded.sealed
    assert b'"id":7' in recorded.sealed


@pytest.mark.parametrize(("read_only", "seconds"), [(True, 300.0), (False, None)])
async def test_a_tool_has_its_own_time_and_may_be_repeated_by_the_admins_word(
    read_only: bool, seconds: float | None
) -> None:
    plain = make.tool()
    tool = replace(plain, variables={**plain.variables, "read_only": read_only}, timeout_seconds=seconds)
    agent = make.agent(roles=(make.role("bundle-support"),))
    view = make.snapshot(agents=(agent,), bundles=(make.bundle(tools=(tool,)),), credentials=(make.credential(agent),))
    ports = FakePorts(view)
    await run(frame("tools/call", "ticket_get"), ports)
    assert (ports.questions[0].is_repeatable, ports.questions[0].timeout_seconds) == (read_only, seconds)


async def test_a_broken_upstream_of_a_resource_is_an_error_with_advice() -> None:
    def broken(_: Intent) -> RawResult:
        raise UpstreamFailure("timeout", "It did not answer in time.", reached=True)

    ports = FakePorts(world())
    ports.upstream = broken
    told = await run(reading(), ports)
    assert told.error is not None
    assert told.error["code"] == -32603
    assert told.error["data"]["com.gatehouse/failure"]["code"] == "timeout"
    assert ports.entries[-1].event.outcome == "failed"


async def test_uris_in_results_carry_their_connector_where_requests_must() -> None:
    ports = FakePorts(world())
    ports.upstream = lambda _: answer(READ)
    assert (await run(reading(), ports)).result == READ
    told = await run(reading(f"helpdesk+{URI}", bundle=None), ports)
    assert told.result is not None
    assert told.result["contents"][0]["uri"] == f"helpdesk+{URI}"


async def test_a_vault_value_in_a_resource_is_masked_and_vendor_fields_stay() -> None:
    ports = FakePorts(world())
    ports.secrets = {"helpdesk-token": (SECRET.encode(),)}
    ports.upstream = lambda _: answer({"contents": [{"uri": URI, "text": SECRET}], "_meta": {"vendor": 1}})
    told = await run(reading(), ports)
    assert told.result is not None
    assert told.result["contents"][0]["text"] == "[SECRET:helpdesk-token]"
    assert told.result["_meta"] == {"vendor": 1}


async def test_watching_a_resource_is_decided_and_recorded_and_sends_nothing() -> None:
    ports = FakePorts(world())
    told = await watch(frame("resources/subscribe", URI, {"uri": URI}), ports)
    assert isinstance(told, Call)
    assert (told.tool.upstream_name, told.tool.connector.name) == (URI, "helpdesk")
    assert (ports.log, ports.questions) == (["resource.watched"], [])
    assert ports.entries[0].read_set is not None


async def test_watching_is_decided_again_when_permissions_change() -> None:
    ports = FakePorts(world())
    ports.views.append(world(selections=(), epoch=2))
    ports.verdicts = [Verdict.STALE]
    told = await watch(frame("resources/subscribe", URI, {"uri": URI}), ports)
    assert isinstance(told, Answer)
    assert told.error == {"code": RESOURCE_NOT_FOUND, "message": "Resource not found"}
    assert ports.log == ["STALE", "call.refused"]


async def test_without_a_record_nothing_is_watched() -> None:
    ports = FakePorts(world())
    ports.broken_commits = {"resource.watched"}
    told = await watch(frame("resources/subscribe", URI, {"uri": URI}), ports)
    assert isinstance(told, Answer)
    assert told.status == 503


TOKEN = "ghp_" + "16C7e42F292c6912E7710c838347Ae178B4a"
CONTENT = [
    (reading(), {"contents": [{"uri": URI, "text": f"the key is {TOKEN}, keep it"}]}),
    (reading(), {"contents": [{"uri": URI, "blob": b64encode(f"the key is {TOKEN}".encode()).decode()}]}),
    (
        frame("prompts/get", "greet", {"b": "x"}),
        {"messages": [{"role": "user", "content": {"type": "text", "text": f"use {TOKEN}"}}]},
    ),
    (
        completing({"type": "ref/prompt", "name": "greet"}, "greet"),
        {"completion": {"values": [f"key {TOKEN}"], "hasMore": False}},
    ),
]


@pytest.mark.parametrize(("asked", "content"), CONTENT, ids=["text", "blob", "prompt", "completion"])
async def test_what_resources_and_prompts_hold_is_looked_at_as_results_of_tools_are(asked: Frame, content: Any) -> None:
    masking = make.rule("mask", reads_content=True, on="result", findings=frozenset(["secret"]))
    ports = FakePorts(world(masking))
    ports.upstream = lambda _: answer(content)
    told = str((await run(asked, ports)).result)
    assert TOKEN not in told
    assert b64encode(TOKEN.encode()).decode()[4:-4] not in told
    assert "[SECRET:github_token]" in told or "blob" in str(content)
    (found,) = ports.entries[1].event.details["findings"]
    assert (found["rule"], found["kind"]) == ("github_token", "secret")


@pytest.mark.parametrize("asked", [reading(), frame("prompts/get", "greet", {"b": TOKEN})], ids=["address", "argument"])
async def test_what_is_asked_of_prompts_is_looked_at_as_arguments_of_tools_are(asked: Frame) -> None:
    refusing = make.rule("deny", reads_content=True, on="arguments", findings=frozenset(["secret"]))
    ports = FakePorts(world(refusing))
    told = await run(asked, ports)
    assert (told.error is not None) == (TOKEN in str(asked.arguments))
    assert ports.log[0] == ("call.refused" if TOKEN in str(asked.arguments) else "call.intent")
