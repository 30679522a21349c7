"""What was masked in a call's arguments and answer, beside what the agent saw instead."""

from functools import cached_property
from typing import Any

from django.http import Http404, HttpRequest, HttpResponse, HttpResponseBase
from django.utils.decorators import method_decorator
from django.views.decorators.debug import sensitive_variables

from gateway.call_story import CallEvents, events_of
from gateway.console.evidence.call_page import OPENS_PAYLOADS, ReasonForm
from gateway.console.pages import GovernedPage
from gateway.hostile_text import block, pretty_json, visible
from gateway.shown_masks import Side, show_masks


class ShowMasks(GovernedPage):
    """The answer to a POST with a reason is kept nowhere: looking again is recorded again. The whole text stands there
    only for who may open it as well."""

    permission = "gateway.show_maskedvalue"
    title = "Masks of a call"
    template_name = "console/evidence/masks.html"
    http_method_names = ("get", "post", "head", "options")

    @cached_property
    def events(self) -> CallEvents:
        events = events_of(self.kwargs["call_id"])
        if events is None:
            raise Http404("There is no such call.")
        return events

    def as_typed(self) -> HttpResponse:
        return self.render_to_response(self.get_context_data(form=ReasonForm(self.request.POST)))

    @method_decorator(sensitive_variables("sides", "shown"))
    def post(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
        form = ReasonForm(request.POST)
        if not form.is_valid():
            return self.render_to_response(self.get_context_data(form=form), status=400)
        sides = show_masks(
            self.events.in_order,
            call_id=self.kwargs["call_id"],
            reason=form.cleaned_data["reason"],
            by=self.by,
            with_bodies=self.may(OPENS_PAYLOADS),
        )
        shown = [self._shown(each) for each in sides]
        return self.render_to_response(self.get_context_data(sides=shown))

    def _shown(self, side: Side) -> dict[str, Any]:
        masked = side.masked
        body = pretty_json(masked.body) if masked.body and self.may(OPENS_PAYLOADS) else ""
        tokens = [(each, "" if each.original is None else block(each.original)) for each in side.tokens]
        return {"title": masked.title, "problem": masked.problem, "body": body, "tokens": tokens, "more": side.left_out}

    def get_context_data(self, **kwargs: Any) -> dict[str, Any]:
        last = self.events.in_order[-1]
        context = {
            "call_id": self.kwargs["call_id"],
            "agent": visible(last.agent),
            "tool": visible(last.tool),
            "form": ReasonForm(),
            "may_open": self.may(OPENS_PAYLOADS),
        }
        return super().get_context_data(**{**context, **kwargs})
