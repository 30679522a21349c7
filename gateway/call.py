"""What the stages of the pipeline hand on. Each stage takes the type of the stage before it."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

from connectors.base import RawResult
from governance.decision import Decision
from governance.snapshot import Agent, Bundle, Connector, Credential, Snapshot, Tool


@dataclass(frozen=True, slots=True)
class Frame:
    """One tools/call as its protocol revision's adapter understood it. `bundle` is None at the union endpoint.

    `trace` holds W3C trace context only; `session_id` groups the calls of one run.
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


@dataclass(frozen=True, slots=True)
class Caller:
    agent: Agent
    credential: Credential
    snapshot: Snapshot = field(repr=False)


@dataclass(frozen=True, slots=True)
class Call:
    """`candidates` are the bundles through which the exposed name reaches this tool, by bundle name."""

    id: UUID
    frame: Frame
    caller: Caller
    tool: Tool
    candidates: tuple[Bundle, ...]
    arguments: Mapping[str, Any] = field(repr=False)
    canonical_arguments: bytes = field(repr=False)
    arguments_digest: str


@dataclass(frozen=True, slots=True)
class Permitted:
    call: Call
    decision: Decision


@dataclass(frozen=True, slots=True)
class Screened:
    permitted: Permitted


@dataclass(frozen=True, slots=True)
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


@dataclass(frozen=True, slots=True)
class Stale:
    """The fence saw a newer epoch that touches this call: decide again, at least at `epoch`."""

    epoch: int


@dataclass(frozen=True, slots=True)
class NotSent:
    """The process was held up between COMMIT and sending: this intent is closed, nothing was sent."""

    epoch: int


@dataclass(frozen=True, slots=True)
class SafeResult:
    """What may reach the agent. `outcome` is ok, tool_error (the tool said so) or error (JSON-RPC error)."""

    outcome: str
    result: dict[str, Any] | None = field(repr=False)
    error: dict[str, Any] | None = field(repr=False)
    masked: tuple[str, ...]
    raw: RawResult = field(repr=False)


@dataclass(frozen=True, slots=True)
class Recorded:
    """The outcome is durable, so this may be answered."""

    intent: Intent
    answer: "Answer"


@dataclass(frozen=True, slots=True)
class Answer:
    """A revision-neutral answer: a tool result, a JSON-RPC error, or a refusal of the HTTP request itself."""

    result: dict[str, Any] | None = field(default=None, repr=False)
    error: dict[str, Any] | None = None
    status: int = 200
    challenge: str = ""
    retry_after_seconds: int | None = None
