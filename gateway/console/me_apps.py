"""The clients a person let in, and ending that; what is somebody else's does not exist here."""

from typing import Any
from uuid import UUID

from django.conf import settings
from django.contrib import messages
from django.http import HttpRequest, HttpResponseBase
from django.shortcuts import get_object_or_404, redirect

from gateway.actions import act
from gateway.console.acting import person_of
from gateway.console.me import OwnPage
from governance import authorizations
from governance.oauth_resources import bundle_of

SHOWN = 200


class MyApps(OwnPage):
    template_name = "console/me_apps.html"

    def get_context_data(self, **kwargs: Any) -> dict[str, Any]:
        rows = list(authorizations.live_of_person(self.person, now=self.now).order_by("-created_at")[:SHOWN])
        for row in rows:
            row.bundle = bundle_of(row.resource, origin=settings.PUBLIC_URL)  # type: ignore[attr-defined]
        return {**super().get_context_data(**kwargs), "apps": rows}


class EndMyApp(OwnPage):
    """The safe direction, so it takes one click."""

    http_method_names = ("post",)

    def post(self, request: HttpRequest, authorization_id: UUID) -> HttpResponseBase:
        row = get_object_or_404(authorizations.live_of_person(self.person, now=self.now), pk=authorization_id)
        by = person_of(request)
        act(lambda record, now: authorizations.revoke(row, by=by, record=record, now=now), by=by)
        messages.success(request, f"{row.client or row.agent} can do nothing for you any more.")
        return redirect("my_apps")
