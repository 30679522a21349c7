"""Answers that wait for humans: the call runs once, what it got is told once, and only when somebody let it go."""

import asyncio
import json
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from audit.models import EventRow
from gateway.call import Frame
from gateway.containing import UNTRUSTED
from gateway.held_rows import answer_of
from gateway.pipeline import run
from governance.approval_endings import empty_answers
from governance.models import ApprovalRequest
from governance.snapshot import Rule, Snapshot
from tests import factories as make
from tests.fresh_database import fresh_database
from tests.gateway.asking import (
    AGENT,
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
from tests.gateway.test_content_rules import ADDRESS, CARD, TOKEN, says

__all__ = ("fresh_database",)
pytestmark = [pytest.mark.database, pytest.mark.usefixtures("fresh_database")]

CALL = frame()
LETTER = f"Pay with {CARD} and write to {ADDRESS}."


def looks_at(*findings: str, **fields: Any) -> Rule:
    return asking(when="", on="result", findings=frozenset(findings), reads_content=True, **fields)


def masks(*findings: str) -> Rule:
    return make.rule("mask", "", on="result", findings=frozenset(findings), reads_content=True)


def desk(*rules: Rule, **fields: Any) -> Snapshot:
    return world(*(rules or (looks_at("payment_card"),)), **fields)


def answering(use: Callable[[AskingPorts], Any], snapshot: Snapshot | None = None, text: str = LETTER) -> Any:
    async def with_answer(ports: AskingPorts) -> Any:
        ports.upstream = lambda _: says(text)
        return await use(ports)

    return with_ports(with_answer, snapshot or desk())


async def told(ports: AskingPorts, called: Frame = CALL) -> str:
    """The text, or the code of a refusal."""
    answer = await run(called, ports)
    return code_of(answer) or text_of(answer)


def header(kind: str) -> Any:
    return json.loads(bytes(EventRow.objects.filter(kind=kind).latest("id").header))


def test_it_waits_and_is_told_once_when_somebody_lets_it_go() -> None:
    async def use(ports: AskingPorts) -> None:
        first = await run(CALL, ports)
        assert first.held is not None
        assert first.held.is_new
        assert text_of(first).startswith("The call was carried out. Its answer waits for approval APR-")
        again = await run(CALL, ports)
        assert (code_of(again), again.held and again.held.key) == ("approval_required", first.held.key)
        row = await in_thread(approve)
        assert row.kind == ApprovalRequest.Kind.ANSWER
        assert await told(ports) == LETTER
        assert len(ports.sent) == 1, "the call ran once"
        await in_thread(row.refresh_from_db)
        outcome, released = await in_thread(lambda: (header("call.outcome"), header("call.released")))
        assert (row.state, str(row.call_id)) == ("consumed", outcome["call_id"])
        assert (outcome["outcome"], outcome["details"]["waits_for"]) == ("screened", row.name)
        assert released["call_id"] == outcome["call_id"]
        assert released["details"]["approval"]["request"] == row.name
        assert released["details"]["approval"]["approvers"] == ["lee@example.com"]
        assert await in_thread(empty_answers) == 1
        assert await told(ports) == "approval_required"
        assert len(ports.sent) == 2, "what comes after that is another call"

    answering(use)


def test_what_is_not_found_does_not_wait() -> None:
    async def use(ports: AskingPorts) -> None:
        assert await told(ports) == "All is well."
        assert await told(ports) == "All is well."
        assert not await in_thread(ApprovalRequest.objects.exists)

    answering(use, text="All is well.")


def test_who_says_no_keeps_it_from_the_agent_and_it_does_not_run_again() -> None:
    async def use(ports: AskingPorts) -> None:
        await told(ports)
        await in_thread(deny)
        answer = await run(CALL, ports)
        assert code_of(answer) == "approval_denied"
        assert "keeps its answer back" in text_of(answer)
        assert CARD not in text_of(answer)
        assert len(ports.sent) == 1

    answering(use)


def test_who_waits_for_it_hears_how_it_ended_and_never_runs_it_again() -> None:
    async def use(ports: AskingPorts) -> None:
        first = await run(CALL, ports)
        assert first.held is not None
        waiting = replace(CALL, awaited=first.held.key)
        await in_thread(lambda: ApprovalRequest.objects.update(state="expired", ended_at=datetime.now(UTC)))
        assert await told(ports, waiting) == "answer_gone"
        ports.views = [await in_thread(lambda: desk(masks("secret")))]
        assert await told(ports, waiting) == "answer_gone", "nor where no rule asks any more"
        assert len(ports.sent) == 1

    answering(use)


def test_other_rules_still_mask_it_and_people_see_all_that_was_found_masked() -> None:
    async def use(ports: AskingPorts) -> None:
        await told(ports)
        kept = json.loads(await in_thread(lambda: answer_of(request())))
        assert kept["answer"]["content"][0]["text"] == f"Use {TOKEN} and write to [EMAIL]."
        assert kept["shown"]["content"][0]["text"] == "Use [SECRET:github_token] and write to [EMAIL]."
        assert TOKEN.encode() not in await in_thread(lambda: bytes(request().answer or b""))
        await in_thread(approve)
        assert await told(ports) == f"Use {TOKEN} and write to [EMAIL]."

    answering(use, desk(looks_at("secret"), masks("personal_data")), text=f"Use {TOKEN} and write to {ADDRESS}.")


def test_a_denial_is_stronger() -> None:
    async def use(ports: AskingPorts) -> None:
        denial = make.rule("deny", "", on="result", findings=frozenset({"secret"}), reads_content=True)
        ports.views = [await in_thread(lambda: desk(looks_at("payment_card"), denial))]
        assert await told(ports) == "screened"
        assert not await in_thread(ApprovalRequest.objects.exists)

    answering(use, text=f"{CARD} {TOKEN}")


@pytest.mark.parametrize("change", ["approver left", "answer altered", "denied now"])
def test_what_was_agreed_to_ends_with_what_it_rests_on(change: str) -> None:
    async def use(ports: AskingPorts) -> None:
        await told(ports)
        await in_thread(approve)
        match change:
            case "approver left":
                gone = person(LEE, "lee@example.com", is_active=False)
                people = tuple(gone if each.id == gone.id else each for each in PEOPLE)
                ports.views = [await in_thread(lambda: desk(people=people))]
            case "answer altered":
                other = await in_thread(lambda: bytes(request().arguments))
                await in_thread(lambda: ApprovalRequest.objects.update(answer=other))
            case _:
                ports.views = [
                    await in_thread(lambda: desk(looks_at("payment_card"), make.rule("deny", "args.amount == 250")))
                ]
        assert await told(ports) in ("answer_gone", "denied_by_rule")
        assert len(ports.sent) == 1
        assert not await in_thread(EventRow.objects.filter(kind="call.released").exists)

    answering(use)


def test_two_who_come_for_it_at_once_get_it_once_and_run_nothing() -> None:
    async def use(ports: AskingPorts) -> None:
        await told(ports)
        await in_thread(approve)
        both = await asyncio.gather(told(ports), told(ports))
        assert sorted(both) == sorted([LETTER, "answer_gone"])
        assert len(ports.sent) == 1

    answering(use)


def test_the_run_meets_what_is_in_it_when_the_agent_does() -> None:
    async def use(ports: AskingPorts) -> None:
        await told(ports)
        await in_thread(approve)
        other = replace(CALL, session_id="another run")
        assert await told(ports, other) == LETTER
        labels = await ports.run_labels.of(uid(AGENT).hex, "another run")
        assert {UNTRUSTED, "personal_data"} <= labels

    answering(use, desk(looks_at("personal_data"), tool={"untrusted": True}))


def test_what_humans_narrowed_is_asked_for_as_before_and_runs_once() -> None:
    async def use(ports: AskingPorts) -> None:
        assert await told(ports) == "approval_required"
        await in_thread(lambda: narrow(amount=100, order=7))
        ran = await run(CALL, ports)
        assert text_of(ran).startswith("The call was carried out. Its answer waits for approval APR-2")
        again = await run(CALL, ports)
        assert (again.held and again.held.key) == (ran.held and ran.held.key)
        await in_thread(approve)
        assert await told(ports) == LETTER
        assert [json.loads(body) for body in ports.sent] == [{"amount": 100, "order": 7}]
        assert await in_thread(ApprovalRequest.objects.count) == 2

    answering(use, desk(asking(), looks_at("payment_card")))


def test_who_waits_for_an_answer_never_makes_another_call() -> None:
    """Not even where the same words are another call by now: a rule takes something out of the arguments, say."""

    async def use(ports: AskingPorts) -> None:
        first = await run(CALL, ports)
        assert first.held is not None
        other = replace(frame(amount=251, order=7), awaited=first.held.key)
        assert await told(ports, other) == "answer_gone"
        assert len(ports.sent) == 1

    answering(use)


def test_more_questions_than_people_read_are_not_put() -> None:
    async def use(ports: AskingPorts) -> None:
        for order in range(20):
            assert await told(ports, frame(order=order)) == "approval_required"
        answer = await run(frame(order=21), ports)
        assert "too many questions" in text_of(answer)
        assert CARD not in text_of(answer)
        assert await in_thread(ApprovalRequest.objects.count) == 20

    answering(use)


def test_what_nobody_decided_in_time_goes_with_its_answer() -> None:
    async def use(ports: AskingPorts) -> None:
        await told(ports)
        ports.at = datetime.now(UTC) + timedelta(days=30)
        await told(ports)
        rows = await in_thread(lambda: list(ApprovalRequest.objects.order_by("number").values_list("state", "answer")))
        assert rows[0] == ("expired", None)

    answering(use)


def test_terms_of_the_rule_are_kept() -> None:
    async def use(ports: AskingPorts) -> None:
        await told(ports)
        (term,) = (await in_thread(request)).terms
        assert term["reason"] == "Leads look at this"
        await in_thread(approve)
        assert await told(ports) == "answer_gone", "one yes is not enough"

    answering(use, desk(looks_at("payment_card", count=2)))
