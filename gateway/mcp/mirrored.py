"""`Mcp-Param-*` headers against the arguments they mirror (2026-07-28, `x-mcp-header`)."""

from collections.abc import Mapping
from typing import Any

from connectors.mcp_headers import InvalidAnnotation, ParamHeader, decode_value, header_lines, param_headers
from gateway.mcp.errors import HEADER_MISMATCH, ProtocolError
from gateway.mcp.http import Request
from governance.snapshot import Tool

CACHE_LIMIT = 4096

_annotated: dict[str, tuple[ParamHeader, ...]] = {}


def check_mirrored(request: Request, tool: Tool, arguments: Any) -> None:
    """Raises ProtocolError when a header is missing, superfluous or differs: somebody routed on another value."""
    headers = annotated(tool)
    if not headers:
        return
    expected = dict(header_lines(headers, arguments if isinstance(arguments, Mapping) else {}))
    for header in headers:
        sent = request.headers.get(header.name.lower().encode())
        wanted = expected.get(header.name)
        if (sent is None) != (wanted is None) or not _is_same(sent, wanted):
            raise ProtocolError(HEADER_MISMATCH, f"Header {header.name} does not match argument '{header.path[-1]}'.")


def annotated(tool: Tool) -> tuple[ParamHeader, ...]:
    """The mirrored arguments of a pinned definition; worked out once."""
    found = _annotated.get(tool.definition_digest)
    if found is None:
        if len(_annotated) >= CACHE_LIMIT:
            _annotated.clear()
        try:
            found = param_headers(tool.definition.get("inputSchema"))
        except InvalidAnnotation:
            found = ()
        _annotated[tool.definition_digest] = found
    return found


def _is_same(sent: bytes | None, wanted: str | None) -> bool:
    if sent is None or wanted is None:
        return sent is None and wanted is None
    try:
        given, meant = decode_value(sent.strip(b" \t").decode("ascii")), decode_value(wanted)
    except ValueError:
        return False
    return given == meant or _as_number(given) == _as_number(meant) != ""


def _as_number(text: str) -> str:
    """Integers compare by value: `+7` and `007` are 7. Empty for what is no integer."""
    digits = text.lstrip("+-")
    return str(int(text)) if digits.isascii() and digits.isdigit() and len(digits) <= 20 else ""
