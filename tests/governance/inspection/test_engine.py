"""One verdict for long and short texts, an end to every hostile text, and every known value found."""

import base64
import gzip
import json
import random
import time
from collections.abc import Callable
from io import StringIO
from urllib.parse import quote

import pytest
from django.core.management import call_command
from hypothesis import given
from hypothesis import strategies as st

from governance import vault
from governance.inspection import engine
from governance.inspection.engine import inspect_text, inspect_value
from governance.inspection.findings import Budget, Findings
from governance.inspection.masking import JoinedIndex, VaultIndex

TOKEN = "ghp_" + "".join(random.Random(1).choices("abcdefghijklmnopqrstuvwxyz0123456789", k=36))
PIECES = (
    TOKEN,
    "card 4111 1111 1111 1111,",
    "ana@example.org",
    base64.b64encode(f"the token is {TOKEN} today".encode()).decode(),
    'password: "t7#kQ9w!vz"',
    "plain words of no interest ",
    "ünïcode \u200b text ",
    "\n",
    "%70%61ss",
    "<b>bold</b>",
)


def seen(findings: Findings) -> list[tuple[str, int, int]]:
    return [(finding.rule, finding.start, finding.end) for finding in findings]


def test_a_segment_ends_where_nobody_can_tell() -> None:
    for before in range(engine.SEGMENT - 45, engine.SEGMENT + 5, 3):
        text = f"{' ' * before}{TOKEN}{' ' * 40_000}"
        assert seen(inspect_text(text)) == [("github_token", before, before + len(TOKEN))]


def test_the_findings_of_a_long_text_are_those_of_its_parts() -> None:
    filler = "plain words of no interest, line after line\n" * 500
    text = "".join(f"{filler}{piece}\n" for piece in PIECES * 2)
    rules = {rule for rule, _, _ in seen(inspect_text(text))}
    assert rules == {rule for piece in PIECES for rule, _, _ in seen(inspect_text(piece))}


HOSTILE = (
    "a", "1", "4 ", "411", "1.", "1.1.1.1 ", "::", "@", "a@a.", "+1", "password=", "password=a://", "AccountKey=",
    "token ", 'secret: "', '"', "eyJ",
    "://a:", "://a:b@", "<", "<!--", "<div style='", "&#", "%41", "\\u0041", "\\\\", "A" * 24 + "\n",
    "-----BEGIN PRIVATE KEY-----", "DE89 ", "dob ",
    "passport no ", "Cookie: a=", "a [at] b [dot] ", "aA1", "e\u0301", "\u200b", "\U000e0041", "dob,", "iban\n",
    "xoxb-", "Bearer ", "key ", "{", "[(",
)  # fmt: skip


@pytest.mark.parametrize("piece", HOSTILE, ids=[str(number) for number in range(len(HOSTILE))])
def test_hostile_repeats_take_no_time(piece: str) -> None:
    text = (piece * (100_000 // len(piece)))[:100_000]
    started = time.thread_time()
    inspect_text(text)
    assert time.thread_time() - started < 3, "CPU seconds of a busy machine; a tenth of that when it is quiet"


@pytest.mark.parametrize(
    ("budget", "rule"),
    [
        (Budget(findings=3), "limit.findings"),
        (Budget(characters=50), "limit.characters"),
        (Budget(cpu_seconds=-1), "limit.time"),
        (Budget(leaves=2), "limit.leaves"),
        (Budget(depth=1), "limit.leaves"),
    ],
    ids=["findings", "characters", "time", "leaves", "depth"],
)
def test_what_is_over_the_budget_is_told(budget: Budget, rule: str) -> None:
    value = [[f"{number} ana{number}@example.org"] for number in range(10)]
    found = inspect_value(value, budget=budget)
    assert rule in {finding.rule for finding in found}
    assert not found.is_complete


WRAPPERS: dict[str, Callable[[str], str]] = {
    "plain": str,
    "inside": lambda value: f"x{value}y",
    "base64": lambda value: base64.b64encode(f"some {value} text".encode()).decode(),
    "twice": lambda value: base64.b64encode(base64.b64encode(f"some {value} text".encode())).decode(),
    "gzip": lambda value: base64.b64encode(gzip.compress(f"some {value} text".encode())).decode(),
    "hex": lambda value: f"some {value} text".encode().hex(),
    "percent": lambda value: "".join(f"%{byte:02X}" for byte in value.encode()),
    "quoted": lambda value: quote(quote(value, safe=""), safe=""),
    "json": lambda value: json.dumps(json.dumps({"a": value})),
    "entities": lambda value: "".join(f"&#{ord(each)};" for each in value),
    "zero-width": "\u200b".join,
    "tags": lambda value: "".join(chr(0xE0000 + ord(each)) for each in value),
    "markup": "<i></i>".join,
}


@pytest.mark.parametrize("wrapper", WRAPPERS)
def test_a_known_value_is_found_in_every_view(wrapper: str) -> None:
    @given(
        st.text(
            st.characters(min_codepoint=0x21, max_codepoint=0x7E, exclude_characters="<>&%\\\"'"),
            min_size=12,
            max_size=40,
        )
    )
    def check(value: str) -> None:
        index = VaultIndex([("billing", vault.maskable_forms("opaque", value))])
        text = f"before {WRAPPERS[wrapper](value)} after"
        found = [finding for finding in inspect_text(text, known=JoinedIndex(index)) if finding.rule == "known_value"]
        assert found
        assert {finding.subject for finding in found} == {"billing"}
        assert all(0 <= finding.start < finding.end <= len(text) for finding in found)

    check()


def test_the_command_answers_line_by_line(monkeypatch: pytest.MonkeyPatch) -> None:
    records = [
        {"id": "1", "task": "secrets", "text": f"use {TOKEN} and ana@example.org"},
        {"id": "2", "task": "pii", "text": f"use {TOKEN} and ana@example.org"},
        {"id": "3", "task": "secrets", "text": "nothing here"},
    ]
    monkeypatch.setattr("sys.stdin", StringIO("".join(f"{json.dumps(record)}\n" for record in records)))
    out = StringIO()
    call_command("inspect", stdout=out)
    first, second, third = [json.loads(line) for line in out.getvalue().splitlines()]
    assert first["spans"] == [[4, 4 + len(TOKEN), "github_token"]]
    assert second["spans"] == [[4 + len(TOKEN) + 5, 4 + len(TOKEN) + 20, "email"]]
    assert (first["flagged"], first["action"], third["flagged"], third["action"]) == (True, "mask", False, "allow")
