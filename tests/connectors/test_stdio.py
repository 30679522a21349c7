"""Local servers: real ones on both SDKs, and a hand-made one with every bad habit."""

import asyncio
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import orjson
import pytest

from connectors.base import (
    ChildSpec,
    Interest,
    Question,
    RawResult,
    UpstreamAuth,
    UpstreamFailure,
    UpstreamSpec,
)
from connectors.egress import SEND_CLOCK, Egress
from connectors.stdio import Stdio
from tests.connectors.conftest import tool_call
from tests.connectors.relays import FORM, URL, RecordingRelay
from tests.connectors.servers import eventually

PYTHON = sys.executable
EVERYTHING = Path("tests/node/node_modules/@modelcontextprotocol/server-everything/dist/index.js").absolute()
SERVER = str(Path(__file__).with_name("local_server.py"))
AUTH = UpstreamAuth(identity="v1", variables=(("TOKEN", "up-s3cret"),))
Say = Callable[..., Awaitable[Any]]


def program(*habits: str, era: str = "modern", **changes: Any) -> UpstreamSpec:
    fields = {name: changes.pop(name) for name in ("environment", "per_agent", "memory_mb") if name in changes}
    child = ChildSpec((PYTHON, "-u", SERVER, era, *habits), secret_variable="TOKEN", **fields)
    settings = {"timeout_seconds": 10.0, "max_result_bytes": 64 * 1024, **changes}
    return UpstreamSpec(connector_id="c1", name="local", kind="stdio", urls=(), child=child, **settings)


@pytest.fixture
async def stdio() -> AsyncIterator[Stdio]:
    connector = Stdio(Egress(allowed_programs=(PYTHON,)), max_children=3)
    yield connector
    await connector.close()


async def call(stdio: Stdio, spec: UpstreamSpec, tool: str, relay: Any = None, **arguments: Any) -> str:
    agent_id = arguments.pop("agent_id", "")
    question = tool_call(tool, orjson.dumps(arguments), agent_id=agent_id)
    return said(await stdio.request(spec, AUTH, question, relay or RecordingRelay()))


def said(raw: RawResult) -> str:
    assert raw.result is not None, raw.error
    text: str = raw.result["content"][0]["text"]
    return text


def mode(path: str) -> int:
    return Path(path).stat().st_mode & 0o777


def proc(pid: int, name: str) -> str:
    return Path(f"/proc/{pid}/{name}").read_text()


async def has_seen(stdio: Stdio, spec: UpstreamSpec, method: str) -> None:
    async with asyncio.timeout(30):
        while method not in json.loads(await call(stdio, spec, "seen")):  # noqa: ASYNC110  # it is another process
            await asyncio.sleep(0.01)


def is_alive(pid: int) -> bool:
    try:
        state = proc(pid, "stat").rpartition(")")[2].split()[0]
    except OSError:
        return False
    return state != "Z"


# -- what works


@pytest.mark.parametrize("era", ["modern", "legacy"])
async def test_a_local_server_of_either_era_is_found_and_called(stdio: Stdio, era: str) -> None:
    spec = program(era=era)
    discovery = await stdio.discover(spec, AUTH)
    assert discovery.protocol_version == ("2026-07-28" if era == "modern" else "2024-11-05")
    assert "echo" in {tool["name"] for tool in discovery.tools}
    answers = await asyncio.gather(*(call(stdio, spec, "echo", n=n) for n in range(50)))
    assert answers == [str({"n": n}) for n in range(50)]
    assert len({await call(stdio, spec, "pid") for _ in range(3)}) == 1


async def test_a_server_that_leaves_the_probe_unanswered_is_legacy(stdio: Stdio) -> None:
    assert (await stdio.discover(program(era="silent_probe"), AUTH)).protocol_version == "2024-11-05"


async def test_it_sees_nothing_of_ours(stdio: Stdio, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DATABASE_URL", "postgresql://u:p@db/x")
    monkeypatch.setenv("GATEHOUSE_KEK", "k3k")
    seen = json.loads(await call(stdio, program(environment={"MODE": "fast"}), "environment"))
    seen.pop("LC_CTYPE", None)
    assert set(seen) == {"PATH", "HOME", "TMPDIR", "LANG", "MODE", "TOKEN"}
    assert seen["TOKEN"] == "up-s3cret"
    assert mode(seen["HOME"]) == 0o700
    await stdio.close()
    assert Path(seen["HOME"]).name not in os.listdir(tempfile.gettempdir())


async def test_it_runs_within_limits(stdio: Stdio) -> None:
    spec = program(memory_mb=96)
    assert await call(stdio, spec, "eat", mb=8) == "8"
    pid = int(await call(stdio, spec, "pid"))
    limits = proc(pid, "limits")
    assert [line.split()[-3:-1] for line in limits.splitlines() if line.startswith("Max core")] == [["0", "0"]]
    assert "NoNewPrivs:\t1" in proc(pid, "status")
    assert sorted(os.listdir(f"/proc/{pid}/fd")) == ["0", "1", "2"], "no descriptor of ours"
    with pytest.raises(UpstreamFailure, match="ended") as caught:
        await call(stdio, spec, "eat", mb=500)
    assert (caught.value.code, caught.value.reached) == ("reset", True)


async def test_secrets_and_agents_have_programs_of_their_own(stdio: Stdio) -> None:
    spec = program(per_agent=True)
    first = await call(stdio, spec, "pid", agent_id="a")
    assert await call(stdio, spec, "pid", agent_id="a") == first
    assert await call(stdio, spec, "pid", agent_id="b") != first
    other = UpstreamAuth(identity="v2", variables=(("TOKEN", "new"),))
    raw = await stdio.request(spec, other, tool_call("environment", agent_id="a"))
    assert json.loads(said(raw))["TOKEN"] == "new"
    await eventually(lambda: not is_alive(int(first)))


async def test_of_too_many_programs_an_unused_one_makes_room_and_a_busy_one_does_not(stdio: Stdio) -> None:
    spec = program(per_agent=True)
    oldest = int(await call(stdio, spec, "pid", agent_id="a"))
    busy = [asyncio.create_task(call(stdio, spec, "slow", agent_id=agent)) for agent in ("b", "c")]
    await call(stdio, spec, "pid", agent_id="a")
    await call(stdio, spec, "pid", agent_id="d")
    await eventually(lambda: not is_alive(oldest))
    busy.append(asyncio.create_task(call(stdio, spec, "slow", agent_id="d")))
    await asyncio.sleep(0)
    with pytest.raises(UpstreamFailure) as caught:
        await call(stdio, spec, "pid", agent_id="e")
    assert (caught.value.code, caught.value.reached) == ("crowded", False)
    for task in busy:
        task.cancel()
    await asyncio.gather(*busy, return_exceptions=True)


async def test_an_unused_program_is_ended_and_started_again() -> None:
    stdio = Stdio(Egress(allowed_programs=(PYTHON,)), idle_seconds=0.05)
    pid = int(await call(stdio, program(), "pid"))
    await eventually(lambda: not is_alive(pid))
    assert int(await call(stdio, program(), "pid")) != pid
    await stdio.close()


# -- while a call runs


async def test_progress_is_told_and_a_cancelled_call_is_cancelled_there(stdio: Stdio) -> None:
    spec, relay = program(), RecordingRelay(wants_progress=True)
    running = asyncio.create_task(call(stdio, spec, "slow", relay))
    await eventually(lambda: len(relay.told) == 2)
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
    await has_seen(stdio, spec, "notifications/cancelled")


async def test_a_call_without_an_answer_times_out_and_others_go_on(stdio: Stdio) -> None:
    spec = program()
    question = tool_call("slow", b"{}", timeout_seconds=0.3)
    late = asyncio.create_task(stdio.request(spec, AUTH, question))
    assert await call(stdio, spec, "echo", n=1)
    with pytest.raises(UpstreamFailure) as caught:
        await late
    assert (caught.value.code, caught.value.reached) == ("timeout", True)


async def test_a_question_reaches_the_caller_of_the_one_running_call(stdio: Stdio) -> None:
    spec, relay = program(era="legacy", relays=frozenset(("elicitation",))), RecordingRelay(FORM)
    assert json.loads(await call(stdio, spec, "ask", relay))["result"]["action"] == "accept"


@pytest.mark.parametrize(
    ("powers", "declared"),
    [
        ({}, {}),
        (FORM, {"elicitation": {"form": {}}}),
        (URL, {"elicitation": {"form": {}, "url": {}}}),
        ({"elicitation": {}, "sampling": {"tools": {}}}, {"elicitation": {"form": {}}, "sampling": {}}),
    ],
)
async def test_a_legacy_program_hears_what_its_own_callers_can_be_asked(
    stdio: Stdio, powers: dict[str, Any], declared: dict[str, Any]
) -> None:
    spec = program(era="legacy", relays=frozenset(("elicitation", "sampling", "roots")))
    assert await stdio.discover(spec, AUTH)
    assert json.loads(await call(stdio, spec, "declared", RecordingRelay(powers))) == [declared]


async def test_who_cannot_be_asked_shares_no_program_with_who_can(stdio: Stdio) -> None:
    spec = program(era="legacy", relays=frozenset(("elicitation",)))
    silent, able = RecordingRelay(), RecordingRelay(FORM)
    assert "error" in json.loads(await call(stdio, spec, "ask", silent))
    assert "result" in json.loads(await call(stdio, spec, "ask", able))
    assert (silent.asked, len(able.asked)) == ([], 1)
    pids = [await call(stdio, spec, "pid", relay) for relay in (silent, able, RecordingRelay(), RecordingRelay(FORM))]
    assert pids[:2] == pids[2:]
    assert pids[0] != pids[1]


async def test_a_modern_program_is_one_for_all_and_hears_it_with_each_call(stdio: Stdio) -> None:
    spec = program(relays=frozenset(("elicitation",)))
    assert await call(stdio, spec, "pid") == await call(stdio, spec, "pid", RecordingRelay(FORM))


async def test_a_question_that_could_be_for_two_callers_is_refused(stdio: Stdio) -> None:
    spec = program(era="legacy", relays=frozenset(("elicitation",)))
    await call(stdio, spec, "echo", RecordingRelay(FORM))
    other = asyncio.create_task(call(stdio, spec, "slow", RecordingRelay(FORM), seconds=5))
    await asyncio.sleep(0)
    relay = RecordingRelay(FORM)
    assert "error" in json.loads(await call(stdio, spec, "ask", relay))
    assert relay.asked == []
    other.cancel()
    await asyncio.gather(other, return_exceptions=True)


async def test_what_came_too_late_is_not_sent(stdio: Stdio) -> None:
    spec = program()
    await call(stdio, spec, "echo")
    past = time.clock_gettime_ns(SEND_CLOCK) - 1
    with pytest.raises(UpstreamFailure) as caught:
        await stdio.request(spec, AUTH, tool_call("echo", send_before_ns=past))
    assert (caught.value.code, caught.value.reached) == ("not_sent_in_time", False)


@pytest.mark.parametrize("era", ["modern", "legacy"])
async def test_its_news_are_heard_also_after_it_was_started_again(stdio: Stdio, era: str) -> None:
    heard: list[str] = []

    async def hear(method: str, params: dict[str, Any]) -> None:
        heard.append(method)

    spec, interest = program(era=era), Interest(tools=True, uris=frozenset(("file:///a",)))
    listening = asyncio.create_task(stdio.listen(spec, AUTH, interest, hear))
    await call(stdio, spec, "echo")
    wanted = "subscriptions/listen" if era == "modern" else "resources/subscribe"
    await has_seen(stdio, spec, wanted)
    await call(stdio, spec, "change")
    await eventually(lambda: len(heard) == 2)
    with pytest.raises(UpstreamFailure):
        await call(stdio, spec, "die")
    await eventually(lambda: len(heard) == 4, within_seconds=10)
    listening.cancel()
    await asyncio.gather(listening, return_exceptions=True)


async def test_who_offers_no_news_is_not_listened_to(stdio: Stdio) -> None:
    await asyncio.wait_for(stdio.listen(program(), AUTH, Interest(prompts=True), lambda *_: asyncio.sleep(0)), 20)


# -- what breaks


async def test_only_programs_that_are_allowed_are_run() -> None:
    for allowed in ((), ("/usr/bin/other",)):
        stdio = Stdio(Egress(allowed_programs=allowed))
        with pytest.raises(UpstreamFailure) as caught:
            await stdio.discover(program(), AUTH)
        assert (caught.value.code, caught.value.reached) == ("program_refused", False)
        await stdio.close()


async def test_a_program_that_is_not_there_says_so() -> None:
    stdio = Stdio(Egress(allowed_programs=("/no/such/program",)))
    spec = UpstreamSpec("c1", "local", "stdio", (), child=ChildSpec(("/no/such/program",)))
    with pytest.raises(UpstreamFailure, match="could not be run") as caught:
        await stdio.discover(spec, UpstreamAuth())
    assert caught.value.code == "connect_failed"
    assert "No such file" in caught.value.detail
    await stdio.close()


async def test_one_that_dies_during_a_call_breaks_it_off_and_is_started_again(stdio: Stdio) -> None:
    spec = program()
    first = await call(stdio, spec, "pid")
    with pytest.raises(UpstreamFailure) as caught:
        await call(stdio, spec, "die")
    assert (caught.value.code, caught.value.reached) == ("reset", True)
    assert await call(stdio, spec, "pid") != first


async def test_one_that_crashes_again_and_again_is_left_alone_for_a_while(stdio: Stdio) -> None:
    spec = program("crash")
    reasons = []
    for _ in range(4):
        with pytest.raises(UpstreamFailure) as caught:
            await stdio.discover(spec, AUTH)
        assert (caught.value.code, caught.value.reached) == ("connect_failed", False)
        reasons.append(caught.value)
    assert "ended with status 3" in reasons[0].message
    assert "no configuration" not in reasons[0].message
    assert reasons[0].detail == "no configuration: [secret]"
    assert "times" in reasons[-1].message
    assert "started in" in reasons[-1].message


async def test_one_that_never_answers_is_given_up_and_ended(stdio: Stdio) -> None:
    with pytest.raises(UpstreamFailure, match="did not answer in time") as caught:
        await stdio.discover(program("mute", timeout_seconds=0.5), AUTH)
    assert (caught.value.code, caught.value.reached) == ("connect_failed", False)


async def test_a_huge_answer_costs_only_its_own_call(stdio: Stdio) -> None:
    spec = program()
    slow = asyncio.create_task(call(stdio, spec, "slow", seconds=0.5))
    await call(stdio, spec, "echo")
    with pytest.raises(UpstreamFailure) as caught:
        await call(stdio, spec, "huge", size=200_000)
    assert (caught.value.code, caught.value.reached) == ("too_large", True)
    assert await slow == "late"


async def test_garbage_is_forgiven_for_a_while(stdio: Stdio) -> None:
    assert await call(stdio, program("greet"), "echo", n=1)
    with pytest.raises(UpstreamFailure, match="no MCP") as caught:
        await stdio.discover(program("chatter", revision="2"), AUTH)
    assert caught.value.code == "connect_failed"


async def test_a_line_without_end_ends_the_program(stdio: Stdio) -> None:
    with pytest.raises(UpstreamFailure, match="larger") as caught:
        await stdio.discover(program("endless"), AUTH)
    assert caught.value.code == "connect_failed"


async def test_floods_hold_up_nobody_else(stdio: Stdio) -> None:
    flood = program("strays", "shout")
    assert await call(stdio, flood, "echo", n=1)
    lags = []
    for _ in range(21):
        before = asyncio.get_running_loop().time()
        await asyncio.sleep(0.01)
        lags.append(asyncio.get_running_loop().time() - before)
    assert sorted(lags)[10] < 1.0
    assert await call(stdio, flood, "echo", n=2)


async def test_nothing_of_it_outlives_it(stdio: Stdio) -> None:
    spec = program()
    program_pid, daemon = int(await call(stdio, spec, "pid")), int(await call(stdio, spec, "detach"))
    assert is_alive(daemon)
    await stdio.close()
    assert not is_alive(program_pid)
    assert not is_alive(daemon)


async def test_one_that_will_not_end_is_ended(stdio: Stdio) -> None:
    pid = int(await call(stdio, program("stubborn"), "pid"))
    await asyncio.wait_for(stdio.close(), 20)
    assert not is_alive(pid)


async def test_forgetting_ends_it(stdio: Stdio) -> None:
    pid = int(await call(stdio, program(), "pid"))
    await stdio.forget(["other"])
    assert is_alive(pid)
    await stdio.forget(["c1"])
    assert not is_alive(pid)


GATEWAY = """
import asyncio, sys, tests.connectors.test_stdio as t
async def main():
    stdio = t.Stdio(t.Egress(allowed_programs=(t.PYTHON,)))
    spec = t.program("stubborn")
    print(await t.call(stdio, spec, "pid"), await t.call(stdio, spec, "detach"), flush=True)
    await asyncio.sleep(600)
asyncio.run(main())
"""


async def test_nothing_of_it_outlives_a_gateway_that_is_killed() -> None:
    gateway = await asyncio.create_subprocess_exec(PYTHON, "-c", GATEWAY, stdout=subprocess.PIPE)
    assert gateway.stdout is not None
    pids = [int(word) for word in (await asyncio.wait_for(gateway.stdout.readline(), 20)).split()]
    assert len(pids) == 2
    assert all(map(is_alive, pids))
    gateway.send_signal(signal.SIGKILL)
    await gateway.wait()
    await eventually(lambda: not any(map(is_alive, pids)), within_seconds=30)


# -- real servers


@pytest.fixture
def node() -> str:
    found = os.environ.get("GATEHOUSE_NODE") or shutil.which("node")
    if found is None or not EVERYTHING.exists():
        missing = "missing service: Node with tests/node installed"
        pytest.fail(missing) if os.environ.get("REQUIRE_SERVICES") == "1" else pytest.skip(missing)
    return found


@pytest.mark.npm
async def test_npms_server_everything(node: str) -> None:
    stdio = Stdio(Egress(allowed_programs=(node,)))
    spec = UpstreamSpec(
        "c1",
        "everything",
        "stdio",
        (),
        timeout_seconds=15,
        relays=frozenset(("elicitation",)),
        child=ChildSpec((node, str(EVERYTHING), "stdio")),
    )
    assert (await stdio.discover(spec, AUTH)).protocol_version == "2025-11-25"
    assert "hi" in await call(stdio, spec, "echo", message="hi")
    relay = RecordingRelay(wants_progress=True)
    assert "completed" in await call(stdio, spec, "trigger-long-running-operation", relay, duration=0.3, steps=3)
    assert [params["progress"] for _, params in relay.told] == [1, 2, 3]
    assert (await stdio.catalog(spec, AUTH, "prompts/list")).items
    uri = (await stdio.catalog(spec, AUTH, "resources/list")).items[0]["uri"]
    raw = await stdio.request(spec, AUTH, Question("resources/read", uri, {"uri": orjson.dumps(uri)}))
    assert raw.result is not None
    await stdio.close()


SDK_SERVER = """
import sys
from mcp.server.mcpserver import MCPServer
server = MCPServer("sdk")
@server.tool()
def add(a: int, b: int) -> int:
    return a + b
server.run("stdio")
"""


async def test_a_server_on_the_python_sdk(tmp_path: Path) -> None:
    stdio = Stdio(Egress(allowed_programs=(PYTHON,)))
    script = tmp_path / "server.py"
    script.write_text(SDK_SERVER)
    spec = UpstreamSpec("c1", "sdk", "stdio", (), timeout_seconds=20, child=ChildSpec((PYTHON, str(script))))
    discovery = await stdio.discover(spec, AUTH)
    assert discovery.protocol_version == "2026-07-28"
    assert [tool["name"] for tool in discovery.tools] == ["add"]
    assert await call(stdio, spec, "add", a=2, b=3) == "5"
    await stdio.close()
