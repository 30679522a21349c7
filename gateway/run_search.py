"""Which runs and calls somebody may see, and those of them that she asks for: newest first, a page by key."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final
from uuid import UUID

from django.db.models import Q, QuerySet
from django.db.models.functions import Coalesce

from audit.event import first_id_at
from audit.kinds import CALL_ENDS
from audit.models import AgentSession, EventRow
from audit.reading import from_replica
from gateway.text_search import Question, find
from governance.models import Agent, User

PER_PAGE: Final = 50
SEES_ALL: Final = "audit.view_eventrow"
OF_RUNS: Final = ("agent", "person")
OF_CALLS: Final = ("tool", "decision", "outcome")
BY_INDEX: Final = ("label", "finding")
MOST_AGENTS: Final = 500


@dataclass(frozen=True, slots=True)
class Wish:
    """What is asked for; empty values ask for nothing. `text` is not shown where a wish is."""

    filters: Mapping[str, str] = field(default_factory=dict)
    text: str = field(default="", repr=False)
    since: datetime | None = None
    until: datetime | None = None

    @property
    def is_of_calls(self) -> bool:
        return bool(self.text) or any(self.filters.get(name) for name in (*OF_CALLS, *BY_INDEX))

    def question(self) -> Question:
        facts = tuple((name, value) for name, value in sorted(self.filters.items()) if value)
        return Question(self.text, facts, self.since, self.until)


@dataclass(frozen=True, slots=True)
class Call:
    """One that was found, and the line of its run that tells it."""

    end: EventRow
    line: UUID


@dataclass(frozen=True, slots=True)
class Found:
    """Runs, or calls where anything of calls was asked for. `older` is where the next page begins."""

    runs: Sequence[AgentSession] = ()
    calls: Sequence[Call] = ()
    older: UUID | None = None


def sees_all(person: User) -> bool:
    return bool(person.has_perm(SEES_ALL))


def may_see(person: User, first: EventRow) -> bool:
    """A run is one agent's, for one person: `first` is its first record. Nobody sees what was before her address or
    the agent was hers: both may have belonged to somebody else."""
    if sees_all(person) or (first.person == person.email and first.at >= person.created_at):
        return True
    return _agents_of(person).filter(name=first.agent, since__lte=first.at).exists()


def runs_of(person: User) -> QuerySet[AgentSession]:
    """By the same rule."""
    runs = AgentSession.objects.all()
    if sees_all(person):
        return runs
    hers = Q(person=person.email, began__gte=first_id_at(person.created_at))
    for name, since in _agents_of(person).values_list("name", "since")[:MOST_AGENTS]:
        hers |= Q(agent=name, began__gte=first_id_at(since))
    return runs.filter(hers)


def _agents_of(person: User) -> QuerySet[Any]:
    return Agent.objects.filter(owner=person).annotate(since=Coalesce("owned_since", "created_at"))


@from_replica
def runs(person: User, wish: Wish, *, older_than: UUID | None) -> Found:
    rows = runs_of(person).filter(**{name: wish.filters[name] for name in OF_RUNS if wish.filters.get(name)})
    rows = _in_time(rows, "began", wish, older_than)
    page = list(rows.order_by("-began")[: PER_PAGE + 1])
    return Found(runs=page[:PER_PAGE], older=page[PER_PAGE - 1].began if len(page) > PER_PAGE else None)


@from_replica
def calls(wish: Wish, *, older_than: UUID | None) -> Found:
    """For whoever sees all, and has recorded a search by text."""
    question = wish.question()
    if question.is_by_index:
        matches = find(question, most=PER_PAGE, before=older_than)
        ends = EventRow.objects.defer("header").in_bulk(matches.ids)
        page = [ends[key] for key in matches.ids if key in ends]
        return Found(calls=_with_lines(page), older=matches.ids[-1] if matches.more else None)
    rows = _in_time(_by_columns(wish), "id", wish, older_than)
    page = list(rows.order_by("-id")[: PER_PAGE + 1])
    older = page[PER_PAGE - 1].pk if len(page) > PER_PAGE else None
    return Found(calls=_with_lines(page[:PER_PAGE]), older=older)


def _by_columns(wish: Wish) -> QuerySet[EventRow]:
    """The conditions of the partial indexes are said aloud where a filter only implies them."""
    asked = {name: wish.filters[name] for name in (*OF_RUNS, *OF_CALLS) if wish.filters.get(name)}
    return EventRow.objects.defer("header").filter(**asked, kind__in=CALL_ENDS).exclude(kind="call.intent")


def _in_time(rows: QuerySet[Any], column: str, wish: Wish, older_than: UUID | None) -> QuerySet[Any]:
    if wish.since:
        rows = rows.filter(**{f"{column}__gte": first_id_at(wish.since)})
    if wish.until:
        rows = rows.filter(**{f"{column}__lt": first_id_at(wish.until)})
    return rows.filter(**{f"{column}__lt": older_than}) if older_than else rows


def _with_lines(ends: Sequence[EventRow]) -> list[Call]:
    """A call stands in its run where it began."""
    calls = [end.call_id for end in ends if end.kind == "call.outcome"]
    begun = dict(EventRow.objects.filter(call_id__in=calls, kind="call.intent").values_list("call_id", "id"))
    return [Call(end, begun.get(end.call_id, end.pk)) for end in ends]
