"""The first pass reads bytes: what it looks for, it sees in letters beyond ASCII as well."""

import random
from dataclasses import replace

import pytest

from governance.inspection.byte_patterns import in_bytes
from governance.inspection.detectors import DETECTORS, TABLE
from governance.inspection.engine import inspect_text
from governance.inspection.signals import Encoded, Signal
from governance.inspection.views import SIGNALS
from tests.governance.inspection.sampling import Widest

IN_BYTES = ("destination.host", "destination.spelt")
"""Written byte for byte already."""
ALL = [*SIGNALS, *(signal for detector in DETECTORS for signal in detector.signals)]
EACH = {signal.name: signal for signal in ALL if signal.name not in IN_BYTES}
AROUND = ("", "é", "Ж中", "😀 ")
DRAWS = 6
KEY = "aK9fQ2xL7vB4nM8cR5tY1wZ3"


@pytest.mark.parametrize("signal", EACH.values(), ids=EACH)
def test_it_sees_what_it_looks_for_beyond_ascii(signal: Signal) -> None:
    meant = replace(signal, pattern=signal.glimpse or signal.pattern)
    widest, draw = Widest(meant.pattern, random.Random(signal.name)), random.Random(signal.name)
    for _ in range(DRAWS):
        around = draw.choice(AROUND)
        text = Encoded(f"{around}{widest.draw()}{around[::-1]}")
        if any(meant.find(text)):
            assert signal.name in TABLE.occurring(text), text.text


@pytest.mark.parametrize(
    ("pattern", "bytewise"),
    [
        (r"a[^.\n]{0,30}b", r"a[^.\n]{0,}b"),
        (r".x\S?\W{2}[\w-]{1,9}", r".{1,4}x\S{0,4}\W{2,8}[\w-]{1,9}"),
        (r"[-–—]+?[^“a]{3,}", r"[-\x80-\xff]+?[^a]{3,}"),
        (r"(?:é|\.)*[\]^]", r"(?:é|\.)*[\]^]"),
        ("é?", "(?:é)?"),
        ("[a-я0][^0-é]", r"[a-\x7f0\x80-\xff]{1,4}[^0-\x7f]{1,4}"),
    ],
    ids=range(6),
)
def test_characters_become_as_many_bytes_as_they_may_have(pattern: str, bytewise: str) -> None:
    assert in_bytes(pattern) == bytewise


def test_beyond_ascii_case_is_written_out() -> None:
    assert in_bytes("пa·", caseless=True) == "(?:п|П)a·"


@pytest.mark.parametrize(
    "text",
    [
        f"`api_key`: `{KEY}`",
        f"api_key\t=\t{KEY}",
        f"token\r\n: {KEY}",
        f"client_secret_{'of_the_tenant_' * 3} = {KEY}",
        f"api_keyé = {KEY}",
        "ПАРОЛЬ: Hunter2!xyz",
    ],
    ids=["backticks", "tabs", "lines", "a long name", "a name beyond ASCII", "in capitals beyond ASCII"],
)
def test_a_name_and_its_value_are_seen_however_they_are_joined(text: str) -> None:
    assert [finding.rule for finding in inspect_text(text).sure() if finding.kind == "secret"]
