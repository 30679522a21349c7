"""The time that a matrix is asked for."""

from dataclasses import dataclass
from datetime import UTC, datetime
from urllib.parse import urlencode
from zoneinfo import ZoneInfo

from django.http import HttpRequest

from gateway.reach.verdicts import View
from governance.snapshot import Snapshot


class BadMoment(Exception):
    """What was typed is no time; the message says what would be."""


@dataclass(frozen=True, slots=True)
class Moment:
    """`text` is as it was typed, empty for "from now on"; `problem` says why it is no time, and then it is not used."""

    text: str
    timezone: str
    view: View
    problem: str = ""

    @property
    def query(self) -> str:
        """As it stands in the address."""
        return urlencode({"at": self.text}) if self.text else ""

    @classmethod
    def of(cls, request: HttpRequest, snapshot: Snapshot) -> "Moment":
        text = (request.POST.get("at") or request.GET.get("at", "")).strip()
        try:
            return cls(text, str(snapshot.timezone), View(snapshot, moment(text, snapshot.timezone), bool(text)))
        except BadMoment as reason:
            return cls("", str(snapshot.timezone), View(snapshot, datetime.now(UTC)), str(reason))


def moment(text: str, timezone: ZoneInfo) -> datetime:
    """Empty is now; without an offset it is the organisation's time. Raises BadMoment."""
    if not text:
        return datetime.now(UTC)
    try:
        at = datetime.fromisoformat(text)
        return (at if at.tzinfo else at.replace(tzinfo=timezone)).astimezone(UTC)
    except (ValueError, OverflowError):
        raise BadMoment(f"'{text[:40]}' is no time; write it like 2026-03-01T09:30.") from None
