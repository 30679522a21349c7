"""Agents, their credentials and their roles over the wire."""

from collections.abc import Iterable
from typing import Any

from rest_framework import serializers

from gateway.api.fields import (
    Choice,
    Flag,
    Moment,
    Reference,
    References,
    Row,
    Strict,
    Text,
    WholeNumber,
    Written,
)
from gateway.api.serializers.named import Name, NamedRow
from governance.agent_keys import LONGEST_LABEL
from governance.manifest.fields import ListOf, Record
from governance.manifest.rule_entries import ScopeEntry
from governance.models import (
    Agent,
    AgentCredential,
    Bundle,
    Role,
    Team,
    TrustedIssuer,
    User,
)
from governance.public_keys import LONGEST_TEXT
from governance.rule_checks import check_scopes, is_refused
from governance.rule_texts import Scope
from governance.rule_world import read_world
from governance.time_of_day import WEEKDAYS

SCOPES = ListOf(Record(ScopeEntry))


class AgentRow(NamedRow):
    name = Name()
    purpose = Text(required=False, allow_blank=True, max_length=2000)
    owner = Reference(User, by="email", among={"is_active": True}, help_text="Later changed by `transfer`.")
    roles = References(Role, read_only=True, help_text="Given in the roles.")

    class Meta:
        model = Agent
        fields = ("id", "name", "title", "purpose", "owner", "status", "roles", "created_at")
        read_only_fields = ("id", "status", "created_at")


class CredentialRow(Row):
    agent = Reference(Agent, read_only=True)
    on_behalf_of = Reference(
        User, by="email", source="person", read_only=True, allow_null=True,
        help_text="It gives what both she and the agent may.",
    )  # fmt: skip

    rotates = serializers.UUIDField(
        source="successor_of_id", read_only=True, allow_null=True, help_text="What it takes the place of."
    )
    last_used_at = Moment(read_only=True, allow_null=True, source="use.last_used_at")
    last_used_from = Text(read_only=True, allow_null=True, source="use.last_used_from", help_text="An address.")
    last_client = Text(read_only=True, allow_null=True, source="use.last_client", help_text="What it called itself.")

    class Meta:
        model = AgentCredential
        fields = (
            "id", "agent", "kind", "label", "on_behalf_of", "hint", "thumbprint", "issuer", "claims", "rotates",
            "created_at", "created_by", "not_before", "expires_at", "revoked_at", "revoked_by", "last_used_at",
            "last_used_from", "last_client",
        )  # fmt: skip
        read_only_fields = fields


class Workload(Strict):
    issuer = Reference(
        TrustedIssuer, among={"kind": TrustedIssuer.Kind.WORKLOAD}, help_text="A trusted issuer, by its name."
    )
    claims = serializers.DictField(
        child=Text(max_length=300),
        help_text="What its tokens must say of the workload, exactly or with * for any text: "
        "{repository: octo/app, environment: production}. A rule that lets in everybody is refused.",
    )


class IssueKey(Strict):
    kind = Choice(
        choices=AgentCredential.Kind.choices,
        required=False,
        help_text="`key`, unless it is said otherwise or it rotates something of another kind.",
    )
    label = Text(required=False, default="", allow_blank=True, max_length=LONGEST_LABEL, help_text="Where it is used.")
    public_key = Text(
        required=False,
        max_length=LONGEST_TEXT,
        help_text="Of the kind public_key: a JWK as text, or PEM. Never the private half.",
    )
    workload = Workload(required=False, help_text="Of the kind workload: who vouches for it, and as what.")
    rotates = serializers.UUIDField(
        required=False, help_text="A live credential of the agent that this one takes the place of."
    )
    overlap_hours = WholeNumber(
        required=False,
        min_value=0,
        max_value=720,
        help_text="How long the old one still works; the organization's term where it is not said.",
    )
    expires_at = Moment(required=False, allow_null=True, help_text="Without it the key does not expire.")
    on_behalf_of = Reference(
        User, by="email", among={"is_active": True}, required=False, allow_null=True,
        help_text="The person for whom the agent acts with it: it gives what both may.",
    )  # fmt: skip

    def validate(self, wish: dict[str, Any]) -> dict[str, Any]:
        if "kind" in wish and (wish["kind"] == "public_key") != ("public_key" in wish):
            raise serializers.ValidationError({"public_key": "A public key, and only that, is sent along."}, "rule")
        if (wish.get("kind") == "workload") != ("workload" in wish):
            raise serializers.ValidationError({"workload": "Of a workload, and only of one, its rule is sent."}, "rule")
        if "workload" in wish and {"rotates", "on_behalf_of"} & wish.keys():
            raise serializers.ValidationError({"workload": "It has nothing to rotate, and acts for the agent."}, "rule")
        if "overlap_hours" in wish and "rotates" not in wish:
            raise serializers.ValidationError({"overlap_hours": "Say what it rotates."}, "rule")
        return wish


class IssuedKey(Strict):
    agent = Text()
    kind = Text()
    key = Text(
        allow_null=True,
        help_text="Shown only now; null when a repeated request gets its first answer again, and of a public key.",
    )
    key_id = serializers.UUIDField()
    expires_at = Moment(allow_null=True)


class Transfer(Strict):
    to = Reference(User, by="email", among={"is_active": True})
    keeps_keys = Flag(required=False, default=False, help_text="The former owner may know them: normally they end.")


class Window(Strict):
    """A weekly window in the organization's time zone; without days, every day. It may pass midnight."""

    days = serializers.ListField(child=Choice(choices=WEEKDAYS), required=False, max_length=len(WEEKDAYS))

    holidays = Flag(required=False, help_text="False: not on the organization's holidays.")

    def get_fields(self) -> dict[str, Any]:
        clock = r"^([01][0-9]|2[0-3]):[0-5][0-9]$"
        return {**super().get_fields(), **{name: _clock(clock) for name in ("from", "to")}}

    def to_representation(self, window: dict[str, Any]) -> dict[str, Any] | None:
        return window or None

    def validate(self, window: dict[str, Any]) -> dict[str, Any]:
        if window["from"] == window["to"]:
            raise serializers.ValidationError("The schedule would end when it begins.", "rule")
        days = [day for day in WEEKDAYS if day in window.get("days", ())]
        holidays = {} if window.get("holidays", True) else {"holidays": False}
        return {**({"days": days} if days else {}), "from": window["from"], "to": window["to"], **holidays}


def _clock(pattern: str) -> serializers.RegexField:
    return serializers.RegexField(pattern, max_length=5, trim_whitespace=False, help_text="HH:MM")


def _stored_scopes(scopes: Iterable[ScopeEntry]) -> list[dict[str, Any]]:
    return [{"tools": list(scope.tools), "when": scope.when, "text": scope.text} for scope in scopes]


class RoleRow(NamedRow):
    name = Name()
    bundles = References(Bundle, required=False)
    agents = References(Agent, required=False)
    teams = References(Team, required=False)
    people = References(User, by="email", required=False)
    schedule = Window(required=False, allow_null=True)
    scopes = Written(
        SCOPES, stored=_stored_scopes, required=False, help_text="Limits on the arguments of the tools it gives."
    )

    class Meta:
        model = Role
        fields = (
            "id", "name", "title", "bundles", "agents", "teams", "people", "starts_at", "ends_at", "schedule", "scopes",
        )  # fmt: skip
        read_only_fields = ("id",)

    def validate(self, values: dict[str, Any]) -> dict[str, Any]:
        if "schedule" in values:
            values["schedule"] = values["schedule"] or {}
        if values.get("scopes"):
            self._check_scopes(values)
        return values

    def _check_scopes(self, values: dict[str, Any]) -> None:
        scopes = [Scope(tuple(scope["tools"]), scope["when"]) for scope in values["scopes"]]
        bundles = values.get("bundles") or (self.instance.bundles.all() if self.instance else ())
        found = check_scopes(scopes, bundles=[bundle.name for bundle in bundles], world=read_world())
        told = [f"[{fault.position - 1}].{fault.field}: {fault.message}" for fault in found if is_refused(fault)]
        if told:
            raise serializers.ValidationError({"scopes": told}, "rule")
