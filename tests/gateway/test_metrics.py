"""The numbers of a process, as text that Prometheus' own parser reads, and who may see them."""

import asyncio
import math
import os
import socket
import tempfile
from collections.abc import Iterator, MutableMapping
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry, Histogram
from prometheus_client.parser import text_string_to_metric_families

from gateway import refusals
from gateway.commit.entry import EvidenceUnavailable
from gateway.exposition import Family, Sample, gauge, of_process, pack, text, unpack
from gateway.metrics import LABEL_SETS, METRICS, OTHERS, SECONDS, Counts, Metrics, Spread, Spreads
from gateway.metrics_page import MetricsPage
from gateway.refusals import Refusal
from tests import factories as make
from tests.gateway.mcp_surface import McpPorts, Surface

TOKEN = "a-token-of-the-operators"
HERE = {"host": "127.0.0.1:8000"}


def read(body: bytes) -> dict[tuple[str, tuple[tuple[str, str], ...]], float]:
    """(name, labels) -> value."""
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(body.decode())
        for sample in family.samples
    }


@given(st.lists(st.one_of(st.sampled_from(SECONDS[:-1]), st.floats(0, 1000)), max_size=60), st.integers(1, 7))
def test_a_histogram_counts_as_the_client_library_does(values: list[float], at_once: int) -> None:
    registry = CollectorRegistry()
    theirs = Histogram("h", "h", buckets=SECONDS[:-1], registry=registry)
    ours = Spread()
    for number, value in enumerate(values):
        theirs.observe(value)
        ours.add(value)
        if number % at_once == 0:
            ours.fold()
    ours.fold()
    expected = {(s.name[1:], s.labels.get("le", "")): s.value for f in registry.collect() for s in f.samples}
    found = {(suffix, labels.get("le", "")): value for suffix, labels, value in ours.samples({})}
    assert found.pop(("_sum", "")) == pytest.approx(expected.pop(("_sum", "")))
    expected = {key: value for key, value in expected.items() if key[0] != "_created"}
    assert found == expected


@given(st.text(max_size=20), st.floats(allow_nan=False, allow_infinity=False))
def test_any_label_and_value_survive_the_text(label: str, value: float) -> None:
    label = label.replace("\r", "").replace("\0", "").encode("utf-8", "ignore").decode()
    families = [Family("a_total", "counter", "Text.", [Sample("", {"name": label}, value)])]
    found = [sample for family in text_string_to_metric_families(text(families).decode()) for sample in family.samples]
    assert [(sample.labels["name"], sample.value) for sample in found] == [(label, value)]


def test_families_of_several_processes_stand_together_and_their_samples_apart() -> None:
    one = of_process("gateway-1", [gauge("up", "Up.", ({}, 1)), gauge("b", "B.", ({}, math.nan))])
    other = of_process("gateway-2", unpack(pack([gauge("up", "Up.", ({}, 0))])))
    body = text([*one, *other])
    assert body.count(b"# TYPE up gauge") == 1
    assert read(body)["up", (("process", "gateway-2"),)] == 0
    assert read(body)["up", (("process", "gateway-1"),)] == 1


def test_a_tool_has_its_name_and_what_agents_choose_has_none() -> None:
    counts = Counts("c_total", "C.", ("connector", "tool"))
    counts.add(("helpdesk", "ticket_get"))
    counts.add(("helpdesk", "resource:file:///secret/of/somebody"))
    counts.add(("helpdesk", "resource:file:///another"))
    counts.add(("helpdesk", "prompt:whatever"))
    counts.fold()
    told = {sample.labels["tool"]: sample.value for sample in counts.family().samples}
    assert told == {"ticket_get": 1, "(resource)": 2, "(prompt)": 1}


def test_labels_never_have_more_values_than_fit() -> None:
    counts, spreads = Counts("c_total", "C.", ("tool",)), Spreads("h", "H.", ("tool",))
    for number in range(LABEL_SETS + 50):
        counts.add((f"tool-{number}",))
        spreads.of(f"tool-{number}").add(1.0)
    counts.fold()
    spreads.fold()
    samples = counts.family().samples
    assert len(samples) == LABEL_SETS + 1
    assert sum(sample.value for sample in samples) == LABEL_SETS + 50
    assert {sample.value for sample in samples if sample.labels["tool"] == OTHERS} == {50}
    assert len({sample.labels["tool"] for sample in spreads.family().samples}) == LABEL_SETS + 1


def test_refusals_are_counted_by_reason_and_limit() -> None:
    metrics = Metrics()
    metrics.count_refusal(Refusal(refusals.BAD_TOKEN))
    facts = {"agent": "bot", "connector": "helpdesk", "tool": "prompt:p", "limit": "few", "used_up": "requests"}
    metrics.count_refusal(Refusal(refusals.RATE_LIMITED, facts=facts))
    found = read(text(metrics.families()))
    assert found["gatehouse_refusals_total", (("connector", ""), ("reason", "bad_token"), ("tool", ""))] == 1
    by_reason = (("connector", "helpdesk"), ("reason", "rate_limited"), ("tool", "(prompt)"))
    assert found["gatehouse_refusals_total", by_reason] == 1
    assert found["gatehouse_limit_refusals_total", (("limit", "few"), ("used_up", "requests"))] == 1


async def test_a_message_is_timed_by_its_method_and_stages_and_a_made_up_method_by_none() -> None:
    def timed() -> dict[str, float]:
        found = read(text(METRICS.families()))
        names = ("mcp_server_operation_duration_seconds_count", "gatehouse_stage_duration_seconds_count")
        return {labels[0][1]: value for (name, labels), value in found.items() if name in names}

    agent = make.agent(roles=(make.role("bundle-support"),))
    ports = McpPorts(make.snapshot(agents=(agent,), bundles=(make.bundle(),), credentials=(make.credential(agent),)))
    surface, before = Surface(ports), timed()
    await surface.ask_modern("tools/call", {"name": "ticket_get", "arguments": {}})
    await surface.ask("tools/list")
    await surface.ask("no/such-method")
    grown = {name: value - before.get(name, 0) for name, value in timed().items() if value != before.get(name, 0)}
    once = ("receive", "authenticate", "decide", "screen", "take_limits", "commit_intent", "upstream")
    assert grown == {
        **dict.fromkeys((*once, "screen_result", "commit_outcome"), 1),
        "tools/call": 1,
        "tools/list": 1,
        "(unknown)": 1,
    }


# -- who may see them, and of whom


class Told:
    """A process with one number."""

    def __init__(self, value: float = 1.0, *, broken: bool = False) -> None:
        self.value = value
        self.broken = broken

    def of_process(self) -> list[Family]:
        return [gauge("number", "Number.", ({}, self.value))]

    async def of_installation(self) -> list[Family]:
        if self.broken:
            raise EvidenceUnavailable("away")
        return [gauge("kept", "Kept.", ({}, 7))]


@pytest.fixture
def folder() -> Iterator[Path]:
    """Short, as paths of sockets must be."""
    with tempfile.TemporaryDirectory(prefix="gatehouse-") as name:
        yield Path(name)


async def ask(
    page: MetricsPage,
    headers: dict[str, str] | list[tuple[str, str]],
    *,
    client: str = "127.0.0.1",
    method: str = "GET",
) -> tuple[int, bytes]:
    sent: list[MutableMapping[str, Any]] = []
    pairs = headers.items() if isinstance(headers, dict) else headers

    async def send(message: MutableMapping[str, Any]) -> None:
        sent.append(message)

    async def receive() -> MutableMapping[str, Any]:
        return {"type": "http.request"}

    raw = [(name.encode(), value.encode()) for name, value in pairs]
    scope = {"type": "http", "method": method, "headers": raw, "client": (client, 1)}
    async with asyncio.timeout(10):
        await page(scope, receive, send)
    return sent[0]["status"], b"".join(message.get("body", b"") for message in sent)


@pytest.mark.parametrize(
    ("client", "headers", "status"),
    [
        ("127.0.0.1", HERE, 200),
        ("::1", {"host": "[::1]:8000"}, 200),
        ("::1", {"host": "localhost"}, 200),
        ("10.1.2.3", HERE, 404),
        ("not-an-address", HERE, 404),
        ("127.0.0.1", {"host": "gatehouse.example.com"}, 404),
        ("127.0.0.1", {"host": "[::1"}, 404),
        ("127.0.0.1", {}, 404),
        ("127.0.0.1", HERE | {"x-forwarded-for": "10.1.2.3"}, 404),
        ("127.0.0.1", HERE | {"forwarded": "for=10.1.2.3"}, 404),
        ("127.0.0.1", HERE | {"via": "1.1 proxy"}, 404),
        ("127.0.0.1", HERE | {"authorization": f"Bearer {TOKEN}"}, 200),
    ],
)
async def test_without_a_token_only_this_machine_itself_may_read(
    client: str, headers: dict[str, str], status: int
) -> None:
    assert (await ask(MetricsPage(Told(), folder=None), headers, client=client))[0] == status


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"authorization": f"Bearer {TOKEN}", "host": "gatehouse.example.com"}, 200),
        ({"authorization": f"Bearer {TOKEN}x"}, 404),
        ({"authorization": f"Basic {TOKEN}"}, 404),
        ({"authorization": "Bearer \xff\xff\xff\xff\xff\xff\xff\xff"}, 404),
        (HERE, 404),
        ([("authorization", f"Bearer {TOKEN}"), ("authorization", "Bearer another-token")], 404),
    ],
)
async def test_with_a_token_it_is_asked_of_everybody(
    headers: dict[str, str] | list[tuple[str, str]], status: int
) -> None:
    page = MetricsPage(Told(), folder=None, token=TOKEN)
    assert (await ask(page, headers))[0] == status
    found = await ask(page, {"authorization": f"Bearer {TOKEN}"}, method="POST")
    assert found == (404, b"")


async def test_whoever_is_asked_tells_of_all_beside_it_and_of_who_does_not_answer(folder: Path) -> None:
    pages = [MetricsPage(Told(number), folder=folder, process=f"gateway-{number}") for number in (1, 2)]
    for page in pages:
        await page.start()
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(folder / "gateway-3.metrics"))
    for page in pages:
        _, body = await ask(page, HERE)
        found = read(body)
        assert [found["number", (("process", f"gateway-{number}"),)] for number in (1, 2)] == [1, 2]
        up = [found["gatehouse_up", (("process", f"gateway-{number}"),)] for number in (1, 2, 3)]
        assert up == [1, 1, 0]
        assert found["kept", ()] == 7
    for page in pages:
        await page.stop()
    assert os.listdir(folder) == ["gateway-3.metrics"]


async def test_a_process_that_comes_back_takes_the_place_of_the_one_that_was_killed(folder: Path) -> None:
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(folder / "gateway-2.metrics"))
    pages = [MetricsPage(Told(number), folder=folder, process=f"gateway-{number}") for number in (1, 2)]
    for page in pages:
        await page.start()
    assert read((await ask(pages[0], HERE))[1])["gatehouse_up", (("process", "gateway-2"),)] == 1
    for page in pages:
        await page.stop()


@pytest.mark.parametrize("answer", [b"", b"{", b"[1]", b'[["a","gauge","A",[["",{},1,2]]]]', None])
async def test_one_that_talks_nonsense_or_hangs_costs_the_others_nothing(
    folder: Path, answer: bytes | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gateway.metrics_page.ANSWER_SECONDS", 0.2)
    let_go = asyncio.Event()

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if answer is None:
            await let_go.wait()
        else:
            writer.write(answer)
        writer.close()

    server = await asyncio.start_unix_server(talk, folder / "gateway-2.metrics")
    status, body = await ask(MetricsPage(Told(), folder=folder, process="gateway-1"), HERE)
    let_go.set()
    server.close()
    assert status == 200
    assert read(body)["gatehouse_up", (("process", "gateway-2"),)] == 0
    assert read(body)["number", (("process", "gateway-1"),)] == 1


async def test_without_the_database_the_processes_still_tell() -> None:
    status, body = await ask(MetricsPage(Told(broken=True), folder=None, process="gateway-1"), HERE)
    assert status == 200
    assert ("kept", ()) not in read(body)
    assert read(body)["number", (("process", "gateway-1"),)] == 1
