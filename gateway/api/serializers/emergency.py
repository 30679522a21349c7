"""Freezes and the organization over the wire."""

from typing import Any
from zoneinfo import available_timezones

from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers

from gateway.api.fields import (
    Flag,
    Moment,
    Reference,
    References,
    Row,
    Strict,
    Text,
    Written,
)
from gateway.api.serializers.named import Name
from governance.client_documents import is_host
from governance.manifest.entries import HOLIDAYS, NETWORKS, BusinessHours
from governance.manifest.fields import Record
from governance.models import (
    Agent,
    Connector,
    Freeze,
    Organization,
    Policy,
)


class FreezeRow(Row):
    agent = Reference(Agent, read_only=True, allow_null=True)
    connector = Reference(Connector, read_only=True, allow_null=True)
    tool = serializers.SerializerMethodField(help_text="connector/tool")

    class Meta:
        model = Freeze
        fields = (
            "id", "agent", "connector", "tool", "reason", "created_at", "created_by", "ends_at", "lifted_at",
            "lifted_by",
        )  # fmt: skip
        read_only_fields = fields

    @extend_schema_field(serializers.CharField(allow_null=True))
    def get_tool(self, freeze: Freeze) -> str | None:
        return str(freeze.tool) if freeze.tool else None


class FreezeWish(Strict):
    """Exactly one of the four."""

    everything = Flag(required=False, default=False)
    agent = Name(required=False)
    connector = Name(required=False)
    tool = Text(required=False, max_length=200, help_text="connector/tool")
    reason = Text(required=False, default="", allow_blank=True, max_length=500)
    ends_at = Moment(required=False, allow_null=True, default=None, help_text="Without it until it is lifted.")

    def validate(self, wish: dict[str, Any]) -> dict[str, Any]:
        if len([name for name in ("everything", "agent", "connector", "tool") if wish.get(name)]) != 1:
            raise serializers.ValidationError("Choose exactly one: everything, agent, connector or tool.", "rule")
        return wish


class OrganizationRow(Row):
    timezone = Text(required=False, max_length=64, help_text="As in America/New_York.")
    policies = References(Policy, required=False)
    business_hours = Written(
        Record(BusinessHours),
        required=False,
        allow_null=True,
        help_text="Monday to Friday, 09:00 to 17:00 where there are none.",
    )
    holidays = Written(HOLIDAYS, required=False)
    networks = Written(NETWORKS, required=False, help_text="Name -> CIDRs; rules read the names.")
    requires_review = Flag(read_only=True, help_text="Set on the organization's page or by a manifest.")
    agents_may_ask = Flag(required=False)
    ends_overdue = Flag(required=False, help_text="A key that nobody replaced ends when it is due.")
    ends_unused = Flag(required=False, help_text="A flagged key ends when it stays unused for the days of warning.")
    client_hosts = serializers.ListField(
        child=Text(max_length=253), required=False, max_length=100, help_text="Whose clients may describe themselves."
    )
    clients_may_register = Flag(required=False)

    class Meta:
        model = Organization
        fields = (
            "name", "timezone", "business_hours", "holidays", "networks", "requires_review", "agents_may_ask",
            "rotate_after_days", "rotation_overlap_hours", "rotation_warn_days", "ends_overdue", "unused_after_days",
            "ends_unused", "client_hosts", "clients_may_register", "policies",
        )  # fmt: skip

    def validate(self, values: dict[str, Any]) -> dict[str, Any]:
        if "business_hours" in values:
            values["business_hours"] = values["business_hours"] or {}
        return values

    def validate_client_hosts(self, hosts: list[str]) -> list[str]:
        if not all(is_host(host) for host in hosts):
            raise serializers.ValidationError("Write host names, e.g. claude.ai.", "rule")
        return hosts

    def validate_timezone(self, name: str) -> str:
        if name not in available_timezones():
            raise serializers.ValidationError("There is no such time zone; write one as in America/New_York.", "rule")
        return name
