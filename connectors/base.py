"""What every connector kind offers the gateway. No database, no policy, no vault in this room."""

from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from types import MappingProxyType
from typing import Any, NewType, Protocol, runtime_checkable

from connectors.values import per_call

Headers = Iterable[tuple[str, str]]
HeaderLines = NewType("HeaderLines", bytes)
"""Headers as they stand in a request; only `header_lines` makes them."""


@dataclass(frozen=True, slots=True)
class ChildSpec:
    """A local MCP server that speaks over its standard input and output. Never run through a shell."""

    command: tuple[str, ...]
    environment: Mapping[str, str] = field(default_factory=dict)
    secret_variable: str = ""
    """The environment variable that gets the vault's secret."""
    per_agent: bool = False
    """A child for each agent instead of one for all."""
    memory_mb: int = 512


@dataclass(frozen=True, slots=True)
class UpstreamSpec:
    """One upstream as the snapshot describes it; `revision` changes whenever the connector row does."""

    connector_id: str
    name: str
    kind: str
    urls: tuple[str, ...]
    timeout_seconds: float = 60.0
    max_result_bytes: int = 4 * 1024 * 1024
    revision: str = ""
    relays: frozenset[str] = frozenset()
    """What this upstream may ask of the caller's side: of `elicitation`, `sampling`, `roots`. Nothing by default."""
    max_running: int = 64
    """Requests at once from this process; more wait."""
    max_waiting: int = 256
    """Requests that may wait for their turn; more are refused as `crowded`."""
    child: ChildSpec | None = None
    """Of kind `stdio`: the program to run."""


@dataclass(frozen=True)
class UpstreamAuth:
    """Headers that carry the vault's secret, opened for one call. `identity` names the secret version,
    never its value: upstream sessions are shared only between calls of one identity."""

    headers: tuple[tuple[str, str], ...] = field(default=(), repr=False)
    identity: str = ""
    variables: tuple[tuple[str, str], ...] = field(default=(), repr=False)
    """Of kind `stdio`: environment variables that carry it instead."""

    @cached_property
    def lines(self) -> HeaderLines:
        """Raises UpstreamFailure (`bad_request`)."""
        return header_lines(self.headers)


@per_call
class Question:
    """One request to an upstream, as decided and recorded.

    `params` are the members of its parameters as canonical JSON, each sent byte for byte (`name`, `arguments`,
    `uri`, `inputResponses`, ...); `meta` holds trace context only. `name` is what `Mcp-Name` says: a tool's or
    prompt's name or a URI. It begins to be sent before `send_before_ns` (CLOCK_BOOTTIME) or fails with code
    `not_sent_in_time`. One that `is_repeatable` only reads, so it may be sent again where it is unsure whether the
    upstream got it.
    """

    method: str
    name: str = ""
    params: Mapping[str, bytes] = field(default_factory=dict, repr=False)
    meta: Mapping[str, str] = field(default_factory=dict)
    send_before_ns: int | None = None
    timeout_seconds: float | None = None
    is_repeatable: bool = False
    agent_id: str = ""


class NotAnswered(Exception):
    """The caller's side cannot or will not answer what the upstream asks; `message` is told to the upstream."""

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.message = message


class Relay(Protocol):
    """The caller's side of one running request. What an upstream says through it is screened on its way."""

    @property
    def powers(self) -> Mapping[str, Any]:
        """Client capabilities that may be declared to the upstream for this request: what the caller declared, cut
        to what the connector's `relays` permit."""

    @property
    def wants_progress(self) -> bool: ...

    @property
    def log_level(self) -> str:
        """The least severity of log messages the caller wants; empty for none."""

    @property
    def can_resume(self) -> bool:
        """Whether an `input_required` result may be handed back as it is, to be answered by a later request. If
        not, the connector asks through `ask` and goes on itself."""

    @property
    def takes_tasks(self) -> bool:
        """Whether the caller would rather have a task than wait, where the upstream leaves the choice to us."""

    @property
    def polls_tasks(self) -> bool:
        """Whether a modern upstream may answer with a task, to be waited for on the caller's behalf: not where the
        caller could have declared tasks itself and did not."""

    async def notify(self, method: str, params: dict[str, Any]) -> None:
        """`notifications/progress` (its token is replaced) or `notifications/message`. Never raises."""

    async def ask(self, requests: Mapping[str, dict[str, Any]]) -> dict[str, dict[str, Any]]:
        """Asks the caller's side: key -> {method, params} in, key -> result out. Raises NotAnswered."""

    async def became_task(self) -> None:
        """The upstream made a task of the request: it may take long."""


class Silence:
    """Nobody listens and nobody can be asked."""

    powers: Mapping[str, Any] = MappingProxyType({})
    wants_progress = False
    log_level = ""
    can_resume = False
    takes_tasks = False
    polls_tasks = True

    async def notify(self, method: str, params: dict[str, Any]) -> None:
        return

    async def ask(self, requests: Mapping[str, dict[str, Any]]) -> dict[str, dict[str, Any]]:
        raise NotAnswered("The caller cannot be asked.")

    async def became_task(self) -> None:
        return


SILENCE: Relay = Silence()


@dataclass(frozen=True, slots=True)
class Catalog:
    """All pages of one list as the upstream sent them. `ttl_seconds` is how long it says that they hold."""

    items: tuple[dict[str, Any], ...]
    ttl_seconds: float | None = None


@dataclass(frozen=True, slots=True)
class Interest:
    """What of an upstream's news is wanted."""

    tools: bool = False
    prompts: bool = False
    resources: bool = False
    uris: frozenset[str] = frozenset()


Heard = Callable[[str, dict[str, Any]], Awaitable[None]]
"""(method, params) of a notification."""
Stands = Callable[[], None]
"""Called when from now on no news can be missed; may be called more than once."""


def unheeded() -> None:
    return


@per_call
class RawResult:
    """The upstream's answer to one request, untouched: exactly one of `result` and `error` (JSON-RPC
    error). A result with `resultType: input_required` comes only where the relay `can_resume`."""

    result: dict[str, Any] | None
    error: dict[str, Any] | None
    upstream_ms: float
    size_bytes: int


@dataclass(frozen=True, slots=True)
class Discovery:
    """What an upstream offers: tool objects exactly as it sent them, unknown fields included. `server` is
    what it says of itself (`serverInfo`, `capabilities`, `instructions`): for display, never for policy."""

    tools: tuple[dict[str, Any], ...]
    server: Mapping[str, Any]
    protocol_version: str


class UpstreamFailure(Exception):
    """The upstream broke (we did not refuse). `code` is stable; `message` is safe to show an agent.

    Codes: `bad_url`, `bad_request`, `address_refused`, `program_refused`, `connect_failed`, `crowded`, `broken_off`
    (never reached); `timeout`, `reset`, `bad_answer`, `too_large`, `redirected`, `upstream_auth`, `upstream_status`;
    `not_answered`: the caller's side did not answer what the upstream asked.

    `reached` is False only when not one byte of the request can have arrived: then the call surely had no
    effect.
    """

    def __init__(self, code: str, message: str, *, reached: bool, detail: str = "") -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.reached = reached
        self.detail = detail
        """For administrators: what a local server wrote to its standard error. Hostile text, no secrets."""


def header_lines(headers: Headers) -> HeaderLines:
    """Raises UpstreamFailure (`bad_request`) for what would split the request."""
    lines = []
    for name, value in headers:
        line = f"{name}: {value}"
        if not (line.isascii() and line.isprintable()):
            raise UpstreamFailure("bad_request", "A header for the upstream holds forbidden characters.", reached=False)
        lines.append(f"{line}\r\n")
    return HeaderLines("".join(lines).encode("ascii"))


def too_large() -> UpstreamFailure:
    return UpstreamFailure("too_large", "The upstream's answer is larger than the connector allows.", reached=True)


@dataclass(frozen=True, slots=True)
class ProgramState:
    """A local server as this process runs it. `pid` is 0 while it does not run; `failures` counts how often it failed
    lately, the last time for `reason`; it is not started again before `due_in_seconds` are over. What it `said` last on
    standard error is hostile text, without secrets."""

    agent_id: str
    pid: int
    failures: int
    due_in_seconds: float
    reason: str
    said: str


@runtime_checkable
class Hosting(Protocol):
    """What a kind offers besides that runs programs of its own."""

    def programs(self, connector_id: str) -> tuple[ProgramState, ...]:
        """Some of those of this connector, the troubled ones first."""


class Connector(Protocol):
    """One kind of upstream. Instances live as long as the process and own their connection pools."""

    async def discover(self, spec: UpstreamSpec, auth: UpstreamAuth) -> Discovery:
        """All tools, all pages. Raises UpstreamFailure."""

    async def request(
        self, spec: UpstreamSpec, auth: UpstreamAuth, question: Question, relay: Relay = SILENCE
    ) -> RawResult:
        """One request of any method, answered whatever revision the upstream speaks.

        Never repeats a request that may have reached the upstream, unless it is repeatable. Raises UpstreamFailure.
        """

    async def catalog(self, spec: UpstreamSpec, auth: UpstreamAuth, method: str) -> Catalog:
        """All pages of `tools/list`, `prompts/list`, `resources/list` or `resources/templates/list`; empty when the
        upstream has none of that. Raises UpstreamFailure."""

    async def listen(
        self, spec: UpstreamSpec, auth: UpstreamAuth, interest: Interest, heard: Heard, stands: Stands = unheeded
    ) -> None:
        """Hears the upstream's news until cancelled; connects again by itself. Returns at once when the upstream
        offers none of what is wanted."""

    async def forget(self, connector_ids: Sequence[str]) -> None:
        """Drops pools, sessions and era verdicts of connectors that changed or went away."""

    async def close(self) -> None:
        """Closes everything; afterwards the connector is unusable."""
