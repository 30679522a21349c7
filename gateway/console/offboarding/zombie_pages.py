"""What the weekly sweep finds, as it is now, each sort with its way out."""

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import reverse

from gateway import zombies
from gateway.console.pages import GovernedPage
from gateway.console.taken import TakenPage
from governance.models import Agent, Role
from governance.offboarding import PERMISSION
from governance.zombies import SORTS, each

VIEW = "governance.view_offboarding"
SHOWN = 50


class Zombies(TakenPage):
    permission = VIEW
    title = "What should have ended"
    template_name = "console/offboarding/zombies.html"
    taken_as = "zombies"
    columns = ("sort", "id", "name")

    def lines(self) -> Iterator[tuple[str, ...]]:
        now = datetime.now(UTC)
        for name in SORTS:
            for row in each(name, now):
                yield name, str(row.pk), str(row)

    def get_context_data(self, **kwargs: Any) -> dict[str, Any]:
        now = datetime.now(UTC)
        sorts = [
            {
                "name": name,
                "title": sort.title,
                "explained": sort.explained,
                "can_end": sort.end is not None,
                "count": count,
                "rows": [{"name": str(row), "link": _link(row)} for row in sort.find(now)[:SHOWN]],
                "more": max(0, count - SHOWN),
            }
            for name, sort in SORTS.items()
            if (count := sort.find(now).count())
        ]
        return {
            "sorts": sorts,
            "last": zombies.last_sweep(),
            "may_end": self.request.user.has_perm(PERMISSION),
            **super().get_context_data(**kwargs),
        }


class EndZombies(GovernedPage):
    """All of one sort, as they are at this moment."""

    permission = PERMISSION
    http_method_names = ["post"]

    def post(self, request: HttpRequest, sort: str) -> HttpResponse:
        if sort not in SORTS:
            raise Http404
        if zombies.end_zombies(sort, by=self.by):
            zombies.sweep()
        return HttpResponseRedirect(reverse("zombies"))


def _link(row: Any) -> str:
    """Where a human decides what becomes of it."""
    tables = {Agent: "agent", Role: "role"}
    table = tables.get(type(row))
    return reverse(f"admin:governance_{table}_change", args=[row.pk]) if table else ""


end_zombies = EndZombies.as_view()
