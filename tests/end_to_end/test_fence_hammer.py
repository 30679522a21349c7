"""Nobody calls on a right that was taken away: many callers, many revokers, and an oracle over what is stored."""

import json
import os
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import pytest

from tests.end_to_end.installation import REPOSITORY, Installation

SAMPLE_SECONDS = 4.0
NOTICED_WITHIN_SECONDS = 240.0
SOAK_SECONDS = float(os.environ.get("SOAK_SECONDS", "300"))
CALLERS, GROUPS = 2, 2

Process = subprocess.Popen[str]


@dataclass(frozen=True, slots=True)
class Denied:
    """From epoch `start` until epoch `end` no intent whose `field` has this value may have been committed."""

    why: str
    field: str
    value: str
    start: int
    end: float = float("inf")

    def forbids(self, intent: dict[str, Any]) -> bool:
        return self.start <= intent["epoch"] < self.end


def run(house: Installation, *words: str) -> Process:
    return subprocess.Popen(
        [sys.executable, "-W", "ignore", "-m", "tests.end_to_end.hammer", *words],
        env=house.environment | {"PYTHONPATH": str(REPOSITORY), "LOG_LEVEL": "WARNING"},
        cwd=house.folder,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def finish(process: Process, timeout: float = 180) -> Any:
    """Ends its standard input, too: whoever calls stops calling."""
    output, errors = process.communicate(timeout=timeout)
    assert process.returncode == 0, errors[-4000:]
    return json.loads(output.splitlines()[-1]) if output else None


def calling(house: Installation, callers: int, *words: str) -> list[Process]:
    """Processes that call by now, and will until they are finished."""
    started = [run(house, "call", *words) for _ in range(callers)]
    for process in started:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
    return started


def hammer(house: Installation, seconds: float, *, callers: int = CALLERS, groups: int = GROUPS) -> dict[str, Any]:
    """Callers and revokers together; what the revokers saw, and how many intents there were."""
    finish(run(house, "world", str(groups)))
    started = calling(house, callers)
    revoking = [run(house, "revoke", str(group), str(seconds), "offboard") for group in range(groups)]
    found = [finish(process, seconds + 300) for process in revoking]
    made = sum(finish(process) for process in started)
    return {"found": found, "intents": made}


def stale_without_the_fence(house: Installation, verb: str, *fields: str) -> list[Denied]:
    """What the oracle objects to as soon as it does, while rights are taken away from callers that pass no fence."""
    started = calling(house, CALLERS, "unfenced")
    until = time.monotonic() + NOTICED_WITHIN_SECONDS
    started += [run(house, verb, str(group), str(NOTICED_WITHIN_SECONDS)) for group in range(GROUPS)]
    try:
        while time.monotonic() < until:
            objections = [denied for denied, _ in Oracle(house).stale_intents()]
            if found := [denied for denied in objections if not fields or denied.field in fields]:
                return found
            time.sleep(0.5)
        return []
    finally:
        for process in started:
            process.kill()
            process.communicate()


# -- the oracle


class Oracle:
    """Reads the change log that the triggers wrote: which rights were away from which epoch to which.

    Intents first, for there may be more at any moment: whatever had changed before them is seen then.
    """

    def __init__(self, house: Installation) -> None:
        self._house = house
        self._intents = house.events("call.intent")
        rows = house.sql("SELECT id, name, owner_id FROM governance_agent")
        self._agents = {hex_of(i): name for i, name, _ in rows}
        self._owned = {name: hex_of(owner) for _, name, owner in rows}
        people = {hex_of(i): email for i, email in house.sql("SELECT id, email FROM governance_user")}
        self._granted_by = {
            hex_of(i): [people[approver] for approver in parsed(approvers)]
            for i, approvers in house.sql("SELECT id, approvers FROM governance_grant")
        }

    def stale_intents(self) -> list[tuple[Denied, dict[str, Any]]]:
        """Intents committed at an epoch at which their decision was no longer right."""
        by_value: dict[tuple[str, str], list[Denied]] = {}
        for denied in self._denials():
            by_value.setdefault((denied.field, denied.value), []).append(denied)
        return [
            (denied, intent)
            for intent in self._intents
            for rested_on in self._grounds(intent)
            for denied in by_value.get(rested_on, ())
            if denied.forbids(intent)
        ]

    def _grounds(self, intent: dict[str, Any]) -> Iterator[tuple[str, str]]:
        """What the intent rests on, as (field, value)."""
        details = intent["details"]
        yield from (("agent", intent["agent"]), ("tool", intent["tool"]), ("credential", details["credential"]))
        yield from (("approver", email) for email in details.get("approval", {}).get("approvers", ()))
        for grant in details.get("grants", ()):
            yield "grant", grant
            yield from (("approver", email) for email in self._granted_by[grant])

    def _denials(self) -> Iterator[Denied]:
        changes = self._house.sql(
            "SELECT a.epoch, c.relation, c.operation, c.object_id, c.before, c.after FROM governance_change c"
            " JOIN governance_advance a ON a.txid = c.txid ORDER BY a.epoch, c.id"
        )
        away: dict[tuple[str, str, str], int] = {}
        for epoch, relation, operation, touched, before, after in changes:
            for field, value, is_away in self._meaning(relation, operation, touched, json.loads(after or before)):
                key = (relation, field, value)
                if is_away:
                    away.setdefault(key, epoch)
                elif key in away:
                    yield Denied(*key, start=away.pop(key), end=epoch)
        yield from (Denied(*key, start=epoch) for key, epoch in away.items())

    def _meaning(self, relation: str, operation: str, touched: str, row: dict[str, Any]) -> list[tuple[str, str, bool]]:
        """(field of an intent, its value, whether the right is away after this change)."""
        meanings: dict[str, Callable[[], list[tuple[str, str, bool]]]] = {
            "governance_agentcredential": lambda: [("credential", touched, row["revoked_at"] is not None)],
            "governance_agent": lambda: [("agent", row["name"], row["status"] != "live")],
            "governance_role_agents": lambda: [("agent", self._agents[touched], operation == "delete")],
            "governance_tool": lambda: [("tool", row["name"], row["quarantined_at"] is not None)],
            "governance_freeze": lambda: [("agent", self._agents[hex_of(row["agent_id"])], row["lifted_at"] is None)],
            "governance_grant": lambda: [("grant", touched, row["revoked_at"] is not None)],
            "governance_user": lambda: [
                ("approver", row["email"], not row["is_active"]),
                *(("agent", name, not row["is_active"]) for name, owner in self._owned.items() if owner == touched),
            ],
        }
        return meanings.get(relation, list)()


def parsed(column: Any) -> Any:
    """JSON is text on SQLite."""
    return json.loads(column) if isinstance(column, str) else column


def hex_of(value: Any) -> str:
    return str(value).replace("-", "")


def check(house: Installation, result: dict[str, Any]) -> None:
    trials = [trial for found in result["found"] for trial in found["trials"]]
    acts = Counter(trial["act"] for trial in trials)
    waits = sorted(trial["wait_ms"] for trial in trials)
    print(
        f"\n{house.database}: {result['intents']} intents, {len(trials)} trials {dict(acts)}, act p50"
        f" {waits[len(waits) // 2]} ms, p99 {waits[int(len(waits) * 0.99)]} ms, max {waits[-1]} ms"
    )
    assert result["intents"] > 20
    assert set(acts) == {"key", "agent", "role", "quarantine", "freeze"}
    assert Oracle(house).stale_intents() == []
    assert [trial for trial in trials if trial["before"] != trial["after"]] == [], "called after the act returned"
    check_ended_keys(house, result)
    assert all(found["receipt"]["enforcement"]["complete"] for found in result["found"])


def check_ended_keys(house: Installation, result: dict[str, Any]) -> None:
    """What a key had called when its revocation returned is all it ever called."""
    called = Counter(event["details"]["credential"] for event in house.events("call.intent"))
    ended = {key: count for found in result["found"] for key, count in found["ended"].items()}
    assert sum(ended.values()) > 0
    assert {key: called[key] for key in ended} == ended


@pytest.mark.databases("sqlite", "postgres")
def test_no_intent_rests_on_a_right_that_was_taken_away(installation: Installation) -> None:
    check(installation, hammer(installation, SAMPLE_SECONDS))


@pytest.mark.soak
def test_no_intent_rests_on_a_right_that_was_taken_away_for_long(installation: Installation) -> None:
    check(installation, hammer(installation, SOAK_SECONDS, callers=4, groups=4))


@pytest.mark.soak
def test_the_oracle_notices_a_gateway_without_the_fence(installation: Installation) -> None:
    finish(run(installation, "world", str(GROUPS)))
    assert stale_without_the_fence(installation, "revoke")


# -- the word of who agreed


def hammer_approvers(house: Installation, seconds: float, *, groups: int = GROUPS) -> Any:
    """Callers whose every call a human agrees to, while these humans come and go; what was seen, and all intents."""
    finish(run(house, "world", str(groups), "asking"))
    started = calling(house, CALLERS)
    leaving = [run(house, "unsay", str(group), str(seconds)) for group in range(groups)]
    trials = [trial for process in leaving for trial in finish(process, seconds + 300)]
    for process in started:
        finish(process)
    return trials, house.events("call.intent")


def check_approvers(house: Installation, trials: list[dict[str, Any]], intents: list[dict[str, Any]]) -> None:
    used = [intent["details"]["approval"]["request"] for intent in intents if "approval" in intent["details"]]
    granted = [intent for intent in intents if "grants" in intent["details"]]
    print(f"\n{house.database}: {len(used)} intents by approvals, {len(granted)} by grants, {len(trials)} dismissals")
    assert used
    assert granted
    assert trials
    assert len(used) + len(granted) == len(intents), "each rests on a human's word"
    assert Oracle(house).stale_intents() == []
    assert [trial for trial in trials if trial["before"] != trial["after"]] == [], "called after the act returned"
    assert len(set(used)) == len(used), "one call for each yes"
    assert not house.sql("SELECT 1 FROM governance_grantuse WHERE used > max_uses")


@pytest.mark.databases("sqlite", "postgres")
def test_no_intent_rests_on_the_word_of_who_had_left(installation: Installation) -> None:
    check_approvers(installation, *hammer_approvers(installation, SAMPLE_SECONDS))


@pytest.mark.soak
def test_no_intent_rests_on_the_word_of_who_had_left_for_long(installation: Installation) -> None:
    check_approvers(installation, *hammer_approvers(installation, SOAK_SECONDS, groups=4))


@pytest.mark.soak
def test_the_oracle_notices_that_who_agreed_had_left(installation: Installation) -> None:
    finish(run(installation, "world", str(GROUPS), "asking"))
    assert stale_without_the_fence(installation, "unsay", "approver", "grant")
