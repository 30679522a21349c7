"""OpenTelemetry, for who asks for it: one server span a message, with the MCP semantic conventions, and in it a client
span for the upstream. What lies between the two is the gateway's own time; each stage's end is an event.

Imported only when an OTLP endpoint is configured: the SDK takes as much memory as a tenth of the process. Arguments,
results, URIs and `tracestate` (which nobody has screened yet) never get into a span. Spans wait in a
bounded queue for a thread of their own: an exporter that is slow or away loses spans and touches no call.
"""

import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from threading import Thread
from typing import Final
from urllib.parse import urlsplit

from opentelemetry.context import Context
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import SpanProcessor, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.trace import Span, SpanKind, Status, StatusCode, Tracer, set_span_in_context
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from connectors.base import UpstreamFailure
from gateway.call import Call, Intent
from gateway.mcp.message import Message

SERVICE: Final = "gatehouse"
LAST_SECONDS: Final = 2.0
REQUEST_ID: Final = re.compile(r"[A-Za-z0-9_.-]{1,64}")
"""Of the ids that a client makes up, those that can hardly carry anything else."""
W3C: Final = TraceContextTextMapPropagator()

Attributes = dict[str, str | int]


class OpenTelemetry:
    """Implements `operation.Tracer`. Exporter, sampler, queue and resource are set by the SDK's OTEL_ variables."""

    def __init__(self, processor: SpanProcessor | None = None) -> None:
        self._provider = TracerProvider(resource=_resource(), shutdown_on_exit=False)
        self._provider.add_span_processor(processor or BatchSpanProcessor(OTLPSpanExporter()))
        self._tracer = self._provider.get_tracer(SERVICE)

    def begin(self, method: str, message: Message, *, revision: str, secret: str) -> "ServerSpan":
        attributes: Attributes = {
            "mcp.method.name": method,
            "network.transport": "tcp",
            "network.protocol.name": "http",
        }
        request_id = "" if message.id is None else str(message.id)
        if REQUEST_ID.fullmatch(request_id) and request_id not in secret:
            attributes["jsonrpc.request.id"] = request_id
        if revision:
            attributes["mcp.protocol.version"] = revision
        parent = W3C.extract({"traceparent": message.trace.get("traceparent", "")}, Context())
        span = self._tracer.start_span(method, parent, SpanKind.SERVER, attributes)
        return ServerSpan(self._tracer, span, method)

    def close(self) -> None:
        """Sends what is left, in two seconds or not at all: the SDK itself would wait for thirty."""
        ending = Thread(target=self._provider.shutdown, name="last spans", daemon=True)
        ending.start()
        ending.join(LAST_SECONDS)


def _resource() -> Resource:
    """Without OTEL_SERVICE_NAME the SDK knows no name for us."""
    told = Resource.create()
    is_named = not str(told.attributes["service.name"]).startswith("unknown_service")
    return told if is_named else told.merge(Resource({"service.name": SERVICE}))


class ServerSpan:
    """Implements `operation.Span`."""

    __slots__ = ("_has_failed", "_method", "_span", "_tracer")

    def __init__(self, tracer: Tracer, span: Span, method: str) -> None:
        self._tracer = tracer
        self._span = span
        self._method = method
        self._has_failed = False

    def passed(self, stage: str) -> None:
        self._span.add_event(stage)

    def _describe(self, call: Call, name: str) -> None:
        frame = call.frame
        self._span.update_name(name)
        self._span.set_attributes(_about(call))
        self._span.set_attribute("mcp.protocol.version", frame.revision)
        if frame.session_id:
            self._span.set_attribute("mcp.session.id", frame.session_id)

    def fail(self, error_type: str) -> None:
        if not self._has_failed:
            self._has_failed = True
            _fail(self._span, error_type)

    @contextmanager
    def upstream(self, intent: Intent) -> Iterator[Mapping[str, str]]:
        call = intent.call
        target = _target(call)
        attributes = _about(call) | {"mcp.method.name": self._method} | _address(intent)
        name = f"{self._method} {target}" if target else self._method
        self._describe(call, name)
        span = self._tracer.start_span(name, set_span_in_context(self._span), SpanKind.CLIENT, attributes)
        trace = dict(call.frame.trace)
        W3C.inject(trace, set_span_in_context(span))
        try:
            yield trace
        except UpstreamFailure as failure:
            _fail(span, failure.code)
            raise
        except BaseException as error:
            _fail(span, type(error).__name__)
            raise
        finally:
            span.end()

    def end(self) -> None:
        self._span.end()


def _target(call: Call) -> str:
    """A tool's registered name; those of resources and prompts are the agent's words, and without end."""
    return call.tool.name if call.tool.kind == "tool" else ""


def _about(call: Call) -> Attributes:
    about: Attributes = {
        "gatehouse.call.id": str(call.id),
        "gatehouse.agent": call.caller.agent.name,
        "gatehouse.connector": call.tool.connector.name,
    }
    if target := _target(call):
        about |= {"gen_ai.tool.name": target, "gen_ai.operation.name": "execute_tool"}
    return about


def _address(intent: Intent) -> Attributes:
    """Where the upstream is; of a connector with several replicas, the first."""
    if not intent.connector.urls:
        return {"network.transport": "pipe"}
    parts = urlsplit(intent.connector.urls[0])
    port = parts.port or (443 if parts.scheme == "https" else 80)
    return {
        "network.transport": "tcp",
        "network.protocol.name": "http",
        "server.address": parts.hostname or "",
        "server.port": port,
    }


def _fail(span: Span, error_type: str) -> None:
    span.set_attribute("error.type", error_type)
    span.set_status(Status(StatusCode.ERROR))
