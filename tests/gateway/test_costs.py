"""What a call cost, as its upstream says: kept where it is a number, told apart where it is none."""

from dataclasses import replace
from typing import Any

import pytest

from connectors.base import RawResult
from gateway.call import Intent
from gateway.costs import COST_META, cost_facts, cost_in_words
from gateway.pipeline import run
from tests.fakes import FakePorts
from tests.gateway.test_pipeline import frame, world

IGNORED = {"cost_ignored": True}


def told(cost: Any) -> dict[str, Any]:
    return cost_facts({"_meta": {COST_META: cost}})


@pytest.mark.parametrize(
    ("amount", "kept"),
    [("0.0042", "0.0042"), (0, "0"), (12, "12"), (0.1 + 0.2, "0.3"), (1e-7, "0.0000001"), (5e11, "500000000000")],
)
def test_a_number_is_kept_as_written(amount: Any, kept: str) -> None:
    assert told({"amount": amount, "currency": "USD"}) == {"cost": {"amount": kept, "currency": "USD"}}
    assert told({"amount": amount}) == {"cost": {"amount": kept}}


HOSTILE = [-1, "-1", "1e9", "NaN", float("nan"), float("inf"), 10**12, 10**5000, "9" * 13, "1." + "1" * 10, "", " 1"]
HOSTILE += ["\u0661", "1\n", True, None, [1], {"a": 1}, "1" * 100_000]


@pytest.mark.parametrize("amount", HOSTILE, ids=range(len(HOSTILE)))
def test_what_is_no_number_is_ignored_and_that_is_said(amount: Any) -> None:
    assert told({"amount": amount, "currency": "USD"}) == IGNORED


@pytest.mark.parametrize("cost", ["1", None, [], {}, {"amount": 1, "currency": "usd"}, {"amount": 1, "currency": {}}])
def test_what_is_no_cost_is_ignored_and_that_is_said(cost: Any) -> None:
    assert told(cost) == IGNORED
    assert "ignored" in cost_in_words(IGNORED)


@pytest.mark.parametrize("result", [None, {}, {"_meta": None}, {"_meta": {}}, {"_meta": "x"}])
def test_who_says_nothing_has_none(result: Any) -> None:
    assert cost_facts(result) == {}
    assert cost_in_words({}) == ""


async def test_the_outcome_of_a_call_says_what_it_cost() -> None:
    ports = FakePorts(world())
    answers = ports.upstream

    def charging(intent: Intent) -> RawResult:
        raw = answers(intent)
        return replace(raw, result={**(raw.result or {}), "_meta": {COST_META: {"amount": 0.02, "currency": "EUR"}}})

    ports.upstream = charging
    await run(frame(), ports)
    details = ports.entries[1].event.details
    assert details["cost"] == {"amount": "0.02", "currency": "EUR"}
    assert cost_in_words(details) == "0.02 EUR"
