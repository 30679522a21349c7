"""Asking somebody else to look at a draft: the step of governance, and who is told, in one transaction."""

from typing import Any

from gateway import notices
from governance import lifecycle
from governance.facts import Recorder


def submit(version: Any, *, summary: str, seen: int, by: str, record: Recorder) -> None:
    """As `lifecycle.submit`; whoever may agree to it hears of it. Raises Refused."""
    lifecycle.submit(version, summary=summary, seen=seen, by=by, record=record)
    notices.review_wanted(version, now=version.submitted_at)
