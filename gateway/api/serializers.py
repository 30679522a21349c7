"""How governed rows look over the wire: fields named and rows referred to as in the manifest."""

from collections.abc import Iterable
from typing import Any
from zoneinfo import available_timezones

from django.core.exceptions import ValidationError
from django.core.validators import validate_email
from django.db.models import Model
from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers
from rest_framework.exceptions import ErrorDetail

from gateway.api.fields import (
    Choice,
    Flag,
    Moment,
    Number,
    Reference,
    References,
    Row,
    Strict,
    Text,
    WholeNumber,
    Written,
)
from governance.agent_keys import LONGEST_LABEL
from governance.client_documents import is_host
from governance.connected_accounts import OAUTH_SCOPE_PATTERN, account_faults
from governance.destinations import addresses_of, destinations, goes_nowhere_new
from governance.inspection.findings import DATA_CLASS, DETECTOR
from governance.inspection.tokens import MOST_SHOWN
from governance.manifest.common import check_url
from governance.manifest.entries import ATTRIBUTES, HOLIDAYS, NETWORKS, BusinessHours
from governance.manifest.fields import ListOf, Record
from governance.manifest.rule_entries import FINDINGS, LABEL_PATTERN, FindingName, ScopeEntry
from governance.models import (
    Agent,
    AgentCredential,
    Bundle,
    BundleSelection,
    BundleTool,
    BundleVersion,
    Connector,
    Freeze,
    Organization,
    PersonalToken,
    Policy,
    PolicyVersion,
    RateLimit,
    Role,
    Secret,
    Team,
    Tool,
    ToolDefinition,
    TrustedIssuer,
    User,
)
from governance.models.base import NAME_PATTERN
from governance.models.secrets import HEADER_NAME_PATTERN
from governance.public_keys import LONGEST_TEXT
from governance.rule_checks import check_scopes, is_refused
from governance.rule_texts import Scope
from governance.rule_world import read_world
from governance.time_of_day import WEEKDAYS

SCOPES = ListOf(Record(ScopeEntry))
LONGEST_SECRET = 64 * 1024
"""Characters."""
PLACES = {"type": "object", "additionalProperties": {"type": "array", "items": {"type": "string"}}}
OWNERS_WAY = (
    "No token sends a stored secret to another address. An owner may, on the connector's page; "
    "or store the value again as a new secret."
)
KEEPS_KIND = "A secret that has a value keeps its kind. Make a new secret instead."
NEW_VALUE = "A new value is sent by POST secrets/{id}/value, which says where it goes."


class Name(serializers.RegexField):  # type: ignore[misc]
    """Given once: evidence and addresses name rows by it."""

    def __init__(self, **options: Any) -> None:
        hint = "Use 1 to 63 of a-z, 0-9 and '-', starting with a letter or digit."
        super().__init__(NAME_PATTERN.replace(r"\Z", "$"), **{"max_length": 63, "trim_whitespace": False, **options})
        self.error_messages["invalid"] = hint

    def to_internal_value(self, value: Any) -> str:
        if not isinstance(value, str) or value.endswith("\n"):
            self.fail("invalid")
        return str(super().to_internal_value(value))


@extend_schema_field({"type": "string", "format": "email", "maxLength": 254})
class Email(Text):
    default_error_messages = {"rule": "This is no e-mail address we could write to."}

    def __init__(self, **options: Any) -> None:
        super().__init__(**{"max_length": 254, **options})

    def to_internal_value(self, value: Any) -> str:
        address = super().to_internal_value(value).lower()
        try:
            validate_email(address)
        except ValidationError:
            self.fail("rule")
        return address


def _is_taken(model: Any, name: str, *, besides: Any, column: str = "name") -> bool:
    rows = model.objects.filter(**{f"{column}__iexact": name})
    return bool((rows.exclude(pk=besides.pk) if besides else rows).exists())


class NamedRow(Row):
    """A row whose `name` is unique."""

    def validate_name(self, name: str) -> str:
        if _is_taken(self.Meta.model, name, besides=self.instance):
            raise serializers.ValidationError(f"The name '{name}' is taken.", "unique")
        return name


class PersonRow(Row):
    email = Email(help_text="Changed later on the person's page only, by an owner.")
    active = Flag(source="is_active", required=False, help_text="Off means nothing of hers works, on every path.")
    staff = Flag(source="is_staff", required=False, help_text="May enter the admin. Set on the person's page only.")
    owner = Flag(source="is_superuser", required=False, help_text="May do everything. Set on the person's page only.")
    duties = serializers.ListField(
        child=Choice(choices=User.Duty.choices),
        required=False,
        max_length=len(User.Duty),
        help_text="Set on the person's page only, by an owner.",
    )
    manager = Reference(User, by="email", required=False, allow_null=True)
    same_as = Reference(
        User, by="email", read_only=True, allow_null=True, help_text="Her main account. Set on the person's page only."
    )
    teams = References(Team, required=False)

    class Meta:
        model = User
        fields = (
            "id", "email", "name", "active", "staff", "owner", "duties", "manager", "same_as", "teams", "created_at",
            "last_login",
        )  # fmt: skip
        read_only_fields = ("id", "created_at", "last_login")

    def validate_email(self, email: str) -> str:
        if _is_taken(User, email, besides=self.instance, column="email"):
            raise serializers.ValidationError(f"There is a person with the address {email}.", "unique")
        return email

    def validate_manager(self, manager: User | None) -> User | None:
        if manager is not None and self.instance is not None and manager.pk == self.instance.pk:
            raise serializers.ValidationError("Nobody is her own manager.", "rule")
        return manager

    def validate_duties(self, duties: list[str]) -> list[str]:
        return sorted(set(duties))


class TeamRow(NamedRow):
    name = Name()
    parent = Reference(Team, required=False, allow_null=True)
    policies = References(Policy, required=False)
    attributes = Written(
        ATTRIBUTES, required=False, help_text="Lists that conditions read as person.attributes, by name."
    )

    class Meta:
        model = Team
        fields = ("id", "name", "title", "parent", "policies", "attributes")
        read_only_fields = ("id",)

    def validate_parent(self, parent: Team | None) -> Team | None:
        above = parent
        while above is not None and self.instance is not None:
            if above.pk == self.instance.pk:
                raise serializers.ValidationError("A team cannot stand below itself.", "rule")
            above = above.parent
        return parent


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


def _amount(source: str, most: int, meaning: str) -> WholeNumber:
    text = f"{meaning} Null: not limited."
    return WholeNumber(source=source, required=False, allow_null=True, min_value=1, max_value=most, help_text=text)


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


class BundleRow(NamedRow):
    name = Name()
    published = serializers.SerializerMethodField(help_text="Number of the version in force; null when there is none.")

    class Meta:
        model: type[Model] = Bundle
        fields: tuple[str, ...] = ("id", "name", "title", "published")
        read_only_fields: tuple[str, ...] = ("id",)

    @extend_schema_field(serializers.IntegerField(allow_null=True))
    def get_published(self, row: Any) -> int | None:
        return next((version.number for version in row.in_force), None)


class PolicyRow(BundleRow):
    class Meta(BundleRow.Meta):
        model = Policy


class ToolsOfConnector(Strict):
    """Tools or prompts by name, resources by URI."""

    connector = Name()
    allow = serializers.ListField(child=Text(max_length=200), required=False, max_length=500, help_text="Globs.")
    deny = serializers.ListField(child=Text(max_length=200), required=False, max_length=500, help_text="Globs.")


class BundleContent(Strict):
    """What a version gives, as a manifest writes it."""

    inherits = serializers.ListField(child=Name(), required=False, max_length=50)
    tools = ToolsOfConnector(many=True, required=False, max_length=200)
    resources = ToolsOfConnector(many=True, required=False, max_length=200)
    prompts = ToolsOfConnector(many=True, required=False, max_length=200)
    names = Choice(choices=("plain", "prefixed"), required=False)
    policies = serializers.ListField(child=Name(), required=False, max_length=200)
    recording = Choice(choices=BundleVersion.Recording.choices, required=False)


def _texts(most: int, *, longest: int = 200, text: str = "") -> Any:
    return serializers.ListField(child=Text(max_length=longest), required=False, max_length=most, help_text=text)


class Escalation(Strict):
    after = Text(max_length=10, help_text="A duration such as 5m.")
    to = _texts(50, longest=63, text="Teams.")


class ApproversOfRule(Strict):
    """Whoever is any of these may decide; naming nobody means anybody with the duty approver."""

    team = Name(required=False)
    teams = _texts(50, longest=63)
    people = _texts(50, longest=254)
    on_call = _texts(50, longest=63, text="Teams, for whoever is on call for them.")
    duties = _texts(3, longest=20)
    manager = Flag(required=False, help_text="The manager of the agent's owner.")
    resource_owner = Flag(required=False, help_text="The owner of the system.")
    count = serializers.IntegerField(min_value=1, max_value=5, required=False, help_text="Distinct humans that agree.")
    denials = serializers.IntegerField(min_value=1, max_value=5, required=False)
    reason = Choice(choices=("optional", "required"), required=False)
    ticket = Text(required=False, max_length=200, help_text="A regular expression (RE2) that a ticket must match.")
    pending = Text(required=False, max_length=10, help_text="How long it is asked for, such as 15m.")
    use_within = Text(required=False, max_length=10)
    longest_grant = Text(required=False, max_length=10)
    step_up = Text(required=False, max_length=10)
    escalate = Escalation(required=False)
    in_chat = Flag(required=False)


class RuleContent(Strict):
    effect = Choice(choices=("permit", "ask", "deny", "mask", "flag", "restore"))
    tools = serializers.ListField(child=Text(max_length=200), required=False, min_length=1, max_length=500)
    connectors = _texts(100, text="Globs; empty means any.")
    data_classes = _texts(100, longest=64, text="Any of these.")
    risks = serializers.ListField(child=Choice(choices=Tool.Risk.choices), required=False, max_length=3)
    access = Choice(choices=("read", "write"), required=False)
    on = Choice(choices=("arguments", "result"), required=False)
    when = Text(required=False, allow_blank=True, max_length=4096, help_text="A CEL expression; empty means always.")
    findings = serializers.ListField(
        child=Written(FindingName()),
        required=False,
        max_length=50,
        help_text=f"{', '.join(FINDINGS)}, {DATA_CLASS}NAME or {DETECTOR}NAME.",
    )
    on_failure = Choice(
        choices=("closed", "open"), required=False, help_text="Whether what could not be looked at counts as found."
    )
    reversible = Flag(required=False, help_text="What is masked becomes tokens that a rule can have put back.")
    keep_last = serializers.IntegerField(required=False, min_value=0, max_value=MOST_SHOWN)
    approvers = ApproversOfRule(required=False)
    reason = Text(required=False, allow_blank=True, max_length=500)

    def get_fields(self) -> dict[str, Any]:
        """`fields` is what Django REST framework calls its own."""
        masked = _texts(100, text="What to mask in a result: globs over paths, e.g. *.iban.")
        return {**super().get_fields(), "fields": masked}


class PolicyContent(Strict):
    rules = RuleContent(many=True, max_length=500)
    tests = serializers.ListField(
        child=serializers.DictField(),
        required=False,
        max_length=500,
        help_text="Calls, and what the rules must say of them, as a manifest writes them.",
    )


WAY = (
    *("number", "state", "based_on", "revision", "summary", "created_at", "created_by", "submitted_at", "submitted_by"),
    *("reviewed_at", "reviewed_by", "review_note", "published_at"),
)
"""How a version came to be."""


class BundleVersionRow(Row):
    bundle = Reference(Bundle, read_only=True)
    staged_agents = References(Agent, read_only=True, help_text="Those that have it while it is staged.")
    inherits = References(Bundle, source="parents", read_only=True)
    policies = References(Policy, read_only=True)
    tools = serializers.SerializerMethodField()
    resources = serializers.SerializerMethodField()
    prompts = serializers.SerializerMethodField()
    names = serializers.CharField(read_only=True)

    class Meta:
        model = BundleVersion
        fields = (
            "id", "bundle", "inherits", "tools", "resources", "prompts", "names", "policies", "recording",
            "staged_agents", *WAY,
        )  # fmt: skip
        read_only_fields = fields

    @extend_schema_field(ToolsOfConnector(many=True))
    def get_tools(self, version: BundleVersion) -> list[dict[str, Any]]:
        return _selected(version.tools.all())

    @extend_schema_field(ToolsOfConnector(many=True))
    def get_resources(self, version: BundleVersion) -> list[dict[str, Any]]:
        return _selected(entry for entry in version.selections.all() if entry.kind == entry.Kind.RESOURCE)

    @extend_schema_field(ToolsOfConnector(many=True))
    def get_prompts(self, version: BundleVersion) -> list[dict[str, Any]]:
        return _selected(entry for entry in version.selections.all() if entry.kind == entry.Kind.PROMPT)


def _selected(entries: Iterable[BundleTool | BundleSelection]) -> list[dict[str, Any]]:
    return [{"connector": entry.connector.name, "allow": entry.allow, "deny": entry.deny} for entry in entries]


class PolicyVersionRow(Row):
    policy = Reference(Policy, read_only=True)
    rules = serializers.SerializerMethodField(help_text="In order; members at their default are left out.")

    class Meta:
        model = PolicyVersion
        fields = ("id", "policy", "rules", "tests", *WAY)
        read_only_fields = fields

    @extend_schema_field(RuleContent(many=True))
    def get_rules(self, version: PolicyVersion) -> list[dict[str, Any]]:
        return [rule.manifest_entry() for rule in version.rules.all()]


class LimitRow(Row):
    name = Name()
    tools = serializers.ListField(
        child=Text(max_length=200), required=False, min_length=1, max_length=500, help_text="Globs."
    )
    labels = serializers.ListField(
        child=serializers.RegexField(f"^{LABEL_PATTERN}\\Z"), required=False, max_length=50,
        help_text="It counts and binds only calls of runs that have met any of these, e.g. flagged. Empty: all calls.",
    )  # fmt: skip
    requests = _amount("max_requests", 2**31 - 1, "Within the window.")
    bytes = _amount("max_bytes", 2**53, "Of arguments and results, within the window.")
    running = _amount("max_running", 2**31 - 1, "At once.")
    enabled = Flag(source="is_enabled", required=False)

    class Meta:
        model = RateLimit
        fields = ("id", "name", "per", "tools", "labels", "window_seconds", "requests", "bytes", "running", "enabled")
        read_only_fields = ("id",)

    def validate(self, values: dict[str, Any]) -> dict[str, Any]:
        amounts = ("max_requests", "max_bytes", "max_running")
        if not any(values.get(name, getattr(self.instance, name, None)) for name in amounts):
            message = "Limit at least one: requests, bytes or running."
            raise serializers.ValidationError({"requests": ErrorDetail(message, "rule")})
        return values


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


class TokenRow(Row):
    person = Reference(User, by="email", read_only=True)

    class Meta:
        model = PersonalToken
        fields = (
            "id", "person", "name", "hint", "scopes", "created_at", "created_by", "expires_at", "last_used_at",
            "revoked_at", "revoked_by",
        )  # fmt: skip
        read_only_fields = fields


class OneTimeLogin(Strict):
    person = Email()
    url = serializers.URLField(allow_null=True, help_text="Shown only now, and good for one sign-in within 24 hours.")
