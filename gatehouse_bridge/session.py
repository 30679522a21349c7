"""The session that clients of before 2026-07-28 speak in: theirs to know nothing of, so it is kept here."""

from __future__ import annotations

import re
import threading

from gatehouse_bridge.messages import Message

SAYS_ITS_REVISION = "2025-06-18"
"""From this one on each request names its revision in a header."""
_ID = re.compile(r"[\x21-\x7e]{1,1024}")
_REVISION = re.compile(r"[0-9A-Za-z.-]{1,40}")


class Session:
    """`number` grows with each new one, so that of many who find theirs lost only the first asks for another."""

    def __init__(self) -> None:
        self.handshake: Message | None = None
        self.id = ""
        self.revision = ""
        self.number = 0
        self.settled = threading.Event()
        self.settled.set()

    def begin(self, handshake: Message) -> None:
        """Until `settled`, whatever else the client says has to wait."""
        self.handshake = handshake
        self.settled.clear()

    def open(self, identifier: str, revision: str) -> None:
        self.id = identifier if _ID.fullmatch(identifier) else ""
        self.revision = revision if _REVISION.fullmatch(revision) else ""
        self.number += 1

    @property
    def headers(self) -> dict[str, str]:
        headers = {"Mcp-Session-Id": self.id} if self.id else {}
        if self.revision >= SAYS_ITS_REVISION:
            headers["MCP-Protocol-Version"] = self.revision
        return headers
