"""The page of one session: its timeline and, for a reason, what was sealed; a bundle of it for outsiders."""

from collections.abc import Iterable, Mapping
from datetime import datetime
from functools import cached_property, partial
from tempfile import TemporaryFile
from typing import Any, ClassVar, Final
from uuid import UUID

from django import forms
from django.core.exceptions import PermissionDenied
from django.http import FileResponse, Http404, HttpRequest, HttpResponse, HttpResponseBase
from django.urls import reverse
from django.utils.safestring import SafeString
from django.views.generic import TemplateView

from audit.bundle import CannotExport
from audit.checkpoint import BadKey
from gateway.actions import act
from gateway.console.acting import person_of
from gateway.console.evidence.call_page import OPENS_PAYLOADS, ReasonForm
from gateway.console.pages import ConsolePage
from gateway.console.step_up import needs_fresh_login
from gateway.hostile_text import pretty_json, visible
from gateway.sealed_payloads import Opened, opened, opening_session, sealed_payloads
from gateway.session_bundles import MOST_LINES, leaving, write_bundle
from gateway.session_story import SessionPage, events_from, page_of
from governance.facts import Fact, Recorder

EXPORTS = "governance.export_eventrow"
ADMIN: Final = {"frame": "console/page.html", "page": "session_page", "open": "open_session"}


class BundleForm(forms.Form):
    """`reason` opens the payloads; without one the bundle holds none."""

    reason = forms.CharField(
        label="Why must the payloads go along? Leave it empty to export without them.",
        min_length=8,
        max_length=500,
        required=False,
        widget=forms.Textarea(attrs={"rows": 2}),
    )


class Timeline(TemplateView):
    """What both pages of a session show; `at` in the address names the line it begins with, which is opened."""

    template_name = "console/evidence/session.html"
    names: ClassVar[Mapping[str, str]]
    """Of the addresses that this page leads to, and the frame around it."""

    @cached_property
    def start(self) -> UUID | None:
        """None for nonsense: whoever edits the address gets the beginning."""
        try:
            return UUID(self.request.GET.get("at", ""))
        except ValueError:
            return None

    @cached_property
    def page(self) -> SessionPage:
        page = page_of(self.kwargs["run_id"], start=self.start)
        if page is None:
            raise Http404("There is no such session.")
        return page

    def may(self, permission: str) -> bool:
        return bool(self.request.user.has_perm(permission))

    def get_context_data(self, **kwargs: Any) -> dict[str, Any]:
        page, first = self.page, self.page.first
        context = {
            "page": page,
            "agent": visible(first.agent),
            "row": first,
            "at": self.start,
            "sealed": sealed_payloads(page.events).exists(),
            "may_open": self.may(OPENS_PAYLOADS),
            "may_export": self.may(EXPORTS),
            "form": ReasonForm(),
            "bundle_form": BundleForm(prefix="bundle"),
            "most_lines": MOST_LINES,
            "frame": self.names["frame"],
            "is_admin": self.names["frame"] == ADMIN["frame"],
            "here": reverse(self.names["page"], args=[page.id]),
            "open_at": reverse(self.names["open"], args=[page.id]),
        }
        bodies = kwargs.pop("bodies", {})
        lines = [(entry, bodies.get(entry.id, ())) for entry in page.entries]
        return super().get_context_data(**{**context, **kwargs, "lines": lines})

    def refused(self, **context: Any) -> HttpResponse:
        return self.render_to_response(self.get_context_data(**context), status=400)


class Opening(Timeline):
    """A POST with a reason opens what this page of the timeline has sealed. Looking again is recorded again."""

    http_method_names = ["post", "options"]

    def as_typed(self) -> HttpResponse:
        return self.render_to_response(self.get_context_data(form=ReasonForm(self.request.POST)))

    def post(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
        if not self.may(OPENS_PAYLOADS):
            raise PermissionDenied
        if again := needs_fresh_login(request, OPENS_PAYLOADS, as_typed=self.as_typed):
            return again
        form = ReasonForm(request.POST)
        if not form.is_valid():
            return self.refused(form=form)
        events, reason = self.page.events, form.cleaned_data["reason"]
        fact = opening_session(events, session=self.page.id, reason=reason)
        act(lambda record, _: record(fact), by=person_of(request))
        bodies: dict[UUID, list[tuple[str, SafeString | str, str]]] = {}
        owners = {event.pk: entry.id for entry in self.page.entries for event in entry.events}
        for each in opened(events):
            assert each.event_id is not None
            bodies.setdefault(owners[each.event_id], []).append(_shown(each))
        return self.render_to_response(self.get_context_data(bodies=bodies, reason=reason))


class SessionTimeline(Timeline, ConsolePage):
    """In the admin."""

    permission = "audit.view_eventrow"
    title = "One session"
    names: ClassVar[Mapping[str, str]] = ADMIN


class OpenSession(Opening, SessionTimeline):
    pass


class SessionBundle(SessionTimeline):
    """A POST gives the .zip. With a reason the payloads go along, if she may open them."""

    http_method_names = ("post", "options")

    def as_typed(self) -> HttpResponse:
        return self.render_to_response(self.get_context_data(bundle_form=self.form))

    @cached_property
    def form(self) -> BundleForm:
        return BundleForm(self.request.POST, prefix="bundle")

    def post(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
        if not self.may(EXPORTS):
            raise PermissionDenied
        if not self.form.is_valid():
            return self.refused(bundle_form=self.form)
        if reason := self.form.cleaned_data["reason"]:
            if not self.may(OPENS_PAYLOADS):
                raise PermissionDenied
            if again := needs_fresh_login(request, OPENS_PAYLOADS, as_typed=self.as_typed):
                return again
        session, events = self.page.id, events_from(self.page.id, self.start, MOST_LINES)
        facts = leaving(events, session=session, reason=reason)
        at = act(partial(_record_all, facts), by=person_of(request))
        file = TemporaryFile()  # noqa: SIM115  (the response closes it)
        try:
            write_bundle(file, session, events, with_payloads=bool(reason), at=at)
        except (CannotExport, BadKey) as error:
            file.close()
            self.form.add_error(None, str(error))
            return self.refused(bundle_form=self.form)
        file.seek(0)
        return FileResponse(file, as_attachment=True, filename=f"session-{session}.zip")


def _record_all(facts: Iterable[Fact], record: Recorder, now: datetime) -> datetime:
    for fact in facts:
        record(fact)
    return now


def _shown(each: Opened) -> tuple[str, SafeString | str, str]:
    return each.title, pretty_json(each.body) if each.body else "", each.problem
