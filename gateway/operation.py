"""One message of a client at work: how long its stages take, for metrics, and its span, when somebody traces.

    with Operation(message, ...):       # the endpoint, around the whole of it
        ...
        passed(DECIDE)                  # the pipeline, behind each stage

Outside of an operation `passed` and its like do nothing.
"""

from collections.abc import Mapping
from contextlib import AbstractContextManager
from contextvars import ContextVar, Token
from time import perf_counter
from typing import Final, Protocol

from gateway.call import Intent
from gateway.mcp.message import Message
from gateway.mcp.methods import FROM_CLIENT
from gateway.mcp.revisions import LEGACY, MODERN
from gateway.metrics import METRICS

STREAMS: Final = frozenset(("subscriptions/listen",))
"""Their end says how long somebody listened, not how long anything took."""
REVISIONS: Final = frozenset((*LEGACY, MODERN))


class Stage:
    """`name` is what spans and metrics call it; `add` notes the seconds that it took."""

    __slots__ = ("add", "name")

    def __init__(self, name: str) -> None:
        self.name = name
        self.add = METRICS.stages.of(name).add


RECEIVE = Stage("receive")
"""All before the pipeline: the session, the method, the frame."""
AUTHENTICATE = Stage("authenticate")
DECIDE = Stage("decide")
SCREEN = Stage("screen")
TAKE_LIMITS = Stage("take_limits")
COMMIT_INTENT = Stage("commit_intent")
UPSTREAM = Stage("upstream")
SCREEN_RESULT = Stage("screen_result")
COMMIT_OUTCOME = Stage("commit_outcome")
REFUSE = Stage("refuse")
"""What was begun in vain, and recording the "no"."""


class Span(Protocol):
    """The server's span of one message."""

    def passed(self, stage: str) -> None: ...

    def fail(self, error_type: str) -> None:
        """The first failure counts."""

    def upstream(self, intent: Intent) -> AbstractContextManager[Mapping[str, str]]:
        """The client's span, around the block; gives the trace context that goes along to the upstream. The server's
        own says from now on what is asked for."""

    def end(self) -> None: ...


class Tracer(Protocol):
    def begin(self, method: str, message: Message, *, revision: str, secret: str) -> Span: ...

    def close(self) -> None:
        """Sends what is left, for a short while."""


class Tracing:
    """Who traces in this process; nobody unless asked to."""

    tracer: Tracer | None = None


TRACING: Final = Tracing()


class Timing:
    """Of one method: `add` notes the seconds of a message, `add_gateway` those without the upstream's."""

    __slots__ = ("add", "add_gateway", "method")

    def __init__(self, method: str) -> None:
        self.method = method
        self.add = METRICS.operations.of(method).add
        self.add_gateway = METRICS.gateway.of(method).add


UNKNOWN: Final = Timing("(unknown)")
TIMINGS: Final = {method.name: Timing(method.name) for method in FROM_CLIENT}


class Operation:
    """Around the serving of one message. `revision` is what the client says it speaks, `secret` its key, which must not
    get into a span."""

    __slots__ = ("_began", "_timing", "_token", "lap", "span", "upstream_seconds")
    _token: Token["Operation | None"]

    def __init__(self, message: Message, *, revision: str, secret: str) -> None:
        self._timing = TIMINGS.get(message.method, UNKNOWN)
        self.upstream_seconds = 0.0
        self._began = self.lap = perf_counter()
        self.span: Span | None = None
        if (tracer := TRACING.tracer) is not None:
            spoken = revision if revision in REVISIONS else ""
            self.span = tracer.begin(self._timing.method, message, revision=spoken, secret=secret)

    def __enter__(self) -> None:
        self._token = _CURRENT.set(self)

    def __exit__(self, *_: object) -> None:
        _CURRENT.reset(self._token)
        timing = self._timing
        if timing.method not in STREAMS:
            seconds = perf_counter() - self._began
            timing.add(seconds)
            timing.add_gateway(seconds - self.upstream_seconds)
        if self.span is not None:
            self.span.end()


_CURRENT: ContextVar[Operation | None] = ContextVar("operation", default=None)
_current = _CURRENT.get


def passed(stage: Stage) -> float:
    """The stage is over; the next one begins. The seconds that it took."""
    current = _current()
    if current is None:
        return 0.0
    now = perf_counter()
    seconds = now - current.lap
    stage.add(seconds)
    current.lap = now
    if current.span is not None:
        current.span.passed(stage.name)
    return seconds


def times_ms() -> tuple[float, float] | None:
    """What the gateway itself and what the upstream took so far, for the record; None outside of an operation."""
    current = _current()
    if current is None:
        return None
    total, upstream = perf_counter() - current._began, current.upstream_seconds
    return round((total - upstream) * 1000, 3), round(upstream * 1000, 3)


def passed_upstream(intent: Intent) -> None:
    """What the upstream took is not the gateway's own time."""
    current, call = _current(), intent.call
    if current is not None:
        seconds = passed(UPSTREAM)
        current.upstream_seconds += seconds
        METRICS.upstream.of(call.frame.method, call.tool.connector.name).add(seconds)


def fail(error_type: str) -> None:
    if (span := _span()) is not None:
        span.fail(error_type)


def upstream_span(intent: Intent) -> AbstractContextManager[Mapping[str, str]] | None:
    """To be put around the request to the upstream; None when nobody traces."""
    span = _span()
    return None if span is None else span.upstream(intent)


def _span() -> Span | None:
    current = _current()
    return current.span if current is not None else None
