"""One box that finds everything: pages, people, agents, keys, systems, tools, rules, evidence.

Each kind costs at most one bounded query, and is only asked of those who may see its list.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from django.contrib import admin
from django.core.paginator import Paginator
from django.db.models import Case, F, IntegerField, Model, Q, QuerySet, Value, When
from django.http import HttpRequest, HttpResponse
from django.template.response import TemplateResponse
from django.urls import reverse
from django.views.decorators.cache import never_cache

from audit.models import EventRow
from gateway.console.hostile_text import visible
from gateway.console.navigation import GROUPS
from governance.models import (
    Agent,
    AgentCredential,
    Bundle,
    Connector,
    Offboarding,
    Policy,
    Role,
    Secret,
    Team,
    Tool,
    User,
)

SHORTEST, LONGEST = 2, 100
MOST_OF_A_KIND = 8
PLAIN = ((Connector, "hub"), (Bundle, "inventory_2"), (Policy, "gavel"), (Role, "badge"), (Team, "groups"))


@dataclass(frozen=True, slots=True)
class Hit:
    """In the words of the skin's template. `title` may be an upstream's word: made visible here, escaped there."""

    title: str
    description: str
    link: str
    icon: str


@admin.site.admin_view
@never_cache
def search(request: HttpRequest) -> HttpResponse:
    """A page of its own for `q`; for `s`, the list that Ctrl-K shows."""
    typed = request.GET.get("q") or request.GET.get("s") or ""
    term = typed.replace("\0", "").strip()[:LONGEST]
    hits = list(found(request, term)) if len(term) >= SHORTEST else []
    if "s" not in request.GET:
        context = {**admin.site.each_context(request), "title": "Search", "term": term, "hits": hits}
        return TemplateResponse(request, "admin/search.html", context)
    pages = Paginator(hits, max(1, len(hits)))
    context = {"results": pages.page(1), "page_obj": pages, "page_counter": 0, "execution_time": 0}
    answer = TemplateResponse(request, "unfold/helpers/command_results.html", context)
    answer.headers["HX-Trigger"] = "search"
    return answer


def found(request: HttpRequest, term: str) -> Iterator[Hit]:
    sees = _Sees(request)
    yield from _pages(request, term)
    if (key := _as_uuid(term)) is not None:
        yield from _by_id(sees, key)
        return
    yield from _people(sees, term)
    yield from _agents(sees, term)
    yield from _keys(sees, term)
    yield from _tools(sees, term)
    yield from _plain(sees, term)
    yield from _offboardings(sees, term)


class _Sees:
    """May this person see the list of that model?"""

    def __init__(self, request: HttpRequest) -> None:
        self._may: Callable[[str], bool] = request.user.has_perm

    def __call__(self, model: type[Model]) -> bool:
        return self._may(f"{model._meta.app_label}.view_{model._meta.model_name}")


def _as_uuid(term: str) -> UUID | None:
    try:
        return UUID(term)
    except ValueError:
        return None


def _pages(request: HttpRequest, term: str) -> Iterator[Hit]:
    word = term.lower()
    for entries in GROUPS.values():
        for entry in entries:
            if (word in entry.title.lower() or word in entry.hint.lower()) and entry.is_visible(request):
                yield Hit(entry.title, entry.hint, reverse(entry.view), entry.icon)


def _by_id(sees: _Sees, key: UUID) -> Iterator[Hit]:
    """One query a kind, until the id is found; evidence by event or call last."""
    for model in (Agent, User, AgentCredential, Tool, Connector, Bundle, Policy, Role, Team, Secret):
        if sees(model) and (row := model._default_manager.filter(pk=key).first()):
            yield Hit(visible(str(row)), str(model._meta.verbose_name), _change(row), "tag")
            return
    if sees(EventRow):
        events = EventRow.objects.filter(Q(pk=key) | Q(call_id=key)).defer("header").order_by("id")
        for event in events[:MOST_OF_A_KIND]:
            yield Hit(visible(f"{event.kind} {event.tool}"), f"evidence {event.pk}", _change(event), "receipt_long")


def _first(rows: QuerySet[Any], term: str, *fields: str) -> QuerySet[Any]:
    """Those that contain the term, those that begin with it first."""
    wanted, begins = Q(), Q()
    for field in fields:
        wanted |= Q(**{f"{field}__icontains": term})
        begins |= Q(**{f"{field}__istartswith": term})
    rank = Case(When(begins, then=Value(0)), default=Value(1), output_field=IntegerField())
    ranked: QuerySet[Any] = rows.filter(wanted).annotate(rank=rank).order_by("rank", fields[0])
    return ranked[:MOST_OF_A_KIND]


def _people(sees: _Sees, term: str) -> Iterator[Hit]:
    for person in _first(User.objects.all(), term, "email", "name") if sees(User) else ():
        yield Hit(person.email, f"person {person.name}", _change(person), "person")


def _agents(sees: _Sees, term: str) -> Iterator[Hit]:
    for agent in _first(Agent.objects.all(), term, "name", "title") if sees(Agent) else ():
        yield Hit(agent.name, f"agent {agent.title}", reverse("agent_overview", args=[agent.pk]), "smart_toy")


def _keys(sees: _Sees, term: str) -> Iterator[Hit]:
    """By the visible beginning; somebody who pastes a whole key finds its row, too."""
    if not (term.startswith("gate_ak_") and sees(AgentCredential)):
        return
    hint = Q(hint__startswith=term) | Q(hint__in=[term[:length] for length in range(9, 25)])
    for key in AgentCredential.objects.filter(hint).select_related("agent")[:MOST_OF_A_KIND]:
        yield Hit(f"{key.hint}…", f"agent key of {key.agent.name}", _change(key), "key")


def _tools(sees: _Sees, term: str) -> Iterator[Hit]:
    connector, slash, name = term.partition("/")
    rows = Tool.objects.select_related("connector")
    if slash:
        rows, term = rows.filter(connector__name=connector), name
    for tool in _first(rows, term, "name") if sees(Tool) else ():
        yield Hit(visible(tool.name), f"tool of {tool.connector.name}", _change(tool), "build")


def _plain(sees: _Sees, term: str) -> Iterator[Hit]:
    """All kinds that are a name and a title, in one query."""
    parts = [_named(model, term, "title") for model, _ in PLAIN if sees(model)]
    parts += [_named(Secret, term, "description")] if sees(Secret) else []
    if not parts:
        return
    icons = {**{model._meta.model_name: icon for model, icon in PLAIN}, "secret": "lock"}
    for kind, key, name, title in parts[0].union(*parts[1:], all=True).order_by("named")[: 3 * MOST_OF_A_KIND]:
        yield Hit(name, f"{kind} {title}", reverse(f"admin:governance_{kind}_change", args=[key]), icons[kind])


def _named(model: type[Model], term: str, words: str) -> QuerySet[Any, Any]:
    rows = model._default_manager.filter(Q(name__icontains=term) | Q(**{f"{words}__icontains": term})).order_by()
    columns = {"sort": Value(str(model._meta.model_name)), "key": F("pk"), "named": F("name"), "words": F(words)}
    found: QuerySet[Any, Any] = rows.annotate(**columns).values_list(*columns)
    return found


def _offboardings(sees: _Sees, term: str) -> Iterator[Hit]:
    rows = Offboarding.objects.select_related("person").filter(person__email__icontains=term)
    for row in rows.order_by("-created_at")[:MOST_OF_A_KIND] if sees(Offboarding) else ():
        link = reverse("offboarding", args=[row.pk])
        yield Hit(f"Offboarding of {row.person.email}", row.get_state_display(), link, "person_remove")


def _change(row: Model) -> str:
    options = row._meta
    return reverse(f"admin:{options.app_label}_{options.model_name}_change", args=[row.pk])
