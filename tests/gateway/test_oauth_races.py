"""Codes and refresh tokens shown by several at once: one wins, and what it won ends with the family."""

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from django.db import connection

from tests.fresh_database import fresh_database
from tests.gateway.letting_in import Flow, World, refresh, stands

__all__ = ("fresh_database",)
pytestmark = [pytest.mark.database, pytest.mark.usefixtures("fresh_database")]


@pytest.fixture
def world(fresh_database: None) -> World:
    return World()


def test_of_all_who_redeem_a_code_at_once_one_wins_and_the_family_ends(world: World) -> None:
    flow = Flow(world)
    code = flow.code()
    answers = at_once(lambda: flow.redeem(code), times=4)
    assert sorted(answer.status_code for answer in answers)[:1] == [200]
    assert [answer.status_code for answer in answers].count(200) == 1
    won = next(answer for answer in answers if answer.status_code == 200).json()
    assert not stands(won["access_token"])


def at_once(work: Any, *, times: int) -> list[Any]:
    def one(_: int) -> Any:
        try:
            return work()
        finally:
            connection.close()

    with ThreadPoolExecutor(times) as pool:
        return list(pool.map(one, range(times)))


def test_of_all_who_refresh_at_once_one_wins_and_the_family_ends(world: World) -> None:
    tokens = Flow(world).tokens()
    answers = at_once(lambda: refresh(world, tokens["refresh_token"]), times=4)
    assert [answer.status_code for answer in answers].count(200) == 1
    assert not stands(tokens["access_token"])
