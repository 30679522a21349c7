"""Reactions, in the process that carries them out: what sets them off, once, and nothing else."""

import asyncio
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from audit.event import AuditEvent, first_id_at, uuid7
from audit.models import EventRow
from audit.record import record
from gateway import drift, refusals
from gateway.call import Frame
from gateway.database import DatabaseThread
from gateway.models import Notice, RunLabel
from gateway.reactions import Reactions, let_holds_end
from gateway.refusals import Refusal
from gateway.run_labels import run_of
from governance.models import Connector, Freeze, NotificationChannel, Reaction, Tool, ToolDefinition
from governance.registry import Catalogue, FoundTool
from governance.snapshot import Snapshot
from governance.snapshot_builder import build_snapshot
from tests.fresh_database import fresh_database
from tests.gateway.notice_world import agent

__all__ = ("fresh_database",)
pytestmark = [pytest.mark.database, pytest.mark.usefixtures("fresh_database")]

DENIED = refusals.DENIED
FRAME = Frame("key", "support", "act", {}, "2025-11-25", session_id="run-1")


@pytest.fixture(autouse=True)
def channel(fresh_database: None) -> None:
    """Somebody who is told."""
    NotificationChannel.objects.create(name="hook", kind="webhook", url="https://hooks.example.com")


def denials(count: int = 3, **fields: Any) -> Reaction:
    defaults = {"name": "many", "trigger": "denials", "action": "freeze_agent", "lasting_minutes": 30}
    return Reaction.objects.create(**(defaults | {"count": count, "minutes": 10} | fields))


def leaks(action: str = "hold_run") -> Reaction:
    return Reaction.objects.create(name="leaks", trigger="finding", findings=["secret"], action=action)


def refuse(reason: refusals.Reason = DENIED, *, name: str = "triage-bot", ago: float = 0, frame: Frame = FRAME) -> None:
    """Records it as the pipeline does, `ago` seconds in the past, and lets reactions follow."""
    at = datetime.now(UTC) - timedelta(seconds=ago)
    event = AuditEvent(
        id=first_id_at(at) if ago else uuid7(),
        kind="call.refused", at=at, actor=f"agent:{name}", agent=name, decision="deny", outcome="refused",
        details={"reason": reason.code},
    )  # fmt: skip
    record(event)
    if not ago:
        react(lambda reactions, snapshot: reactions.to_refusal(frame, Refusal(reason, facts={"agent": name}), snapshot))


def react(work: Callable[[Reactions, Snapshot], Any]) -> None:
    snapshot = build_snapshot()

    async def run() -> None:
        thread = DatabaseThread("test")
        try:
            await work(Reactions(thread), snapshot)
        finally:
            await thread.close()

    asyncio.run(run())


def told() -> list[str]:
    return list(Notice.objects.order_by("id").values_list("subject", flat=True))


def fired() -> int:
    return EventRow.objects.filter(kind="reaction.fired").count()


def test_the_nth_denial_freezes_for_as_long_as_it_says() -> None:
    denials(3)
    bot = agent()
    refuse()
    refuse()
    assert not Freeze.objects.exists()
    refuse()
    freeze = Freeze.objects.get()
    assert (freeze.agent, freeze.created_by) == (bot, "reaction:many")
    assert timedelta(minutes=29) < freeze.ends_at - datetime.now(UTC) <= timedelta(minutes=30)
    assert (fired(), told()) == (1, ["Gatehouse acted: agent triage-bot is frozen"])


def test_it_fires_once_while_it_lasts_and_not_for_denials_that_led_to_it() -> None:
    denials(3)
    agent()
    for _ in range(6):
        refuse()
    assert (Freeze.objects.count(), fired()) == (1, 1)
    Freeze.objects.update(lifted_at=datetime.now(UTC))
    refuse()
    refuse()
    assert Freeze.objects.count() == 1
    refuse()
    assert Freeze.objects.count() == 2


@pytest.mark.parametrize(
    "reason", [refusals.FROZEN, refusals.RATE_LIMITED, refusals.CONNECTOR_DISABLED, refusals.OVER_SHARE]
)
def test_what_time_mends_is_no_denial(reason: refusals.Reason) -> None:
    denials(2)
    agent()
    for _ in range(4):
        refuse(reason)
    refuse()
    assert not Freeze.objects.exists()


def test_denials_of_others_and_of_long_ago_do_not_count() -> None:
    denials(2)
    agent()
    agent("other-bot")
    refuse(name="other-bot")
    refuse(ago=601)
    refuse()
    assert not Freeze.objects.exists()


def test_guessing_names_counts() -> None:
    denials(2)
    agent()
    refuse(refusals.UNKNOWN_TOOL)
    refuse(refusals.UNKNOWN_TOOL)
    assert Freeze.objects.exists()


def test_a_reaction_that_is_switched_off_does_nothing() -> None:
    denials(1, is_enabled=False)
    agent()
    refuse()
    assert not Freeze.objects.exists()


def test_without_any_reaction_the_database_is_not_asked() -> None:
    agent()

    class Nothing(DatabaseThread):
        async def run(self, work: Any) -> Any:
            raise AssertionError

    refusal = Refusal(DENIED, facts={"agent": "triage-bot"})
    snapshot = build_snapshot()
    asyncio.run(Reactions(Nothing("none")).to_refusal(FRAME, refusal, snapshot))


def test_a_secret_in_arguments_holds_the_run_and_tells_once() -> None:
    leaks()
    bot = agent()
    refuse(refusals.CREDENTIAL_IN_ARGUMENTS)
    refuse(refusals.CREDENTIAL_IN_ARGUMENTS)
    label = RunLabel.objects.get()
    assert (label.agent_id, label.session, label.label) == (bot.pk, run_of("run-1"), "held")
    assert (fired(), told()) == (1, ["Gatehouse acted: a run of agent triage-bot is held"])
    refuse(refusals.DENIED)
    assert fired() == 1


def test_a_secret_in_arguments_freezes_the_agent_if_that_is_what_is_declared() -> None:
    leaks("freeze_agent")
    agent()
    refuse(refusals.CREDENTIAL_IN_ARGUMENTS)
    assert Freeze.objects.get().created_by == "reaction:leaks"


def test_a_hold_ends_when_its_time_is_over() -> None:
    row = leaks()
    agent()
    refuse(refusals.CREDENTIAL_IN_ARGUMENTS)
    now = datetime.now(UTC)
    assert let_holds_end(now + timedelta(minutes=row.lasting_minutes - 1)) == 0
    assert let_holds_end(now + timedelta(minutes=row.lasting_minutes + 1)) == 1


# -- drift


def served(digest: str = "a" * 64) -> Tool:
    connector = Connector.objects.create(name="helpdesk", last_seen_at=datetime.now(UTC))
    tool = Tool.objects.create(connector=connector, name="ticket_get")
    ToolDefinition.objects.create(tool=tool, digest=digest, body=b"{}", status=ToolDefinition.Status.PINNED)
    return tool


def offer(monkeypatch: pytest.MonkeyPatch, *tools: FoundTool) -> None:
    """What the upstream lists now."""
    monkeypatch.setattr(drift, "discover", lambda questions: {"helpdesk": Catalogue(tools)})
    drift.rediscover()


def found(digest: str, name: str = "ticket_get") -> FoundTool:
    return FoundTool(name, digest * 64, b'{"name":"ticket_get"}', {})


def test_a_changed_definition_is_quarantined_at_once_if_that_is_declared(monkeypatch: pytest.MonkeyPatch) -> None:
    tool = served()
    offer(monkeypatch, found("b"))
    tool.refresh_from_db()
    assert tool.quarantined_at is None
    Reaction.objects.create(name="drift", trigger="drift", action="quarantine_tool")
    offer(monkeypatch, found("a"), found("n", "brand_new"))
    tool.refresh_from_db()
    assert tool.quarantined_at is None
    offer(monkeypatch, found("c"))
    tool.refresh_from_db()
    assert tool.quarantined_at
    assert (fired(), told()) == (1, ["Gatehouse acted: tool helpdesk/ticket_get is quarantined"])
    offer(monkeypatch, found("c"))
    assert fired() == 1


def test_no_agent_is_served_a_changed_definition_although_new_tools_are_allowed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    Reaction.objects.create(name="drift", trigger="drift", action="quarantine_tool")
    tool = served()
    Connector.objects.update(new_tools="allow")
    offer(monkeypatch, found("b"))
    tool.refresh_from_db()
    assert tool.quarantined_at
