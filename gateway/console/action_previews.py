"""The page between choosing an action and doing it, and what a deletion is said to take along."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any, ClassVar, TypeVar, cast

from django.apps import apps
from django.contrib import messages
from django.contrib.admin import helpers
from django.db.models import Model, QuerySet
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.utils.text import capfirst

from gateway.console.impact import Impact, Proposal, impact_of
from gateway.console.skin import ModelAdmin
from gateway.hostile_text import visible

MOST_ROWS_AT_ONCE = 500

Row = TypeVar("Row", bound=Model)


@dataclass(frozen=True, slots=True)
class Stays:
    """A row that an action leaves alone, and why, in a sentence."""

    row: Model
    reason: str

    @property
    def shown(self) -> str:
        return visible(str(self.row))


class ActionPreviews(ModelAdmin):  # type: ignore[misc]
    """`parts` are models that live and die with a row: deleting it needs no permission of its own for them."""

    parts: ClassVar[tuple[type[Model], ...]] = ()

    def confirmed(self, request: HttpRequest) -> bool:
        return request.POST.get("confirmed") == "yes"

    def response_action(self, request: HttpRequest, queryset: QuerySet[Row]) -> HttpResponse | None:
        """What was confirmed is done to the rows of the preview, not to all that match by now."""
        if self.confirmed(request) or request.POST.get("post"):
            queryset = queryset.filter(pk__in=request.POST.getlist(helpers.ACTION_CHECKBOX_NAME))
        return cast(HttpResponse | None, super().response_action(request, queryset))

    def preview(
        self,
        request: HttpRequest,
        chosen: QuerySet[Row],
        *,
        action: str,
        verb: str,
        effect: str,
        proposal: Proposal | None = None,
        staying: Sequence[Stays] = (),
    ) -> HttpResponse:
        """The page between choosing an action and doing it: how many, which, and what will happen.

        `proposal` is the snapshot as it would be; then the page also says who gains or loses what. `staying` are
        those chosen to which it will not be done.
        """
        rows = list(chosen[: MOST_ROWS_AT_ONCE + 1])
        if len(rows) > MOST_ROWS_AT_ONCE:
            text = f"Nothing was done: choose at most {MOST_ROWS_AT_ONCE} rows at once, for instance by a filter."
            self.message_user(request, text, messages.ERROR)
            return HttpResponseRedirect(request.get_full_path())
        context = {
            **self.admin_site.each_context(request),
            "title": f"{verb} {counted_rows(chosen.model, len(rows))}?",
            "opts": self.opts,
            "media": self.media,
            "verb": verb,
            "effect": effect,
            "impact": _when_rendered(proposal) if proposal and rows else None,
            "count": len(rows),
            "staying": staying,
            "rows": rows[:100],
            "action": action,
            "checkbox_name": helpers.ACTION_CHECKBOX_NAME,
            "selected": [row.pk for row in rows],
        }
        return TemplateResponse(request, "admin/preview_action.html", context)

    def get_deleted_objects(self, objs: Iterable[Any], request: HttpRequest) -> tuple[Any, Any, set[str], Any]:
        """Links between rows are no things of their own to somebody who deletes one."""
        found, counts, lacking, protected = super().get_deleted_objects(objs, request)
        links = [model._meta for model in apps.get_models(include_auto_created=True) if model._meta.auto_created]
        titles = tuple(f"{capfirst(link.verbose_name)}: " for link in links)
        counts = {
            name: count for name, count in counts.items() if name not in {link.verbose_name_plural for link in links}
        }
        return (
            _without(found, titles),
            counts,
            lacking - {str(part._meta.verbose_name) for part in self.parts},
            protected,
        )


def _when_rendered(proposal: Proposal) -> Callable[[], Impact | None]:
    """Worked out once, by the template: by then the POST's transaction is over and holds up nobody."""
    return cache(lambda: impact_of(proposal))


def _without(tree: list[Any], beginnings: tuple[str, ...]) -> list[Any]:
    """The nested list without the texts that begin so."""
    return [
        _without(item, beginnings) if isinstance(item, list) else item
        for item in tree
        if isinstance(item, list) or not str(item).startswith(beginnings)
    ]


def counted_rows(model: type[Model], count: int) -> str:
    options = model._meta
    return f"{count} {options.verbose_name if count == 1 else options.verbose_name_plural}"
