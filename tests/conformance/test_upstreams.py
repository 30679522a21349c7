"""The upstreams of the run pass it themselves, through the shim: what fails behind a gateway is the gateway's fault."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import pytest

from tests.conformance.conftest import Figures
from tests.conformance.harness import EARLIER, FIRST, LEGACY, MODERN, judge_server
from tests.conformance.shim import shim
from tests.end_to_end.upstreams import in_background

pytestmark = [pytest.mark.npm, pytest.mark.soak, pytest.mark.conformance]


@pytest.mark.parametrize(
    ("upstream", "words"),
    [
        ("everything-both", MODERN),
        ("everything-both", LEGACY),
        ("everything-both", EARLIER),
        ("everything-both", FIRST),
        ("everything-modern", MODERN),
        ("everything-legacy", LEGACY),
        ("everything-legacy", EARLIER),
        ("tasks-both", MODERN),
        ("tasks-modern", MODERN),
    ],
    ids=lambda value: value if isinstance(value, str) else value[-1],
)
def test_an_upstream_passes_by_itself(
    urls: Mapping[str, str], upstream: str, words: Sequence[str], tmp_path: Path, figures: Figures
) -> None:
    address = urlsplit(urls[upstream])
    with in_background(shim([f"http://{address.netloc}"], token="none")) as there:
        report = judge_server(f"{there}{address.path}", *words, results=tmp_path)
    has_tasks = upstream.startswith("tasks")
    judged = report.of(name for name in report.scenarios if name.startswith("tasks-") == has_tasks)
    figures.note(judged)
    assert judged.passed
    assert judged.wrong() == {}


@pytest.mark.parametrize("upstream", ["everything-modern", "tasks-modern"])
def test_a_modern_only_upstream_refuses_the_handshake(urls: Mapping[str, str], upstream: str) -> None:
    initialize = {"jsonrpc": "2.0", "id": 1, "method": "initialize", "params": {"protocolVersion": "2025-11-25"}}
    accept = {"Accept": "application/json, text/event-stream"}
    answer = httpx.post(urls[upstream], json=initialize, headers=accept)
    assert (answer.status_code, answer.json()["error"]["code"]) == (400, -32022)


@pytest.mark.parametrize("upstream", ["everything-legacy", "tasks-legacy"])
def test_a_legacy_only_upstream_has_never_heard_of_discovery(urls: Mapping[str, str], upstream: str) -> None:
    discover = {"jsonrpc": "2.0", "id": 1, "method": "server/discover", "params": {}}
    headers = {"Accept": "application/json, text/event-stream", "MCP-Protocol-Version": "2026-07-28"}
    answer = httpx.post(urls[upstream], json=discover, headers=headers)
    assert answer.status_code == 400
    assert answer.json()["error"]["code"] not in {-32020, -32021, -32022}, "a code that only modern servers know"
