"""Evidence reports on screen: chosen, made in the background, taken along with a record of it."""

from datetime import UTC, datetime
from typing import Any

from django import forms
from django.core.exceptions import ValidationError
from django.http import Http404, HttpRequest, HttpResponseBase
from django.shortcuts import get_object_or_404, redirect

from audit.search import Moment
from gateway.compliance import keeping
from gateway.compliance.packs import PACKS
from gateway.compliance.report import CannotReport, Wish
from gateway.compliance.sections import SECTIONS
from gateway.console.pages import GovernedPage
from gateway.console.wording import counted
from gateway.models import Report
from gateway.streams import sent_as_read
from governance.models import User

TONES = {"waiting": "info", "making": "info", "done": "good", "failed": "bad"}
LISTED = 50


class ReportForm(forms.Form):
    pack = forms.ChoiceField(choices=[(pack.key, pack.title) for pack in PACKS.values()], label="For which framework")
    since = Moment(label="From (UTC)")
    until = Moment(label="To (UTC)", help_text="The end, itself not included.")
    person = forms.EmailField(
        required=False,
        label="About one person",
        help_text="Her e-mail address, for what GDPR calls a right of access. Leave it empty otherwise.",
    )

    def clean_person(self) -> User | None:
        address = self.cleaned_data["person"]
        person = User.objects.filter(email__iexact=address).first()
        if address and person is None:
            raise ValidationError("There is nobody of this address.")
        return person

    def clean(self) -> dict[str, Any]:
        cleaned = super().clean() or self.cleaned_data
        pack = PACKS.get(cleaned.get("pack", ""))
        if cleaned.get("person") and pack and "person" not in pack.sections:
            self.add_error("person", f"{pack.title} tells of nobody in particular. Choose GDPR, or leave this empty.")
        return cleaned

    def wish(self, *, by: str) -> Wish:
        told = self.cleaned_data
        return Wish(PACKS[told["pack"]], told["since"], told["until"], by, datetime.now(UTC), told["person"])


class Reports(GovernedPage):
    """What was made, and the form for the next."""

    permission = "gateway.view_report"
    title = "Compliance reports"
    template_name = "console/compliance/reports.html"

    def post(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
        if refusal := self.refuse_unless("gateway.add_report"):
            return refusal
        form = ReportForm(request.POST)
        if form.is_valid():
            try:
                row = keeping.ask(form.wish(by=self.by))
            except CannotReport as reason:
                form.add_error("until", str(reason))
            else:
                return redirect("report", report_id=row.pk)
        return self.render_to_response(self.get_context_data(form=form), status=400)

    def get_context_data(self, **kwargs: Any) -> dict[str, Any]:
        return {
            "form": ReportForm(),
            "packs": PACKS.values(),
            "may_make": self.may("gateway.add_report"),
            "lines": [_line(row) for row in Report.objects.all()[:LISTED]],
            **super().get_context_data(**kwargs),
        }


class ReportPage(GovernedPage):
    """One report: how far it is, what each control's evidence shows and does not, and its files."""

    permission = "gateway.view_report"
    template_name = "console/compliance/report.html"

    def get_context_data(self, **kwargs: Any) -> dict[str, Any]:
        row = get_object_or_404(Report, pk=self.kwargs["report_id"])
        counts = row.told.get("lines", {})
        controls = [
            (control, [_counted(SECTIONS[key].title, counts.get(key)) for key in control.sections])
            for control in PACKS[row.pack].controls
        ]
        return {
            **_line(row),
            "controls": controls,
            "cut": [SECTIONS[key].title for key in row.told.get("cut", ())],
            "digests": row.told.get("sha256", {}),
            "is_running": row.state in (Report.State.WAITING, Report.State.MAKING),
            **super().get_context_data(**kwargs),
            "title": PACKS[row.pack].title,
        }


class ReportFile(GovernedPage):
    """A POST, because that it was taken along is recorded."""

    permission = "gateway.view_report"
    http_method_names = ("post", "options")

    def post(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
        row = get_object_or_404(Report, pk=kwargs["report_id"], state=Report.State.DONE)
        file = kwargs["file"]
        if file not in keeping.TYPES:
            raise Http404
        keeping.take_along(row, file, by=self.by)
        parts, name = keeping.parts_of(row, file), keeping.file_name(row, file)
        return sent_as_read(request, parts, media_type=keeping.TYPES[file], filename=name)


def _counted(title: str, lines: int | None) -> str:
    return title if lines is None else f"{title}: {counted(lines, 'line')}"


def _line(row: Report) -> dict[str, Any]:
    return {"row": row, "pack": PACKS[row.pack], "tone": TONES[row.state], "state": row.get_state_display()}
