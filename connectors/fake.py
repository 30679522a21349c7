"""An upstream that is only pretended: for dry runs, demonstrations and tests. It never touches the
network."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import orjson

from connectors.base import (
    SILENCE,
    Catalog,
    Discovery,
    Heard,
    Interest,
    Question,
    RawResult,
    Relay,
    Stands,
    UpstreamAuth,
    UpstreamFailure,
    UpstreamSpec,
    unheeded,
)
from connectors.egress import Egress

Script = Callable[[dict[str, Any]], dict[str, Any] | UpstreamFailure]


@dataclass(frozen=True, slots=True)
class ReceivedCall:
    """One tools/call as the pretended upstream saw it."""

    connector: str
    tool: str
    arguments: bytes
    auth: UpstreamAuth
    meta: Mapping[str, str]


def echo(arguments: dict[str, Any]) -> dict[str, Any]:
    """The default script: says what it was given."""
    return {"content": [{"type": "text", "text": orjson.dumps(arguments).decode()}], "isError": False}


class FakeConnector:
    """Tools by name with a script each, and nothing else; `received` holds every call in order."""

    def __init__(self, egress: Egress | None = None) -> None:
        self.received: list[ReceivedCall] = []
        self._tools: dict[str, dict[str, Any]] = {}
        self._scripts: dict[str, Script] = {}
        self.offer("echo")

    def offer(self, name: str, script: Script = echo, **definition: Any) -> None:
        """Adds or replaces a tool; `definition` are further fields of its tool object."""
        self._tools[name] = {"name": name, "inputSchema": {"type": "object"}, **definition}
        self._scripts[name] = script

    def withdraw(self, name: str) -> None:
        del self._tools[name], self._scripts[name]

    async def discover(self, spec: UpstreamSpec, auth: UpstreamAuth) -> Discovery:
        return Discovery(
            tools=tuple(self._tools.values()),
            server={"serverInfo": {"name": "fake"}, "capabilities": {"tools": {}}},
            protocol_version="2026-07-28",
        )

    async def request(
        self, spec: UpstreamSpec, auth: UpstreamAuth, question: Question, relay: Relay = SILENCE
    ) -> RawResult:
        if question.method != "tools/call":
            return _error(-32601, "Method not found")
        arguments = question.params.get("arguments", b"{}")
        self.received.append(ReceivedCall(spec.name, question.name, arguments, auth, question.meta))
        script = self._scripts.get(question.name)
        if script is None:
            return _error(-32602, f"Unknown tool: {question.name}")
        outcome = script(orjson.loads(arguments))
        if isinstance(outcome, UpstreamFailure):
            raise outcome
        return RawResult(result=outcome, error=None, upstream_ms=0.0, size_bytes=len(orjson.dumps(outcome)))

    async def catalog(self, spec: UpstreamSpec, auth: UpstreamAuth, method: str) -> Catalog:
        return Catalog(())

    async def listen(
        self, spec: UpstreamSpec, auth: UpstreamAuth, interest: Interest, heard: Heard, stands: Stands = unheeded
    ) -> None:
        return

    async def forget(self, connector_ids: Sequence[str]) -> None:
        return

    async def close(self) -> None:
        return


def _error(code: int, message: str) -> RawResult:
    return RawResult(result=None, error={"code": code, "message": message}, upstream_ms=0.0, size_bytes=0)
