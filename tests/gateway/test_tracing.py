"""Spans of calls through the real ports: what they say, what they never say, and what becomes of the context."""

import json
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any
from unittest.mock import AsyncMock

import pytest
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import Span
from opentelemetry.sdk.trace import ReadableSpan, SpanProcessor
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanKind, StatusCode

from connectors.base import SILENCE, Question, RawResult, Relay, UpstreamAuth, UpstreamFailure, UpstreamSpec
from gateway.call import Answer, Frame
from gateway.mcp.message import Message
from gateway.operation import TRACING, Operation
from gateway.pipeline import run
from gateway.tracing import OpenTelemetry
from tests import factories as make
from tests.gateway.test_wiring import held, ports_with

TRACE_ID, PARENT_ID = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
TRACEPARENT = f"00-{TRACE_ID}-{PARENT_ID}-01"
RESULT = {"content": [{"type": "text", "text": "the-result"}]}


class Kind:
    """A kind of system that answers at once, or fails."""

    def __init__(self, outcome: RawResult | UpstreamFailure | None = None) -> None:
        self.outcome = outcome or RawResult(RESULT, None, 1.0, 10)
        self.asked: list[Question] = []

    async def request(
        self, spec: UpstreamSpec, auth: UpstreamAuth, question: Question, relay: Relay = SILENCE
    ) -> RawResult:
        self.asked.append(question)
        if isinstance(self.outcome, UpstreamFailure):
            raise self.outcome
        return self.outcome


@pytest.fixture
def spans() -> Iterator[InMemorySpanExporter]:
    exporter = InMemorySpanExporter()
    with traced(SimpleSpanProcessor(exporter)):
        yield exporter


class traced:  # noqa: N801  (reads as a verb)
    def __init__(self, processor: SpanProcessor) -> None:
        self.tracer = OpenTelemetry(processor)

    def __enter__(self) -> OpenTelemetry:
        TRACING.tracer = self.tracer
        return self.tracer

    def __exit__(self, *_: object) -> None:
        TRACING.tracer = None
        self.tracer.close()


async def call(kind: Kind, *, meta: dict[str, Any] | None = None, name: str = "ticket_get", id: Any = 7) -> Answer:  # noqa: A002
    ports, _ = ports_with(kind, held(make.connector(urls=("https://helpdesk.example:8443/mcp",))))  # type: ignore[arg-type]
    ports.confirmed_snapshot = AsyncMock(return_value=ports.snapshot())  # type: ignore[method-assign]
    message = Message("tools/call", id, {"name": name, "arguments": {"id": "the-argument"}, "_meta": meta or {}})
    frame = Frame(
        make.KEY, "support", name, {"id": "the-argument"}, "2026-07-28", trace=message.trace, session_id="the-session"
    )
    with Operation(message, revision="2026-07-28", secret=make.KEY):
        return await run(frame, ports)


def both(spans: InMemorySpanExporter) -> tuple[ReadableSpan, ReadableSpan]:
    """The server's and the client's span of one call."""
    client, server = spans.get_finished_spans()
    assert (server.kind, client.kind) == (SpanKind.SERVER, SpanKind.CLIENT)
    return server, client


async def test_a_call_is_a_server_span_and_in_it_a_client_span(spans: InMemorySpanExporter) -> None:
    kind = Kind()
    await call(kind)
    server, client = both(spans)
    assert server.name == client.name == "tools/call ticket_get"
    assert client.parent is not None
    assert client.parent.span_id == server.context.span_id
    about = {
        "mcp.method.name": "tools/call",
        "gen_ai.tool.name": "ticket_get",
        "gen_ai.operation.name": "execute_tool",
        "network.transport": "tcp",
        "network.protocol.name": "http",
        "gatehouse.agent": "triage-bot",
        "gatehouse.connector": "helpdesk",
    }
    server_said, client_said = dict(server.attributes or {}), dict(client.attributes or {})
    assert server_said.pop("gatehouse.call.id") == client_said.pop("gatehouse.call.id")
    own = {"jsonrpc.request.id": "7", "mcp.protocol.version": "2026-07-28", "mcp.session.id": "the-session"}
    assert server_said == about | own
    assert client_said == about | {"server.address": "helpdesk.example", "server.port": 8443}
    stages = ["authenticate", "decide", "screen", "take_limits", "commit_intent", "upstream", "screen_result"]
    assert [event.name for event in server.events] == ["receive", *stages, "commit_outcome"]
    assert (server.status.status_code, client.status.status_code) == (StatusCode.UNSET, StatusCode.UNSET)
    assert server.resource.attributes["service.name"] == "gatehouse"


async def test_the_agents_context_is_the_parent_and_ours_goes_to_the_upstream(spans: InMemorySpanExporter) -> None:
    kind = Kind()
    await call(kind, meta={"traceparent": TRACEPARENT, "tracestate": "vendor=1", "baggage": "k=v"})
    server, client = both(spans)
    assert server.parent is not None
    assert f"{server.parent.span_id:016x}" == PARENT_ID
    assert f"{server.context.trace_id:032x}" == f"{client.context.trace_id:032x}" == TRACE_ID
    ours = f"00-{TRACE_ID}-{client.context.span_id:016x}-01"
    assert kind.asked[0].meta == {"traceparent": ours, "tracestate": "vendor=1", "baggage": "k=v"}


async def test_an_agent_that_was_not_sampled_is_followed(spans: InMemorySpanExporter) -> None:
    kind = Kind()
    await call(kind, meta={"traceparent": f"00-{TRACE_ID}-{PARENT_ID}-00"})
    assert spans.get_finished_spans() == ()
    assert kind.asked[0].meta["traceparent"].startswith(f"00-{TRACE_ID}-")
    assert kind.asked[0].meta["traceparent"].endswith("-00")


@pytest.mark.parametrize("traceparent", ["", "nonsense", f"00-{'0' * 32}-{PARENT_ID}-01", f"{TRACEPARENT}\r\nX: y"])
async def test_a_context_that_is_none_begins_a_trace_of_our_own(spans: InMemorySpanExporter, traceparent: str) -> None:
    kind = Kind()
    await call(kind, meta={"traceparent": traceparent})
    server, client = both(spans)
    assert server.parent is None
    assert f"{client.context.span_id:016x}" in kind.asked[0].meta["traceparent"]


async def test_without_a_tracer_the_agents_context_passes_as_it_is() -> None:
    kind = Kind()
    await call(kind, meta={"traceparent": TRACEPARENT})
    assert kind.asked[0].meta == {"traceparent": TRACEPARENT}


@pytest.mark.parametrize(
    ("outcome", "on_server", "on_client"),
    [
        (UpstreamFailure("timeout", "secret words", reached=True), "failed", "timeout"),
        (RawResult({**RESULT, "isError": True}, None, 1.0, 10), "tool_error", None),
        (RawResult(None, {"code": -32000, "message": "secret words"}, 1.0, 10), "error", None),
    ],
)
async def test_a_failure_has_a_type_and_no_words(
    spans: InMemorySpanExporter, outcome: RawResult | UpstreamFailure, on_server: str, on_client: str | None
) -> None:
    await call(Kind(outcome))
    server, client = both(spans)
    assert (server.attributes or {})["error.type"] == on_server
    assert (client.attributes or {}).get("error.type") == on_client
    assert server.status.status_code is StatusCode.ERROR
    assert "secret words" not in server.to_json() + client.to_json()


async def test_nothing_that_an_agent_or_an_upstream_writes_gets_into_a_span(spans: InMemorySpanExporter) -> None:
    meta = {"traceparent": TRACEPARENT, "tracestate": f"v={make.KEY}", "baggage": "b=the-baggage"}
    await call(Kind(), meta=meta, id=make.KEY[3:40])
    await call(Kind(), meta={"baggage": "b=the-baggage"}, id="with words of its own")
    await call(Kind(), name="a-made-up-tool")
    told = json.dumps([span.to_json() for span in spans.get_finished_spans()])
    for word in ("the-argument", "the-result", "the-baggage", make.KEY[3:40], "words of its own", "a-made-up-tool"):
        assert word not in told
    assert "unknown_tool" in told


# -- what the collector does


class Collector(ThreadingHTTPServer):
    """A receiver of OTLP over HTTP that answers with one status."""

    def __init__(self, status: int = 200) -> None:
        self.status = status
        self.requests: list[ExportTraceServiceRequest] = []
        super().__init__(("127.0.0.1", 0), Handler)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}/v1/traces"

    def spans(self) -> list[Span]:
        return [
            span
            for request in self.requests
            for resource in request.resource_spans
            for scope in resource.scope_spans
            for span in scope.spans
        ]


class Handler(BaseHTTPRequestHandler):
    server: Collector

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["content-length"]))
        self.server.requests.append(ExportTraceServiceRequest.FromString(body))
        self.send_response(self.server.status)
        self.send_header("content-length", "0")
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        return


@pytest.fixture
def collector() -> Iterator[Collector]:
    with Collector() as server:
        thread = Thread(target=server.serve_forever, daemon=True)
        thread.start()
        yield server
        server.shutdown()
        thread.join()


async def test_spans_reach_a_collector_before_the_process_ends(collector: Collector) -> None:
    with traced(BatchSpanProcessor(OTLPSpanExporter(endpoint=collector.url))):
        await call(Kind())
    assert [span.name for span in collector.spans()] == ["tools/call ticket_get", "tools/call ticket_get"]


async def test_a_collector_that_fails_costs_no_call_and_little_time(collector: Collector) -> None:
    collector.status = 503
    with traced(BatchSpanProcessor(OTLPSpanExporter(endpoint=collector.url, timeout=0.5), schedule_delay_millis=1)):
        answer = await call(Kind())
        began = time.monotonic()
    assert answer.result is not None
    assert answer.result["content"] == RESULT["content"]
    assert time.monotonic() - began < 20
