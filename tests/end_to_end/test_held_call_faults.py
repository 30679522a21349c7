"""What breaks while a call waits for a human: processes, rights, the database, letters. It runs once, or never."""

import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass, field, replace
from itertools import count
from typing import Any

import httpx
import pytest

from tests import cast
from tests.connectors.servers import ScriptedServer, Turn, scripted_server
from tests.end_to_end.held_desk import TASKS, Approver, modern_call, modern_request, post, result_of
from tests.end_to_end.outages import take_away
from tests.end_to_end.test_crash import FaultyInstallation, wait_for_death
from tests.end_to_end.upstreams import in_background
from tests.end_to_end.wire import Caller

LATEST_SECONDS = 40.0
AT_ONCE_SECONDS = 20.0
WITHOUT_LETTERS_SECONDS = 20.0
HOLD_SECONDS = 55
"""Longer than any test waits: whoever is answered sooner was answered for a reason."""
LEAVER = "eve@example.com"
PAGE, NOTE = "greet", "note:///refunds"
ASKING = {
    "name": "humans-look-at-it",
    "rules": [
        {
            "effect": "ask",
            "tools": ["act", f"prompt:{PAGE}", f"resource:{NOTE}"],
            "approvers": {"people": [cast.LEE, LEAVER]},
        }
    ],
}
_numbers = count(1)

Answer = dict[str, Any]


async def act(turn: Turn) -> None:
    await turn.result({"content": [{"type": "text", "text": "done"}], "resultType": "complete"})


async def greet(turn: Turn) -> None:
    await turn.result({"messages": [{"role": "user", "content": {"type": "text", "text": "done"}}]})


async def read(turn: Turn) -> None:
    await turn.result({"contents": [{"uri": NOTE, "text": "done"}]})


@dataclass
class Desk:
    """One number is one call: what was sent of it is found by it."""

    house: FaultyInstallation
    upstream: ScriptedServer
    pool: ThreadPoolExecutor
    key: str
    approver: Approver
    number: int = field(default_factory=lambda: next(_numbers))

    def start(self, fault: str = "") -> None:
        self.house.fault = fault
        self.house.start_gateway()
        self.house.fault = ""

    def be_only(self, fault: str) -> None:
        self.house.kill9()
        self.start(fault)

    def recover(self) -> None:
        wait_for_death(self.house)
        self.house.declare_silent()
        self.start()

    def call(self, capabilities: Any = None) -> Answer:
        return self.ask(modern_call("act", {"number": self.number}, capabilities or {}))

    def ask(self, message: dict[str, Any]) -> Answer:
        with closing(Caller(self.house.url, self.key, path="/mcp/upstream")) as caller:
            return post(caller, message)

    def waits(self, message: dict[str, Any] | None = None) -> "Future[Answer]":
        """A client at its POST whose question has been put."""
        asked = len(self.requests())
        calling = self.pool.submit(self.ask, message) if message else self.pool.submit(self.call)
        until(lambda: calling.done() or len(self.requests()) > asked)
        assert not calling.done(), calling.result()
        return calling

    def task(self, task_id: str) -> Answer:
        return result_of(self.ask(modern_request("tasks/get", {"taskId": task_id}, TASKS)))

    def until_over(self, task_id: str) -> Answer:
        until(lambda: self.task(task_id)["status"] != "working")
        return self.task(task_id)

    def requests(self) -> list[str]:
        """States, in the order in which they were asked."""
        return [state for (state,) in self.house.sql("SELECT state FROM governance_approvalrequest ORDER BY number")]

    def sent(self, method: str = "tools/call") -> int:
        """What the upstream received of this call, or ever of other methods."""
        seen = self.upstream.sent(method)
        if method != "tools/call":
            return len(seen)
        return sum(each.message["params"]["arguments"] == {"number": self.number} for each in seen)


def until(holds: Callable[[], Any]) -> None:
    deadline = time.monotonic() + LATEST_SECONDS
    while not holds():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.02)


def manifest(url: str, *, is_noor_here: bool = True) -> dict[str, Any]:
    found = cast.organisation({"upstream": url}, timeout_seconds=30)
    everything = {"connector": "upstream", "allow": ["*"]}
    found["bundles"][0] |= {"policies": [ASKING["name"]], "prompts": [everything], "resources": [everything]}
    found["policies"] = [ASKING]
    found["roles"][0]["people"] = [cast.NOOR]
    found["people"].append({"email": LEAVER, "name": "Eve"})
    for person in found["people"]:
        if person["email"] == cast.NOOR:
            person["active"] = is_noor_here
    return found


@pytest.fixture(scope="module")
def house(
    request: pytest.FixtureRequest, database: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[FaultyInstallation, ScriptedServer]]:
    postgres_url = request.getfixturevalue("postgres_url") if database == "postgres" else ""
    with ExitStack() as stack:
        upstream = stack.enter_context(in_background(scripted_server()))
        upstream.be_modern(
            tools=[{"name": "act", "inputSchema": {"type": "object"}}],
            capabilities={"tools": {}, "prompts": {}, "resources": {}},
        )
        upstream.scripts |= {"tools/call": act, "prompts/get": greet, "resources/read": read}
        folder = tmp_path_factory.mktemp("installation")
        made = FaultyInstallation(folder, database=database, postgres_url=postgres_url)
        stack.callback(made.close)
        made.configure(GATEWAY_HOLD_SECONDS=str(HOLD_SECONDS))
        made.apply(manifest(upstream.url))
        yield made, upstream
        assert "Traceback" not in made.log()


@pytest.fixture(scope="module")
def key(house: tuple[FaultyInstallation, ScriptedServer]) -> str:
    return house[0].issue_key(cast.TRIAGE_BOT)


@pytest.fixture(scope="module")
def approver(house: tuple[FaultyInstallation, ScriptedServer]) -> Iterator[Approver]:
    with closing(Approver(house[0], cast.LEE)) as lee:
        yield lee


@pytest.fixture
def desk(house: tuple[FaultyInstallation, ScriptedServer], key: str, approver: Approver) -> Iterator[Desk]:
    """Leaves no question behind, as she decides the oldest, and a sound gateway."""
    made, upstream = house
    with ThreadPoolExecutor(4) as pool:
        if not made.processes:
            made.start_gateway()
        yield Desk(made, upstream, pool, key, approver)
        made.sql("UPDATE governance_approvalrequest SET state = 'cancelled' WHERE state IN ('pending', 'approved')")


# -- kill -9


def test_killed_before_its_use_an_approved_call_runs_once_elsewhere(desk: Desk) -> None:
    desk.be_only("kill:before:commit_intent")
    calling = desk.waits()
    desk.approver.decide("approve")
    desk.recover()
    with pytest.raises(httpx.TransportError):
        calling.result(LATEST_SECONDS)
    assert desk.requests()[-1] == "approved"
    assert text_of(desk.call()) == "done"
    assert desk.sent() == 1
    assert desk.requests()[-1] == "consumed"


def test_killed_before_its_use_an_approved_task_runs_once_elsewhere(desk: Desk) -> None:
    desk.be_only("kill:before:commit_intent")
    task = result_of(desk.call(TASKS))
    desk.approver.decide("approve")
    desk.recover()
    ended = desk.until_over(task["taskId"])
    assert (ended["status"], ended["result"]["content"][0]["text"]) == ("completed", "done")
    assert desk.sent() == 1
    assert desk.requests()[-1] == "consumed"


def test_killed_after_its_use_a_call_is_not_repeated_on_the_same_approval(desk: Desk) -> None:
    desk.be_only("kill:after:commit_intent")
    calling = desk.waits()
    desk.approver.decide("approve")
    desk.recover()
    with pytest.raises(httpx.TransportError):
        calling.result(LATEST_SECONDS)
    assert desk.requests()[-1] == "consumed"
    again = desk.waits()
    desk.approver.decide("approve")
    assert text_of(again.result(LATEST_SECONDS)) == "done"
    assert desk.sent() == 1


def test_killed_after_its_use_a_task_says_that_its_outcome_is_unknown(desk: Desk) -> None:
    desk.be_only("kill:after:commit_intent")
    task = result_of(desk.call(TASKS))
    desk.approver.decide("approve")
    desk.recover()
    ended = desk.until_over(task["taskId"])
    assert ended["status"] == "failed"
    assert "outcome is unknown" in ended["error"]["message"]
    assert desk.sent() == 0


# -- rights


def test_what_an_approver_agreed_to_is_void_once_she_is_gone(desk: Desk) -> None:
    desk.be_only("kill:before:commit_intent")
    with closing(Approver(desk.house, LEAVER)) as eve:
        desk.waits()
        eve.decide("approve")
    wait_for_death(desk.house)
    desk.house.manage("offboard", LEAVER)
    assert desk.requests()[-1] == "void"
    desk.start()
    calling = desk.waits()
    assert desk.sent() == 0
    desk.approver.decide("approve")
    assert text_of(calling.result(LATEST_SECONDS)) == "done"
    assert desk.sent() == 1


def test_who_acts_for_somebody_is_not_kept_waiting_once_she_is_gone(desk: Desk) -> None:
    for_noor = replace(desk, key=desk.house.issue(cast.TRIAGE_BOT, **{"on-behalf-of": cast.NOOR})["key"])
    calling = for_noor.waits()
    desk.house.apply(manifest(desk.upstream.url, is_noor_here=False))
    assert calling.result(AT_ONCE_SECONDS)["error"]["code"] == -32001
    desk.approver.decide("approve")
    assert for_noor.call()["error"]["code"] == -32001
    assert desk.sent() == 0
    desk.house.apply(manifest(desk.upstream.url))


@contextmanager
def frozen(desk: Desk) -> Iterator[None]:
    desk.house.manage("freeze", "--agent", cast.TRIAGE_BOT, "--for", "1h")
    yield
    desk.house.manage("unfreeze", "--agent", cast.TRIAGE_BOT)


def test_a_freeze_ends_the_wait_at_once_and_nothing_runs(desk: Desk) -> None:
    calling = desk.waits()
    with frozen(desk):
        assert code_of(calling.result(AT_ONCE_SECONDS)) == "frozen"
        desk.approver.decide("approve")
        assert code_of(desk.call()) == "frozen"
        assert desk.sent() == 0
    assert text_of(desk.call()) == "done"
    assert desk.sent() == 1


def test_a_task_of_a_frozen_agent_does_not_run(desk: Desk) -> None:
    task = result_of(desk.call(TASKS))
    with frozen(desk):
        desk.approver.decide("approve")
        ended = desk.until_over(task["taskId"])
        assert ended["result"]["_meta"]["com.gatehouse/decision"]["code"] == "frozen"
    assert desk.sent() == 0


# -- all that can be asked about


@pytest.mark.parametrize(
    ("method", "params"),
    [("prompts/get", {"name": PAGE, "arguments": {}}), ("resources/read", {"uri": NOTE})],
    ids=["prompt", "resource"],
)
@pytest.mark.parametrize("is_at_post", [True, False], ids=["held", "later"])
def test_prompts_and_resources_wait_for_humans_too(
    desk: Desk, method: str, params: dict[str, Any], is_at_post: bool
) -> None:
    message, before = modern_request(method, params, {}), desk.sent(method)
    calling = desk.waits(message)
    if not is_at_post:
        desk.house.kill9()
        with pytest.raises(httpx.TransportError):
            calling.result(LATEST_SECONDS)
        desk.start()
    desk.approver.decide("approve")
    released = calling.result(LATEST_SECONDS) if is_at_post else desk.ask(message)
    assert "done" in str(result_of(released))
    assert desk.sent(method) == before + 1


# -- the database, and letters


@pytest.mark.databases("sqlite", "postgres")
def test_a_database_that_goes_and_comes_loses_nothing(desk: Desk) -> None:
    """Who waits goes on waiting, or is told to come again; nobody new is let in meanwhile."""
    calling = desk.waits()
    restore = take_away(desk.house)
    try:
        assert replace(desk, number=0).call()["error"]["code"] == -32603
    finally:
        restore()
    desk.approver.decide("approve")
    first = calling.result(LATEST_SECONDS)
    if "error" in first or text_of(first) != "done":
        assert first.get("error", {}).get("code") == -32603 or code_of(first) == "approval_required"
        assert text_of(desk.call()) == "done"
    assert desk.sent() == 1
    assert desk.requests()[-1] == "consumed"


@pytest.fixture
def letters_are_lost(desk: Desk) -> Iterator[None]:
    """Each is gone before anybody can read it."""
    act = "DELETE FROM gateway_letter WHERE id = NEW.id"
    if desk.house.database == "postgres":
        body = f"BEGIN {act}; RETURN NULL; END"
        desk.house.sql(f"CREATE OR REPLACE FUNCTION lose_letter() RETURNS trigger LANGUAGE plpgsql AS $$ {body} $$")
        act = "EXECUTE FUNCTION lose_letter()"
    else:
        act = f"BEGIN {act}; END"
    desk.house.sql(f"CREATE TRIGGER lose_letter AFTER INSERT ON gateway_letter FOR EACH ROW {act}")
    yield
    on_table = " ON gateway_letter" if desk.house.database == "postgres" else ""
    desk.house.sql(f"DROP TRIGGER lose_letter{on_table}")


@pytest.mark.databases("sqlite", "postgres")
@pytest.mark.usefixtures("letters_are_lost")
def test_without_letters_an_approved_call_is_released_all_the_same(desk: Desk) -> None:
    calling = desk.waits()
    desk.approver.decide("approve")
    decided = time.monotonic()
    assert text_of(calling.result(LATEST_SECONDS)) == "done"
    assert time.monotonic() - decided < WITHOUT_LETTERS_SECONDS
    assert desk.sent() == 1


def text_of(answer: Answer) -> str:
    return str(result_of(answer)["content"][0]["text"])


def code_of(answer: Answer) -> str:
    return str(result_of(answer)["_meta"]["com.gatehouse/decision"]["code"])
