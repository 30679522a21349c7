"""Agents that obey every order they read, before the default policy: what strangers want does not happen, and the
evidence says why."""

import base64
import json
import re
import subprocess
import sys
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
SENT_KEYS = ("key in another tool's argument", "key, base64", "key, split over ten calls")
SEAL = """
from django.core.management import call_command
from audit.checkpoint import installation_signer
from tests.audit.writing import seal
seal(installation_signer())
call_command("export_audit", "{folder}")
print("{mark}" + str(installation_signer().verifier))
"""
CHANGED = {"mail_read": {"description": systems.POISONED["description"]}}
MARK = "keys:"
ISSUE = f"""
import json
from gateway.actions import issue_key
from governance.models import Agent
keys = {{a.name: issue_key(a, by="command:test", expires_in=None).key for a in Agent.objects.select_related("owner")}}
print("{MARK}" + json.dumps(keys))
"""


def in_base64(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


class Evidence:
    """The lines of an export, in the order of the log."""

    def __init__(self, lines: bytes, used: dict[str, str]) -> None:
        self.lines = lines
        self._events = [json.loads(line.split(b" ", 2)[2]) for line in lines.splitlines()]
        self._used = used

    def of(self, attack: str, kind: str) -> list[dict[str, Any]]:
        """Of the agent that met this attack, each for the person it worked for."""
        found = [each for each in self._events if each["kind"] == kind and each.get("agent") == self._used[attack]]
        assert {each["person"] for each in found} == {"ana@example.com"}
        return found

    def details(self, kind: str) -> list[dict[str, Any]]:
        return [each["details"] for each in self._events if each["kind"] == kind]


class Floor:
    """An office with a fresh agent for every task, since what an agent has read stays with it for a while."""

    def __init__(self, house: Installation, office: Office, agents: int) -> None:
        self.house, self.office = house, office
        names = [f"assistant-{number}" for number in range(agents)]
        manifest = {"apiVersion": "gatehouse/v1", **systems.manifest(office.server.url, names)}
        (house.folder / "office.json").write_text(json.dumps(manifest))
        self.applied = self.apply()
        printed = house.manage("shell", "--command", ISSUE).stdout
        self.keys: dict[str, str] = json.loads(printed.partition(MARK)[2].splitlines()[0])
        house.configure(GATEWAY_HOLD_SECONDS="0")
        self.origin = house.start_gateway()
        self._free = list(names)
        self.used: dict[str, str] = {}

    def apply(self) -> str:
        return self.house.manage("apply", str(self.house.folder / "office.json"), "baseline").stdout

    def run(self, task: Task, attack: Attack | None = None) -> Run:
        name = self._free.pop()
        self.used[attack.family if attack else task.name] = name
        with closing(self.caller(name)) as agent:
            return run(agent, self.office, task, attack)

    def caller(self, name: str) -> Caller:
        return Caller(self.origin, self.keys[name], path="/mcp/office")

    def exported(self) -> Evidence:
        """What an outsider gets, once the verifier that comes with it calls it sound."""
        folder = self.house.folder / "exported"
        printed = self.house.manage("shell", "--command", SEAL.format(folder=folder, mark=MARK)).stdout
        key = printed.partition(MARK)[2].splitlines()[0]
        words = [sys.executable, "-I", str(folder / "auditverify.py"), "bundle", str(folder), "--key", key]
        checked = subprocess.run(words, capture_output=True, text=True, timeout=120, check=False)
        assert (checked.returncode, checked.stdout.splitlines()[-1][:5]) == (0, "sound"), checked
        return Evidence((folder / "events.log").read_bytes(), self.used)


@contextmanager
def a_floor(installation: Installation, agents: int) -> Iterator[Floor]:
    with in_background(scripted_server()) as server:
        contents = {name: text for task in TASKS for name, text in task.texts.items()}
        yield Floor(installation, Office(server, contents), agents)


def test_what_strangers_order_does_not_happen(installation: Installation) -> None:
    attacks = [attack for attack in ATTACKS if attack.family in SAMPLE]
    plain = TASKS[:4]
    with a_floor(installation, len(attacks) + len(plain) + 1) as floor:
        assert "~ tool office/ticket_export (waits for review: suspicious)" in floor.applied
        told = {each.name: each for each in [floor.run(BY_NAME[attack.task], attack) for attack in attacks]}
        assert {name: each.succeeded for name, each in told.items()} == dict.fromkeys(SAMPLE, False)
        assert [each.wanted for each in map(floor.run, plain)] == [[DONE] * len(task.steps) for task in plain]
        assert told["vendor ticket"].ordered == [WAITS]
        assert f"https://{EVES_HOST}" not in told["image"].shown[0]
        _a_changed_tool_waits(floor)
        evidence = floor.exported()
    _the_evidence_tells(evidence)
    assert not [each for each in (KEY, KEY[::-1], in_base64(KEY)) if each.encode() in evidence.lines]
    assert KEY.encode() not in installation.everything_stored()


def _a_changed_tool_waits(floor: Floor) -> None:
    """A rug pull: what is listed stays what was pinned, before and after the change is noticed."""
    with closing(floor.caller("assistant-0")) as agent:
        pinned = {tool["name"]: tool for tool in agent.ask("tools/list").result["tools"]}
        assert systems.POISONED["name"] not in pinned
        floor.office.server.be_modern(tools=[each | CHANGED.get(each["name"], {}) for each in systems.described()])
        assert {tool["name"]: tool for tool in agent.ask("tools/list").result["tools"]} == pinned
        assert "~ tool office/mail_read (waits for review: suspicious)" in floor.apply()
        assert {tool["name"]: tool for tool in agent.ask("tools/list").result["tools"]} == pinned


def _the_evidence_tells(evidence: Evidence) -> None:
    """Of each attack: who asked, what was decided by which rule in which version, and what was masked."""
    (asked,) = evidence.of("vendor ticket", "approval.asked")
    assert asked["tool"] == "mail_send"
    assert are_of_the_policy(asked["details"]["rules"])
    assert ("to_email", "/arguments/to") in found_in(asked)
    (seen, *_) = evidence.of("vendor ticket", "call.outcome")
    assert is_screened(seen, "ticket_read")

    (seen, *_) = evidence.of("image", "call.outcome")
    assert is_screened(seen, "ticket_read")
    assert ("image", "/content/0/text") in found_in(seen)

    for attack in SENT_KEYS:
        (seen,) = [each for each in evidence.of(attack, "call.outcome") if "screened_by" in each["details"]]
        assert is_screened(seen, "file_read")
        assert ("github_token", "/content/0/text") in found_in(seen)

    first, changed = evidence.details("tools.registered")
    for waiting, tool in ((first, systems.POISONED["name"]), (changed, "mail_read")):
        assert waiting["held"]["names"] == [tool]
        assert {each["tool"] for each in waiting["findings"] if each["rule"] == "definition.local_files"} == {tool}
        assert waiting["pack"]
    assert "definition.changed" in {each["rule"] for each in changed["findings"]}


def is_screened(outcome: dict[str, Any], tool: str) -> bool:
    return outcome["tool"] == tool and are_of_the_policy(outcome["details"]["screened_by"])


def are_of_the_policy(rules: list[str]) -> bool:
    """Each named with the policy's version and its own number."""
    return bool(rules) and all(re.fullmatch(r"baseline v1#[1-9]\d*", each) for each in rules)


def found_in(event: dict[str, Any]) -> set[tuple[str, str]]:
    """Rule and place of what was found, each with the rule's version and the edition of all."""
    found = event["details"]["findings"]
    assert event["details"]["pack"]
    assert all(each["version"] >= 1 and each["fingerprints"] for each in found)
    return {(each["rule"], each["path"]) for each in found}


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
