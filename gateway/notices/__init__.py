"""Telling people that something waits for them, or went on without them."""

from gateway.notices.writing import (
    INBOX,
    asked,
    break_glass,
    break_glass_account_used,
    canary_seen,
    definitions_suspicious,
    directory_differs,
    directory_unread,
    ended,
    escalated,
    frozen,
    losses_held,
    reacted,
    review_wanted,
    to_attest,
    to_replace,
)

__all__ = (
    "INBOX",
    "asked",
    "break_glass",
    "break_glass_account_used",
    "canary_seen",
    "definitions_suspicious",
    "directory_differs",
    "directory_unread",
    "ended",
    "escalated",
    "frozen",
    "losses_held",
    "reacted",
    "review_wanted",
    "to_attest",
    "to_replace",
)
