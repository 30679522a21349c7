"""The calendar and networks of the organization as snapshots hold them."""

import logging
from datetime import date, time
from zoneinfo import ZoneInfo

from governance import models
from governance.networks import Networks, parse_networks
from governance.time_of_day import WEEKDAYS, Calendar

logger = logging.getLogger(__name__)


def calendar_of(row: models.Organization) -> Calendar:
    """What cannot be read is left open: conditions that rest on it are undecided, roles closed on holidays closed."""
    days, opens, closes = _business_hours(row)
    return Calendar(ZoneInfo(row.timezone), days, opens, closes, _holidays(row))


def _business_hours(row: models.Organization) -> tuple[tuple[str, ...], time, time]:
    usual = Calendar()
    hours = row.business_hours
    if hours == {}:
        return usual.days, usual.opens, usual.closes
    try:
        days = tuple(day for day in WEEKDAYS if day in hours["days"])
        return days, time.fromisoformat(hours["from"]), time.fromisoformat(hours["to"])
    except (KeyError, TypeError, ValueError):
        logger.error("the organisation's business hours cannot be read: nobody knows when they are")
        return (), usual.opens, usual.closes


def _holidays(row: models.Organization) -> frozenset[date] | None:
    try:
        return frozenset(date.fromisoformat(entry["date"]) for entry in row.holidays)
    except (KeyError, TypeError, ValueError):
        logger.error("the organisation's holidays cannot be read: any day may be one")
        return None


def networks_of(row: models.Organization) -> Networks:
    try:
        return parse_networks(row.networks)
    except (TypeError, ValueError, AttributeError):
        logger.error("the organisation's networks cannot be read: nobody knows where a call comes from")
        return Networks(None)
