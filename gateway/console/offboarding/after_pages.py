"""After the withdrawal: steps that a human settles, the signature, and taking it all back."""

from datetime import UTC, datetime
from functools import cached_property
from typing import Any

from django.http import HttpRequest, HttpResponse, HttpResponseBase, HttpResponseRedirect
from django.shortcuts import get_object_or_404
from django.urls import reverse

from gateway import actions, offboardings
from gateway.console.offboarding.pages import VIEW
from gateway.console.pages import GovernedPage
from gateway.hostile_text import visible
from governance.models import Offboarding, OffboardingStep
from governance.offboarding import PERMISSION
from governance.offboarding_steps import settle
from governance.offboarding_undo import CannotUndo, Return, preview

LONGEST_WORDS = 200


class SettleStep(GovernedPage):
    """Somebody says that it is done; her words go into the receipt."""

    permission = PERMISSION
    http_method_names = ["post"]

    def post(self, request: HttpRequest, offboarding_id: Any, step_id: Any) -> HttpResponse:
        steps = OffboardingStep.objects.select_related("offboarding__person")
        step = get_object_or_404(steps, pk=step_id, offboarding_id=offboarding_id)
        words = request.POST.get("words", "").strip()[:LONGEST_WORDS] or "done by hand"
        actions.act(lambda record, now: settle(step, words=words, by=self.by, record=record, now=now), by=self.by)
        return HttpResponseRedirect(f"{reverse('offboarding', args=[offboarding_id])}#left")


class UndoPage(GovernedPage):
    """What she gets back and what not; the POST does it."""

    permission = PERMISSION
    template_name = "console/offboarding/undo.html"

    @cached_property
    def offboarding(self) -> Offboarding:
        rows = Offboarding.objects.select_related("person").defer("items", "receipt")
        return get_object_or_404(rows, pk=self.kwargs["offboarding_id"])

    def post(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
        try:
            offboardings.undo_offboarding(self.offboarding, acting=self.person, by=self.by)
        except CannotUndo as error:
            return self.render_to_response(self.get_context_data(refusal=str(error)), status=409)
        return HttpResponseRedirect(reverse("offboarding", args=[self.offboarding.pk]))

    def as_typed(self) -> HttpResponse:
        return self.render_to_response(self.get_context_data())

    def get_context_data(self, **kwargs: Any) -> dict[str, Any]:
        found, refusal = self._found()
        leaver = self.offboarding.person
        return {
            "row": self.offboarding,
            "leaver": leaver,
            "found": found,
            "refusal": refusal,
            **super().get_context_data(**kwargs),
            "title": f"Undo the offboarding of {visible(leaver.name or leaver.email)}",
        }

    def _found(self) -> tuple[Return, str]:
        try:
            return preview(self.offboarding, acting=self.person, now=datetime.now(UTC)), ""
        except CannotUndo as error:
            return Return(), str(error)


class Signature(GovernedPage):
    """The signed note beside the JSON receipt; `manage.py verify_receipt` wants both."""

    permission = VIEW

    def get(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
        found = get_object_or_404(Offboarding.objects.exclude(signature=""), pk=kwargs["offboarding_id"])
        answer = HttpResponse(found.signature.encode(), content_type="text/plain; charset=utf-8")
        answer["Content-Disposition"] = f'attachment; filename="offboarding-{found.pk}.json.sig"'
        return answer


settle_step = SettleStep.as_view()
signature = Signature.as_view()
