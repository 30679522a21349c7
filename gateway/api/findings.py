"""The inbox of findings: what inspection saw, what humans say of it, and how often each rule was wrong."""

from collections.abc import Mapping
from typing import Any, Final

from django.db.models import QuerySet
from drf_spectacular.utils import extend_schema, extend_schema_field
from rest_framework import serializers
from rest_framework.generics import get_object_or_404
from rest_framework.request import Request
from rest_framework.response import Response

from audit.false_alarms import rates
from audit.models import FindingGroup, Sighting
from audit.sightings import seen_with
from gateway import triage
from gateway.api.exceptions import ExceptionRow
from gateway.api.fields import Choice, Moment, Parameters, Row, Strict, Text
from gateway.api.pagination import page_of
from gateway.api.problems import Problem
from gateway.api.resource import Act, Endpoint, Listed, Retrieved, Under, act
from gateway.api.serializers.named import Name
from governance.models import PatternException
from governance.pattern_exceptions import set_exception

VIEW: Final = "audit.view_findinggroup"
OPEN: Final = "open"
VERDICTS: Final = (FindingGroup.TRUE, FindingGroup.FALSE, OPEN)


@extend_schema_field(serializers.ChoiceField(choices=VERDICTS))
class Verdict(Choice):
    """`open` where nobody has said."""

    def __init__(self, **options: Any) -> None:
        super().__init__(choices=VERDICTS, **options)

    def to_internal_value(self, value: Any) -> str:
        said = super().to_internal_value(value)
        return triage.OPEN if said == OPEN else said

    def to_representation(self, value: Any) -> str:
        return value or OPEN


class FindingRow(Row):
    verdict = Verdict(read_only=True)

    class Meta:
        model = FindingGroup
        fields = (
            "id", "rule", "version", "kind", "fingerprint", "connector", "tool", "records", "excepted", "first_at",
            "last_at", "verdict", "note", "judged_by", "judged_at",
        )  # fmt: skip
        read_only_fields = fields


class FindingParameters(Parameters):
    verdict = Verdict(required=False)
    rule = Text(required=False, max_length=100)
    kind = Text(required=False, max_length=20)
    connector = Text(required=False, max_length=63)
    tool = Text(required=False, max_length=200)
    agent = Text(required=False, max_length=63, help_text="With which it was seen.")


class Judgement(Strict):
    verdict = Verdict()
    note = Text(
        required=False, default="", allow_blank=True, max_length=triage.NOTE_LIMIT,
        help_text="Why; needed unless it was there. The evidence keeps it. Do not repeat the value.",
    )  # fmt: skip


class Allowance(Strict):
    name = Name(help_text="Of the exception; evidence names it.")
    ends_at = Moment()
    reason = Text(max_length=500)


class Findings(Listed, Retrieved):
    """What was found of one rule and one value at one tool, newest first. The worker counts it from the log."""

    queryset = FindingGroup.objects.all()
    serializer_class = FindingRow
    parameters = FindingParameters
    order = ("-last_at", "id")

    def narrowed(self, rows: QuerySet[Any], filters: Mapping[str, Any]) -> QuerySet[Any]:
        plain = dict(filters)
        agent = plain.pop("agent", None)
        return rows.filter(**plain) if agent is None else rows.filter(seen_with(agent), **plain)

    @act(triage.PERMISSION, takes=Judgement)
    def judge(self, request: Request, pk: Any) -> Response:
        """Says whether it was there or a false alarm. A later word takes the place of an earlier one; the evidence
        keeps both."""

        def work(finding: FindingGroup, act: Act, wish: Mapping[str, Any]) -> None:
            triage.judge(finding.pk, **wish, by=act.by, record=act.record, now=act.now)

        return self.on_row(work)

    @act("governance.add_patternexception", takes=Allowance, gives=ExceptionRow, status=201)
    def allow(self, request: Request, pk: Any) -> Response:
        """Excepts its value at its tool for a time, or, where values are not told apart, the place where it was seen
        last. Another pattern is allowed by POST exceptions."""

        def work(act: Act) -> Response:
            pattern = triage.pattern_of(self.locked())
            if pattern["tool"] is None:
                raise Problem("conflict", "Its tool is not there any more.")
            row = PatternException(**pattern, **self.wish(Allowance))
            set_exception(row, acting=act.person, by=act.by, record=act.record, now=act.now)
            shown = ExceptionRow(row, context=self.get_serializer_context()).data
            return Response(shown, status=201, headers={"Location": f"/api/v1/exceptions/{row.pk}"})

        return self.governed(work)


class SightingRow(Row):
    class Meta:
        model = Sighting
        fields = ("leaf", "at", "agent", "person", "in_result", "path", "count", "exception", "session", "call_id")
        read_only_fields = fields


class Sightings(Listed):
    """Records of calls that tell of one finding, newest first: where it was, never what."""

    queryset = Sighting.objects.all()
    serializer_class = SightingRow
    order = ("-leaf",)
    permissions = {"list": VIEW}
    under = Under("finding_id", "group", FindingGroup.objects.all())

    def get_queryset(self) -> QuerySet[Any]:
        get_object_or_404(FindingGroup, pk=self.kwargs["finding_id"])
        return Sighting.objects.filter(group=self.kwargs["finding_id"])


class RateShown(Strict):
    """Of one rule. A finding is one value at one tool, however often it was seen."""

    rule = serializers.CharField()
    kind = serializers.CharField()
    true = serializers.IntegerField()
    false = serializers.IntegerField()
    open = serializers.IntegerField()
    records = serializers.IntegerField()
    excepted = serializers.IntegerField()
    false_alarms = serializers.FloatField(allow_null=True, help_text="Of those judged; null while none is.")
    interval = serializers.ListField(
        child=serializers.FloatField(), help_text="In which the true share lies (Wilson, 95 %)."
    )


class FindingRates(Endpoint):
    """How often each rule was wrong, as far as humans have said."""

    queryset = FindingGroup.objects.none()
    parameters = Parameters
    permissions = {"list": VIEW}

    @extend_schema(responses=RateShown(many=True), operation_id="finding_rates_list")
    def list(self, request: Request) -> Response:
        found, link = page_of(
            sorted((rate.as_json() for rate in rates()), key=_by_rule), key=_by_rule, request=request, asked=self.asked
        )
        return Response({"results": found, "next": link})


def _by_rule(rate: Mapping[str, Any]) -> tuple[str, ...]:
    return rate["rule"], rate["kind"]
