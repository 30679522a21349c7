"""Reading whole lists of an upstream, page by page, and what its tools need to be called rightly."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from connectors.base import Catalog, UpstreamFailure, UpstreamSpec
from connectors.mcp_headers import InvalidAnnotation, ParamHeader, param_headers
from connectors.mcp_peer import Channel, Reply, Request, Wire, bad_answer
from connectors.mcp_settle import capabilities_of, relayed_powers
from connectors.mcp_talk import Talk

MAX_PAGES: Final = 100
MAX_ITEMS: Final = 5_000
MAX_CATALOG_BYTES: Final = 32 * 1024 * 1024
LONGEST_TTL_MS: Final = 24 * 3600 * 1000


@dataclass(frozen=True, slots=True)
class ListKind:
    """One paginated method: which capability offers it, where its items are and what tells them apart."""

    method: str
    capability: str
    member: str
    key: str


TOOLS: Final = ListKind("tools/list", "tools", "tools", "name")
LISTS: Final[Mapping[str, ListKind]] = {
    kind.method: kind
    for kind in (
        TOOLS,
        ListKind("prompts/list", "prompts", "prompts", "name"),
        ListKind("resources/list", "resources", "resources", "uri"),
        ListKind("resources/templates/list", "resources", "resourceTemplates", "uriTemplate"),
    )
}


@dataclass(frozen=True, slots=True)
class ToolNeeds:
    """What calling a tool takes besides its name and arguments: arguments repeated in headers (modern HTTP), a task
    (legacy: `optional`, `required` or neither)."""

    headers: tuple[ParamHeader, ...] = ()
    task: str = ""

    @property
    def is_any(self) -> bool:
        return bool(self.headers or self.task)

    def is_task(self, talk: Talk) -> bool:
        return self.task == "required" or (self.task == "optional" and talk.relay.takes_tasks)


async def list_all(channel: Channel, kind: ListKind, spec: UpstreamSpec) -> Catalog:
    """All pages as they were sent; empty when the upstream lacks the capability. Raises UpstreamFailure."""
    if (await channel.settled()).lacks(kind.capability):
        return Catalog(())
    items: dict[str, dict[str, Any]] = {}
    talk = Talk(seconds=spec.timeout_seconds)
    talk.capabilities = capabilities_of(relayed_powers(spec.relays))
    seen: set[str] = set()
    params: dict[str, str] = {}
    ttl_seconds: float | None = None
    for _ in range(MAX_PAGES):
        reply = await channel.exchange(Request(kind.method, params), talk)
        page = _result(reply, kind)
        _collect(items, page, kind, size_bytes=talk.size_bytes)
        ttl_seconds = _least(ttl_seconds, page.get("ttlMs"))
        cursor = page.get("nextCursor")
        if cursor is None:
            return Catalog(tuple(items.values()), ttl_seconds)
        if not isinstance(cursor, str) or cursor in seen:
            raise bad_answer(f"The upstream's answer to {kind.method} does not end.")
        seen.add(cursor)
        params = {"cursor": cursor}
    raise UpstreamFailure("too_large", f"The upstream's answer to {kind.method} has too many pages.", reached=True)


def _result(reply: Reply, kind: ListKind) -> dict[str, Any]:
    result = (reply.message or {}).get("result")
    if result is None or (reply.wire.is_modern and result.get("resultType", "complete") != "complete"):
        raise bad_answer(f"The upstream did not answer {kind.method}.")
    page: dict[str, Any] = result
    return page


def _collect(items: dict[str, dict[str, Any]], page: dict[str, Any], kind: ListKind, *, size_bytes: int) -> None:
    listed = page.get(kind.member)
    if not isinstance(listed, list):
        raise bad_answer(f"The upstream did not answer {kind.method} with a list.")
    for item in listed:
        key = item.get(kind.key) if isinstance(item, dict) else None
        if not isinstance(key, str) or not key or key in items:
            raise bad_answer(f"The upstream's answer to {kind.method} has an item without {kind.key}, or twice.")
        items[key] = item
    if len(items) > MAX_ITEMS or size_bytes > MAX_CATALOG_BYTES:
        raise UpstreamFailure("too_large", f"The upstream's answer to {kind.method} is too long.", reached=True)


def _least(ttl_seconds: float | None, ttl_ms: object) -> float | None:
    """The shortest time that any page holds."""
    if isinstance(ttl_ms, bool) or not isinstance(ttl_ms, int | float) or not 0 <= ttl_ms <= LONGEST_TTL_MS:
        return ttl_seconds
    return min(ttl_ms / 1000, math.inf if ttl_seconds is None else ttl_seconds)


def needs_of(tools: Sequence[Mapping[str, Any]], wire: Wire) -> dict[str, ToolNeeds]:
    """By the name of each tool that may be used: the specification forbids a modern client to use one whose header
    annotation is broken."""
    needs = {}
    for tool in tools:
        try:
            headers = param_headers(tool.get("inputSchema")) if wire.is_modern else ()
        except InvalidAnnotation:
            continue
        execution = tool.get("execution")
        support = execution.get("taskSupport") if wire.takes_tasks and isinstance(execution, dict) else None
        needs[tool["name"]] = ToolNeeds(headers, support if support in ("optional", "required") else "")
    return needs
