"""After an offboarding reports that it is done, nothing of hers is let in: not at any gateway, page or API.

Several processes show keys, OAuth tokens, personal tokens and browser sessions all the while, several people leave at
once, and each has a stream and a call open when she does. What counts is when a request began: one that began after the
withdrawal returned and was answered well is a failure, whatever the timing. What was open has ended by the word "done".
The oracle of the fence looks at the same from the other side, in what is stored.
"""

import asyncio
import json
import os
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests import cast
from tests.connectors.servers import Turn, scripted_server
from tests.end_to_end.installation import REPOSITORY, Installation
from tests.end_to_end.leaving_hammer import SORTS
from tests.end_to_end.test_fence_hammer import Oracle
from tests.end_to_end.upstreams import in_background

pytestmark = pytest.mark.databases("sqlite", "postgres")

SAMPLE, SOAK = 12, int(os.environ.get("SOAK_LEAVERS", "1000"))
CALLERS = ("caller-1", "caller-2")
LAST_WORDS_SECONDS = 40.0
"""So long a client on a busy machine may need to notice that its stream was ended."""


def start(house: Installation, *words: str) -> "subprocess.Popen[str]":
    return subprocess.Popen(
        [sys.executable, "-W", "ignore", "-m", "tests.end_to_end.leaving_hammer", *words],
        env=house.environment | {"PYTHONPATH": str(REPOSITORY), "LOG_LEVEL": "WARNING"},
        cwd=house.folder,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


@contextmanager
def started(house: Installation, *words: str) -> Iterator["subprocess.Popen[str]"]:
    """Until the end of the block, however it comes."""
    with start(house, *words) as process:
        try:
            yield process
        finally:
            process.kill()


def finish(process: "subprocess.Popen[str]", timeout: float) -> Any:
    output, errors = process.communicate(timeout=timeout)
    assert process.returncode == 0, errors[-4000:]
    return json.loads(output)


async def act(turn: Turn) -> None:
    """Answers at once, or says that it is at it and goes on for longer than anybody stays."""
    params = turn.seen.message["params"]
    if params["name"] == "hangs":
        await turn.stream_head()
        progress = {"progressToken": params["_meta"]["progressToken"], "progress": 1}
        await turn.event({"jsonrpc": "2.0", "method": "notifications/progress", "params": progress})
        await asyncio.sleep(3600)
    await turn.result({"content": [{"type": "text", "text": "done"}], "resultType": "complete"})


def hammer(house: Installation, people: int, *, seconds: float) -> None:
    with in_background(scripted_server()) as upstream:
        upstream.be_modern(tools=[{"name": name, "inputSchema": {"type": "object"}} for name in ("act", "hangs")])
        upstream.scripts["tools/call"] = act
        house.apply(cast.organisation({"upstream": upstream.url}, timeout_seconds=600))
        file: Path = house.folder / "leavers.json"
        origin = house.start_gateway(processes=2, pages=True)
        finish(start(house, "people", str(file), str(people)), seconds)
        with ExitStack() as stack:
            callers = [stack.enter_context(started(house, "call", str(file), origin, name)) for name in CALLERS]
            holder = stack.enter_context(started(house, "hold", str(file), origin))
            done = finish(start(house, "offboard", str(file), "holder", *CALLERS), seconds)
            found = [finish(caller, 60) for caller in callers]
            check(house, done, found, finish(holder, 90))


def check(house: Installation, done: list[dict[str, Any]], found: list[dict[str, Any]], held: dict[str, Any]) -> None:
    stale = Oracle(house).stale_intents()
    late = [
        (name, began - done[int(name.split()[0])]["withdrawn"])
        for caller in found
        for name, began in caller["last"].items()
        if began > done[int(name.split()[0])]["withdrawn"]
    ]
    let_in, refused = Counter[str](), Counter[str]()
    for caller in found:
        let_in.update(name.split(" ", 1)[1] for name in caller["last"])
        refused.update({sort: sum(n for name, n in caller["refused"].items() if name.endswith(sort)) for sort in SORTS})
    said = Counter(each["state"] for each in done)
    ends = {name: at - done[int(name.split()[0])]["done"] for name, at in held["ended"].items()}
    fates = Counter(fate for each in done for fate in each["cut"])
    print(
        f"\n{house.database}: {len(done)} offboardings {dict(said)}, withdrawal {told(done)};"
        f" let in before {dict(let_in)}, refused {dict(refused)}, let in after {len(late)}, stale intents {len(stale)};"
        f" {len(ends)} streams and calls ended, the last {max(ends.values()):+.2f} s from 'done',"
        f" calls cut {dict(fates)}, results {len(held['results'])}"
    )
    assert set(said) <= {"enforced", "incomplete"}, "on a busy machine it says that it does not know yet"
    assert said["enforced"] * 2 > len(done)
    assert all("open" not in each["cut"] for each in done if each["state"] == "enforced")
    assert late == []
    assert stale == []
    assert set(let_in) == set(SORTS), "each sort was good for something before"
    assert all(refused[sort] >= len(done) for sort in SORTS), "and was shown afterwards"
    assert set(ends) == {f"{number} {sort}" for number in range(len(done)) for sort in ("stream", "call")}
    sure = [after for name, after in ends.items() if done[int(name.split()[0])]["state"] == "enforced"]
    assert max(sure) < LAST_WORDS_SECONDS, "what was open has ended"
    assert held["results"] == [], "nobody heard what her call came to"
    assert fates, "and some of it was cut"


def told(done: list[dict[str, Any]]) -> str:
    waits = sorted(each["milliseconds"] for each in done)
    in_force = sorted((each["done"] - each["withdrawn"]) * 1000 for each in done)
    return ", ".join(
        f"{what} p50 {times[len(times) // 2]:.0f} ms, p99 {times[min(len(times) - 1, int(len(times) * 0.99))]:.0f} ms"
        for what, times in (("returned", waits), ("then in force everywhere", in_force))
    )


def test_nothing_is_let_in_after_the_word_done(installation: Installation) -> None:
    hammer(installation, SAMPLE, seconds=200)


@pytest.mark.soak
@pytest.mark.timeout(5400)
def test_nothing_is_let_in_after_the_word_done_a_thousand_times(installation: Installation) -> None:
    hammer(installation, SOAK, seconds=5000)
