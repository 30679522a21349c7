"""Planted values that nobody has any honest use for."""

from typing import Any

from django.views.decorators.debug import sensitive_variables
from rest_framework import serializers
from rest_framework.exceptions import ErrorDetail
from rest_framework.request import Request
from rest_framework.response import Response

from gateway.api.fields import Choice, Parameters, Row, Strict, Text
from gateway.api.problems import Problem
from gateway.api.resource import Act, Created, Deleted, Listed, Retrieved, act
from gateway.api.serializers.named import Name, NamedRow
from governance.canaries import NotShown, canary_faults, parts_of, plant, show_once
from governance.models import Canary


class CanaryRow(NamedRow):
    name = Name()

    class Meta:
        model = Canary
        fields = ("id", "name", "kind", "place", "planted_in", "created_at", "created_by", "shown_at")
        read_only_fields = ("id", "created_at", "created_by", "shown_at")

    def validate(self, values: dict[str, Any]) -> dict[str, Any]:
        faults = canary_faults(values["kind"], values.get("place", ""))
        if found := {field: ErrorDetail(f"{message[:1].upper()}{message[1:]}.", "rule") for field, message in faults}:
            raise serializers.ValidationError(found)
        return values


class CanaryParameters(Parameters):
    name = Text(required=False, max_length=63)
    kind = Choice(choices=Canary.Kind.choices, required=False)


class CanaryValue(Strict):
    values = serializers.ListField(
        child=serializers.CharField(),
        allow_null=True,
        help_text="Of an AWS key its two halves, else one. Null when a repeated request gets its first answer again.",
    )


class Canaries(Listed, Retrieved, Created, Deleted):
    """Keys, addresses and links to plant. Where one turns up, somebody took it. Deleting one withdraws it: it is not
    looked for any more."""

    queryset = Canary.objects.defer("wrapped_key", "ciphertext")
    serializer_class = CanaryRow
    parameters = CanaryParameters

    def store(self, serializer: Row, act: Act) -> Canary:
        row = Canary(**serializer.validated_data)
        plant(row, by=act.by, record=act.record, now=act.now)
        return row

    @act("governance.show_canary", gives=CanaryValue)
    def show(self, request: Request, pk: Any) -> Response:
        """Its value, for whoever plants it: once, here or on its page, and never again."""

        @sensitive_variables()
        def work(act: Act) -> Response:
            row = self.locked()
            try:
                value = show_once(row, record=act.record, now=act.now)
            except NotShown as reason:
                raise Problem("conflict", str(reason)) from None
            return Response({"values": parts_of(row.kind, value)})

        return self.governed(work, shown_once=("values",))
