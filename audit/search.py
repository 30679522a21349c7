"""Finding evidence: what may be asked, and how each question meets an index.

Every filter is whole values on an index that ends in `id`, and ids are time-ordered: a page of any of them, in any
stretch of time, is one short walk. There is no search inside texts.
"""

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

from django import forms
from django.db.models import Q, QuerySet
from django.utils import timezone

from audit.event import first_id_at
from audit.kinds import CALL_ENDS, CALL_KINDS, CALL_STARTS, DECISIONS, KINDS, OUTCOMES, ROUTINE_KINDS
from audit.models import EventRow
from audit.record import MAX_COLUMN_CHARS

PERIODS = {
    "hour": timedelta(hours=1),
    "day": timedelta(days=1),
    "week": timedelta(weeks=1),
    "month": timedelta(days=30),
}
CONFINED_TO = "day"
"""How far back the one filter looks that has no index."""

VIEWS = {"calls": "Calls", "acts": "What people and the gateway did", "all": "All events"}

OFTEN = ("period", "agent", "person", "tool", "decision", "outcome")
RARELY = ("since", "until", "connector", "kind", "by", "session", "q")

Events = QuerySet[EventRow]


def _choices(table: Mapping[str, str]) -> list[tuple[str, str]]:
    return [("", "Any"), *table.items()]


class Moment(forms.DateTimeField):
    """A time in UTC, to the minute, as the browser's own picker writes it."""

    widget = forms.DateTimeInput(attrs={"type": "datetime-local"}, format="%Y-%m-%dT%H:%M")
    input_formats = ("%Y-%m-%dT%H:%M", "%Y-%m-%dT%H:%M:%S", "%Y-%m-%d %H:%M", "%Y-%m-%d")

    def to_python(self, value: Any) -> datetime | None:
        with timezone.override(UTC):
            return super().to_python(value)


class WholeText(forms.CharField):
    def __init__(self, label: str) -> None:
        super().__init__(label=label, required=False, max_length=MAX_COLUMN_CHARS)


class Choice(forms.ChoiceField):
    def __init__(self, label: str, table: Mapping[str, str]) -> None:
        super().__init__(label=label, required=False, choices=_choices(table))


class EventSearch(forms.Form):
    """The filters of the evidence list as they stand in its address; `q` is an id, or an agent's or tool's name."""

    q = WholeText("Event or call id")
    view = forms.ChoiceField(required=False, choices=list(VIEWS.items()))
    period = Choice("Time", {name: f"Past {name}" for name in PERIODS})
    since = Moment(label="From (UTC)", required=False)
    until = Moment(label="To (UTC)", required=False)
    agent = WholeText("Agent")
    person = WholeText("Person")
    connector = WholeText("Connector")
    tool = WholeText("Tool")
    decision = Choice("Decision", DECISIONS)
    outcome = Choice("Outcome", OUTCOMES)
    kind = Choice("Kind", KINDS)
    by = WholeText("Done by")
    session = forms.UUIDField(label="Session", required=False)

    @property
    def often(self) -> list[forms.BoundField]:
        return [self[name] for name in OFTEN]

    @property
    def rarely(self) -> list[forms.BoundField]:
        return [self[name] for name in RARELY]

    @property
    def is_rare(self) -> bool:
        """Is one of the rarer filters set?"""
        return any(self.data.get(name) for name in RARELY)

    @property
    def view_shown(self) -> str:
        """One line for each call unless somebody asks for more, or for what is no end of a call."""
        asked = self.cleaned_data
        if asked["view"]:
            return str(asked["view"])
        return "all" if asked["kind"] or asked["q"] or asked["by"] or asked["session"] else "calls"

    @property
    def is_narrowed(self) -> bool:
        return any(value for name, value in self.cleaned_data.items() if name != "view")

    @property
    def is_confined(self) -> bool:
        """A connector alone is looked for in the past day only: an index of its own would cost every call."""
        asked = self.cleaned_data
        others = ("q", "period", "since", "agent", "person", "tool", "outcome", "by", "session")
        return bool(asked["connector"]) and not any(asked[name] for name in others)

    def narrow(self, events: Events) -> Events:
        """Only for a valid form. Each step leaves the order alone."""
        for step in (_in_view, _in_time, _in_columns, _in_session, _by_id):
            events = step(self, events)
        return events


def _in_view(search: EventSearch, events: Events) -> Events:
    match search.view_shown:
        case "calls":
            return events.filter(kind__in=CALL_STARTS if search.cleaned_data["session"] else CALL_ENDS)
        case "acts":
            return events.filter(call_id=None).exclude(kind__in=(*CALL_KINDS, *ROUTINE_KINDS))
    return events


def _in_time(search: EventSearch, events: Events) -> Events:
    asked = search.cleaned_data
    since, until = asked["since"], asked["until"]
    if asked["period"] or search.is_confined:
        since = timezone.now() - PERIODS[asked["period"] or CONFINED_TO]
    if since:
        events = events.filter(id__gte=first_id_at(since))
    return events.filter(id__lt=first_id_at(until)) if until else events


def _in_columns(search: EventSearch, events: Events) -> Events:
    """The conditions of the partial indexes are said aloud where a filter only implies them."""
    asked = search.cleaned_data
    columns = ("agent", "person", "connector", "tool", "decision", "outcome", "kind")
    events = events.filter(**{column: asked[column] for column in columns if asked[column]})
    if (asked["tool"] or asked["person"]) and asked["kind"] != "call.intent":
        events = events.exclude(kind="call.intent")
    if asked["by"]:
        events = events.filter(actor=asked["by"], call_id=None)
    if asked["kind"] == "call.refused":
        events = events.filter(outcome="refused")
    return events.filter(call_id=None) if asked["kind"] and asked["kind"] not in CALL_KINDS else events


def _in_session(search: EventSearch, events: Events) -> Events:
    """A call has one entry in the index of sessions, that of its beginning."""
    session = search.cleaned_data["session"]
    return events if session is None else events.filter(session=session).exclude(kind="call.outcome")


def _by_id(search: EventSearch, events: Events) -> Events:
    if not (wanted := search.cleaned_data["q"]):
        return events
    try:
        return events.filter(Q(id=UUID(wanted)) | Q(call_id=UUID(wanted)))
    except ValueError:
        return events.filter(Q(agent=wanted) | Q(tool=wanted))
