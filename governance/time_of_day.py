"""Clock arithmetic in the organisation's time zone. Pure."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from datetime import date, datetime, time, timedelta
from typing import Any
from zoneinfo import ZoneInfo

WEEKDAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")


@dataclass(frozen=True, slots=True)
class Calendar:
    """When the organisation works."""

    timezone: ZoneInfo = field(default_factory=lambda: ZoneInfo("UTC"))
    days: tuple[str, ...] = WEEKDAYS[:5]
    """Without any, nobody knows its hours."""
    opens: time = time(9)
    closes: time = time(17)
    """Not later than `opens`: on the next day."""
    holidays: frozenset[date] | None = frozenset()
    """None: any day may be one."""

    def local(self, now: datetime) -> datetime:
        return now.astimezone(self.timezone)

    def variables(self, local: datetime) -> dict[str, Any]:
        """What a condition may read as `time`; what nobody knows is left out."""
        known = {
            "now": local,
            "hour": local.hour,
            "minute": local.minute,
            "weekday": WEEKDAYS[local.weekday()],
            "date": local.date().isoformat(),
        }
        if self.holidays is None:
            return known
        known["holiday"] = local.date() in self.holidays
        if self.days:
            window = _Window(self.days, self.opens, self.closes, self.holidays)
            known["businessHours"] = window.end_around(local) is not None
        return known

    def schedule_end(self, schedule: Mapping[str, Any], now: datetime) -> datetime | None:
        """When the weekly window that `now` lies in ends; None if it lies in none. A window may pass midnight.

        With `"holidays": false` no window begins on a holiday, and one that reaches into a holiday ends there.
        """
        closed: frozenset[date] | None = frozenset() if schedule.get("holidays", True) is True else self.holidays
        if closed is None:
            return None
        opens, closes = time.fromisoformat(schedule["from"]), time.fromisoformat(schedule["to"])
        return _Window(schedule.get("days") or WEEKDAYS, opens, closes, closed).end_around(self.local(now))


@dataclass(frozen=True, slots=True)
class _Window:
    """Of each of these days, except those on which all is closed."""

    days: Collection[str]
    opens: time
    closes: time
    closed: Collection[date]

    def end_around(self, local: datetime) -> datetime | None:
        if local.date() in self.closed:
            return None
        for day in (local.date(), local.date() - timedelta(days=1)):
            if WEEKDAYS[day.weekday()] in self.days and day not in self.closed:
                start, end = datetime.combine(day, self.opens, local.tzinfo), self._end(day, local)
                if start <= local < end:
                    return end
        return None

    def _end(self, day: date, local: datetime) -> datetime:
        last = day if self.closes > self.opens else day + timedelta(days=1)
        return datetime.combine(last, time(0) if last in self.closed else self.closes, local.tzinfo)
