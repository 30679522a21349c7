"""Protocol revisions we serve, and what we say of ourselves."""

from typing import Any

LEGACY = ("2025-03-26", "2025-06-18", "2025-11-25")
NEWEST_LEGACY = LEGACY[-1]
OLDEST_LEGACY = LEGACY[0]
MODERN = "2026-07-28"
SUPPORTED = (MODERN, *reversed(LEGACY))

META_PREFIX = "io.modelcontextprotocol/"
META_VERSION = f"{META_PREFIX}protocolVersion"
META_CAPABILITIES = f"{META_PREFIX}clientCapabilities"
META_CLIENT = f"{META_PREFIX}clientInfo"
META_SERVER = f"{META_PREFIX}serverInfo"
META_LOG_LEVEL = f"{META_PREFIX}logLevel"
META_SUBSCRIPTION = f"{META_PREFIX}subscriptionId"
TASKS_EXTENSION = f"{META_PREFIX}tasks"

REQUEST_ACCESS, APPROVALS = OWN_TOOLS = ("gatehouse__request_access", "gatehouse__approvals")
"""Tools of ours, where agents may ask; see `own_tools.py`."""

LOG_LEVELS = ("debug", "info", "notice", "warning", "error", "critical", "alert", "emergency")

SERVER_INFO = {"name": "gatehouse", "title": "Gatehouse", "version": "0.1.0"}
INSTRUCTIONS = (
    "Tools here belong to your organisation's systems. Every call is decided, recorded and may be refused; "
    "a refusal says why and what to do instead."
)


def client_label(info: Any) -> str:
    """What a client calls itself, bounded: shown and logged, never trusted."""
    if not isinstance(info, dict):
        return ""
    return " ".join(str(info[key])[:60] for key in ("name", "version") if isinstance(info.get(key), str))
