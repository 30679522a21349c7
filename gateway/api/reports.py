"""Compliance reports: asked for, made by the worker, taken along with a record of it."""

from typing import Any, ClassVar
from uuid import UUID

from django.http import HttpResponseBase
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.generics import get_object_or_404
from rest_framework.request import Request
from rest_framework.response import Response

from gateway.api.bodies import JsonRenderer, PdfAccepted, ZipAccepted
from gateway.api.fields import Choice, Empty, Moment, Parameters, Reference, Row, Strict, Text
from gateway.api.problems import FieldError, Problem, of_fields
from gateway.api.resource import NO_ARGUMENTS, Act, Endpoint, Listed, Retrieved
from gateway.compliance import keeping
from gateway.compliance.packs import PACKS
from gateway.compliance.report import CannotReport, Wish
from gateway.models import Report
from gateway.streams import sent_as_read
from governance.models import User

NAMES = sorted(PACKS)
ADD, VIEW = "gateway.add_report", "gateway.view_report"


class ReportRow(Row):
    lines = serializers.DictField(source="told.lines", default={}, read_only=True, help_text="Of each section.")
    cut = serializers.ListField(
        source="told.cut", default=[], read_only=True, help_text="Sections with more lines than a report may have."
    )
    sha256 = serializers.DictField(source="told.sha256", default={}, read_only=True, help_text="Of each file.")

    class Meta:
        model = Report
        fields = (
            "id", "pack", "since", "until", "person", "state", "asked_by", "asked_at", "made_at", "problem", "lines",
            "cut", "sha256",
        )  # fmt: skip
        read_only_fields = fields


class ReportWish(Strict):
    pack = Choice(choices=NAMES)
    since = Moment()
    until = Moment(help_text="The end, itself not included.")
    person = Reference(
        User, by="email", required=False, allow_null=True, default=None,
        help_text="For what GDPR calls a right of access: whose data it is about.",
    )  # fmt: skip


class ReportParameters(Parameters):
    pack = Choice(choices=NAMES, required=False)
    state = Choice(choices=Report.State.choices, required=False)
    person = Text(required=False, max_length=254)


class Reports(Listed, Retrieved):
    """Made in the background: `state` tells when one is done. Its files go after 90 days. Newest first."""

    queryset = Report.objects.all()
    serializer_class = ReportRow
    parameters = ReportParameters
    order = ("-asked_at", "id")
    permissions = {"create": ADD}

    @extend_schema(request=ReportWish, responses={201: ReportRow})
    def create(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        """Asks for one. It shows what the evidence of a period tells of each control of a framework."""

        def work(act: Act) -> Response:
            told = self.wish(ReportWish)
            wish = Wish(PACKS[told["pack"]], told["since"], told["until"], act.by, act.now, told["person"])
            try:
                row = keeping.ask_within(wish, record=act.record, now=act.now)
            except CannotReport as reason:
                raise of_fields([FieldError("until", "rule", str(reason))]) from None
            response = self.answered(row, status=201)
            response["Location"] = f"{request.path}/{response.data['id']}"
            return response

        return self.governed(work)


class _ReportFile(Endpoint):
    queryset = Report.objects.all()
    permissions = {"create": VIEW}
    file: ClassVar[str]

    def taken(self, report_id: UUID) -> HttpResponseBase:
        self.wish(Empty)
        row = get_object_or_404(Report, pk=report_id)
        if row.state != Report.State.DONE:
            raise Problem("conflict", f"It is not made: {row.problem or row.get_state_display().lower()}.")
        self.note(keeping.fact_of_taking(row, self.file))
        parts, name = keeping.parts_of(row, self.file), keeping.file_name(row, self.file)
        return sent_as_read(self.request._request, parts, media_type=keeping.TYPES[self.file], filename=name)


class ReportZip(_ReportFile):
    """All lines, what proves them, and the program that checks it."""

    renderer_classes = (JsonRenderer, ZipAccepted)
    file = keeping.ZIP

    @extend_schema(request=NO_ARGUMENTS, responses={(200, "application/zip"): OpenApiTypes.BINARY})
    def create(self, request: Request, report_id: UUID) -> HttpResponseBase:
        """The whole report. A POST, because that it is taken along is recorded first."""
        return self.taken(report_id)


class ReportPdf(_ReportFile):
    """What each control's evidence shows and does not show, and the first lines of each section."""

    renderer_classes = (JsonRenderer, PdfAccepted)
    file = keeping.PDF

    @extend_schema(request=NO_ARGUMENTS, responses={(200, "application/pdf"): OpenApiTypes.BINARY})
    def create(self, request: Request, report_id: UUID) -> HttpResponseBase:
        """On paper. A POST, because that it is taken along is recorded first."""
        return self.taken(report_id)
