"""After an offboarding reports that it is done, nothing of hers is let in: not at any gateway, page or API.

Several processes show keys, OAuth tokens, personal tokens and browser sessions all the while. What counts is when a
request began: one that began after the word "done" and was answered well is a failure, whatever the timing.
"""

import json
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from tests.end_to_end.installation import REPOSITORY, Installation
from tests.end_to_end.leaving_hammer import SORTS

pytestmark = pytest.mark.timeout(240)

SAMPLE, SOAK = 4, 1_000
CALLERS = 2


def start(house: Installation, *words: str) -> "subprocess.Popen[str]":
    return subprocess.Popen(
        [sys.executable, "-W", "ignore", "-m", "tests.end_to_end.leaving_hammer", *words],
        env=house.environment | {"PYTHONPATH": str(REPOSITORY), "LOG_LEVEL": "WARNING"},
        cwd=house.folder,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def finish(process: "subprocess.Popen[str]", timeout: float) -> Any:
    output, errors = process.communicate(timeout=timeout)
    assert process.returncode == 0, errors[-4000:]
    return json.loads(output) if output else None


def hammer(house: Installation, people: int, *, seconds: float) -> None:
    origin = house.start_gateway(processes=2, pages=True)
    file: Path = house.folder / "leavers.json"
    finish(start(house, "people", str(file), str(people)), seconds)
    file.with_suffix(".turn").write_text("0")
    callers = [start(house, "call", str(file), origin) for _ in range(CALLERS)]
    done = finish(start(house, "offboard", str(file)), seconds)
    found = [finish(caller, 60) for caller in callers]
    check(house, done, found)


def check(house: Installation, done: list[dict[str, Any]], found: list[dict[str, Any]]) -> None:
    assert {each["state"] for each in done} == {"enforced"}
    late = [
        (name, began - done[int(name.split()[0])]["done"])
        for caller in found
        for name, began in caller["last"].items()
        if began > done[int(name.split()[0])]["done"]
    ]
    let_in, refused = Counter[str](), Counter[str]()
    for caller in found:
        let_in.update(name.split(" ", 1)[1] for name in caller["last"])
        refused.update({sort: sum(n for name, n in caller["refused"].items() if name.endswith(sort)) for sort in SORTS})
    waits = sorted(each["withdrawn_ms"] for each in done)
    p99 = waits[min(len(waits) - 1, int(len(waits) * 0.99))]
    print(
        f"\n{house.database}: {len(done)} offboardings, withdrawal p50 {waits[len(waits) // 2]:.0f} ms,"
        f" p99 {p99:.0f} ms; let in before {dict(let_in)}, refused {dict(refused)}, let in after {len(late)}"
    )
    assert late == []
    assert set(let_in) == set(SORTS), "each sort was good for something before"
    assert all(refused[sort] for sort in SORTS), "and was shown afterwards"


def test_nothing_is_let_in_after_the_word_done(installation: Installation) -> None:
    hammer(installation, SAMPLE, seconds=90)


@pytest.mark.soak
@pytest.mark.timeout(3600)
def test_nothing_is_let_in_after_the_word_done_a_thousand_times(installation: Installation) -> None:
    hammer(installation, SOAK, seconds=3000)
