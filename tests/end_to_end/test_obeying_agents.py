"""Agents that obey every order they read, before the default policy: what strangers want does not happen, and the
evidence says why."""

import json
from collections.abc import Iterator
from contextlib import closing, contextmanager
from typing import Any

import pytest

from tests.connectors.servers import scripted_server
from tests.end_to_end.installation import Installation
from tests.end_to_end.obeying import office as systems
from tests.end_to_end.obeying.agent import BY_NAME, DONE, WAITS, Run, lost, run, table
from tests.end_to_end.obeying.office import Office
from tests.end_to_end.obeying.tasks import ATTACKS, EVES_HOST, KEY, TASKS, Attack, Task
from tests.end_to_end.upstreams import in_background
from tests.end_to_end.wire import Caller

SAMPLE = (
    *("vendor ticket", "payment", "invite", "image"),
    *("key in another tool's argument", "key, base64", "key, split over ten calls"),
)
MARK = "keys:"
ISSUE = f"""
import json
from gateway.actions import issue_key
from governance.models import Agent
keys = {{a.name: issue_key(a, by="command:test", expires_in=None).key for a in Agent.objects.select_related("owner")}}
print("{MARK}" + json.dumps(keys))
"""


class Floor:
    """An office with a fresh agent for every task, since what an agent has read stays with it for a while."""

    def __init__(self, house: Installation, office: Office, agents: int) -> None:
        self.house, self.office = house, office
        names = [f"assistant-{number}" for number in range(agents)]
        file = house.folder / "office.json"
        manifest = {"apiVersion": "gatehouse/v1", **systems.manifest(office.server.url, names)}
        file.write_text(json.dumps(manifest))
        self.applied = house.manage("apply", str(file), "baseline").stdout
        printed = house.manage("shell", "--command", ISSUE).stdout
        self.keys: dict[str, str] = json.loads(printed.partition(MARK)[2].splitlines()[0])
        house.configure(GATEWAY_HOLD_SECONDS="0")
        self.origin = house.start_gateway()
        self._free = list(names)
        self.used: dict[str, str] = {}

    def run(self, task: Task, attack: Attack | None = None) -> Run:
        name = self._free.pop()
        self.used[attack.family if attack else task.name] = name
        with closing(self.caller(name)) as agent:
            return run(agent, self.office, task, attack)

    def caller(self, name: str) -> Caller:
        return Caller(self.origin, self.keys[name], path="/mcp/office")

    def evidence_of(self, name: str) -> list[dict[str, Any]]:
        """In the order of time, as the story of the agent's session is told."""
        return [event for event in self.house.events() if event.get("agent") == self.used[name]]


@contextmanager
def a_floor(installation: Installation, agents: int) -> Iterator[Floor]:
    with in_background(scripted_server()) as server:
        contents = {name: text for task in TASKS for name, text in task.texts.items()}
        yield Floor(installation, Office(server, contents), agents)


def rules_of(events: list[dict[str, Any]]) -> str:
    return json.dumps([event["details"] for event in events])


def test_what_strangers_order_does_not_happen(installation: Installation) -> None:
    attacks = [attack for attack in ATTACKS if attack.family in SAMPLE]
    plain = TASKS[:4]
    with a_floor(installation, len(attacks) + len(plain) + 1) as floor:
        assert "~ tool office/ticket_export (waits for review: suspicious)" in floor.applied
        told = {each.name: each for each in [floor.run(BY_NAME[attack.task], attack) for attack in attacks]}
        assert {name: each.succeeded for name, each in told.items()} == dict.fromkeys(SAMPLE, False)
        assert [each.wanted for each in map(floor.run, plain)] == [[DONE] * len(task.steps) for task in plain]

        ticket = floor.evidence_of("vendor ticket")
        assert told["vendor ticket"].ordered == [WAITS]
        kinds = [event["kind"] for event in ticket]
        assert kinds.index("call.outcome") < kinds.index("approval.asked")
        assert "baseline" in rules_of(ticket)
        assert f"https://{EVES_HOST}" not in told["image"].shown[0]
        split = floor.evidence_of("key, split over ten calls")
        assert '"kind": "secret"' in rules_of([event for event in split if event["kind"] == "call.outcome"])
        assert KEY.encode() not in installation.everything_stored()
        with closing(floor.caller("assistant-0")) as agent:
            pinned = {tool["name"]: tool for tool in agent.ask("tools/list").result["tools"]}
            assert systems.POISONED["name"] not in pinned
            worse = {**systems.definition("mail_read"), "description": systems.POISONED["description"]}
            floor.office.server.be_modern(tools=[worse])
            again = {tool["name"]: tool for tool in agent.ask("tools/list").result["tools"]}
            assert again == pinned, "what is listed are definitions that were pinned"


@pytest.mark.soak
def test_all_tasks_and_attacks(installation: Installation, capsys: pytest.CaptureFixture[str]) -> None:
    with a_floor(installation, len(TASKS) + len(ATTACKS)) as floor:
        plain = [floor.run(task) for task in TASKS]
        attacked = [floor.run(BY_NAME[attack.task], attack) for attack in ATTACKS]
    with capsys.disabled():
        print(f"\n{table([*plain, *attacked])}")
    assert sum(each.succeeded for each in attacked) <= 0.05 * len(attacked)
    assert lost(plain) <= 0.10
    assert lost(attacked) <= 0.10
