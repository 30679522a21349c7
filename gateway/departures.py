"""The brake on departures that nobody clicked: who says of a whole organisation that it has left is not believed."""

from datetime import datetime, timedelta
from typing import Final

from governance.models import Offboarding, User

WINDOW: Final = timedelta(minutes=10)
FEWEST_AT_ONCE: Final = 10
SHARE_AT_ONCE: Final = 10
"""Percent of all who are active."""


class Braked(Exception):
    """So many left at once that it looks like a mistake; it is tried again later, and somebody is told."""


def brake(by: str, now: datetime) -> None:
    """Raises Braked, when so many were just offboarded at this word that the next one has to wait."""
    lately = Offboarding.objects.filter(created_by=by, created_at__gt=now - WINDOW).count()
    active = User.objects.filter(is_active=True).count()
    if lately >= max(FEWEST_AT_ONCE, active * SHARE_AT_ONCE // 100):
        raise Braked(f"{lately} people left by it within {int(WINDOW.total_seconds() // 60)} minutes.")
