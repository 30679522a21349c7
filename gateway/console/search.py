"""One box that finds everything: pages, people, agents, keys, systems, tools, rules, freezes, evidence.

Each kind costs at most one bounded query, and is only asked of those who may see its list.
"""

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import reduce
from operator import or_
from typing import Any
from uuid import UUID

from django.apps import apps
from django.contrib import admin
from django.core.paginator import Paginator
from django.db.models import (
    Case,
    Exists,
    F,
    Func,
    IntegerField,
    Model,
    OuterRef,
    Q,
    QuerySet,
    TextField,
    Value,
    When,
)  # fmt: skip
from django.db.models.functions import Cast
from django.http import HttpRequest, HttpResponse
from django.template.response import TemplateResponse
from django.urls import reverse
from django.views.decorators.cache import never_cache

from audit.models import EventRow
from gateway.console.navigation import GROUPS
from gateway.hostile_text import visible
from governance.models import (
    Agent,
    AgentCredential,
    Bundle,
    Connector,
    Freeze,
    Offboarding,
    PersonalToken,
    Policy,
    RateLimit,
    Role,
    Rule,
    Secret,
    Team,
    Tool,
    ToolDefinition,
    User,
)

SHORTEST, LONGEST = 2, 100
SHORTEST_WORD = 4
"""What is shorter is looked for in names, and not in all that tools say of themselves."""
MOST_OF_A_KIND = 8
PREFIXES = AGENT_KEY, PERSONAL_TOKEN = "gate_ak_", "gate_pt_"
PLAIN = ((Bundle, "inventory_2"), (Policy, "gavel"), (Role, "badge"), (Team, "groups"))
OTHER_ICONS = {"connector": "hub", "secret": "lock", "ratelimit": "speed"}
HAVE_IDS: tuple[type[Model], ...] = (
    Agent, User, AgentCredential, PersonalToken, Tool, Connector, Bundle, Policy, RateLimit, Role, Team, Secret, Freeze,
    Offboarding,
)  # fmt: skip
PAGES = {"agent": "agent_overview", "connector": "connector_overview", "offboarding": "offboarding"}
"""Models whose rows have a page of their own."""


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
    if term.startswith(PREFIXES):
        yield from _keys(sees, term)
        return
    yield from _people(sees, term)
    yield from _agents(sees, term)
    yield from _tools(sees, term)
    yield from _plain(sees, term)
    yield from _rules(sees, term)
    yield from _freezes(sees, term)
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
    """One query for all kinds of rows, then evidence by event or call."""
    parts = [_with_id(model, key) for model in HAVE_IDS if sees(model)]
    if kinds := list(parts[0].union(*parts[1:], all=True)[:1]) if parts else []:
        kind = kinds[0]
        row = next(model for model in HAVE_IDS if model._meta.model_name == kind)._default_manager.get(pk=key)
        yield Hit(visible(str(row)), str(row._meta.verbose_name), _page_of(row), "tag")
    elif sees(EventRow):
        yield from _evidence(key)


def _with_id(model: type[Model], key: UUID) -> QuerySet[Any, Any]:
    rows = model._default_manager.filter(pk=key).order_by().annotate(kind_found=Value(str(model._meta.model_name)))
    found: QuerySet[Any, Any] = rows.values_list("kind_found", flat=True)
    return found


def _evidence(key: UUID) -> Iterator[Hit]:
    """A call before its events; one that was refused at once has the id of its only event."""
    events = EventRow.objects.filter(Q(pk=key) | Q(call_id=key)).defer("header").order_by("id")[:MOST_OF_A_KIND]
    for number, event in enumerate(events):
        if number == 0 and event.kind.startswith("call."):
            link = reverse("call_page", args=[event.call_id or event.pk])
            yield Hit(visible(f"Call of {event.tool}"), f"call of {visible(event.agent)}", link, "call")
        yield Hit(visible(f"{event.kind} {event.tool}"), f"evidence {event.pk}", _page_of(event), "receipt_long")


def _first(rows: QuerySet[Any], term: str, *fields: str, or_else: str = "") -> QuerySet[Any]:
    """Those that contain the term, those that begin with it first; those for which `or_else` is true come last."""
    wanted, begins = Q(), Q()
    for field in fields:
        wanted |= Q(**{f"{field}__icontains": term})
        begins |= Q(**{f"{field}__istartswith": term})
    rank = Case(When(begins, then=Value(0)), When(wanted, then=Value(1)), default=Value(2), output_field=IntegerField())
    among = rows.filter(wanted | Q(**{or_else: True}) if or_else else wanted)
    ranked: QuerySet[Any] = among.annotate(rank=rank).order_by("rank", fields[0])
    return ranked[:MOST_OF_A_KIND]


def _people(sees: _Sees, term: str) -> Iterator[Hit]:
    for person in _first(User.objects.all(), term, "email", "name") if sees(User) else ():
        yield Hit(visible(person.email), f"person {visible(person.name)}", _page_of(person), "person")


def _agents(sees: _Sees, term: str) -> Iterator[Hit]:
    for agent in _first(Agent.objects.all(), term, "name", "title") if sees(Agent) else ():
        yield Hit(agent.name, f"agent {agent.title}", reverse("agent_overview", args=[agent.pk]), "smart_toy")


def _keys(sees: _Sees, term: str) -> Iterator[Hit]:
    """By the visible beginning; somebody who pastes a whole key or token finds its row, too."""
    hint = Q(hint__startswith=term) | Q(hint__in=[term[:length] for length in range(9, 25)])
    if term.startswith(AGENT_KEY) and sees(AgentCredential):
        for key in AgentCredential.objects.filter(hint).select_related("agent")[:MOST_OF_A_KIND]:
            yield Hit(f"{key.hint}…", f"agent key of {key.agent.name}", _page_of(key), "key")
    if term.startswith(PERSONAL_TOKEN) and sees(PersonalToken):
        for token in PersonalToken.objects.filter(hint).select_related("person")[:MOST_OF_A_KIND]:
            whose = f"personal token of {visible(token.person.email)}"
            yield Hit(f"{token.hint}… {visible(token.name)}", whose, _page_of(token), "vpn_key")


def _tools(sees: _Sees, term: str) -> Iterator[Hit]:
    """By name, else by the words of a definition that is served or waits."""
    if not sees(Tool):
        return
    connector, slash, name = term.partition("/")
    rows = Tool.objects.select_related("connector")
    if slash and name:
        rows, term = rows.filter(connector__name=connector), name
    is_told = Exists(_told_with(term)) if len(term) >= SHORTEST_WORD else Value(False)
    for tool in _first(rows.annotate(is_told=is_told), term, "name", or_else="is_told"):
        in_words = "" if term.lower() in tool.name.lower() else ", which speaks of it"
        yield Hit(visible(tool.name), f"tool of {tool.connector.name}{in_words}", _page_of(tool), "build")


def _told_with(term: str) -> QuerySet[ToolDefinition]:
    """Definitions of the tool of the outer query; bodies are canonical JSON, in which a quote is escaped."""
    text = json.dumps(term, ensure_ascii=False)[1:-1]
    status = (ToolDefinition.Status.PINNED, ToolDefinition.Status.WAITING)
    rows = ToolDefinition.objects.filter(tool=OuterRef("pk"), status__in=status).order_by()
    found: QuerySet[ToolDefinition] = rows.annotate(text=BytesAsText("body")).filter(text__icontains=text)
    return found


class BytesAsText(Func):
    """UTF-8 in a binary column, read as text."""

    output_field = TextField()
    template = "CAST(%(expressions)s AS TEXT)"

    def as_postgresql(self, compiler: Any, connection: Any, **options: Any) -> Any:
        return self.as_sql(compiler, connection, template="convert_from(%(expressions)s, 'UTF8')", **options)


def _plain(sees: _Sees, term: str) -> Iterator[Hit]:
    """All kinds that are a name and a title, in one query."""
    parts = [_named(model, term, "title") for model, _ in PLAIN if sees(model)]
    parts += [_named(Connector, term, "title", Q(addresses__icontains=term))] if sees(Connector) else []
    parts += [_named(Secret, term, "description")] if sees(Secret) else []
    parts += [_named(RateLimit, term, "per")] if sees(RateLimit) else []
    if not parts:
        return
    icons = {model._meta.model_name: icon for model, icon in PLAIN} | OTHER_ICONS
    for kind, key, name, title in parts[0].union(*parts[1:], all=True).order_by("named")[: 3 * MOST_OF_A_KIND]:
        link = reverse(PAGES.get(kind, f"admin:governance_{kind}_change"), args=[key])
        called = apps.get_model("governance", kind)._meta.verbose_name
        yield Hit(name, f"{called} {title}", link, icons[kind])


def _named(model: type[Model], term: str, words: str, or_else: Q | None = None) -> QuerySet[Any, Any]:
    wanted = Q(name__icontains=term) | Q(**{f"{words}__icontains": term}) | (or_else or Q())
    rows = model._default_manager.all()
    if model is Connector:
        rows = rows.annotate(addresses=Cast("urls", TextField()))
    rows = rows.filter(wanted).order_by()
    columns = {"sort": Value(str(model._meta.model_name)), "key": F("pk"), "named": F("name"), "words": F(words)}
    found: QuerySet[Any, Any] = rows.annotate(**columns).values_list(*columns)
    return found


def _rules(sees: _Sees, term: str) -> Iterator[Hit]:
    """Of the versions in force, by what they say, test or are about."""
    if not sees(Policy):
        return
    rows = Rule.objects.filter(version__state="published").select_related("version__policy")
    rows = rows.annotate(about=Cast("tools", TextField()))
    wanted = Q(reason__icontains=term) | Q(condition__icontains=term) | Q(about__icontains=term)
    for rule in rows.filter(wanted).order_by("version__policy__name", "position")[:MOST_OF_A_KIND]:
        says = rule.reason or rule.condition or ", ".join(rule.tools)
        title = visible(f"{rule.get_effect_display()}: {says}")
        policy = rule.version.policy
        yield Hit(title, f"rule {rule.position} of the policy {policy.name}", _page_of(policy), "rule")


def _freezes(sees: _Sees, term: str) -> Iterator[Hit]:
    if not sees(Freeze):
        return
    columns = ("reason", "agent__name", "connector__name", "tool__name", "created_by")
    wanted = reduce(or_, (Q(**{f"{column}__icontains": term}) for column in columns))
    rows = Freeze.objects.select_related("agent", "connector", "tool__connector").filter(wanted)
    for freeze in rows.order_by("-created_at")[:MOST_OF_A_KIND]:
        state = "lifted" if freeze.lifted_at else "freeze"
        yield Hit(visible(str(freeze)), visible(f"{state}: {freeze.reason}"), _page_of(freeze), "ac_unit")


def _offboardings(sees: _Sees, term: str) -> Iterator[Hit]:
    rows = Offboarding.objects.select_related("person").filter(person__email__icontains=term)
    for row in rows.order_by("-created_at")[:MOST_OF_A_KIND] if sees(Offboarding) else ():
        link = reverse("offboarding", args=[row.pk])
        yield Hit(f"Offboarding of {visible(row.person.email)}", row.get_state_display(), link, "person_remove")


def _page_of(row: Model) -> str:
    """Its own page where it has one, else its form."""
    options = row._meta
    if options.model_name in PAGES:
        return reverse(PAGES[options.model_name], args=[row.pk])
    return reverse(f"admin:{options.app_label}_{options.model_name}_change", args=[row.pk])
