"""Freezes, the one row of the organization, and what is running."""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from django.db.models import Q, QuerySet
from django.db.models.functions import Now
from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from audit.models import Checkpoint
from gateway.api.etags import check_if_match, etag_of
from gateway.api.fields import Choice, Parameters, QueryFlag, Row, Strict, Text
from gateway.api.problems import FieldError, Problem, of_fields
from gateway.api.resource import Act, Endpoint, Listed, Retrieved, act, read_answer
from gateway.api.serializers.emergency import FreezeRow, FreezeWish, OrganizationRow
from gateway.models import GatewayProcess
from gateway.recovery import DEAD_AFTER
from governance import freezes
from governance.freezes import FreezeTarget, NoSuchTarget, in_force
from governance.models import Epoch, Freeze, Organization
from governance.second_person import check_organization_policies


class FreezeParameters(Parameters):
    state = Choice(choices=("in-force", "over"), required=False)
    agent = Text(source="agent__name", required=False, max_length=63)
    connector = Text(source="connector__name", required=False, max_length=63)


class Freezes(Listed, Retrieved):
    """The emergency switch. A freeze that was set is history and is not edited; it is lifted."""

    queryset = Freeze.objects.select_related("agent", "connector", "tool__connector")
    serializer_class = FreezeRow
    parameters = FreezeParameters
    order = ("-created_at", "id")

    def narrowed(self, rows: QuerySet[Any], filters: Mapping[str, Any]) -> QuerySet[Any]:
        plain = dict(filters)
        is_in_force = in_force(datetime.now(UTC))
        states = {None: Q(), "in-force": is_in_force, "over": ~is_in_force}
        return rows.filter(states[plain.pop("state", None)], **plain)

    @extend_schema(request=FreezeWish, responses={201: FreezeRow})
    def create(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        """No further call starts from now on."""

        def work(act: Act) -> Response:
            response = self.answered(_freeze(self.wish(FreezeWish), act), status=201)
            response["Location"] = f"{request.path}/{response.data['id']}"
            return response

        return self.governed(work)

    @act("governance.change_freeze")
    def lift(self, request: Request, pk: Any) -> Response:
        """What it stopped can be called again at once, as far as roles and rules allow. One that evidence set, because
        this is another database, takes the permission to change anchors as well."""

        def work(freeze: Freeze, act: Act, _: Mapping[str, Any]) -> None:
            if not freezes.may_lift(act.person, freeze):
                raise Problem("permission_denied", freezes.NOT_HERS)
            if not freezes.lift_one(freeze, by=act.by, record=act.record, now=act.now):
                raise Problem("conflict", "It was lifted before.")

        return self.on_row(work)


def _freeze(wish: Mapping[str, Any], act: Act) -> Freeze:
    if wish["ends_at"] and wish["ends_at"] <= act.now:
        raise of_fields([FieldError("ends_at", "rule", "This is in the past; leave it out to freeze until lifted.")])
    kind = next((kind for kind in ("agent", "connector", "tool") if wish.get(kind)), "")
    target = FreezeTarget(**({kind: wish[kind]} if kind else {}))
    try:
        return freezes.freeze(
            target, by=act.by, record=act.record, now=act.now, ends_at=wish["ends_at"], reason=wish["reason"]
        )
    except NoSuchTarget as reason:
        raise of_fields([FieldError(kind, "does_not_exist", str(reason))]) from None


class OrganizationView(Endpoint):
    """The one organization this installation serves. Its policies bind every call."""

    serializer_class = OrganizationRow
    queryset = Organization.objects.prefetch_related("policies")
    permissions = {"retrieve": "governance.view_organization", "partial_update": "governance.change_organization"}

    def retrieve(self, request: Request) -> Response:
        return read_answer(request, self._shown(self._row()))

    def partial_update(self, request: Request) -> Response:
        def work(act: Act) -> Response:
            Organization.objects.select_for_update().get()
            check_if_match(request, self._shown(self._row()), is_required=True)
            row = self._row()
            serializer = self.get_serializer(row, data=request.data, partial=True)
            serializer.is_valid(raise_exception=True)
            policies = serializer.validated_data.get("policies", row.policies.all())
            check_organization_policies(row, policies, acting=act.person)
            serializer.save()
            shown = self._shown(self._row())
            return Response(shown, headers={"ETag": etag_of(shown)})

        return self.governed(work)

    def _row(self) -> Organization:
        row: Organization | None = self.get_queryset().first()
        if row is None:
            raise Problem("not_found", "The organization has not been set up; `apply` does it.")
        return row

    def _shown(self, row: Organization) -> Any:
        return self.get_serializer(row).data


class ProcessRow(Row):
    is_live = serializers.SerializerMethodField(help_text="It ran a moment ago, and has not ended.")

    class Meta:
        model = GatewayProcess
        fields = (
            "id", "host", "pid", "started_at", "beat_at", "ended_at", "applied_epoch", "calls_in_flight", "is_live",
        )  # fmt: skip
        read_only_fields = fields

    def get_is_live(self, row: GatewayProcess) -> bool:
        return row.ended_at is None and row.beat_at >= datetime.now(UTC) - DEAD_AFTER


class ProcessParameters(Parameters):
    ended = QueryFlag(required=False)


class Processes(Listed, Retrieved):
    """Gateway processes: what is running, and how current it is."""

    queryset = GatewayProcess.objects.all()
    serializer_class = ProcessRow
    parameters = ProcessParameters
    order = ("-started_at", "id")

    def narrowed(self, rows: QuerySet[Any], filters: Mapping[str, Any]) -> QuerySet[Any]:
        has_ended = filters.get("ended")
        return rows if has_ended is None else rows.filter(ended_at__isnull=not has_ended)


class Gateways(Strict):
    live = serializers.IntegerField()
    up_to_date = serializers.IntegerField(help_text="Those that apply the newest epoch.")


class HealthShown(Strict):
    epoch = serializers.IntegerField(help_text="The number of the last governed change.")
    gateways = Gateways()
    sealed_events = serializers.IntegerField(help_text="Events under the newest signed checkpoint.")
    sealed_at = serializers.DateTimeField(allow_null=True)


class HealthView(Endpoint):
    """Whether everything is in force everywhere, and evidence is being sealed."""

    queryset = GatewayProcess.objects.all()
    permissions = {"retrieve": "gateway.view_gatewayprocess"}

    @extend_schema(responses=HealthShown)
    def retrieve(self, request: Request) -> Response:
        epoch = Epoch.objects.values_list("number", flat=True).get(id=1)
        live = GatewayProcess.objects.filter(ended_at=None, beat_at__gte=Now() - DEAD_AFTER)
        applied = list(live.values_list("applied_epoch", flat=True))
        newest = Checkpoint.objects.order_by("-size").values("size", "at").first() or {"size": 0, "at": None}
        up_to_date = sum(number >= epoch for number in applied)
        shown = {
            "epoch": epoch,
            "gateways": {"live": len(applied), "up_to_date": up_to_date},
            "sealed_events": newest["size"],
            "sealed_at": newest["at"],
        }
        return Response(HealthShown(shown).data)
