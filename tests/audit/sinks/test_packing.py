import threading

import pytest

from audit.sinks.base import Unreachable
from audit.sinks.packing import in_turn


def test_what_is_posted_arrives_in_order_and_so_do_the_answers():
    arrived: list[int] = []

    def post(number: int) -> int:
        arrived.append(number)
        return -number

    assert in_turn(range(5), post) == [0, -1, -2, -3, -4]
    assert arrived == [0, 1, 2, 3, 4]


def test_the_next_is_made_while_one_is_on_its_way():
    is_made = threading.Event()

    def contents():
        yield "first"
        is_made.set()
        yield "second"

    def post(_: str) -> bool:
        return is_made.wait(30)

    assert in_turn(contents(), post) == [True, True]


def test_nothing_is_posted_after_what_failed():
    arrived: list[int] = []

    def post(number: int) -> None:
        arrived.append(number)
        if number == 1:
            raise Unreachable("away")

    with pytest.raises(Unreachable):
        in_turn(range(5), post)
    assert arrived == [0, 1]
