"""An answer in the words of the revision that the client speaks (error codes, lists, structured content)."""

from collections.abc import Collection, Mapping
from typing import Any

from gateway.call import Answer
from gateway.mcp.context import Context
from gateway.mcp.errors import (
    HEADER_MISMATCH,
    INTERNAL_ERROR,
    INVALID_PARAMS,
    METHOD_NOT_FOUND,
    MISSING_CAPABILITY,
    RESOURCE_NOT_FOUND,
    UNSUPPORTED_VERSION,
    URL_ELICITATION_REQUIRED,
)
from gateway.mcp.revisions import META_PREFIX, META_SERVER, NEWEST_LEGACY, OLDEST_LEGACY, OWN_TOOLS, SERVER_INFO

MODERN_ONLY = ("resultType", "ttlMs", "cacheScope")
RELATED = f"{META_PREFIX}related-task"
"""Names the task a 2025-11-25 message belongs to."""
UNFINISHED = ("input_required", "task")
CACHED = frozenset(
    (
        "server/discover",
        "tools/list",
        "prompts/list",
        "resources/list",
        "resources/templates/list",
        "resources/read",
    )
)
"""Methods whose complete results say how long they hold, and for whom."""
MODERN_CODES = (HEADER_MISMATCH, MISSING_CAPABILITY, UNSUPPORTED_VERSION)
COMPLETIONS_LIMIT = 100
LONGEST_TTL_MS = 24 * 3600 * 1000
"""Upstreams may say what does not fit into an integer."""


def dress(context: Context, answer: Answer) -> dict[str, Any]:
    """The whole JSON-RPC message."""
    if context.message.method == "completion/complete":
        answer = _completion(answer)
    body: dict[str, Any] = {"jsonrpc": "2.0", "id": context.message.id}
    if answer.error is not None:
        body["error"] = _error(context, answer.error)
    else:
        result = answer.result or {}
        body["result"] = modern_result(context, result) if context.is_modern else legacy_result(context, result)
    return body


def status_of(context: Context, answer: Answer) -> int:
    """The HTTP status of an answer given as JSON."""
    if context.is_modern and answer.error is not None and answer.error["code"] in MODERN_CODES:
        return 400
    return answer.status


def modern_result(context: Context, result: dict[str, Any]) -> dict[str, Any]:
    """Names us as the server. `private`: what we answer is filtered for this agent, no cache may serve it to
    another."""
    meta = result.get("_meta")
    kind = result.get("resultType")
    dressed = {
        **result,
        "resultType": kind if kind in UNFINISHED else "complete",
        "_meta": {**meta, META_SERVER: SERVER_INFO} if isinstance(meta, dict) else {META_SERVER: SERVER_INFO},
    }
    if context.message.method == "tools/list":
        dressed["tools"] = [
            {key: value for key, value in tool.items() if key != "execution"} for tool in result["tools"]
        ]
    if context.message.method in CACHED and dressed["resultType"] == "complete":
        dressed["ttlMs"] = _time_to_live(context, result.get("ttlMs"))
        dressed["cacheScope"] = "private"
    return dressed


def legacy_result(context: Context, result: dict[str, Any]) -> dict[str, Any]:
    """Without what only the modern era knows."""
    plain = {key: value for key, value in result.items() if key not in MODERN_ONLY}
    meta = plain.get("_meta")
    if isinstance(meta, dict):
        kept = {key: value for key, value in meta.items() if key == RELATED or not key.startswith(META_PREFIX)}
        plain.pop("_meta")
        if kept:
            plain["_meta"] = kept
    if context.message.method == "tools/list":
        plain["tools"] = [_legacy_tool(tool, context.revision) for tool in plain["tools"]]
    if "structuredContent" in plain and not isinstance(plain["structuredContent"], dict):
        del plain["structuredContent"]
    if context.revision == OLDEST_LEGACY and isinstance(plain.get("content"), list):
        plain["content"] = [_before_links(block) for block in plain["content"]]
    return plain


def _completion(answer: Answer) -> Answer:
    """At most 100 values. We offer completions at every endpoint with prompts or resources, so an upstream that has no
    such method simply has nothing to suggest."""
    if answer.error is not None and answer.error.get("code") == METHOD_NOT_FOUND:
        return Answer(result={"completion": {"values": [], "hasMore": False}})
    result = answer.result or {}
    completion = result.get("completion")
    if not isinstance(completion, dict) or not isinstance(completion.get("values"), list):
        return answer
    if len(completion["values"]) <= COMPLETIONS_LIMIT:
        return answer
    bounded = {**completion, "values": completion["values"][:COMPLETIONS_LIMIT], "hasMore": True}
    return Answer(result={**result, "completion": bounded})


def _time_to_live(context: Context, said: Any) -> int:
    """Zero unless somebody said more; a result that rests on the client's own answers is never kept."""
    if "inputResponses" in context.message.params or "requestState" in context.message.params:
        return 0
    is_time = isinstance(said, int | float) and not isinstance(said, bool) and said >= 0
    return int(min(said, LONGEST_TTL_MS)) if is_time else 0


def _legacy_tool(tool: dict[str, Any], revision: str) -> dict[str, Any]:
    """Before 2026-07-28 an output schema is one of an object. In 2025-11-25 a client may make a task of any call here,
    whatever the upstream says of tasks: it is we who keep it."""
    schema = tool.get("outputSchema")
    is_foreign = schema is not None and not (isinstance(schema, dict) and schema.get("type") == "object")
    plain = _without(tool, {"execution", "outputSchema"} if is_foreign else {"execution"})
    support = "forbidden" if tool.get("name") in OWN_TOOLS else "optional"
    return plain | {"execution": {"taskSupport": support}} if revision == NEWEST_LEGACY else plain


def _without(tool: dict[str, Any], dropped: Collection[str]) -> dict[str, Any]:
    return {key: value for key, value in tool.items() if key not in dropped}


def _before_links(block: Any) -> Any:
    """2025-03-26 knows no `resource_link`: its words say the same to the model."""
    if not isinstance(block, Mapping) or block.get("type") != "resource_link":
        return block
    words = [str(block[key]) for key in ("title", "name", "uri", "description") if block.get(key)]
    return {"type": "text", "text": "\n".join(words)}


def _error(context: Context, error: dict[str, Any]) -> dict[str, Any]:
    """Codes that one era has and the other must not hear."""
    code = error.get("code")
    if context.is_modern and code == RESOURCE_NOT_FOUND:
        return {**error, "code": INVALID_PARAMS}
    foreign: tuple[int, ...] = () if context.is_modern else MODERN_CODES
    if context.revision != NEWEST_LEGACY:
        foreign += (URL_ELICITATION_REQUIRED,)
    return {**error, "code": INTERNAL_ERROR} if code in foreign else error
