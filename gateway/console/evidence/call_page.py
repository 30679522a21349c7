"""The page of one call: its story, its proof, and, for a reason, what was sealed."""

from dataclasses import dataclass
from functools import cached_property
from typing import Any
from uuid import UUID

from django import forms
from django.core.exceptions import PermissionDenied
from django.http import Http404, HttpRequest, HttpResponse, JsonResponse

from audit.kinds import CALL_ENDS
from audit.models import EventRow
from audit.proof import Proof, prove
from gateway.call_story import CallEvents, Story, events_of, story_of
from gateway.console.acting import person_of
from gateway.console.pages import ConsolePage
from gateway.console.step_up import needs_fresh_login
from gateway.hostile_text import pretty_json, visible
from gateway.sealed_payloads import open_payloads, sealed_payloads

SEES_PROOFS = "audit.view_leaf"
OPENS_PAYLOADS = "audit.view_payload"


class ReasonForm(forms.Form):
    reason = forms.CharField(
        label="Why do you need to see it?",
        min_length=8,
        max_length=500,
        help_text="Your name, the time and this reason are recorded before anything is shown.",
        widget=forms.Textarea(attrs={"rows": 2}),
    )


@dataclass(frozen=True, slots=True)
class ProvenEvent:
    """An event of the call and where it stands in the log; no proof until a checkpoint covers it."""

    event: EventRow
    proof: Proof | None


class CallPage(ConsolePage):
    """`call_id` in the address is the call's id or, for a call that was refused at once, its event's."""

    permission = "audit.view_eventrow"
    title = "One call"
    template_name = "console/evidence/call.html"

    @cached_property
    def events(self) -> CallEvents:
        events = events_of(self.kwargs["call_id"])
        if events is None:
            raise Http404("There is no such call.")
        return events

    @cached_property
    def story(self) -> Story:
        return story_of(self.events)

    @property
    def in_order(self) -> list[EventRow]:
        return self.events.in_order

    @property
    def proofs(self) -> list[ProvenEvent]:
        return [ProvenEvent(event, prove(event)) for event in self.in_order]

    def get_context_data(self, **kwargs: Any) -> dict[str, Any]:
        person, last = self.request.user, self.story.last.row
        context = {
            "story": self.story,
            "row": last,
            "agent": visible(last.agent),
            "tool": visible(last.tool),
            "wanted": f"{last.connector}/{last.tool}" if last.tool else self.story.start.text("asked_for"),
            "earlier": _neighbour(last, "lt"),
            "later": _neighbour(last, "gt"),
            "proofs": self.proofs if person.has_perm(SEES_PROOFS) else None,
            "sealed": sealed_payloads(self.in_order).exists(),
            "may_open": person.has_perm(OPENS_PAYLOADS),
            "form": ReasonForm(),
        }
        return super().get_context_data(**{**context, **kwargs})


class OpenPayloads(CallPage):
    """A POST with a reason. Its answer shows the bodies and is kept nowhere: looking again is recorded again."""

    http_method_names = ("post", "options")

    def as_typed(self) -> HttpResponse:
        return self.render_to_response(self.get_context_data(form=ReasonForm(self.request.POST)))

    def post(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
        if not request.user.has_perm(OPENS_PAYLOADS):
            raise PermissionDenied
        if again := needs_fresh_login(request, OPENS_PAYLOADS, as_typed=self.as_typed):
            return again
        form = ReasonForm(request.POST)
        if not form.is_valid():
            return self.render_to_response(self.get_context_data(form=form), status=400)
        reason, by = form.cleaned_data["reason"], person_of(request)
        opened = open_payloads(self.in_order, call_id=self.story.id, reason=reason, by=by)
        shown = [(each.title, pretty_json(each.body) if each.body else "", each.problem) for each in opened]
        return self.render_to_response(self.get_context_data(opened=shown))


class CallProof(CallPage):
    """The proofs of a call's events as one file, for checking elsewhere."""

    def get(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
        if not request.user.has_perm(SEES_PROOFS):
            raise PermissionDenied
        proven = [each.proof.as_json() for each in self.proofs if each.proof]
        answer = JsonResponse({"call": str(self.story.id), "proofs": proven}, json_dumps_params={"indent": 2})
        answer["Content-Disposition"] = f'attachment; filename="call-{self.story.id}-proof.json"'
        return answer


def _neighbour(event: EventRow, direction: str) -> UUID | None:
    """The same agent's call before or after this one, by the id its page has."""
    order = "-id" if direction == "lt" else "id"
    calls = EventRow.objects.filter(agent=event.agent, kind__in=CALL_ENDS, **{f"id__{direction}": event.pk})
    found = calls.order_by(order).values_list("call_id", "id").first()
    return (found[0] or found[1]) if found else None
