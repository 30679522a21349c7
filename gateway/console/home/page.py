"""The home page in parts. The page shows them first; the WebSocket sends those that have changed since."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, TypeVar, cast

from django.core.cache import cache
from django.http import HttpRequest
from django.template.loader import render_to_string

from gateway.console.home import numbers
from gateway.console.home.attention import needs_of
from gateway.console.home.charts import calls_by_decision
from gateway.console.home.first_steps import first_steps
from gateway.evidence_health import read_health
from governance.models import User

SEES_NUMBERS = "audit.view_calltally"
SEES_EVENTS = "audit.view_eventrow"
SEES_EVIDENCE = "audit.view_checkpoint"
SEES_GATEWAYS = "gateway.view_gatewayprocess"
DUTIES = (SEES_NUMBERS, SEES_EVIDENCE, "governance.view_agent")

SHARED_SECONDS = 3

Context = dict[str, Any]
Read = TypeVar("Read")


@dataclass(frozen=True, slots=True)
class Part:
    """A piece of the page with a template of its own; `permission` is what it takes to see it ("" = nothing)."""

    name: str
    permission: str
    read: Callable[[User, datetime], Context]

    def render(self, person: User, now: datetime) -> str:
        return render_to_string(f"console/home/{self.name}.html", {**self.read(person, now), "now": now})


def _shared(read: Callable[[datetime], Read], now: datetime) -> Read:
    """The same for everybody, so many who look at the page at once cost what one does."""
    return cast(Read, cache.get_or_set(f"home.{read.__name__}", lambda: read(now), SHARED_SECONDS))


def _numbers(person: User, now: datetime) -> Context:
    seen = _shared(numbers.numbers, now)
    live = numbers.running(now) if person.has_perm(SEES_GATEWAYS) else None
    may_look = person.has_perm(SEES_EVENTS)
    return {"numbers": seen, "running": live, "may_look": may_look, "chart": calls_by_decision(seen.hours)}


def _tools(person: User, now: datetime) -> Context:
    slowest, denied = _shared(numbers.top_tools, now)
    may_look = person.has_perm(SEES_EVENTS)
    return {"slowest": slowest, "most_denied": denied, "agents": _shared(numbers.top_agents, now), "may_look": may_look}


def _evidence(person: User, now: datetime) -> Context:
    return {"health": numbers.evidence_health(), "more": _shared(read_health, now)}


PARTS: tuple[Part, ...] = (
    Part("steps", "", lambda person, now: {"steps": first_steps(person)}),
    Part("attention", "", lambda person, now: {"needs": needs_of(person, now)}),
    Part("evidence", SEES_EVIDENCE, _evidence),
    Part("numbers", SEES_NUMBERS, _numbers),
    Part("tables", SEES_NUMBERS, _tools),
)


def parts_for(person: User, now: datetime) -> dict[str, str]:
    """Name of a part -> its HTML, for all this person may see."""
    allowed = (part for part in PARTS if not part.permission or person.has_perm(part.permission))
    return {part.name: part.render(person, now) for part in allowed}


def with_home(request: HttpRequest, context: Context) -> Context:
    """What the admin's index shows beside its lists."""
    person = request.user
    has_duty = isinstance(person, User) and any(map(person.has_perm, DUTIES))
    parts = parts_for(person, datetime.now(UTC)) if isinstance(person, User) and has_duty else {}
    return {**context, "parts": parts, "has_duty": has_duty}
