"""A secret sent in pieces, by an agent that was told how."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from gateway.fragment_ring import KEPT_CHARACTERS, MOST_AGENTS, Fragments
from gateway.fragments import pieces_of
from gateway.pipeline import run
from tests.fakes import FakePorts
from tests.gateway.test_content_rules import TOKEN, rule
from tests.gateway.test_pipeline import code_of, frame, text_of, world

DENIED = rule("deny", "secret")


def pieces(secret: str, count: int) -> Iterator[str]:
    size = -(-len(secret) // count)
    yield from (secret[start : start + size] for start in range(0, len(secret), size))


WAYS: dict[str, Callable[[int, str], dict[str, Any]]] = {
    "bare": lambda _, piece: {"note": piece},
    "numbered": lambda number, piece: {"note": f"part {number} of it: {piece}"},
    "beside": lambda _, piece: {"ticket": "T-1", "note": piece},
    "in a list": lambda number, piece: {"lines": ["x"] * number + [piece]},
    "elsewhere each": lambda number, piece: {f"f{number}": piece},
}


async def sent(ports: FakePorts, **arguments: Any) -> str:
    told = await run(frame(arguments=arguments), ports)
    return "" if text_of(told) == "done" else code_of(told)


@pytest.mark.parametrize("way", WAYS)
async def test_pieces_never_all_get_out(way: str) -> None:
    ports = FakePorts(world(DENIED))
    codes = [await sent(ports, **WAYS[way](number, piece)) for number, piece in enumerate(pieces(TOKEN, 10))]
    assert "denied_by_rule" in codes
    assert code_of(await run(frame(arguments=WAYS[way](9, TOKEN[-4:])), ports)) == "denied_by_rule", (
        "nor the second time"
    )


async def test_pieces_that_are_each_sent_twice_are_joined_once() -> None:
    ports = FakePorts(world(DENIED))
    codes = [await sent(ports, note=piece) for piece in pieces(TOKEN, 4) for _ in range(2)]
    assert "denied_by_rule" in codes


@pytest.mark.parametrize("before", ["first", "PROJ-4471", "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b", "see T-1"])
async def test_what_was_sent_before_at_the_same_place_hides_nothing(before: str) -> None:
    ports = FakePorts(world(DENIED))
    assert await sent(ports, note=before) == ""
    codes = [await sent(ports, note=piece) for piece in pieces(TOKEN, 10)]
    assert "denied_by_rule" in codes


async def test_pieces_in_one_call_are_joined_too() -> None:
    ports = FakePorts(world(DENIED))
    assert await sent(ports, a=TOKEN[:20], b=TOKEN[20:]) == "denied_by_rule"


async def test_a_value_of_the_vault_in_pieces() -> None:
    ports = FakePorts(world(DENIED))
    ports.secrets = {"crm": (b"correct-horse-battery",)}
    assert [await sent(ports, note=piece) for piece in ("correct-", "horse-", "battery")][-1] == "denied_by_rule"
    (found,) = ports.entries[-1].event.details["findings"]
    assert (found["rule"], found["kind"], found["path"]) == ("known_value", "secret", "/arguments/note")


async def test_masked_the_last_piece_does_not_arrive() -> None:
    ports = FakePorts(world(rule("mask", "secret")))
    for piece in pieces(TOKEN, 4):
        await sent(ports, note=piece)
    assert TOKEN[-10:].encode() not in b"".join(ports.sent)


async def test_a_secret_that_was_refused_whole_does_not_haunt_the_next_call() -> None:
    ports = FakePorts(world(DENIED))
    assert await sent(ports, note=f"It says {TOKEN}") == "denied_by_rule"
    assert await sent(ports, note="Please write to ana.lima@corp.example.") == ""


async def test_a_piece_beside_a_whole_secret_is_still_a_piece() -> None:
    ports = FakePorts(world(DENIED))
    assert await sent(ports, note=f"{TOKEN} {TOKEN[:25]}") == "denied_by_rule"
    assert await sent(ports, note=TOKEN[25:]) == "denied_by_rule"


async def test_what_only_stands_side_by_side_is_no_secret() -> None:
    ports = FakePorts(world(DENIED))
    for number in range(12):
        assert (
            await sent(ports, id=f"PROJ-{4471 + number}", sha=f"{number * 7919:040x}", note="see the report, page 12")
            == ""
        )


async def test_what_was_masked_makes_no_secret_of_what_is_sent_next() -> None:
    ports = FakePorts(world(DENIED))
    assert await sent(ports, note="Found [SECRET:github_token]") == ""
    assert await sent(ports, note="Please9 rotate it, and tell Ana.") == ""


async def test_nor_does_it_hide_the_pieces_around_it() -> None:
    ports = FakePorts(world(DENIED))
    assert await sent(ports, note=f"{TOKEN[:20]}[SECRET:x]") == ""
    assert await sent(ports, note=f"[SECRET:x]{TOKEN[20:]}") == "denied_by_rule"


async def test_where_no_rule_looks_nothing_is_kept() -> None:
    ports = FakePorts(world(rule("deny", "personal_data")))
    await sent(ports, note=TOKEN[:20])
    assert not ports.fragments._rings


def test_it_is_bounded_and_short() -> None:
    clock = [0.0]
    ring = Fragments(clock=lambda: clock[0])
    for number in range(100):
        ring.keep("a", pieces_of({"note": f"{number:0200d}"}))
    assert 0 < sum(len(piece.text) for piece in ring.before("a", [])) <= KEPT_CHARACTERS
    clock[0] = 1_900.0
    assert ring.before("a", []) == []
    for number in range(MOST_AGENTS + 1):
        ring.keep(str(number), pieces_of({"note": "abc1"}))
    assert len(ring._rings) == MOST_AGENTS
    assert "abc1" not in repr(ring._rings["7"])
