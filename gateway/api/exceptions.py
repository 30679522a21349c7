"""What humans except from inspection for a time."""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Final

from django.db.models import Q, QuerySet
from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from gateway.api.fields import Choice, Moment, Parameters, Reference, Row, Strict, Text
from gateway.api.problems import FieldError, Problem, of_fields
from gateway.api.resource import Act, Listed, Retrieved, act
from gateway.api.serializers.named import Name
from governance import pattern_exceptions
from governance.models import Bundle, Connector, PatternException, Tool
from governance.pattern_exceptions import in_force, set_exception

STATES: Final = ("in-force", "waiting", "over")


class ExceptionRow(Row):
    tool = serializers.CharField(read_only=True, allow_null=True, help_text="connector/tool")
    connector = Reference(Connector, read_only=True, allow_null=True)
    bundle = Reference(Bundle, read_only=True, allow_null=True)

    class Meta:
        model = PatternException
        fields = (
            "id", "name", "rule", "fingerprint", "path", "tool", "connector", "bundle", "ends_at", "reason",
            "awaits_second", "created_at", "created_by", "approved_at", "approved_by", "ended_at", "ended_by",
        )  # fmt: skip
        read_only_fields = fields


class ExceptionWish(Strict):
    """A value, a place or both, at exactly one of tool, connector and bundle."""

    name = Name(help_text="Evidence names it, so names are not used again.")
    rule = Text(max_length=100, help_text="The detection rule, as findings name it.")
    fingerprint = Text(required=False, default="", allow_blank=True, max_length=64, help_text="Of one value.")
    path = Text(
        required=False, default="", allow_blank=True, max_length=200, help_text="A glob over places, as /content/*."
    )
    tool = Text(required=False, max_length=2100, help_text="connector/tool")
    connector = Reference(Connector, required=False)
    bundle = Reference(Bundle, required=False)
    ends_at = Moment()
    reason = Text(max_length=500)


class ExceptionParameters(Parameters):
    state = Choice(choices=STATES, required=False)
    rule = Text(required=False, max_length=100)


class Exceptions(Listed, Retrieved):
    """What rules pass over for a time, because somebody said so; it stays on record. One that was set is history and is
    not edited; it ends by itself, or is ended."""

    queryset = PatternException.objects.select_related("tool__connector", "connector", "bundle")
    serializer_class = ExceptionRow
    parameters = ExceptionParameters
    order = ("-created_at", "id")

    def narrowed(self, rows: QuerySet[Any], filters: Mapping[str, Any]) -> QuerySet[Any]:
        plain, now = dict(filters), datetime.now(UTC)
        states = {
            None: Q(),
            "in-force": in_force(now),
            "waiting": Q(ended_at=None, awaits_second=True, ends_at__gt=now),
            "over": ~Q(ended_at=None, ends_at__gt=now),
        }
        return rows.filter(states[plain.pop("state", None)], **plain)

    @extend_schema(request=ExceptionWish, responses={201: ExceptionRow})
    def create(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        """In force at once; where changes of rules need a second person, once somebody else agrees."""

        def work(act: Act) -> Response:
            row = _wanted(self.wish(ExceptionWish))
            set_exception(row, acting=act.person, by=act.by, record=act.record, now=act.now)
            response = self.answered(row, status=201)
            response["Location"] = f"{request.path}/{response.data['id']}"
            return response

        return self.governed(work)

    @act("governance.approve_patternexception")
    def approve(self, request: Request, pk: Any) -> Response:
        """Agrees to it, as the second person: it is in force at once."""

        def work(row: PatternException, act: Act, _: Any) -> None:
            pattern_exceptions.approve(row, acting=act.person, by=act.by, record=act.record, now=act.now)

        return self.on_row(work)

    @act("governance.change_patternexception")
    def end(self, request: Request, pk: Any) -> Response:
        """What it named counts again at once."""

        def work(row: PatternException, act: Act, _: Any) -> None:
            if not pattern_exceptions.end(row, by=act.by, record=act.record, now=act.now):
                raise Problem("conflict", "It was over before.")

        return self.on_row(work)


def _wanted(wish: Mapping[str, Any]) -> PatternException:
    said = dict(wish)
    if name := said.pop("tool", None):
        said["tool"] = _tool(name)
    return PatternException(**said)


def _tool(name: str) -> Tool:
    connector, _, tool = name.partition("/")
    row = Tool.objects.select_related("connector").filter(connector__name=connector, name=tool).first()
    if row is None:
        raise of_fields(
            [FieldError("tool", "does_not_exist", f"There is no tool '{name[:64]}'. Write connector/tool.")]
        )
    return row
