"""A pressed button as Slack tells of it. All of it is hostile until it is checked, and after that still bounded."""

import json
from dataclasses import dataclass
from hashlib import sha256
from typing import Any, Final
from urllib.parse import parse_qs
from uuid import UUID

BODY_BYTES: Final = 64 * 1024
LONGEST_ID: Final = 64


class NotUnderstood(Exception):
    """It is nothing that a button of ours sends."""


@dataclass(frozen=True, slots=True)
class Press:
    """`workspace` and `account` are ids; the names that come along are nobody's word. `where` and `ts` name the message
    the button belongs to, `digest` and `revision` what it showed."""

    action: str
    workspace: str
    account: str
    where: str
    ts: str
    at: str
    request_key: UUID | None
    digest: bytes
    revision: int

    @property
    def once(self) -> str:
        """The same for the same press, however often it arrives."""
        parts = (self.workspace, self.account, self.where, self.ts, self.action, self.at)
        return sha256(json.dumps(parts).encode()).hexdigest()


def press_of(body: bytes) -> Press:
    """Raises NotUnderstood."""
    try:
        fields = parse_qs(body.decode(), strict_parsing=True, max_num_fields=4)
        payload = json.loads(fields["payload"][0])
        if payload["type"] != "block_actions":
            raise NotUnderstood
        action = payload["actions"][0]
        key, digest, revision = _shown(action.get("value", ""))
        return Press(
            action=_id(action["action_id"]),
            workspace=_id(payload["team"]["id"]),
            account=_id(payload["user"]["id"]),
            where=_id(payload["container"]["channel_id"]),
            ts=_id(payload["container"]["message_ts"]),
            at=_id(action["action_ts"]),
            request_key=key,
            digest=digest,
            revision=revision,
        )
    except (ValueError, KeyError, IndexError, TypeError, AttributeError, RecursionError):
        raise NotUnderstood from None


def _id(value: Any) -> str:
    if not isinstance(value, str) or not 0 < len(value) <= LONGEST_ID or not value.isascii():
        raise NotUnderstood
    return value


def _shown(value: Any) -> tuple[UUID | None, bytes, int]:
    """As `slack._decides` wrote it; a button that only opens a page has none."""
    if value == "":
        return None, b"", 0
    key, digest, revision = value.split(":")
    if len(revision) > 9:
        raise NotUnderstood
    return UUID(key), bytes.fromhex(digest), int(revision)
