"""Secrets, connectors, tools and their definitions over the wire."""

from typing import Any

from django.db.models import Model
from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers
from rest_framework.exceptions import ErrorDetail

from gateway.api.fields import (
    Choice,
    Flag,
    Number,
    Reference,
    References,
    Row,
    Strict,
    Text,
)
from gateway.api.serializers.named import Name, NamedRow
from governance.connected_accounts import OAUTH_SCOPE_PATTERN, account_faults
from governance.destinations import addresses_of, destinations, goes_nowhere_new
from governance.manifest.common import check_url
from governance.models import (
    Connector,
    Secret,
    Tool,
    ToolDefinition,
    User,
)
from governance.models.secrets import HEADER_NAME_PATTERN

LONGEST_SECRET = 64 * 1024
"""Characters."""
PLACES = {"type": "object", "additionalProperties": {"type": "array", "items": {"type": "string"}}}
OWNERS_WAY = (
    "No token sends a stored secret to another address. An owner may, on the connector's page; "
    "or store the value again as a new secret."
)
KEEPS_KIND = "A secret that has a value keeps its kind. Make a new secret instead."
NEW_VALUE = "A new value is sent by POST secrets/{id}/value, which says where it goes."


class SecretRow(NamedRow):
    name = Name()
    header = serializers.RegexField(
        HEADER_NAME_PATTERN.replace("(?i)", "").replace(r"\Z", "$").replace("a-z0-9!", "A-Za-z0-9!"),
        source="header_name", required=False, allow_blank=True, max_length=64, trim_whitespace=False,
        help_text="For kind `header`, and only for it.",
    )  # fmt: skip
    value = Text(
        write_only=True, required=False, max_length=LONGEST_SECRET,
        help_text="Write-only, and only when the secret is made; later ones go by POST secrets/{id}/value.",
    )  # fmt: skip
    value_set_at = serializers.SerializerMethodField(help_text="Null while it has no value.")
    connectors = References(Connector, read_only=True)
    destinations = serializers.SerializerMethodField(help_text="Connector -> the addresses its value is sent to.")

    class Meta:
        model = Secret
        fields = ("id", "name", "kind", "header", "description", "value", "value_set_at", "connectors", "destinations")
        read_only_fields = ("id",)

    @extend_schema_field(serializers.DateTimeField(allow_null=True))
    def get_value_set_at(self, secret: Any) -> Any:
        return next((version.created_at for version in secret.live_versions), None)

    @extend_schema_field(PLACES)
    def get_destinations(self, secret: Secret) -> dict[str, list[str]]:
        return destinations(secret)

    def validate_value(self, value: str) -> str:
        if self.instance is not None:
            raise serializers.ValidationError(NEW_VALUE, "forbidden")
        return value

    def validate(self, values: dict[str, Any]) -> dict[str, Any]:
        kind = values.get("kind", self.instance.kind if self.instance else Secret.Kind.BEARER)
        header = values.get("header_name", self.instance.header_name if self.instance else "")
        if (kind == Secret.Kind.HEADER) != bool(header):
            message = "Name the header for the kind 'header', and only for it."
            raise serializers.ValidationError({"header": ErrorDetail(message, "rule")})
        has_value = self.instance is not None and self.get_value_set_at(self.instance)
        if has_value and kind != self.instance.kind:
            raise serializers.ValidationError({"kind": ErrorDetail(KEEPS_KIND, "rule")})
        return values


class SecretValue(Strict):
    value = Text(write_only=True, max_length=LONGEST_SECRET)
    destinations = serializers.DictField(
        child=serializers.ListField(child=Text(max_length=2000), max_length=50), required=False, default=dict,
        help_text="`destinations` of the secret as you saw them: if it goes elsewhere by now, nothing is stored.",
    )  # fmt: skip
    even_if_refused = Flag(required=False, default=False, help_text="Store it although a system does not accept it.")


class ConnectorRow(NamedRow):
    name = Name()
    urls = serializers.ListField(
        child=Text(max_length=2000), min_length=1, max_length=50,
        help_text="One address, or several replicas of the same system.",
    )  # fmt: skip
    secret = Reference(Secret, required=False, allow_null=True)
    account = Choice(
        choices=("", "person", "shared"), required=False, default="",
        help_text="Whose account calls use: each person's own, the gateway's own, or (empty) the secret.",
    )  # fmt: skip
    oauth_scopes = serializers.ListField(
        child=serializers.RegexField(f"^{OAUTH_SCOPE_PATTERN}\\Z"), required=False, max_length=50,
        help_text="To ask its authorization server for; empty asks for those it names.",
    )  # fmt: skip
    timeout_seconds = Number(required=False, min_value=0.1, max_value=600)
    relays = serializers.ListField(
        child=Choice(choices=("elicitation", "sampling", "roots")), required=False, max_length=3,
        help_text="What the system may ask of the agent's side while it works.",
    )  # fmt: skip
    command = serializers.ListField(
        child=Text(), read_only=True, help_text="Of a local server. A manifest or the admin sets it."
    )
    enabled = Flag(source="is_enabled", required=False)
    owner = Reference(
        User, by="email", among={"is_active": True}, required=False, allow_null=True,
        help_text="Who answers for this system and may be asked to approve calls.",
    )  # fmt: skip

    class Meta:
        model = Connector
        fields = (
            "id", "name", "title", "kind", "owner", "stage", "urls", "secret", "account", "oauth_scopes", "new_tools",
            "timeout_seconds", "max_running", "max_waiting", "relays", "command", "secret_variable", "per_agent",
            "memory_mb", "enabled", "last_error", "last_seen_at", "protocol_version",
        )  # fmt: skip
        read_only_fields = (
            "id", "kind", "secret_variable", "per_agent", "memory_mb", "last_error", "last_seen_at",
            "protocol_version",
        )  # fmt: skip

    def validate_relays(self, relays: list[str]) -> list[str]:
        return sorted(set(relays))

    def validate_urls(self, urls: list[str]) -> list[str]:
        for url in urls:
            try:
                check_url(url)
            except ValueError as reason:
                raise serializers.ValidationError(f"Write full addresses: {reason}.", "rule") from None
        return urls

    def validate(self, values: dict[str, Any]) -> dict[str, Any]:
        is_local = self.instance is not None and bool(self.instance.command)
        if is_local and "urls" in values:
            raise serializers.ValidationError({"urls": ErrorDetail("A local server has no address.", "rule")})
        secret = values.get("secret", self.instance.secret if self.instance else None)
        addresses = values.get("urls") or (addresses_of(self.instance) if self.instance else [])
        if secret is not None and not goes_nowhere_new(secret, addresses, person=self.context["request"].user):
            field = "secret" if is_local else "urls"
            raise serializers.ValidationError({field: ErrorDetail(OWNERS_WAY, "forbidden")})
        account = values.get("account", self.instance.account if self.instance else "")
        if faults := dict(account_faults(account, secret, [] if is_local else addresses)):
            raise serializers.ValidationError({field: ErrorDetail(text, "rule") for field, text in faults.items()})
        return values


class ToolRow(Row):
    connector = Reference(Connector, read_only=True)
    read_only = Flag(source="is_read_only", required=False)
    data_classes = serializers.ListField(
        child=Name(), required=False, max_length=50, help_text="What kind of data it touches; rules can test these."
    )

    timeout_seconds = Number(
        required=False, allow_null=True, min_value=0.1, max_value=3600, help_text="Instead of the connector's."
    )

    untrusted = Flag(source="is_untrusted", required=False, help_text="Returns text of strangers: labels the run.")
    egress = Flag(source="is_egress", required=False, help_text="Sends data out of the organization.")

    class Meta:
        model = Tool
        fields = (
            "id", "connector", "name", "risk", "read_only", "data_classes", "untrusted", "egress", "undo",
            "timeout_seconds", "quarantined_at", "quarantine_reason",
        )  # fmt: skip
        read_only_fields = ("id", "name", "quarantined_at", "quarantine_reason")


class Reason(Strict):
    reason = Text(required=False, default="", allow_blank=True, max_length=300)


class DefinitionRow(Row):
    tool_id = serializers.UUIDField(read_only=True)
    connector = serializers.CharField(source="tool.connector.name", read_only=True)
    tool = serializers.CharField(source="tool.name", read_only=True)

    class Meta:
        model: type[Model] = ToolDefinition
        fields: tuple[str, ...] = (
            *("id", "tool_id", "connector", "tool", "status", "digest", "seen_at", "decided_by"),
            "is_suspicious",
        )
        read_only_fields: tuple[str, ...] = fields
