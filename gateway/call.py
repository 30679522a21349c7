"""What the stages of the pipeline hand on. Each stage takes the type of the stage before it."""

from collections.abc import Mapping
from dataclasses import field
from datetime import datetime
from types import MappingProxyType
from typing import Any
from uuid import UUID

from connectors.base import SILENCE, RawResult, Relay
from gateway.accounts.presented import Presented
from gateway.commit.entry import Mentions, Reach, Run
from gateway.fragment_ring import Sent
from gateway.values import per_call
from governance.decision import Ask, Decision
from governance.inspection.field_masks import Place
from governance.inspection.findings import Findings
from governance.inspection.masking import VaultIndex
from governance.inspection.redaction import Found
from governance.inspection.seams import Said
from governance.inspection.skim import Skim
from governance.inspection.tokens import Value
from governance.snapshot import Agent, Bundle, Connector, Credential, Person, Snapshot, Tool

NOTHING = Findings()
NO_TOKENS: Mapping[str, Value] = MappingProxyType({})


@per_call
class Frame:
    """One governed request as its protocol revision's adapter understood it. `bundle` is None at the union endpoint.

    `name` is the exposed name of a tool or prompt, or the exposed URI of a resource. `arguments` is what rules see:
    a tool's or prompt's arguments, {"uri"} of a resource, {"ref", "argument", "context"} of a completion. `resumed`
    holds `inputResponses` and the upstream's own `requestState` when an earlier answer was `input_required`; `call_id`
    is that of the only call this may become, so that repeating it does nothing. `trace` holds W3C trace context only;
    `session_id` groups the calls of one run. `stated_reason` is what the agent says it wants this for, `stated_context`
    what its client says of the conversation it comes from. `awaited` is the request for approval that a view of this
    call has waited for: if that is over, its end is told, and nobody is asked again.
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
    stated_reason: str = field(default="", repr=False)
    stated_context: str = field(default="", repr=False)
    awaited: UUID | None = None
    relay: Relay = field(default=SILENCE, repr=False, compare=False)


@per_call
class Caller:
    agent: Agent
    credential: Credential
    snapshot: Snapshot = field(repr=False)

    @property
    def person(self) -> Person:
        """On whose behalf the agent acts; its owner where nobody else is named."""
        return self.snapshot.people.get(self.credential.person_id, self.agent.owner)


@per_call
class Consulted:
    """One question to a detector of somebody else's, as the record tells it: never a word of what was found.
    `outcome` is ok, or why it gave no answer."""

    detector: str
    kind: str
    version: int
    outcome: str
    ms: float
    count: int
    model: str = ""
    """The digest of the model that looked, where one was run here."""

    def as_json(self) -> dict[str, Any]:
        told = {
            "detector": self.detector,
            "kind": self.kind,
            "version": self.version,
            "outcome": self.outcome,
            "ms": self.ms,
            "count": self.count,
        }
        return {**told, "model": self.model} if self.model else told


@per_call
class Call:
    """`candidates` are the bundles through which the exposed name reaches this tool, by bundle name.

    `params` are the members of the upstream request's parameters as canonical JSON. `recorded_arguments` is what
    evidence keeps: the arguments, and what was answered to the upstream's questions, if anything was. What a rule masks
    is in none of them.
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
    findings: Findings = NOTHING
    """What was looked for in the arguments and is there."""
    found: tuple[Found, ...] = ()
    """The same, provably; and what is not there any more, because a rule masks it."""
    detectors: tuple[Consulted, ...] = ()
    """Which detectors of somebody else's were asked about them, and what came of it."""
    redacted_by: tuple[str, ...] = ()
    """The rules that masked arguments."""
    reach: Reach | None = None
    """Where it would send something, if a rule wants to know."""
    sends_to: frozenset[str] | None = None
    """The same by the digests of what is usual for the agent, if a rule wants to know."""
    sent: Sent | None = None
    """What of it may be a piece of something, if a rule wants to know."""
    tokens: Mapping[str, Value] = field(default_factory=lambda: NO_TOKENS, repr=False)
    """Those of its run that are in the arguments, and what they stand for."""
    skim: Skim | None = field(default=None, repr=False, compare=False)
    """What is remembered of a look at what it sends."""

    @property
    def presents(self) -> str:
        """Which account or which version of the secret its system would see; empty for none."""
        account = self.caller.snapshot.account_for(self.tool.connector, self.caller.person)
        if account is not None:
            return f"account:{account.id}"
        secret = self.tool.connector.secret
        return secret.version_id if secret is not None else ""


@per_call
class Asked:
    """Humans must agree first. `digest` is that of what the agent asks, by which the same call finds what they said;
    `bundle_id` is that of the bundle through which it was decided."""

    call: Call
    decision: Decision
    bundle_id: str
    digest: bytes
    seen: Run | None


@per_call
class Approval:
    """What humans agreed to, and who: `call_digest` binds it to the call, `shown` is what they saw. `rules` are those
    that had asked, `narrowed` the members of the arguments that the approvers changed. By `asked` the question was
    found: the digest of what the agent asks, whatever was narrowed of it."""

    number: int
    key: UUID
    name: str
    asked: bytes
    call_digest: bytes
    shown: bytes
    rules: frozenset[str]
    approvers: tuple[str, ...]
    narrowed: tuple[str, ...] = ()


@per_call
class Permitted:
    """`seen` are the labels of the run under which it was decided, if a rule or a limit reads them; a guess until the
    intent is committed, where nobody looked for this call."""

    call: Call
    decision: Decision
    seen: Run | None = None
    approval: Approval | None = None
    is_guess: bool = False
    answer: bytes = field(default=b"", repr=False)
    """The call has run, and humans let go what it got."""

    @property
    def labels(self) -> frozenset[str] | None:
        return self.seen.labels if self.seen is not None else None


@per_call
class Restored:
    """What goes along in place of tokens: `params` are sent, and nothing else may hold them. `proof` tells of it
    without the values; `echoes` finds them where an upstream repeats one."""

    params: Mapping[str, bytes] = field(repr=False)
    proof: tuple[Mapping[str, Any], ...]
    echoes: VaultIndex


@per_call
class Screened:
    """`account` is what is presented to an upstream that wants a connected account; None for the connector's secret."""

    permitted: Permitted
    account: Presented | None = None
    restored: Restored | None = None

    @property
    def params(self) -> Mapping[str, bytes]:
        """What is sent."""
        return self.restored.params if self.restored is not None else self.permitted.call.params


@per_call
class Intent:
    """The intent is durable: the call may be sent until `send_before_ns` (CLOCK_BOOTTIME). `is_behind` says that the
    agent sent pieces through other processes which were not looked at with it."""

    screened: Screened
    epoch: int
    send_before_ns: int
    is_behind: bool = False
    said: Said = field(default_factory=Said, repr=False)
    """What the upstream said meanwhile and was heard: its result may go on with it."""
    noticed: list[Found] = field(default_factory=list, repr=False)
    """What was found in what the upstream said meanwhile."""
    consulted: list[Consulted] = field(default_factory=list, repr=False)
    """Which detectors of somebody else's were asked about that."""

    @property
    def call(self) -> Call:
        return self.screened.permitted.call

    @property
    def decision(self) -> Decision:
        return self.screened.permitted.decision

    @property
    def connector(self) -> Connector:
        return self.call.tool.connector

    @property
    def account(self) -> Presented | None:
        return self.screened.account


@per_call
class Stale:
    """The fence saw a newer epoch that touches this call: decide again, at least at `epoch`."""

    epoch: int


@per_call
class Superseded:
    """What the call was to consume is gone, or its run has met something: look again, and decide again."""


@per_call
class NotSent:
    """The process was held up between COMMIT and sending: this intent is closed, nothing was sent."""

    epoch: int


@per_call
class SafeResult:
    """What may reach the agent. `outcome` is ok, tool_error (the tool said so), input_required (the upstream asks
    something first), error (JSON-RPC error) or screened (a rule withholds it). `encoded` is the result or error as
    canonical JSON."""

    outcome: str
    result: dict[str, Any] | None = field(repr=False)
    error: dict[str, Any] | None = field(repr=False)
    masked: tuple[str, ...]
    raw: RawResult = field(repr=False)
    encoded: bytes = field(repr=False)
    places: tuple[Place, ...] = ()
    """Where rules masked fields."""
    found: tuple[Found, ...] = ()
    """What rules were looking for, and is there."""
    detectors: tuple[Consulted, ...] = ()
    """Which detectors of somebody else's were asked about it, and what came of it."""
    screened_by: tuple[str, ...] = ()
    """The rules that had something to do with it."""
    labels: frozenset[str] = frozenset()
    """What the run is to be labelled with, because it was found."""
    mentions: Mentions | None = None
    """What the agent learns from it, if a rule wants to know."""
    tokens: tuple[str, ...] = ()
    """Names of those that stand for what was masked."""
    skim: Skim | None = field(default=None, repr=False, compare=False)
    """What is remembered of a look at the content before anything was masked for rules."""
    asks: tuple[Ask, ...] = ()
    """Who has to look at it before the agent does."""
    shown: bytes = field(default=b"", repr=False)
    """To them: all that was found is masked. Empty where a part could not be looked at."""
    held: "Held | None" = None
    """It stands for an answer that waits for them."""


@per_call
class Recorded:
    """The outcome is durable, so this may be answered."""

    intent: Intent
    answer: "Answer"


@per_call
class Held:
    """The call waits for humans. Repeating the identical call redeems the approval, whoever repeats it, where and when;
    every view of it (task, elicitation, a held stream) is a wait and then that. `state` is pending, approved, denied,
    expired, cancelled or void; `retry_after_seconds` is how long to wait before asking again."""

    key: UUID
    name: str
    url: str
    state: str
    expires_at: datetime
    retry_after_seconds: int
    is_new: bool
    wants_reason: bool = False
    """Whether the asking side is to say what it wants this for, and has not."""


@per_call
class Answer:
    """A revision-neutral answer: a result, a JSON-RPC error, or a refusal of the HTTP request itself.

    `held` is set when the call waits for humans; the result is then what a client gets that cannot wait in any way.

    A resource that is not there has the code RESOURCE_NOT_FOUND, which only revisions up to 2025-11-25 know.
    """

    result: dict[str, Any] | None = field(default=None, repr=False)
    error: dict[str, Any] | None = None
    status: int = 200
    challenge: str = ""
    retry_after_seconds: int | None = None
    held: Held | None = None
    page: str = ""
    """Where a human can open the way: clients that can send their user there are told so in their own words."""
