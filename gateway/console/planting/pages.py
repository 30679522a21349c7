"""The value of a canary, shown once to whoever plants it."""

from typing import Any

from django.http import HttpRequest, HttpResponseBase
from django.shortcuts import get_object_or_404
from django.utils.decorators import method_decorator
from django.views.decorators.debug import sensitive_variables

from gateway.actions import act
from gateway.console.pages import GovernedPage
from governance.canaries import NotShown, parts_of, show_once
from governance.models import Canary


@method_decorator(sensitive_variables("value", "context"), name="post")
class ShowCanary(GovernedPage):
    """The answer to the POST is the only page that ever shows it."""

    permission = "governance.show_canary"
    title = "Plant a canary"
    template_name = "console/planting/canary.html"
    http_method_names = ("get", "post", "head", "options")

    @property
    def canary(self) -> Canary:
        return get_object_or_404(Canary, pk=self.kwargs["canary_id"])

    def post(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
        canary = self.canary
        try:
            value = act(lambda record, now: show_once(canary, record=record, now=now), by=self.by)
        except NotShown as reason:
            return self.render_to_response(self.get_context_data(problem=str(reason)), status=409)
        return self.render_to_response(self.get_context_data(values=parts_of(canary.kind, value)))

    def get_context_data(self, **kwargs: Any) -> dict[str, Any]:
        return super().get_context_data(**{"canary": self.canary, **kwargs})
