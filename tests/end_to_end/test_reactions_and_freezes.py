"""Reactions and freezes against two real gateway processes behind one port: no client knows which it meets."""

import asyncio
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing
from dataclasses import dataclass, field
from typing import Any

import pytest

from tests import cast
from tests.connectors.servers import ScriptedServer, Turn, scripted_server
from tests.end_to_end.conftest import MakeInstallation
from tests.end_to_end.installation import Installation
from tests.end_to_end.test_open_streams import followed, listened
from tests.end_to_end.upstreams import in_background
from tests.end_to_end.wire import Caller, Reply

pytestmark = pytest.mark.databases("postgres")

VALUE = "value-of-the-vault-0123456789"
LATEST_SECONDS = 40.0
AT_ONCE_SECONDS = 20.0
TOOLS = ("act", "leak", "hang", "forbidden")
REACTIONS = [
    {"name": "many-denials", "trigger": "denials", "count": 3, "minutes": 10, "action": "freeze_agent"},
    {"name": "leaks", "trigger": "finding", "findings": ["secret"], "action": "hold_run"},
]
ODD_ONES = {"name": "only-odd-ones", "rules": [{"effect": "deny", "tools": ["forbidden"], "when": "args.n > 0"}]}


async def answer(turn: Turn) -> None:
    name = turn.seen.message["params"]["name"]
    if name == "hang":
        await asyncio.sleep(3600)
    text = VALUE if name == "leak" else "done"
    await turn.result({"content": [{"type": "text", "text": text}], "resultType": "complete"})


@dataclass
class Desk:
    house: Installation
    upstream: ScriptedServer
    stack: ExitStack
    keys: dict[str, str] = field(default_factory=dict)

    def agent(self, name: str) -> Caller:
        if name not in self.keys:
            self.keys[name] = self.house.issue_key(name)
        return self.stack.enter_context(closing(Caller(self.house.url, self.keys[name], path="/mcp/upstream")))

    def facts(self, kind: str, agent: str) -> list[dict[str, Any]]:
        return [event["details"] for event in self.house.events(kind) if event["agent"] == agent]


@pytest.fixture(scope="module")
def desk(make_installation: MakeInstallation) -> Iterator[Desk]:
    with ExitStack() as stack:
        upstream = stack.enter_context(in_background(scripted_server()))
        schema = {"type": "object", "properties": {"n": {"type": "integer"}, "text": {"type": "string"}}}
        upstream.be_modern(tools=[{"name": name, "inputSchema": schema} for name in TOOLS])
        upstream.scripts["tools/call"] = answer
        house = make_installation()
        manifest = cast.organisation({"upstream": upstream.url}, secrets={"upstream": "TOKEN"}, timeout_seconds=60)
        manifest |= {"policies": [ODD_ONES], "reactions": REACTIONS}
        manifest["bundles"][0]["policies"] = [ODD_ONES["name"]]
        house.apply(manifest, TOKEN=VALUE)
        house.start_gateway(processes=2)
        stack.callback(house.kill9)
        yield Desk(house, upstream, stack)


def called(bot: Caller, tool: str, **arguments: Any) -> Reply:
    """As one answer, never a stream."""
    return bot.ask("tools/call", {"name": tool, "arguments": arguments}, Accept="application/json")


def code(reply: Reply) -> str:
    return str(reply.result.get("_meta", {}).get("com.gatehouse/decision", {}).get("code", ""))


def until(holds: Callable[[], Any], seconds: float = LATEST_SECONDS) -> None:
    deadline = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.01)


def test_so_many_denials_freeze_the_agent_before_its_next_call(desk: Desk) -> None:
    bot = desk.agent(cast.NIGHT_BOT)
    assert called(bot, "act").text == "done"
    assert [code(called(bot, "forbidden", n=1)) for _ in range(3)] == ["denied_by_rule"] * 3
    assert {code(called(bot, "act")) for _ in range(6)} == {"frozen"}, "in every process"
    (fired,) = desk.facts("reaction.fired", cast.NIGHT_BOT)
    assert (fired["reaction"], fired["did"]) == ("many-denials", "freeze_agent")
    [(by, ends_at)] = desk.house.sql(
        "SELECT f.created_by, f.ends_at FROM governance_freeze f JOIN governance_agent a ON a.id = f.agent_id"
        " WHERE a.name = %s",
        cast.NIGHT_BOT,
    )
    assert by == "reaction:many-denials"
    assert ends_at
    assert called(desk.agent(cast.RETIRED_BOT), "act").text == "done", "others go on"


def test_denials_at_once_fire_once(desk: Desk) -> None:
    bots = [desk.agent(cast.HANDOVER_BOT) for _ in range(8)]
    with ThreadPoolExecutor(8) as pool:
        codes = [code(reply) for reply in pool.map(lambda bot: called(bot, "forbidden", n=1), bots)]
    assert set(codes) <= {"denied_by_rule", "frozen"}
    assert len(desk.facts("reaction.fired", cast.HANDOVER_BOT)) == 1
    assert code(called(bots[0], "act")) == "frozen"


def test_a_leaked_secret_holds_the_rest_of_the_run(desk: Desk) -> None:
    bot = desk.agent(cast.TRIAGE_BOT)
    assert called(bot, "act").text == "done"
    leaked = called(bot, "leak")
    assert VALUE not in leaked.text
    assert {code(called(bot, "act")) for _ in range(4)} == {"approval_required"}
    (fired,) = desk.facts("reaction.fired", cast.TRIAGE_BOT)
    assert (fired["reaction"], fired["did"]) == ("leaks", "hold_run")


@pytest.fixture
def everything_frozen(desk: Desk) -> Iterator[Callable[[], Any]]:
    """Freezes, and lifts it whatever happens in between."""
    yield lambda: desk.house.manage("freeze", "--everything", "--for", "1h", "--reason", "drill")
    desk.house.manage("unfreeze", "--everything")


def test_a_freeze_cuts_calls_and_streams_of_every_process(desk: Desk, everything_frozen: Callable[[], Any]) -> None:
    bot = desk.agent(cast.RETIRED_BOT)
    before = len(desk.upstream.sent("tools/call"))
    with ThreadPoolExecutor(6) as pool:
        running = [pool.submit(called, desk.agent(cast.RETIRED_BOT), "hang") for _ in range(6)]
        until(lambda: len(desk.upstream.sent("tools/call")) == before + 6)
        with closing(followed(bot)) as old, closing(listened(bot)) as new:
            new.next()
            everything_frozen()
            began = time.monotonic()
            replies = [each.result(AT_ONCE_SECONDS) for each in running]
            assert old.next() is None
            while new.next() is not None:
                continue
            assert time.monotonic() - began < AT_ONCE_SECONDS
    assert all("may have had an effect" in reply.text for reply in replies)
    assert code(called(bot, "act")) == "frozen"
    outcomes = [event for event in desk.house.events("call.outcome") if event["agent"] == cast.RETIRED_BOT]
    assert [event["outcome"] for event in outcomes if event["outcome"] != "ok"] == ["withheld"] * 6


def test_a_freeze_ends_by_itself_to_the_second(desk: Desk) -> None:
    bot = desk.agent(cast.RETIRED_BOT)
    desk.house.manage("freeze", "--agent", cast.RETIRED_BOT, "--for", "2s")
    assert code(called(bot, "act")) in ("frozen", "")
    [(ends_at,)] = desk.house.sql("SELECT ends_at FROM governance_freeze ORDER BY created_at DESC LIMIT 1")
    assert ends_at
    until(lambda: called(bot, "act").text == "done")
