"""Which connections are kept: bounded for all and for each address, and a flood of silent ones keeps nobody out."""

from dataclasses import dataclass
from ipaddress import ip_network

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, invariant, rule

from gateway.http_connections import FRESH_SHARE, LOOKED_AT, Connections, is_one_of

PROXIES = (ip_network("10.0.0.0/8"), ip_network("fd00::/8"))


@dataclass(eq=False)
class Wire:
    address: str = "192.0.2.1"
    is_at_work: bool = False
    has_given_way: bool = False

    def give_way(self) -> None:
        self.has_given_way = True


def wires(count: int, *, address: str = "192.0.2.1", is_at_work: bool = False) -> list[Wire]:
    return [Wire(address, is_at_work) for _ in range(count)]


def added(connections: Connections, *new: Wire, are_proven: bool = False) -> list[bool]:
    answers = []
    for wire in new:
        answers.append(connections.add(wire))
        if are_proven:
            connections.prove(wire)
    return answers


def test_the_oldest_silent_one_gives_way() -> None:
    connections = Connections(maximum=3, of_one_address=100)
    silent = wires(5)
    assert all(added(connections, *silent))
    assert [wire.has_given_way for wire in silent] == [True, True, False, False, False]
    assert len(connections) == 3


def test_what_is_at_work_never_gives_way() -> None:
    connections = Connections(maximum=3, of_one_address=100)
    at_work = wires(3, is_at_work=True)
    added(connections, *at_work, are_proven=True)
    late = Wire()
    assert added(connections, late) == [False]
    assert not any(wire.has_given_way for wire in (*at_work, late))
    connections.discard(late)
    connections.discard(at_work[0])
    assert added(connections, late) == [True]


def test_silent_ones_give_way_before_idle_ones() -> None:
    connections = Connections(maximum=16, of_one_address=100)
    idle, silent = wires(8), wires(8)
    added(connections, *idle, are_proven=True)
    added(connections, *silent)
    added(connections, *wires(100))
    assert (any(wire.has_given_way for wire in idle), all(wire.has_given_way for wire in silent)) == (False, True)


def test_idle_ones_leave_those_who_come_time_to_say_something() -> None:
    """Strangers who each send one request and then hold their connection would else keep everybody else to a moment."""
    connections = Connections(maximum=80, of_one_address=100)
    idle, coming = wires(80), wires(10)
    added(connections, *idle, are_proven=True)
    added(connections, *coming)
    assert not any(wire.has_given_way for wire in coming)
    assert sum(wire.has_given_way for wire in idle) == 10 == 80 // FRESH_SHARE


def test_an_idle_one_is_found_behind_many_at_work() -> None:
    connections = Connections(maximum=LOOKED_AT + 1, of_one_address=100)
    idle = Wire()
    added(connections, *wires(LOOKED_AT, is_at_work=True), idle, are_proven=True)
    assert added(connections, Wire(), Wire()) == [False, True]
    assert idle.has_given_way


def test_an_address_has_its_bound_and_takes_from_itself() -> None:
    connections = Connections(maximum=100, of_one_address=3)
    mine, others = wires(10), wires(3, address="192.0.2.2")
    assert all(added(connections, *others, *mine))
    assert [wire.has_given_way for wire in mine] == [True] * 7 + [False] * 3
    assert not any(wire.has_given_way for wire in others)
    assert len(connections) == 6


@pytest.mark.parametrize(
    ("addresses", "kept"),
    [
        (("2001:db8::1", "2001:db8::2", "2001:db8::3:4"), 2),
        (("2001:db8::1", "2001:db8:0:1::1", "2001:db8:0:2::1"), 3),
        (("::ffff:192.0.2.1", "192.0.2.1", "::ffff:c000:201"), 2),
        (("10.0.0.1", "10.0.0.1", "10.0.0.1"), 3),
        (("::ffff:10.0.0.1", "10.0.0.1", "fd00::1"), 3),
        (("", "", ""), 3),
    ],
    ids=["one subscriber", "three subscribers", "IPv4 in IPv6", "a proxy", "proxies", "no address"],
)
def test_who_counts_as_one_address(addresses: tuple[str, ...], kept: int) -> None:
    connections = Connections(maximum=100, of_one_address=2, trusted=PROXIES)
    assert all(added(connections, *map(Wire, addresses)))
    assert len(connections) == kept


def test_what_is_no_address_is_no_proxy() -> None:
    assert not is_one_of(PROXIES, "testclient")


class Comings(RuleBasedStateMachine):
    """Connections come, bring requests, work, rest and go in any order."""

    MAXIMUM, OF_ONE = 6, 3
    open_ones = Bundle("open_ones")

    def __init__(self) -> None:
        super().__init__()
        self.connections = Connections(maximum=self.MAXIMUM, of_one_address=self.OF_ONE, trusted=PROXIES)
        self.held: set[Wire] = set()

    @rule(target=open_ones, number=st.integers(1, 4))
    def come(self, number: int) -> Wire:
        wire = Wire(f"192.0.2.{number}" if number > 1 else "10.0.0.1")
        before = {held for held in self.held if not held.is_at_work}
        if self.connections.add(wire):
            self.held = {held for held in (*self.held, wire) if not held.has_given_way}
        else:
            of_address = {held for held in before if held.address == wire.address}
            assert not before or (not of_address and wire.address != "10.0.0.1")
        return wire

    @rule(wire=open_ones, is_at_work=st.booleans())
    def work(self, wire: Wire, is_at_work: bool) -> None:
        if wire in self.held:
            self.connections.prove(wire)
            wire.is_at_work = is_at_work

    @rule(wire=consumes(open_ones))
    def go(self, wire: Wire) -> None:
        """Told of each that was closed, those that gave way or never got in included."""
        self.connections.discard(wire)
        self.held.discard(wire)

    @invariant()
    def is_bounded(self) -> None:
        assert len(self.connections) == len(self.held) <= self.MAXIMUM
        for number in range(2, 5):
            assert sum(wire.address == f"192.0.2.{number}" for wire in self.held) <= self.OF_ONE
        assert not any(wire.has_given_way and wire.is_at_work for wire in self.held)


TestComings = Comings.TestCase
TestComings.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)
