"""The headers in which revision 2026-07-28 repeats what a message says, for routers that do not read bodies."""

from __future__ import annotations

import base64
import re
import threading
from typing import Any

from gatehouse_bridge.messages import Message

NAMED_BY = {
    "tools/call": "name",
    "prompts/get": "name",
    "resources/read": "uri",
    "tasks/get": "taskId",
    "tasks/update": "taskId",
    "tasks/cancel": "taskId",
}
TOOLS_LIMIT = 5000
_PLAIN = re.compile(r"[\x21-\x7e](?:[\x20-\x7e]*[\x21-\x7e])?")
_TOKEN = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")
_DEEPEST = 32


class Mirrors:
    """Which arguments a tool wants in headers stands in its schema, so it is learned from the lists that pass by."""

    def __init__(self) -> None:
        self._tools: dict[str, list[tuple[str, tuple[str, ...]]]] = {}
        self._turn = threading.Lock()

    def learn(self, result: Any) -> None:
        tools = result.get("tools") if isinstance(result, dict) else None
        for tool in tools if isinstance(tools, list) else ():
            name = tool.get("name") if isinstance(tool, dict) else None
            if isinstance(name, str):
                with self._turn:
                    if name in self._tools or len(self._tools) < TOOLS_LIMIT:
                        self._tools[name] = list(_annotated(tool.get("inputSchema"), ()))

    def headers(self, message: Message) -> dict[str, str]:
        """Raises ValueError for an argument that no header can say."""
        lines = {"Mcp-Method": encoded(message.method)}
        named = message.params.get(NAMED_BY.get(message.method, ""))
        if isinstance(named, str):
            lines["Mcp-Name"] = encoded(named)
        if message.method == "tools/call" and isinstance(named, str):
            with self._turn:
                wanted = self._tools.get(named, [])
            for header, path in wanted:
                if (value := _rendered(_at(message.params.get("arguments"), path))) is not None:
                    lines[f"Mcp-Param-{header}"] = encoded(value)
        return lines


def encoded(value: str) -> str:
    """Plain where it is plain ASCII that cannot be mistaken for the other form."""
    if _PLAIN.fullmatch(value) and not (value.startswith("=?base64?") and value.endswith("?=")):
        return value
    return f"=?base64?{base64.b64encode(value.encode()).decode('ascii')}?="


def _annotated(schema: Any, path: tuple[str, ...]) -> Any:
    properties = schema.get("properties") if isinstance(schema, dict) else None
    if not isinstance(properties, dict) or len(path) > _DEEPEST:
        return
    for name, inner in properties.items():
        header = inner.get("x-mcp-header") if isinstance(inner, dict) else None
        if isinstance(header, str) and _TOKEN.fullmatch(header):
            yield header, (*path, name)
        yield from _annotated(inner, (*path, name))


def _at(arguments: Any, path: tuple[str, ...]) -> Any:
    for name in path:
        arguments = arguments.get(name) if isinstance(arguments, dict) else None
    return arguments


def _rendered(value: Any) -> str | None:
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value) if isinstance(value, (str, int, float)) else None
