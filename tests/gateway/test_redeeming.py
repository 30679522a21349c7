"""Calls that humans must agree to: asked once, redeemed once, void when anything they rest on has changed."""

import asyncio
import json
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any

import pytest

from audit.models import EventRow
from gateway.commit.entry import Verdict
from gateway.commit.group import GroupCommitter
from gateway.deciding import authenticate, decided, resolve
from gateway.held import draft_of
from gateway.pipeline import run
from gateway.redeeming import asked_of
from gateway.run_labels import run_of
from governance.approval_rows import asks_as_json
from governance.models import ApprovalRequest
from governance.snapshot import SealedSecret, Snapshot
from tests import factories as make
from tests.fakes import FakePorts
from tests.fresh_database import fresh_database
from tests.gateway.asking import (
    AGENT,
    ANA,
    EVE,
    LEE,
    PEOPLE,
    AskingPorts,
    approve,
    asking,
    code_of,
    deny,
    frame,
    in_thread,
    narrow,
    person,
    request,
    text_of,
    uid,
    with_ports,
    world,
)
from tests.gateway.test_group_commit import backend

__all__ = ("fresh_database",)
pytestmark = [pytest.mark.database, pytest.mark.usefixtures("fresh_database")]

CALL = frame()


async def told(ports: AskingPorts, called: Any = CALL) -> str:
    """`done`, or the code of the refusal."""
    answer = await run(called, ports)
    return code_of(answer) or text_of(answer)


def kinds() -> list[str]:
    return list(EventRow.objects.order_by("id").values_list("kind", flat=True))


def header(kind: str) -> Any:
    return json.loads(bytes(EventRow.objects.filter(kind=kind).latest("id").header))


# -- asked


def test_a_call_waits_for_humans_and_its_repetition_is_the_same_question() -> None:
    async def use(ports: AskingPorts) -> None:
        first = await run(CALL, ports)
        second = await run(CALL, ports)
        row = await in_thread(request)
        assert first.held is not None
        assert second.held is not None
        assert (first.held.is_new, second.held.is_new) == (True, False)
        assert first.held.key == second.held.key == row.key
        assert text_of(second).startswith(f"Approval APR-{row.number} is requested from people the rule names;")
        assert second.result is not None
        meta = second.result["_meta"]["com.gatehouse/approval"]
        assert meta["id"] == row.name
        assert meta["url"].endswith(f"/approvals/{row.key}/")
        assert meta["retry_after"] == 5
        assert ports.sent == []
        assert await in_thread(kinds) == ["approval.asked"]
        event = await in_thread(lambda: header("approval.asked"))
        assert event["decision"] == "ask"
        assert event["details"]["request"] == row.name
        assert event["details"]["arguments_digest"]
        assert (event["session"], event["details"]["call"]) == (str(row.run), str(row.asking_call_id))

    with_ports(use)


def test_the_approved_call_runs_once_and_its_replay_is_a_new_question() -> None:
    async def use(ports: AskingPorts) -> None:
        assert await told(ports) == "approval_required"
        row = await in_thread(approve)
        assert await told(ports) == "done"
        await in_thread(row.refresh_from_db)
        intent = ports.entries[0]
        assert (row.state, row.call_id) == ("consumed", intent.event.call_id)
        assert intent.event.decision == "permit"
        consent = intent.event.details["approval"]
        assert intent.event.details["code"] == "approved"
        assert (consent["request"], consent["approvers"]) == (row.name, ["lee@example.com"])
        assert await told(ports) == "approval_required"
        assert (await in_thread(request)).number != row.number
        assert len(ports.sent) == 1

    with_ports(use)


def test_other_arguments_are_another_question() -> None:
    async def use(ports: AskingPorts) -> None:
        await told(ports)
        await in_thread(approve)
        assert await told(ports, frame(amount=250, order=8)) == "approval_required"
        assert ports.sent == []
        assert await told(ports) == "done"

    with_ports(use)


def test_a_narrowed_call_runs_as_narrowed_and_says_so() -> None:
    async def use(ports: AskingPorts) -> None:
        await told(ports)
        await in_thread(lambda: narrow(amount=100, order=7))
        answer = await run(CALL, ports)
        assert ports.sent == [b'{"amount":100,"order":7}']
        assert answer.result is not None
        assert answer.result["_meta"]["com.gatehouse/approval"]["narrowed"] == ["amount"]
        assert ports.entries[0].payload is not None
        assert ports.entries[0].payload.sealed == ports.sent[0]
        assert ports.entries[0].event.details["approval"]["narrowed"] == ["amount"]

    with_ports(use)


def test_arguments_that_were_swapped_in_the_row_never_run() -> None:
    async def use(ports: AskingPorts) -> None:
        await told(ports)
        row = await in_thread(approve)
        other = await in_thread(lambda: ApprovalRequest.objects.get(number=row.number))
        other.arguments = b"something else"
        await in_thread(lambda: other.save(update_fields=["arguments"]))
        assert await told(ports) == "approval_required"
        assert ports.sent == []
        await in_thread(row.refresh_from_db)
        assert row.state == "void"

    with_ports(use)


def test_a_secret_is_never_shown_to_humans() -> None:
    async def use(ports: AskingPorts) -> None:
        assert await told(ports, frame(note=make.KEY)) == "credential_in_arguments"
        assert await told(ports, replace(CALL, stated_reason=f"use {make.KEY}")) == "credential_in_arguments"
        assert not await in_thread(ApprovalRequest.objects.exists)

    with_ports(use)


def test_arguments_that_are_not_recorded_are_kept_only_until_the_call_ran() -> None:
    async def use(ports: AskingPorts) -> None:
        await told(ports)
        row = await in_thread(request)
        assert (bytes(row.arguments) != b"", bytes(row.asked_arguments)) == (True, b"")
        await in_thread(approve)
        assert await told(ports) == "done"
        await in_thread(row.refresh_from_db)
        assert bytes(row.arguments) == b""

    with_ports(use, world(records_payload=False))


# -- ended otherwise


def test_a_denial_stands_for_a_while_and_then_may_be_asked_anew() -> None:
    async def use(ports: AskingPorts) -> None:
        await told(ports)
        await in_thread(deny)
        answer = await run(CALL, ports)
        assert code_of(answer) == "approval_denied"
        assert "Too much" in text_of(answer)
        assert answer.held is not None
        assert answer.held.state == "denied"
        ports.at += timedelta(minutes=16)
        assert await told(ports) == "approval_required"
        assert ports.sent == []

    with_ports(use)


@pytest.mark.parametrize("is_approved", [False, True], ids=["pending", "approved"])
def test_after_its_time_a_repetition_is_a_new_question_but_not_for_who_waited(is_approved: bool) -> None:
    async def use(ports: AskingPorts) -> None:
        await told(ports)
        row = await in_thread(approve if is_approved else request)
        past = datetime.now(UTC) - timedelta(seconds=1)
        rows = ApprovalRequest.objects.filter(number=row.number)
        await in_thread(lambda: rows.update(expires_at=past, use_before=past if is_approved else None))
        assert await told(ports) == "approval_required"
        await in_thread(row.refresh_from_db)
        assert row.state == "expired"
        newer = await in_thread(request)
        assert newer.number != row.number
        await in_thread(lambda: ApprovalRequest.objects.filter(number=newer.number).update(state="cancelled"))
        assert await told(ports, replace(CALL, awaited=newer.key)) == "approval_ended"
        assert ports.sent == []

    with_ports(use)


# -- void


def test_nothing_runs_for_an_agent_or_person_that_is_gone() -> None:
    async def use(ports: AskingPorts) -> None:
        await told(ports)
        await in_thread(approve)
        for view in views:
            ports.views = [view]
            assert (await run(CALL, ports)).status == 401
        assert ports.sent == []

    inactive = (person(ANA, "ana@example.com", is_active=False), *PEOPLE[1:])
    views: list[Snapshot] = []
    with_ports(use, world_and(views, lambda: [world(status="suspended"), world(people=inactive)]))


def world_and(views: list[Snapshot], more: Callable[[], list[Snapshot]]) -> Snapshot:
    views.extend(more())
    return world()


def secret(version: str) -> SealedSecret:
    return SealedSecret(uid(20).hex, version, "token", "bearer", "", "", b"", b"")


CHANGES: dict[str, Callable[[], Snapshot]] = {
    "rule": lambda: world(asking(version=2)),
    "another rule": lambda: world(asking(), asking(position=2)),
    "definition": lambda: world(definition="another"),
    "bundle": lambda: world(bundle_version=2),
    "secret": lambda: world(connector={"secret": secret("2")}),
    "approver not active": lambda: world(
        people=(PEOPLE[0], person(LEE, "lee@example.com", is_active=False), PEOPLE[2])
    ),
    "approver gone": lambda: world(people=(PEOPLE[0], PEOPLE[2])),
    "approver is the owner in disguise": lambda: world(
        people=(PEOPLE[0], replace(PEOPLE[1], human_id=uid(ANA).hex), PEOPLE[2])
    ),
    "two must agree now": lambda: world(asking(count=2, version=2)),
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES.keys())
def test_a_change_of_what_it_rests_on_voids_it_and_asks_anew(change: Callable[[], Snapshot]) -> None:
    async def use(ports: AskingPorts) -> None:
        await told(ports)
        row = await in_thread(approve)
        ports.views = [await in_thread(change)]
        assert await told(ports) == "approval_required"
        await in_thread(row.refresh_from_db)
        newer = await in_thread(request)
        assert (row.state, newer.state) == ("void", "pending")
        assert newer.number != row.number
        assert row.ended_because
        assert ports.sent == []
        assert await in_thread(kinds) == ["approval.asked", "approval.voided", "approval.asked"]

    with_ports(use)


def test_an_approver_who_leaves_between_check_and_commit_undoes_the_commit() -> None:
    """The read set of the intent names her, her team and the time to use it before."""

    async def use(ports: AskingPorts) -> None:
        await told(ports)
        row = await in_thread(approve)
        await in_thread(row.refresh_from_db)
        assert await told(ports) == "done"
        intent = ports.entries[0]
        assert intent.read_set is not None
        assert intent.read_set >= {f"person:{uid(LEE).hex}", f"person:{uid(ANA).hex}"}
        assert intent.valid_until == row.use_before

    with_ports(use)


def test_when_somebody_else_was_faster_the_call_looks_again() -> None:
    async def use(ports: AskingPorts) -> None:
        await told(ports)
        row = await in_thread(approve)
        original = ports.commit

        async def overtaken(entry: Any) -> Any:
            ports.commit = original  # type: ignore[method-assign]
            used = ApprovalRequest.objects.filter(number=row.number)
            await in_thread(lambda: used.update(state="consumed"))
            return await original(entry)

        ports.commit = overtaken  # type: ignore[method-assign]
        assert await told(ports) == "approval_required"
        assert ports.log == [Verdict.GONE.name]
        assert ports.sent == []

    with_ports(use)


def test_two_must_agree_and_one_is_not_enough() -> None:
    async def use(ports: AskingPorts) -> None:
        await told(ports)
        row = await in_thread(approve)
        assert await told(ports) == "approval_required"
        await in_thread(row.refresh_from_db)
        assert row.state == "void"
        row = await in_thread(approve)
        await in_thread(lambda: approve(by=EVE, row=row))
        assert await told(ports) == "done"

    with_ports(use, world(asking(count=2)))


def test_a_call_that_could_not_be_sent_in_time_keeps_its_approval() -> None:
    async def use(ports: AskingPorts) -> None:
        await told(ports)
        await in_thread(approve)
        original = ports.commit

        async def slow(entry: Any) -> Any:
            ports.commit = original  # type: ignore[method-assign]
            committed = await original(entry)
            return replace(committed, at_ns=committed.at_ns - 2_000_000_000)

        ports.commit = slow  # type: ignore[method-assign]
        assert await told(ports) == "done"
        assert ports.log == ["call.intent", "call.outcome", "call.intent", "sent", "call.outcome"]

    with_ports(use)


# -- fatigue


def test_an_agent_with_too_many_questions_is_refused_without_one_more() -> None:
    async def use(ports: AskingPorts) -> None:
        for number in range(20):
            assert await told(ports, frame(order=number)) == "approval_required"
        assert await told(ports, frame(order=20)) == "too_many_approvals"
        assert await told(ports, frame(order=0)) == "approval_required"
        assert await in_thread(ApprovalRequest.objects.count) == 20

    with_ports(use)


def test_after_five_denials_nobody_is_asked_for_an_hour() -> None:
    async def use(ports: AskingPorts) -> None:
        for number in range(5):
            await told(ports, frame(order=number))
            await in_thread(deny)
        assert await told(ports, frame(order=9)) == "approval_refused_for_now"
        ports.at += timedelta(minutes=61)
        assert await told(ports, frame(order=9)) == "approval_required"

    with_ports(use)


# -- labels


def test_what_a_run_met_counts_for_its_next_call() -> None:
    async def use(ports: AskingPorts) -> None:
        in_run = replace(CALL, session_id="run")
        assert await told(ports, in_run) == "done"
        met = ports.entries[-1].met
        assert met is not None
        assert met.session == run_of("run")
        assert sorted(met.labels) == ["finance", "untrusted"]
        assert await told(ports, in_run) == "approval_required"
        await in_thread(approve)
        assert await told(ports, in_run) == "done"
        assert ports.entries[-2].event.details["labels"] == ["finance", "untrusted"]

    labelled = {"data_classes": ["finance"], "untrusted": True}
    with_ports(use, world(asking(when="'untrusted' in session.labels"), tool=labelled))


# -- many at once


def redeem_all(*, workers: int, approvals: int) -> tuple[list[bytes], int]:
    """What the upstreams of all workers got, and how many rows are consumed: each worker has a commit connection of its
    own and repeats every call."""
    view = world(asking())

    async def race() -> list[bytes]:
        committers = [GroupCommitter(backend()) for _ in range(workers)]
        crew = [AskingPorts(view, committer) for committer in committers]
        for number in range(approvals):
            await in_thread(partial(_approved_row, view, number))
        await asyncio.gather(*(_redeem(ports, range(approvals), start) for start, ports in enumerate(crew)))
        for ports, committer in zip(crew, committers, strict=True):
            await ports.store.stop()
            await committer.close()
        return [body for ports in crew for body in ports.sent]

    sent = asyncio.run(race())
    return sent, ApprovalRequest.objects.filter(state="consumed").count()


def _approved_row(view: Snapshot, number: int) -> None:
    """As if it had been asked and approved; without the limits of one agent."""
    ports = FakePorts(view)
    caller = authenticate(frame(order=number), view, ports)
    call = resolve(frame(order=number), caller, ports)
    row = draft_of(asked_of(call, decided(call, ports), None))
    now = datetime.now(UTC)
    row.created_at, row.expires_at = now, now + timedelta(minutes=15)
    row.terms = asks_as_json(decided(call, ports).asks)
    row.save(force_insert=True)
    approve(row=row)
    ApprovalRequest.objects.filter(number=row.number).update(use_before=now + timedelta(hours=2))


async def _redeem(ports: AskingPorts, numbers: range, start: int) -> None:
    order = [*numbers[start:], *numbers[:start]]
    for number in order:
        await run(frame(order=number), ports)


def check_race(*, workers: int, approvals: int) -> None:
    sent, consumed = redeem_all(workers=workers, approvals=approvals)
    assert sorted(sent) == sorted(set(sent))
    assert len(sent) == consumed
    assert consumed == approvals


def test_however_many_try_each_approval_is_redeemed_exactly_once() -> None:
    check_race(workers=4, approvals=25)


@pytest.mark.soak
def test_twelve_workers_redeem_a_thousand_approvals_exactly_once() -> None:
    check_race(workers=12, approvals=1000)


def test_a_new_call_that_looks_like_a_resumed_one_does_not_redeem_its_approval() -> None:
    """Both are recorded in the same letters: the arguments of the one are called as the parts of the other."""
    resumed = replace(frame(amount=250), resumed={"inputResponses": {"sure": True}})
    lookalike = frame(arguments={"amount": 250}, inputResponses={"sure": True})

    async def use(ports: AskingPorts) -> None:
        assert await told(ports, resumed) == "approval_required"
        await in_thread(approve)
        assert await told(ports, lookalike) == "approval_required"
        assert ports.sent == []
        assert await told(ports, resumed) == "done"

    with_ports(use)


def test_a_pattern_covers_no_answer_to_a_question() -> None:
    """Its condition reads the arguments; what is answered may be anything."""
    view = world()
    tool = next(iter(view.tools.values()))
    rule = asking()
    grant = make.grant(id=uid(70).hex, agent_id=uid(AGENT).hex, tool_id=tool.id, rules=frozenset({rule.key}))
    resumed = replace(CALL, resumed={"inputResponses": {"amount": 1_000_000}})

    async def use(ports: AskingPorts) -> None:
        assert await told(ports) == "done"
        assert await told(ports, resumed) == "approval_required"

    with_ports(use, replace(view, grants={grant.id: grant}))
