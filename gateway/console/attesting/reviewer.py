"""What a reviewer has to attest: who holds what, and her word on it with a reason. On a phone, without scripts."""

from typing import Any

from django.contrib import messages
from django.db import OperationalError
from django.http import HttpRequest, HttpResponseBase
from django.shortcuts import get_object_or_404, redirect

from gateway import access_reviews
from gateway.console.approvals.frame import ApprovalsPage
from gateway.hostile_text import visible
from governance.access_reviews import CannotReview, waiting_for
from governance.models import AccessReviewItem

SHOWN = 30
DECISIONS = frozenset(AccessReviewItem.Decision.values)
BUSY = "The system was busy and nothing was saved. Please try again."


class ToAttest(ApprovalsPage):
    """There for everybody who is signed in; what is not hers to attest is not there."""

    template_name = "console/attesting/reviews.html"

    def get_context_data(self, **kwargs: Any) -> dict[str, Any]:
        waiting = waiting_for(self.person)
        return {
            **super().get_context_data(**kwargs),
            "place": "reviews",
            "items": waiting[:SHOWN],
            "total": waiting.count(),
        }


class Attest(ApprovalsPage):
    """A page of its own shows nothing: the list has it all. What is not hers does not exist."""

    http_method_names = ("post", "options")

    def post(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
        item = get_object_or_404(waiting_for(self.person), pk=kwargs["item_id"])
        decision = request.POST.get("decision", "")
        if decision not in DECISIONS:
            messages.error(request, "Press Keep or Revoke.")
            return redirect("to_attest")
        try:
            done = access_reviews.attest(item, decision, by=self.person, reason=request.POST.get("reason", ""))
        except CannotReview as reason:
            messages.error(request, str(reason))
        except OperationalError:
            messages.error(request, BUSY)
        else:
            messages.success(request, f"{visible(done.subject)}, {visible(done.held)}: {done.effect or 'kept'}.")
        return redirect("to_attest")
