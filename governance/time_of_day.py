"""Clock arithmetic in the organisation's time zone. Pure."""

from collections.abc import Mapping
from datetime import datetime, time, timedelta
from typing import Any
from zoneinfo import ZoneInfo

WEEKDAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
BUSINESS_HOURS = (time(9), time(17))


def local_time(now: datetime, timezone: ZoneInfo) -> datetime:
    return now.astimezone(timezone)


def time_variables(local: datetime) -> dict[str, Any]:
    """What a condition may read as `time`; business hours are 09:00 to 17:00, Monday to Friday."""
    opens, closes = BUSINESS_HOURS
    return {
        "now": local,
        "hour": local.hour,
        "minute": local.minute,
        "weekday": WEEKDAYS[local.weekday()],
        "date": local.date().isoformat(),
        "businessHours": local.weekday() < 5 and opens <= local.time() < closes,
    }


def schedule_end(schedule: Mapping[str, Any], local: datetime) -> datetime | None:
    """When the weekly window that `local` lies in ends; None if it lies in none. A window may pass midnight."""
    opens, closes = time.fromisoformat(schedule["from"]), time.fromisoformat(schedule["to"])
    days = schedule.get("days") or WEEKDAYS
    for start_day in (local.date(), local.date() - timedelta(days=1)):
        if WEEKDAYS[start_day.weekday()] not in days:
            continue
        start = datetime.combine(start_day, opens, local.tzinfo)
        end_day = start_day if closes > opens else start_day + timedelta(days=1)
        end = datetime.combine(end_day, closes, local.tzinfo)
        if start <= local < end:
            return end
    return None
