"""A token that somebody spelled in another way before it is sent is found, and so is what only has a part of it."""

import base64
import codecs
import random
import string
import time
from collections.abc import Callable
from typing import Any

import pytest

from governance.inspection.disguised_codes import CODES
from governance.inspection.disguises import DISGUISES
from governance.inspection.engine import inspect_text, inspect_value

TOKENS = {
    "github_token": "ghp_16C7e42F292c6912E7710c838347Ae178B4a",
    "aws_access_key_id": "AKIA" + "".join(random.Random(4).choices("ABCDEFGHIJKLMNOPQRSTUVWXYZ234567", k=16)),
    "stripe_key": "sk_live_" + "".join(random.Random(4).choices(string.ascii_letters + string.digits, k=24)),
    "slack_token": "xoxb-123456789012-1234567890123-AbCdEfGhIjKlMnOpQrStUvWx",
}


def cut(text: str, size: int) -> list[str]:
    return [text[at : at + size] for at in range(0, len(text), size)]


def in_hex(text: str) -> str:
    return text.encode().hex()


def in_base32(text: str) -> str:
    return base64.b32encode(text.encode()).decode().rstrip("=")


def in_base64(text: str) -> str:
    return base64.b64encode(text.encode()).decode().rstrip("=")


SPELLED: dict[str, Callable[[str], str]] = {
    "letters-apart": " ".join,
    "one-a-line": "\n".join,
    "with-commas": ", ".join,
    "bullets": "\n- ".join,
    "pairs": lambda token: " ".join(cut(token, 2)),
    "fours": lambda token: " ".join(cut(token, 4)),
    "cut-once": lambda token: f"{token[:20]} {token[20:]}",
    "struck-through": lambda token: "".join(f"{each}\u0336" for each in token),
    "quoted": lambda token: ", ".join(f'"{each}"' for each in token),
    "bits": lambda token: " ".join(f"{ord(each):08b}" for each in token),
    "base32-in-fours": lambda token: " ".join(cut(in_base32(token), 4)),
    "backwards": lambda token: token[::-1],
    "rot13": lambda token: codecs.encode(token, "rot13"),
    "base32": in_base32,
    "base32-in-a-host": lambda token: f"{'.'.join(cut(in_base32(token).lower(), 9))}.evil.example",
    "base32-of-more": lambda token: in_base32(f"xy{token}"),
    "base85": lambda token: base64.b85encode(token.encode()).decode(),
    "ascii85": lambda token: base64.a85encode(token.encode(), adobe=True).decode(),
    "hex": in_hex,
    "hex-in-a-word": lambda token: f"x{in_hex(token)}",
    "hex-in-a-host": lambda token: f"{'.'.join(cut(in_hex(token), 4))}.evil.example",
    "hex-in-odd-labels": lambda token: f"{'.'.join(cut(in_hex(token), 3))}.evil.example",
    "hex-in-long-labels": lambda token: f"{'.'.join(cut(in_hex(token), 60))}.evil.example",
    "hex-bytes": lambda token: " ".join(cut(in_hex(token).upper(), 2)),
    "hex-literals": lambda token: ", ".join(f"0x{each}" for each in cut(in_hex(token), 2)),
    "escapes": lambda token: "".join(f"\\x{each}" for each in cut(in_hex(token), 2)),
    "numbers": lambda token: ", ".join(str(ord(each)) for each in token),
    "octal": lambda token: "".join(f"\\{ord(each):o}" for each in token),
    "base64-lines": lambda token: "\n".join(cut(in_base64(token), 10)),
    "base64-in-a-host": lambda token: ".".join(cut(in_base64(f"a{token}"), 12)),
}


@pytest.mark.parametrize("spelling", SPELLED)
@pytest.mark.parametrize("rule", TOKENS)
def test_a_token_in_another_spelling_is_found_where_it_stands(rule: str, spelling: str) -> None:
    written = SPELLED[spelling](TOKENS[rule])
    text = f"Note: here it is {written} thanks a lot for reading"
    found = [each for each in inspect_text(text) if each.rule == rule]
    covered = {place for each in found for place in range(each.start, each.end)}
    part = range(start := text.index(written), start + len(written.removesuffix(".evil.example")))
    assert len(covered.intersection(part)) >= 0.8 * len(part) or (rule, spelling) in OPEN_ENDED
    assert min(covered) >= start


OPEN_ENDED = [("slack_token", "cut-once"), ("slack_token", "quoted")]
"""A part of it is a token by itself: that much is told."""


IN_PIECES: dict[str, Callable[[str], Any]] = {
    "letters": list,
    "pairs": lambda token: cut(token, 2),
    "numbers": lambda token: [ord(each) for each in token],
    "names": lambda token: dict.fromkeys(cut(token, 12), 1),
    "nested-names": lambda token: {"a": {token[:20]: {"x": 1}}, "b": {token[20:]: 1}},
    "members": lambda token: {f"k{number:02}": each for number, each in enumerate(token)},
    "rows": lambda token: [{"c": each} for each in token],
}


@pytest.mark.parametrize("kind", IN_PIECES)
def test_a_token_in_pieces_is_told_of_each_piece(kind: str) -> None:
    value = {"arguments": IN_PIECES[kind](TOKENS["github_token"])}
    found = [each for each in inspect_value(value, kinds=frozenset(("secret",))) if each.rule == "github_token"]
    assert len(found) >= 2
    assert len({each.path for each in found}) == len(found)


def test_pieces_with_others_between_them_are_told_by_whoever_knows_which_belong_together() -> None:
    token = TOKENS["github_token"]
    value = {"content": [{"type": "text", "text": token[:20]}, {"type": "text", "text": token[20:]}]}
    assert not inspect_value(value, kinds=frozenset(("secret",)))


@pytest.mark.parametrize(
    "text",
    [
        "Tokens that begin with ghp_ and gho_ are personal, those with ghs_ belong to apps and are short lived.",
        "AKIA and ASIA: the first is for users, the second for sessions, and both have twenty letters in all.",
        "npm_config_cache=/tmp npm_package_name=left npm_lifecycle_event=test npm_execpath=/usr/bin/npm",
        "sk_live_short\nsk_test_abc\nrk_live_x\nrk_test_y\nsk_live_AAAAAAAAAAAAAAAAAAAAAAA\nsk_test_more",
        "g h p _ is how it begins, one letter after the other, and then come thirty-six more of them at once",
        "65, 75, 73, 65, 80, 81, 82, 90, 91, 92, 93, 94, 95, 96, 97, 98, 99, 100 are the results of the team",
        "550e8400-e29b-41d4-a716-446655440000 and 6768705f-0000-4000-8000-000000000000 are ids of rows",
    ],
    ids=["prose", "capitals", "environment", "too-short", "spelled-prose", "numbers", "ids"],
)
def test_what_only_begins_like_a_token_is_none(text: str) -> None:
    assert not inspect_text(text, kinds=frozenset(("secret",)))
    assert not inspect_value(text.split(), kinds=frozenset(("secret",)))


BEGINNINGS = [*(each.signal for each in (*DISGUISES, *CODES))]


@pytest.mark.parametrize("signal", BEGINNINGS, ids=lambda signal: signal.name)
def test_beginnings_without_end_take_no_time(signal: Any) -> None:
    """40 readings of a disguise at most, each below a millisecond; the bound is for a busy machine."""
    first, last = (signal.pattern.split("|")[at].replace("\\", "") for at in (0, -1))
    for piece in (f"{first} ", last, f"{first}aB3 "):
        text = (piece * (100_000 // len(piece)))[:100_000]
        started = time.thread_time()
        inspect_text(text, kinds=frozenset(("secret",)))
        assert time.thread_time() - started < 3
