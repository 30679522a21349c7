"""JSON-RPC and MCP error codes (shared by all revisions unless said) and the one exception adapters raise."""

from dataclasses import dataclass, field
from typing import Any

PARSE_ERROR = -32700
INVALID_REQUEST = -32600
METHOD_NOT_FOUND = -32601
INVALID_PARAMS = -32602
INTERNAL_ERROR = -32603
RESOURCE_NOT_FOUND = -32002
"""Up to 2025-11-25; since then -32602."""
URL_ELICITATION_REQUIRED = -32042
"""2025-11-25 only."""
HEADER_MISMATCH = -32020
"""2026-07-28 only, HTTP 400."""
MISSING_CAPABILITY = -32021
"""2026-07-28 only, HTTP 400, data: {requiredCapabilities}."""
UNSUPPORTED_VERSION = -32022
"""2026-07-28 only, HTTP 400, data: {supported, requested}."""


@dataclass(slots=True)
class ProtocolError(Exception):
    """The message itself is wrong. `status` is the HTTP status; `headers` go with it."""

    code: int
    message: str
    status: int = 400
    data: dict[str, Any] | None = None
    headers: tuple[tuple[bytes, bytes], ...] = field(default=())

    def as_json(self) -> dict[str, Any]:
        error: dict[str, Any] = {"code": self.code, "message": self.message}
        if self.data is not None:
            error["data"] = self.data
        return error
