"""Others whose signed word counts here."""

from typing import Any

from rest_framework import serializers
from rest_framework.exceptions import ErrorDetail

from gateway.api.fields import Choice, Flag, Parameters, QueryFlag, Reference, Row, Text
from gateway.api.resource import Changed, Created, Deleted, Listed, Retrieved
from governance.issuers import LONGEST_AUDIENCE, MOST_AUDIENCES, Wanted, issuer_faults
from governance.models import Directory, Secret, TrustedIssuer
from governance.models.issuers import ALGORITHMS

SAID = (
    *("kind", "issuer", "jwks_url", "jwks", "algorithms", "audiences", "grants_access", "ends_access"),
    *("directory", "poll_url", "poll_secret"),
)


class IssuerRow(Row):
    jwks = serializers.JSONField(required=False, help_text="A JSON Web Key Set of public keys, or {}.")
    algorithms = serializers.ListField(child=Choice(choices=ALGORITHMS), required=False, min_length=1, max_length=3)
    audiences = serializers.ListField(
        child=Text(max_length=LONGEST_AUDIENCE), required=False, max_length=MOST_AUDIENCES
    )
    directory = Reference(Directory, required=False, allow_null=True)
    poll_secret = Reference(Secret, required=False, allow_null=True)
    enabled = Flag(source="is_enabled", required=False)

    class Meta:
        model = TrustedIssuer
        fields = ("id", "name", "title", *SAID, "longest_seconds", "is_single_use", "enabled", "created_at")
        read_only_fields = ("id", "created_at")

    def validate(self, values: dict[str, Any]) -> dict[str, Any]:
        said = {name: values.get(name, getattr(self.instance or TrustedIssuer(), name)) for name in SAID}
        faults = [*issuer_faults(Wanted(**said))]
        if faults:
            raise serializers.ValidationError({field: [ErrorDetail(told, "rule")] for field, told in faults})
        return values


class IssuerParameters(Parameters):
    name = Text(required=False, max_length=63)
    kind = Choice(choices=TrustedIssuer.Kind.choices, required=False)
    enabled = QueryFlag(source="is_enabled", required=False)


class Issuers(Listed, Retrieved, Created, Changed, Deleted):
    """Identity providers that speak for people, platforms that speak for workloads: whose signed word counts here."""

    queryset = TrustedIssuer.objects.select_related("directory", "poll_secret")
    serializer_class = IssuerRow
    parameters = IssuerParameters
    fixed = ("name", "kind", "issuer")
