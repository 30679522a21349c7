"""How long evidence is kept, what must be kept longer, and who was erased."""

from collections.abc import Mapping
from datetime import date
from typing import Any

from django.db.models import QuerySet
from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from gateway import keeping
from gateway.api.fields import Choice, Flag, Parameters, Reference, References, Row, Strict, Text, WholeNumber
from gateway.api.problems import Problem
from gateway.api.resource import Act, Changed, Created, Deleted, Endpoint, Listed, Retrieved, Work, act
from gateway.api.serializers.named import Name, NamedRow
from gateway.erasing import REASON_LIMIT, erase_within, plan_erasure
from governance.legal_holds import Held, set_hold
from governance.models import Agent, Bundle, Erasure, LegalHold, RetentionClass, User
from governance.models.retention import MOST_DAYS
from governance.retention import bundles_elsewhere, give_bundles, taken_elsewhere

DAYS = "0 keeps them for ever."


class RetentionRow(NamedRow):
    name = Name()
    payload_days = WholeNumber(
        required=False, min_value=0, max_value=MOST_DAYS,
        help_text=f"Days for arguments and results, from the end of the month of the call. {DAYS}",
    )  # fmt: skip
    header_days = WholeNumber(
        required=False, min_value=0, max_value=MOST_DAYS, help_text=f"Days for the records of calls. {DAYS}"
    )
    default = Flag(source="is_default", required=False, help_text="For bundles that name no class. At most one is.")
    bundles = References(Bundle, required=False, help_text="Whose calls are kept so. A bundle is in one class.")

    class Meta:
        model = RetentionClass
        fields = ("id", "name", "payload_days", "header_days", "default", "bundles")
        read_only_fields = ("id",)

    def validate_bundles(self, bundles: list[Bundle]) -> list[Bundle]:
        if taken := bundles_elsewhere(self.instance or RetentionClass(), bundles):
            raise serializers.ValidationError(taken_elsewhere(taken), "rule")
        return bundles

    def _store(self, row: Any, values: dict[str, Any]) -> Any:
        """What stayed for the days of before is looked at again."""
        bundles = values.pop("bundles", None)
        stored = super()._store(row, {**values, "pruned_to": 0})
        if bundles is not None:
            give_bundles(row, bundles)
        return stored


class RetentionParameters(Parameters):
    name = Text(required=False, max_length=63)


class RetentionClasses(Listed, Retrieved, Created, Changed, Deleted):
    """What is older than its class allows goes with the next night, for good, unless a legal hold keeps it."""

    queryset = RetentionClass.objects.prefetch_related("bundles")
    serializer_class = RetentionRow
    parameters = RetentionParameters
    fixed = ("name",)


class Day(serializers.DateField):  # type: ignore[misc]
    """Whole, in UTC."""

    def to_internal_value(self, value: Any) -> date:
        if not isinstance(value, str):
            self.fail("invalid", format="2026-11-21")
        day: date = super().to_internal_value(value)
        return day


class HoldWish(Strict):
    person = Reference(User, by="email", required=False, allow_null=True, default=None)
    agent = Reference(Agent, required=False, allow_null=True, default=None)
    first_day = Day(required=False, allow_null=True, default=None)
    last_day = Day(required=False, allow_null=True, default=None)
    reason = Text(max_length=500)


class HoldRow(Row):
    person = Reference(User, by="email", read_only=True, allow_null=True)
    agent = Reference(Agent, read_only=True, allow_null=True)

    class Meta:
        model = LegalHold
        fields = (
            "id", "person", "agent", "first_day", "last_day", "reason", "set_by", "set_at", "lifted_by", "lifted_at",
        )  # fmt: skip
        read_only_fields = fields


class HoldParameters(Parameters):
    state = Choice(choices=("in-force", "lifted"), required=False)
    person = Text(source="person__email", required=False, max_length=254)
    agent = Text(source="agent__name", required=False, max_length=63)


class WhyLifted(Strict):
    reason = Text(max_length=500, help_text="The evidence keeps it.")


class LegalHolds(Listed, Retrieved):
    """What it names narrows a hold: a person and days keep what was done for her in these days. One that was set is
    history and is not edited; it is lifted."""

    queryset = LegalHold.objects.select_related("person", "agent")
    serializer_class = HoldRow
    parameters = HoldParameters
    order = ("-set_at", "id")

    def narrowed(self, rows: QuerySet[Any], filters: Mapping[str, Any]) -> QuerySet[Any]:
        plain = dict(filters)
        state = plain.pop("state", None)
        rows = rows.filter(**plain)
        return rows.filter(lifted_at__isnull=state == "in-force") if state else rows

    @extend_schema(request=HoldWish, responses={201: HoldRow})
    def create(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        """Retention, pruning and erasure leave what it names alone from now on."""

        def work(act: Act) -> Response:
            hold = set_hold(**self.wish(HoldWish), by=act.by, record=act.record, now=act.now)
            response = self.answered(hold, status=201)
            response["Location"] = f"{request.path}/{response.data['id']}"
            return response

        return self.governed(work)

    @act("governance.change_legalhold", takes=WhyLifted)
    def lift(self, request: Request, pk: Any) -> Response:
        """What it kept goes with the next night if its time is over."""

        def work(hold: LegalHold, act: Act, wish: Mapping[str, Any]) -> None:
            if not keeping.lift(hold, reason=wish["reason"], by=act.by, record=act.record, now=act.now):
                raise Problem("conflict", "It was lifted before.")

        return self.on_row(work)


class ErasureRow(Row):
    class Meta:
        model = Erasure
        fields = ("id", "subject", "email", "reason", "keys", "payloads", "by", "at")
        read_only_fields = fields


class ErasureParameters(Parameters):
    email = Text(required=False, max_length=254)


class Whom(Strict):
    person = Reference(User, by="email")


class ErasureWish(Whom):
    reason = Text(max_length=REASON_LIMIT, help_text="For instance the request it answers. The evidence keeps it.")


class ErasurePlan(Strict):
    email = serializers.CharField()
    keys = serializers.IntegerField(help_text="That would be destroyed.")
    payloads = serializers.IntegerField(help_text="That nobody could open any more.")
    shared = serializers.IntegerField(help_text="Of them, those that lie under shared keys and would be deleted.")
    records = serializers.IntegerField(help_text="Records of calls that stay, with her address in them.")
    held_by = serializers.CharField(help_text="The legal hold that forbids it; empty if none does.")


class Erasures(Listed, Retrieved):
    """Who was erased: what was recorded of what agents did for her cannot be opened by anybody."""

    queryset = Erasure.objects.all()
    serializer_class = ErasureRow
    parameters = ErasureParameters
    order = ("-at", "id")
    permissions = {"create": "governance.erase_user"}

    @extend_schema(request=ErasureWish, responses={201: ErasureRow})
    def create(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        """Destroys the keys of her payloads, for good. Look at the preview first."""

        def prepare() -> Work:
            wish = self.wish(ErasureWish)
            plan = plan_erasure(wish["person"])

            def work(act: Act) -> Response:
                given: dict[str, Any] = {"by": act.by, "record": act.record, "now": act.now}
                given["token"] = self.request.auth.hint
                try:
                    row = erase_within(wish["person"], plan, reason=wish["reason"], **given)
                except Held as hold:
                    raise Problem("conflict", str(hold)) from None
                response = self.answered(row, status=201)
                response["Location"] = f"{request.path}/{response.data['id']}"
                return response

            return work

        return self.governed_after(prepare)


class ErasurePreview(Endpoint):
    queryset = Erasure.objects.all()
    permissions = {"create": "governance.erase_user"}
    writes = False

    @extend_schema(request=Whom, responses=ErasurePlan)
    def create(self, request: Request) -> Response:
        """What an erasure of her would do now, what would stay, and what forbids it."""
        plan = plan_erasure(self.wish(Whom)["person"])
        return Response(ErasurePlan(plan).data)
