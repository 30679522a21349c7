from collections.abc import Callable, Iterable, Sequence
from typing import Any, ClassVar

from django import forms
from django.contrib import admin, messages
from django.contrib.admin.views.main import ChangeList
from django.db import transaction
from django.db.models import Count, Field, Model, Q, QuerySet
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import reverse
from django.utils import timezone
from unfold.widgets import UnfoldAdminSelectWidget

from gateway.console.base import (
    GovernedModelAdmin,
    ReadOnlyInline,
    ReadOnlyModelAdmin,
    display,
    named,
    pretty_json,
    visible,
)
from governance import freezes, registry
from governance.admin.fields import Lines, Ticks, Variables, check_label, check_oauth_scope, check_web_address
from governance.bundles import given, holding
from governance.connected_accounts import account_faults
from governance.definition_findings import read
from governance.destinations import SENT_ELSEWHERE, may_send
from governance.manifest.entries import STDIO
from governance.models import BundleVersion, Connector, Freeze, Tool, ToolDefinition, User
from governance.programs import as_address, program_faults, shown_command
from governance.proposals import without_connector, without_tools
from governance.snapshot import Snapshot

DEFINITION_COLOURS = {
    ToolDefinition.Status.WAITING: "warning",
    ToolDefinition.Status.PINNED: "success",
    ToolDefinition.Status.SUPERSEDED: "info",
    ToolDefinition.Status.REJECTED: "danger",
}


OF_LOCAL_SERVERS = ("command", "environment", "secret_variable", "per_agent", "memory_mb")
BOUNDS = {"max_running": (1, 100_000), "max_waiting": (0, 100_000), "memory_mb": (16, 1_000_000)}
"""As in a manifest, or an export of what was entered here could not be applied."""
KIND_CHOICES = (("mcp", "MCP server at an address"), (STDIO, "Local MCP server, a program (stdio)"))


class ConnectorForm(forms.ModelForm):  # type: ignore[type-arg]
    """Of a connector by address or, with kind `stdio`, of a local server: each has what the other has not."""

    class Meta:
        labels: ClassVar[dict[str, str]] = {
            "timeout_seconds": "Time for a call (seconds)",
            "secret_variable": "Variable for the secret",
            "per_agent": "One for each agent",
            "memory_mb": "Memory (MB)",
        }
        help_texts: ClassVar[dict[str, str]] = {"secret_variable": "The program finds the secret's value in it."}

    person: ClassVar[User]
    urls = Lines(
        label="Addresses",
        required=False,
        check=check_web_address,
        help_text="One a line, e.g. https://helpdesk.example.com/mcp. Several are replicas of the same system.",
    )

    relays = Ticks(
        label="May ask the agent's side",
        choices=[
            ("elicitation", "Questions to the agent's user"),
            ("sampling", "Work for the agent's model"),
            ("roots", "Which folders the agent works in"),
        ],
        help_text="While it works on a call. What it asks can mislead a model or a person, so nothing by default.",
    )

    oauth_scopes = Lines(
        label="OAuth scopes",
        required=False,
        check=check_oauth_scope,
        help_text="One a line. Empty asks for those that the system names.",
    )

    command = Lines(
        label="Program",
        required=False,
        rows=5,
        help_text="The program's absolute path, then its arguments, one a line. It is run as it stands here, without a"
        " shell, on the gateway's machine; it may do whatever the gateway's own user may.",
    )
    environment = Variables(
        label="Variables", help_text="NAME=value, one a line. No secrets: everybody here sees them."
    )

    def clean(self) -> dict[str, Any]:
        cleaned = super().clean() or self.cleaned_data
        if cleaned.get("kind", self.instance.kind) == STDIO:
            self._check_program(cleaned)
        else:
            self._check_addresses(cleaned)
        return cleaned

    def _check_addresses(self, cleaned: dict[str, Any]) -> None:
        if not cleaned.get("urls") and "urls" not in self.errors:
            self.add_error("urls", "Write at least one address.")
        for field in ("command", "environment", "secret_variable"):
            if cleaned.get(field):
                self.add_error(field, "Only a local server has this.")
        self._check_secret(cleaned, cleaned.get("urls", ()), field="urls")
        for field, message in account_faults(
            cleaned.get("account", ""), cleaned.get("secret"), cleaned.get("urls", ())
        ):
            self.add_error(field, message)

    def _check_program(self, cleaned: dict[str, Any]) -> None:
        command, environment = cleaned.get("command", []), cleaned.get("environment", {})
        if not command:
            self.add_error("command", "Write the program and its arguments.")
        if cleaned.get("urls"):
            self.add_error("urls", "A local server has no address.")
        if cleaned.get("account"):
            self.add_error("account", "A local server gets a secret as a variable, and no accounts.")
        for field, message in program_faults(command, environment):
            self.add_error(field, f"{message[0].upper()}{message[1:]}.")
        address = as_address(command, environment, cleaned.get("secret_variable", ""))
        self._check_secret(cleaned, [address], field="command")

    def _check_secret(self, cleaned: dict[str, Any], addresses: Iterable[str], *, field: str) -> None:
        secret = cleaned.get("secret")
        if secret and not may_send(secret, addresses, person=self.person):
            self.add_error(field, SENT_ELSEWHERE)


class ConnectorList(ChangeList):
    def url_for_result(self, result: Model) -> str:
        return reverse("connector_overview", args=[result.pk])


@admin.register(Connector)
class ConnectorAdmin(GovernedModelAdmin):
    """A row leads to the connector's own page."""

    form = ConnectorForm
    changes_reach = True
    parts = (Tool, ToolDefinition, Freeze)
    fixed_fields = ("name", "kind")
    empty_hint = "A connector is a system behind the gateway. Give the address of an MCP server to begin."
    list_display = ("name", "title", "health", "tool_count", "to_review", "last_seen_at", "addresses", "secret")
    list_filter = ("is_enabled", "new_tools")
    list_select_related = ("secret",)
    search_fields = ("name", "title", "urls")
    autocomplete_fields = ("secret", "owner")
    readonly_fields = ("health", "last_error_shown", "last_seen_at", "protocol_version")
    change_form_before_template = "console/connecting/before_connector.html"
    fieldsets = (
        (None, {"fields": ("name", "title", "kind", "owner", "stage", "is_enabled")}),
        (
            "How to reach it",
            {
                "fields": (
                    *("urls", "account", "secret", "oauth_scopes"),
                    *("timeout_seconds", "max_running", "max_waiting"),
                ),
                "description": "The secret is presented to the system by the gateway; agents never see it. Calls at"
                " once and calls that may wait are those of one gateway process.",
            },
        ),
        (
            "Local server",
            {
                "fields": OF_LOCAL_SERVERS,
                "description": "Only of kind stdio. Saving runs a program on the gateway's machine. Which may be run is"
                " said by the setting STDIO_ALLOWED_COMMANDS, which nobody can change here.",
            },
        ),
        ("What it may ask back", {"fields": ("relays",)}),
        (
            "Tools",
            {
                "fields": ("new_tools",),
                "description": "Definitions found at the first contact are pinned. This is about later ones.",
            },
        ),
        ("Health", {"fields": ("health", "last_error_shown", "last_seen_at", "protocol_version")}),
    )

    def get_queryset(self, request: HttpRequest) -> QuerySet[Connector]:
        waiting = Q(tools__definitions__status=ToolDefinition.Status.WAITING)
        rows: QuerySet[Connector] = super().get_queryset(request)
        return rows.annotate(
            tool_total=Count("tools", distinct=True),
            waiting_total=Count("tools__definitions", filter=waiting, distinct=True),
            is_given=given(),
        )

    def get_fieldsets(self, request: HttpRequest, obj: Connector | None = None) -> Any:
        """What only the other kind has would be in the way; a form for any kind has both."""
        fieldsets, kind = super().get_fieldsets(request, obj), obj.kind if obj else _wanted_kind(request)
        if not kind:
            return fieldsets
        others = {"urls", "account", "oauth_scopes"} if kind == STDIO else OF_LOCAL_SERVERS
        cut = [(title, {**options, "fields": _without(options["fields"], others)}) for title, options in fieldsets]
        return [(title, options) for title, options in cut if options["fields"]]

    def response_post_save_add(self, request: HttpRequest, obj: Connector) -> HttpResponseRedirect:
        """The wizard's next step: it is tested, classified and published from there."""
        return HttpResponseRedirect(f"{reverse('connector_test', args=[obj.pk])}?start")

    def response_post_save_change(self, request: HttpRequest, obj: Connector) -> HttpResponse:
        if obj.last_seen_at is None:
            return self.response_post_save_add(request, obj)
        return HttpResponseRedirect(reverse("connector_overview", args=[obj.pk]))

    def get_changelist(self, request: HttpRequest, **_: Any) -> type[ChangeList]:
        return ConnectorList

    def formfield_for_dbfield(self, db_field: "Field[Any, Any]", request: HttpRequest, **options: Any) -> Any:
        if db_field.name == "kind":
            wanted = _wanted_kind(request)
            choices = [choice for choice in KIND_CHOICES if wanted in ("", choice[0])]
            return forms.ChoiceField(choices=choices, initial="mcp", widget=UnfoldAdminSelectWidget)
        if bounds := BOUNDS.get(db_field.name):
            options |= dict(zip(("min_value", "max_value"), bounds, strict=True))
        return super().formfield_for_dbfield(db_field, request, **options)

    def get_form(self, request: HttpRequest, *args: Any, **options: Any) -> Any:
        form = super().get_form(request, *args, **options)
        form.person = request.user
        return form

    def proposed(self, form: ConnectorForm, snapshot: Snapshot) -> Snapshot | None:
        """Switching it off; what comes with switching it on again is seen once it answers."""
        return snapshot if form.cleaned_data["is_enabled"] else without_connector(snapshot, form.instance.pk.hex)

    def proposed_without(self, rows: Sequence[Connector], snapshot: Snapshot) -> Snapshot | None:
        for row in rows:
            snapshot = without_connector(snapshot, row.pk.hex)
        return snapshot

    def stays_because(self, row: Connector) -> str:
        if freezes.holds(row, now=timezone.now()):
            return "It, or a tool of it, is frozen. Lift the freeze first."
        if names := _bundles_with(row, state=BundleVersion.State.PUBLISHED):
            return f"It is in {names}. Take it out there first."
        if names := _bundles_with(row):
            return f"Earlier versions of {names} hold it, and history stays. Switch the connector off instead."
        return ""

    @display(
        description="Health",
        label={"ok": "success", "failing": "danger", "not finished": "warning", "disabled": "info"},
    )
    def health(self, connector: Any) -> str:
        """Not finished is what was never reached, or what no bundle publishes: it gives nothing to anybody."""
        if not connector.is_enabled:
            return "disabled"
        if connector.last_error:
            return "failing"
        return "ok" if connector.last_seen_at and connector.is_given else "not finished"

    @display(description="Addresses")
    def addresses(self, connector: Connector) -> str:
        if connector.command:
            return shown_command(connector.command)
        first, *others = connector.urls or ("",)
        return f"{first} (+{len(others)})" if others else str(first)

    @display(description="Last error")
    def last_error_shown(self, connector: Connector) -> str:
        return visible(connector.last_error)

    @display(description="Tools", ordering="tool_total")
    def tool_count(self, connector: Any) -> int:
        return int(connector.tool_total)

    @display(description="To review", ordering="waiting_total")
    def to_review(self, connector: Any) -> str:
        return str(connector.waiting_total or "")


def _wanted_kind(request: HttpRequest) -> str:
    """Of the form for a new connector, by its address; empty for one of any kind."""
    kind = request.GET.get("kind", "")
    return kind if kind in dict(KIND_CHOICES) else ""


def _without(fields: Iterable[str], others: Iterable[str]) -> tuple[str, ...]:
    return tuple(field for field in fields if field not in others)


def _bundles_with(connector: Connector, **version: Any) -> str:
    """Named; empty if there is none."""
    versions = BundleVersion.objects.filter(holding(connector), **version)
    return named("the bundle", versions.order_by("bundle__name").values_list("bundle__name", flat=True).distinct())


class ToolForm(forms.ModelForm):  # type: ignore[type-arg]
    data_classes = Lines(
        required=False,
        check=check_label,
        help_text="What kind of data it touches, one a line, e.g. customer-finance. Rules can test these.",
    )


class DefinitionInline(ReadOnlyInline):
    model = ToolDefinition
    fields = ("status", "short_digest", "seen_at", "decided_by")
    readonly_fields = fields
    verbose_name_plural = "definitions"

    @display(description="Digest")
    def short_digest(self, definition: ToolDefinition) -> str:
        return definition.digest[:12]


class Quarantined(admin.SimpleListFilter):
    title = "quarantine"
    parameter_name = "quarantine"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return [("yes", "In quarantine"), ("no", "Not in quarantine")]

    def queryset(self, request: HttpRequest, tools: QuerySet[Tool]) -> QuerySet[Tool]:
        return tools.filter(quarantined_at__isnull=self.value() == "no") if self.value() else tools


@admin.register(Tool)
class ToolAdmin(GovernedModelAdmin):
    """Tools come by discovery; here they are classified, and taken out of reach."""

    form = ToolForm
    empty_hint = "Connect a system, and the tools it offers stand here."
    list_display = ("name", "connector", "risk_shown", "is_read_only", "classes", "quarantine_shown")
    list_filter = ("connector", "risk", "is_read_only", Quarantined)
    list_select_related = ("connector",)
    search_fields = ("name", "connector__name")
    readonly_fields = ("connector", "name", "quarantined_at", "quarantine_reason")
    inlines = (DefinitionInline,)
    actions = ("quarantine", "release")
    fieldsets = (
        (None, {"fields": ("connector", "name")}),
        (
            "Classification",
            {
                "fields": ("risk", "is_read_only", "data_classes", "is_untrusted", "is_egress", "undo"),
                "description": "Your word, not the upstream's: what it says of itself is never trusted here.",
            },
        ),
        ("Time", {"fields": ("timeout_seconds",)}),
        ("Quarantine", {"fields": ("quarantined_at", "quarantine_reason")}),
    )

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Tool | None = None) -> bool:
        return False

    def save_model(self, request: HttpRequest, obj: Tool, form: Any, change: bool) -> None:
        if not obj.is_classified or {"risk", "is_read_only", "is_untrusted", "is_egress"} & set(form.changed_data):
            obj.classified_at = timezone.now()
        super().save_model(request, obj, form, change)

    @display(description="Risk", label={"low": "info", "medium": "warning", "high": "danger"}, ordering="risk")
    def risk_shown(self, tool: Tool) -> tuple[str, str]:
        return tool.risk, tool.get_risk_display()

    @display(description="Data classes")
    def classes(self, tool: Tool) -> str:
        return ", ".join(tool.data_classes)

    @display(description="Quarantine", label={"quarantined": "danger"}, ordering="quarantined_at")
    def quarantine_shown(self, tool: Tool) -> str:
        return "quarantined" if tool.quarantined_at else ""

    @admin.action(description="Quarantine selected tools", permissions=["change"])
    def quarantine(self, request: HttpRequest, tools: QuerySet[Tool]) -> HttpResponse | None:
        tools = tools.filter(quarantined_at=None)
        if not self.confirmed(request):
            effect = "No agent can reach them from this moment, until they are released."
            gone = {tool.pk.hex for tool in tools}
            return self.preview(
                request,
                tools,
                action="quarantine",
                verb="Quarantine",
                effect=effect,
                proposal=lambda snapshot: without_tools(snapshot, gone),
            )
        done = list(tools.select_related("connector"))
        for tool in done:
            registry.quarantine(tool, reason="Set in the admin", **self.performed(request))
        self.message_user(request, f"{len(done)} tools quarantined.", messages.SUCCESS)
        return None

    @admin.action(description="Release selected tools", permissions=["change"])
    def release(self, request: HttpRequest, tools: QuerySet[Tool]) -> HttpResponse | None:
        tools = tools.exclude(quarantined_at=None)
        if not self.confirmed(request):
            effect = "Agents whose roles give these tools can call them again at once."
            return self.preview(request, tools, action="release", verb="Release", effect=effect)
        done = list(tools.select_related("connector"))
        for tool in done:
            registry.release(tool, **self.by(request))
        self.message_user(request, f"{len(done)} tools released.", messages.SUCCESS)
        return None


@admin.register(ToolDefinition)
class ToolDefinitionAdmin(ReadOnlyModelAdmin):
    """What an upstream says a tool is. Hostile until a human has read it."""

    empty_hint = "Connect a system; what it says of its tools stands here, and every later change of it."
    list_display = ("tool", "state", "is_suspicious", "short_digest", "seen_at", "decided_by")
    list_filter = ("status", "is_suspicious", "tool__connector")
    list_select_related = ("tool__connector",)
    search_fields = ("tool__name", "tool__connector__name", "digest")
    fields = ("tool", "status", "seen_at", "decided_by", "digest", "found", "body_shown")
    readonly_fields = ("found", "body_shown")
    change_form_before_template = "console/connecting/before_definition.html"
    actions = ("pin", "reject")

    def has_review_permission(self, request: HttpRequest) -> bool:
        return request.user.has_perm("governance.decide_tooldefinition")

    def get_queryset(self, request: HttpRequest) -> QuerySet[ToolDefinition]:
        """Bodies may be large; only the page of one reads its own."""
        return super().get_queryset(request).defer("body")  # type: ignore[no-any-return]

    @display(description="Status", label=DEFINITION_COLOURS, ordering="status")
    def state(self, definition: ToolDefinition) -> tuple[str, str]:
        return definition.status, definition.get_status_display()

    @display(description="Digest")
    def short_digest(self, definition: ToolDefinition) -> str:
        return definition.digest[:12]

    @display(description="Found in it")
    def found(self, definition: ToolDefinition) -> str:
        if definition.findings is None:
            return "Not looked at yet."
        return "\n".join(visible(remark.words) for remark in read(definition.findings)) or "Nothing."

    @display(description="Definition")
    def body_shown(self, definition: ToolDefinition) -> str:
        return pretty_json(bytes(definition.body))

    @admin.action(description="Pin selected definitions", permissions=["review"])
    def pin(self, request: HttpRequest, definitions: QuerySet[ToolDefinition]) -> HttpResponse | None:
        effect = "They are served to agents from this moment, in the place of those pinned before. Read them first."
        return self._decide(request, definitions, registry.pin, action="pin", verb="Pin", effect=effect)

    @admin.action(description="Reject selected definitions", permissions=["review"])
    def reject(self, request: HttpRequest, definitions: QuerySet[ToolDefinition]) -> HttpResponse | None:
        effect = "They stay rejected however often the upstream offers them; what is pinned goes on being served."
        return self._decide(request, definitions, registry.reject, action="reject", verb="Reject", effect=effect)

    def _decide(
        self,
        request: HttpRequest,
        definitions: QuerySet[ToolDefinition],
        decide: Callable[..., None],
        *,
        action: str,
        verb: str,
        effect: str,
    ) -> HttpResponse | None:
        waiting = definitions.filter(status=ToolDefinition.Status.WAITING).select_related("tool__connector")
        if not self.confirmed(request):
            return self.preview(request, waiting, action=action, verb=verb, effect=effect)
        decided = [self._try(request, decide, definition) for definition in waiting]
        self.message_user(request, f"{sum(decided)} definitions decided: {verb.lower()}.", messages.SUCCESS)
        return None

    def _try(self, request: HttpRequest, decide: Callable[..., None], definition: ToolDefinition) -> bool:
        try:
            with transaction.atomic():
                decide(definition, **self.by(request))
        except registry.NotDecidable as reason:
            self.message_user(request, str(reason), messages.WARNING)
            return False
        return True
