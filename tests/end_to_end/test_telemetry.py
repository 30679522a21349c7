"""What operators see of two processes behind one port: numbers from whichever is asked, and spans at a collector."""

from collections.abc import Iterator
from contextlib import ExitStack, closing
from threading import Thread

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families

from tests import cast
from tests.connectors.servers import ScriptedServer, Turn, scripted_server
from tests.end_to_end.conftest import MakeInstallation
from tests.end_to_end.installation import Installation
from tests.end_to_end.upstreams import in_background
from tests.end_to_end.wire import Caller
from tests.gateway.test_tracing import TRACE_ID, TRACEPARENT, Collector

CALLS = 12
TOKEN = "a-token-of-the-operators"
DONE = {"content": [{"type": "text", "text": "done"}], "resultType": "complete"}
Numbers = dict[str, list[tuple[dict[str, str], float]]]


async def done(turn: Turn) -> None:
    await turn.result(DONE)


@pytest.fixture
def collector() -> Iterator[Collector]:
    with Collector() as server:
        thread = Thread(target=server.serve_forever, daemon=True)
        thread.start()
        yield server
        server.shutdown()
        thread.join()


@pytest.fixture
def house(make_installation: MakeInstallation) -> Iterator[Installation]:
    made = make_installation()
    yield made
    made.kill9()
    made.kill_pages()
    assert "Traceback" not in made.log()


@pytest.fixture
def upstream(house: Installation) -> Iterator[ScriptedServer]:
    with ExitStack() as stack:
        server = stack.enter_context(in_background(scripted_server()))
        server.be_modern(tools=[{"name": "act", "inputSchema": {"type": "object"}}])
        server.scripts["tools/call"] = done
        house.apply(cast.organisation({"upstream": server.url}))
        yield server


def call(house: Installation, key: str, tool: str = "act", **meta: str) -> int:
    """On a connection of its own, so that any process may get it."""
    with closing(Caller(house.url, key, path="/mcp/upstream")) as caller:
        return caller.ask("tools/call", {"name": tool, "arguments": {}, "_meta": meta}).status


def scrape(house: Installation, **headers: str) -> Numbers:
    answer = httpx.get(f"{house.url}/metrics", headers=headers)
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-type"] == "text/plain; version=0.0.4; charset=utf-8"
    found: Numbers = {}
    for family in text_string_to_metric_families(answer.text):
        for sample in family.samples:
            found.setdefault(sample.name, []).append((sample.labels, sample.value))
    return found


def total(numbers: Numbers, name: str, **labels: str) -> float:
    return sum(value for found, value in numbers[name] if labels.items() <= found.items())


def test_each_process_tells_of_both(house: Installation, upstream: ScriptedServer) -> None:
    key = house.issue_key(cast.TRIAGE_BOT)
    house.start_gateway(2, pages=True)
    assert [call(house, key) for _ in range(CALLS)] == [200] * CALLS
    assert call(house, key, "nothing-of-the-kind") == 200
    assert call(house, "gate_ak_" + "x" * 49) == 401
    for _ in range(6):
        numbers = scrape(house)
        assert [value for _, value in numbers["gatehouse_up"]] == [1, 1]
        by = {"connector": "upstream", "tool": "act", "decision": "permit", "outcome": "ok"}
        assert total(numbers, "gatehouse_calls_total", **by) == CALLS
        assert total(numbers, "gatehouse_refusals_total", reason="unknown_tool") == 1
        assert total(numbers, "gatehouse_refusals_total", reason="bad_token") == 1
        method = {"mcp_method_name": "tools/call"}
        assert total(numbers, "mcp_server_operation_duration_seconds_count", **method) == CALLS + 1
        assert total(numbers, "mcp_client_operation_duration_seconds_count", connector="upstream", **method) == CALLS
        whole = total(numbers, "mcp_server_operation_duration_seconds_sum", **method)
        own = total(numbers, "gatehouse_gateway_duration_seconds_sum", **method)
        there = total(numbers, "mcp_client_operation_duration_seconds_sum", **method)
        assert whole == pytest.approx(own + there)
        assert total(numbers, "gatehouse_stage_duration_seconds_count", stage="commit_intent") == CALLS
        assert total(numbers, "gatehouse_calls_open") == total(numbers, "gatehouse_calls_in_flight") == 0
        assert {value for _, value in numbers["gatehouse_snapshot_epoch"]} != {0}
        assert max(value for _, value in numbers["gatehouse_snapshot_age_seconds"]) < 30
        assert min(value for _, value in numbers["process_resident_memory_bytes"]) > 10_000_000
    told = httpx.get(f"{house.url}/metrics").text
    assert "nothing-of-the-kind" not in told
    assert cast.TRIAGE_BOT not in told
    assert key not in told


def test_a_killed_process_is_missed_and_the_other_goes_on(house: Installation, upstream: ScriptedServer) -> None:
    house.start_gateway(2, pages=True)
    assert sorted(value for _, value in scrape(house)["gatehouse_up"]) == [1, 1]
    house.kill9(0)
    assert sorted(value for _, value in scrape(house)["gatehouse_up"]) == [0, 1]


def test_with_a_token_nobody_else_sees_the_page(house: Installation, upstream: ScriptedServer) -> None:
    house.configure(METRICS_TOKEN=TOKEN)
    house.start_gateway()
    assert httpx.get(f"{house.url}/metrics").status_code == 404
    assert scrape(house, Authorization=f"Bearer {TOKEN}")["gatehouse_up"][0][1] == 1


def test_spans_of_a_call_reach_the_collector_and_the_upstream_its_context(
    house: Installation, upstream: ScriptedServer, collector: Collector
) -> None:
    house.configure(OTEL_EXPORTER_OTLP_ENDPOINT=collector.url.removesuffix("/v1/traces"), OTEL_BSP_SCHEDULE_DELAY="100")
    key = house.issue_key(cast.TRIAGE_BOT)
    house.start_gateway()
    assert call(house, key, traceparent=TRACEPARENT) == 200
    house.stop_gateway()
    spans = collector.spans()
    client, server = (next(span for span in spans if span.kind == kind) for kind in (3, 2))
    assert [server.name, client.name] == ["tools/call act"] * 2
    assert server.trace_id.hex() == client.trace_id.hex() == TRACE_ID
    assert client.parent_span_id == server.span_id
    seen = upstream.sent("tools/call")[0]
    ours = f"00-{TRACE_ID}-{client.span_id.hex()}-01"
    assert seen.headers["traceparent"] == seen.message["params"]["_meta"]["traceparent"] == ours
    intent = house.events("call.intent")[0]
    assert {"gatehouse.call.id": intent["call_id"]}.items() <= {
        each.key: each.value.string_value for each in server.attributes
    }.items()


def test_a_collector_that_is_away_costs_no_call(house: Installation, upstream: ScriptedServer) -> None:
    house.configure(OTEL_EXPORTER_OTLP_ENDPOINT="http://127.0.0.1:9", OTEL_BSP_SCHEDULE_DELAY="10")
    key = house.issue_key(cast.TRIAGE_BOT)
    house.start_gateway()
    assert [call(house, key) for _ in range(CALLS)] == [200] * CALLS
    house.stop_gateway()
    assert len(house.events("call.outcome")) == CALLS
