"""The break-glass account: whether there is a usable one, when it signed in, and what somebody else found."""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import orjson
from django import forms
from django.contrib import messages
from django.http import HttpRequest, HttpResponse, HttpResponseBase
from django.shortcuts import redirect

from audit.event import first_id_at
from audit.models import EventRow
from gateway.actions import act
from gateway.console.breaking.pages import ReviewForm
from gateway.console.pages import GovernedPage
from governance.facts import Fact, Recorder
from governance.models import User

USED, REVIEWED = "break_glass_account.used", "break_glass_account.reviewed"
LOOKED_BACK = timedelta(days=90)
SHOWN = 50
MOST_READ = 200


@dataclass(frozen=True, slots=True)
class Use:
    """A sign-in as evidence keeps it."""

    at: datetime
    person: str
    how: str
    address: str


def unreviewed_uses(now: datetime) -> list[Use]:
    """Newest first: those after the moment up to which somebody has looked."""
    events = EventRow.objects.filter(kind__in=(USED, REVIEWED), call_id=None, id__gte=first_id_at(now - LOOKED_BACK))
    found = [(row, orjson.loads(bytes(row.header))) for row in events.order_by("-id")[:MOST_READ]]
    looked = [datetime.fromisoformat(header["details"]["until"]) for row, header in found if row.kind == REVIEWED]
    uses = [_use(row, header) for row, header in found if row.kind == USED]
    return [use for use in uses if not looked or use.at > max(looked)]


def _use(row: EventRow, header: dict[str, Any]) -> Use:
    details = header["details"]
    return Use(at=row.at, person=row.person, how=str(details.get("how", "")), address=str(details.get("address", "")))


class SeenForm(ReviewForm):
    until = forms.DateTimeField(widget=forms.HiddenInput)


class BreakGlassAccount(GovernedPage):
    """Reviewed by somebody who does not sit in it."""

    permission = "governance.review_grant"
    title = "Break-glass account"
    template_name = "console/breaking/account.html"

    def as_typed(self) -> HttpResponse:
        return self.render_to_response(self.get_context_data(form=SeenForm(self.request.POST)))

    def post(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
        form = SeenForm(request.POST)
        account = User.objects.filter(break_glass=True).first()
        if form.is_valid() and account and account.human_id == self.person.human_id:
            form.add_error(None, "Somebody else reviews what this account did.")
        if not form.is_valid():
            return self.render_to_response(self.get_context_data(form=form), status=400)
        until, note = min(form.cleaned_data["until"], datetime.now(UTC)), form.cleaned_data["note"]

        def work(record: Recorder, now: datetime) -> None:
            record(Fact(REVIEWED, "break-glass account", {"until": until.isoformat(), "note": note}))

        act(work, by=self.by)
        messages.success(request, "Reviewed.")
        return redirect("break_glass_account")

    def get_context_data(self, **kwargs: Any) -> dict[str, Any]:
        uses = unreviewed_uses(datetime.now(UTC))
        return {
            "form": SeenForm(initial={"until": uses[0].at.isoformat()}) if uses else None,
            "uses": uses[:SHOWN],
            "account": User.objects.filter(break_glass=True).first(),
            **super().get_context_data(**kwargs),
        }
