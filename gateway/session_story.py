"""One session as a timeline, told from its evidence alone, a page at a time."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID

from django.db.models import QuerySet

from audit.kinds import TALK_KINDS, kind_in_words
from audit.models import EventRow
from audit.reading import from_replica
from gateway.call_story import Fact, Record, Step, Story, names_in, tell
from gateway.hostile_text import visible

PER_PAGE = 50


@dataclass(frozen=True, slots=True)
class Entry:
    """One line of the timeline: a call with its whole story, or what else happened between. `events` are its evidence
    in the order of time; the first of them names it in addresses."""

    title: str
    offset: timedelta
    events: tuple[EventRow, ...]
    story: Story | None = None
    facts: tuple[Fact, ...] = ()

    @property
    def id(self) -> UUID:
        return self.events[0].pk

    @property
    def at(self) -> datetime:
        return self.events[0].at

    @property
    def steps(self) -> tuple[Step, ...]:
        return self.story.steps if self.story else ()

    @property
    def seconds(self) -> str:
        """Since the session began, as people read a clock."""
        whole = max(self.offset, timedelta())
        minutes, seconds = divmod(whole.total_seconds(), 60)
        hours, minutes = divmod(int(minutes), 60)
        return f"+{hours}:{minutes:02}:{seconds:06.3f}" if hours else f"+{minutes}:{seconds:06.3f}"


@dataclass(frozen=True, slots=True)
class SessionPage:
    """A stretch of a session from `entries[0]` on; `older` and `newer` name the first line of the page before and
    after."""

    id: UUID
    first: EventRow
    entries: tuple[Entry, ...]
    older: UUID | None
    newer: UUID | None

    @property
    def events(self) -> list[EventRow]:
        return [event for entry in self.entries for event in entry.events]

    @property
    def told_by(self) -> str:
        """Why these calls are one session."""
        about = Record.of(self.first)
        if about.text("session"):
            return f"The MCP session {about.text('session')} of its client."
        if about.details.get("trace"):
            return "The trace that the client said it was in; without one, the hour in which the agent asked."
        return "All that the agent did for this person in one hour: its client opens no session and names no trace."


def lines_of(session: UUID) -> QuerySet[EventRow]:
    """What began something, in the order of time: an outcome belongs to its intent. By one index."""
    return EventRow.objects.filter(session=session).exclude(kind="call.outcome").order_by("id")


def events_from(session: UUID, start: UUID | None, most: int) -> list[EventRow]:
    """At most so many lines from there on, each with its outcome behind it."""
    lines = lines_of(session) if start is None else lines_of(session).filter(id__gte=start)
    return [event for entry in _with_outcomes(list(lines[:most])) for event in entry]


@from_replica
def page_of(session: UUID, *, start: UUID | None = None) -> SessionPage | None:
    """From the line `start` on, or the session's beginning. None: there is no such session."""
    lines = lines_of(session)
    first = lines.first()
    if first is None:
        return None
    found = list((lines.filter(id__gte=start) if start else lines)[: PER_PAGE + 1])
    before = list(lines.filter(id__lt=found[0].pk if found else start).order_by("-id")[:PER_PAGE]) if start else []
    entries = _entries(_with_outcomes(found[:PER_PAGE]), began=first.at)
    return SessionPage(
        session,
        first,
        entries,
        older=before[-1].pk if before else None,
        newer=found[PER_PAGE].pk if len(found) > PER_PAGE else None,
    )


def ends_of(lines: Sequence[EventRow]) -> dict[UUID | None, EventRow]:
    """By the call that ended."""
    calls = [line.call_id for line in lines if line.call_id is not None]
    return {end.call_id: end for end in EventRow.objects.filter(call_id__in=calls, kind="call.outcome")}


def _with_outcomes(lines: Sequence[EventRow]) -> list[tuple[EventRow, ...]]:
    by_call = ends_of(lines)
    return [(line, by_call[line.call_id]) if line.call_id in by_call else (line,) for line in lines]


def _entries(found: Sequence[tuple[EventRow, ...]], *, began: datetime) -> tuple[Entry, ...]:
    records = [{event.kind: Record.of(event) for event in events} for events in found]
    names = names_in(record for each in records for record in each.values())
    return tuple(_entry(events, each, names, began) for events, each in zip(found, records, strict=True))


def _entry(
    events: tuple[EventRow, ...], records: Mapping[str, Record], names: Mapping[str, str], began: datetime
) -> Entry:
    first = events[0]
    if first.kind in ("call.intent", "call.refused"):
        story = tell(records, names)
        tool = visible(first.tool) or records[first.kind].text("asked_for") or "a tool outside its reach"
        asked = story.steps[0].at or first.at
        return Entry(tool, asked - began, events, story)
    return Entry(kind_in_words(first.kind), first.at - began, events, facts=_about(records[first.kind]))


def _about(record: Record) -> tuple[Fact, ...]:
    """What else happened, in few words: its own page has the rest."""
    names = _names_of(record.row.kind)
    named = {"subject": "About", "reason": "Why", "tools": "Tools", "requests": "Requests", **names}
    facts = [Fact(label, record.text(name)) for name, label in named.items() if record.text(name)]
    return (*([Fact("Tool", visible(record.row.tool))] if record.row.tool else []), *facts)


def _names_of(kind: str) -> dict[str, str]:
    if kind in TALK_KINDS:
        return {"call": "During the call", "problem": "Why not"}
    if kind.startswith("approval."):
        return {"request": "Request", "verdict": "Decision", "by": "By", "call": "For the call"}
    return {}
