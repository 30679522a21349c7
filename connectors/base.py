"""What every connector kind offers the gateway. No database, no policy, no vault in this room."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol


@dataclass(frozen=True, slots=True)
class UpstreamSpec:
    """One upstream as the snapshot describes it; `revision` changes whenever the connector row does."""

    connector_id: str
    name: str
    kind: str
    urls: tuple[str, ...]
    timeout_seconds: float = 30.0
    max_result_bytes: int = 4 * 1024 * 1024
    revision: str = ""


@dataclass(frozen=True, slots=True)
class UpstreamAuth:
    """Headers that carry the vault's secret, opened for one call. `identity` names the secret version,
    never its value: upstream sessions are shared only between calls of one identity."""

    headers: tuple[tuple[str, str], ...] = field(default=(), repr=False)
    identity: str = ""


@dataclass(frozen=True, slots=True)
class RawResult:
    """The upstream's answer to one request, untouched: exactly one of `result` and `error` (JSON-RPC
    error)."""

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

    Codes: `bad_url`, `bad_request`, `address_refused`, `connect_failed` (never reached); `timeout`, `reset`,
    `bad_answer`, `too_large`, `redirected`, `upstream_auth`, `upstream_status`.

    `reached` is False only when not one byte of the request can have arrived: then the call surely had no
    effect.
    """

    def __init__(self, code: str, message: str, *, reached: bool) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.reached = reached


class Connector(Protocol):
    """One kind of upstream. Instances live as long as the process and own their connection pools."""

    async def discover(self, spec: UpstreamSpec, auth: UpstreamAuth) -> Discovery:
        """All tools, all pages. Raises UpstreamFailure."""

    async def call_tool(
        self,
        spec: UpstreamSpec,
        auth: UpstreamAuth,
        *,
        name: str,
        arguments: bytes,
        meta: Mapping[str, str],
        send_before_ns: int | None = None,
    ) -> RawResult:
        """Runs one tool. `arguments` is canonical JSON and is sent byte for byte; `meta` holds trace context
        only.

        Never repeats a request that may have reached the upstream, and begins to send it before
        `send_before_ns` (CLOCK_BOOTTIME) or fails with code `not_sent_in_time`. Raises UpstreamFailure.
        """

    async def forget(self, connector_ids: Sequence[str]) -> None:
        """Drops pools, sessions and era verdicts of connectors that changed or went away."""

    async def close(self) -> None:
        """Closes everything; afterwards the connector is unusable."""
