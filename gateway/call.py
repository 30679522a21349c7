"""What the stages of the pipeline hand on. Each stage takes the type of the stage before it."""

from collections.abc import Mapping
from dataclasses import field
from typing import Any
from uuid import UUID

from connectors.base import SILENCE, RawResult, Relay
from gateway.values import per_call
from governance.decision import Decision
from governance.snapshot import Agent, Bundle, Connector, Credential, Snapshot, Tool


@per_call
class Frame:
    """One governed request as its protocol revision's adapter understood it. `bundle` is None at the union endpoint.

    `name` is the exposed name of a tool or prompt, or the exposed URI of a resource. `arguments` is what rules see:
    a tool's or prompt's arguments, {"uri"} of a resource, {"ref", "argument", "context"} of a completion. `resumed`
    holds `inputResponses` and the upstream's own `requestState` when an earlier answer was `input_required`; `call_id`
    is that of the only call this may become, so that repeating it does nothing. `trace` holds W3C trace context only;
    `session_id` groups the calls of one run.
    """

    token: str = field(repr=False)
    bundle: str | None
    name: str
    arguments: Any = field(repr=False)
    revision: str
    session_id: str = ""
    source_ip: str = ""
    trace: Mapping[str, str] = field(default_factory=dict)
    client: str = ""
    method: str = "tools/call"
    resumed: Mapping[str, Any] = field(default_factory=dict, repr=False)
    call_id: UUID | None = None
    relay: Relay = field(default=SILENCE, repr=False, compare=False)


@per_call
class Caller:
    agent: Agent
    credential: Credential
    snapshot: Snapshot = field(repr=False)


@per_call
class Call:
    """`candidates` are the bundles through which the exposed name reaches this tool, by bundle name.

    `params` are the members of the upstream request's parameters as canonical JSON. `recorded_arguments` is what
    evidence keeps: the arguments, and what was answered to the upstream's questions, if anything was.
    """

    id: UUID
    frame: Frame
    caller: Caller
    tool: Tool
    candidates: tuple[Bundle, ...]
    arguments: Mapping[str, Any] = field(repr=False)
    params: Mapping[str, bytes] = field(repr=False)
    recorded_arguments: bytes = field(repr=False)
    arguments_digest: str


@per_call
class Permitted:
    call: Call
    decision: Decision


@per_call
class Screened:
    permitted: Permitted


@per_call
class Intent:
    """The intent is durable: the call may be sent until `send_before_ns` (CLOCK_BOOTTIME)."""

    screened: Screened
    epoch: int
    send_before_ns: int

    @property
    def call(self) -> Call:
        return self.screened.permitted.call

    @property
    def decision(self) -> Decision:
        return self.screened.permitted.decision

    @property
    def connector(self) -> Connector:
        return self.call.tool.connector


@per_call
class Stale:
    """The fence saw a newer epoch that touches this call: decide again, at least at `epoch`."""

    epoch: int


@per_call
class NotSent:
    """The process was held up between COMMIT and sending: this intent is closed, nothing was sent."""

    epoch: int


@per_call
class SafeResult:
    """What may reach the agent. `outcome` is ok, tool_error (the tool said so), input_required (the upstream asks
    something first) or error (JSON-RPC error). `encoded` is the result or error as canonical JSON."""

    outcome: str
    result: dict[str, Any] | None = field(repr=False)
    error: dict[str, Any] | None = field(repr=False)
    masked: tuple[str, ...]
    raw: RawResult = field(repr=False)
    encoded: bytes = field(repr=False)


@per_call
class Recorded:
    """The outcome is durable, so this may be answered."""

    intent: Intent
    answer: "Answer"


@per_call
class Answer:
    """A revision-neutral answer: a result, a JSON-RPC error, or a refusal of the HTTP request itself.

    A resource that is not there has the code RESOURCE_NOT_FOUND, which only revisions up to 2025-11-25 know.
    """

    result: dict[str, Any] | None = field(default=None, repr=False)
    error: dict[str, Any] | None = None
    status: int = 200
    challenge: str = ""
    retry_after_seconds: int | None = None
