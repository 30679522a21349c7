"""The screens of what happened: to read, to filter, never to change."""

from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

from django.contrib import admin
from django.db.models import Model, Q, QuerySet
from django.http import HttpRequest
from django.urls import reverse
from django.utils.html import format_html

from audit.models import Checkpoint, EventRow, Leaf
from gateway.console.base import (
    ExactTextFilter,
    InfinitePaginator,
    ReadOnlyModelAdmin,
    block,
    display,
    moment,
    pretty_json,
    visible,
)

KINDS = (
    ("call.intent", "Call: sent"),
    ("call.outcome", "Call: came back"),
    ("call.refused", "Call: refused"),
    ("tools.listed", "Tools: listed"),
    ("tools.registered", "Tools: found at an upstream"),
    ("tool.quarantined", "Tool: quarantined"),
    ("tool.released", "Tool: released"),
    ("definition.pinned", "Definition: pinned"),
    ("definition.rejected", "Definition: rejected"),
    ("strangers.refused", "Strangers refused"),
    ("person.signed_in", "Person: signed in"),
    ("person.sign_in_failed", "Person: sign-in failed"),
    ("person.one_time_login_made", "Person: one-time login made"),
    ("person.offboarded", "Person: offboarded"),
    ("offboarding.completed", "Offboarding: enforced everywhere"),
    ("owner.created", "Owner: made"),
    ("agent.retired", "Agent: retired"),
    ("key.issued", "Key: issued"),
    ("key.revoked", "Key: revoked"),
    ("keys.revoked", "Keys: all of an agent revoked"),
    ("bundle.published", "Bundle: published"),
    ("bundle.withdrawn", "Bundle: withdrawn"),
    ("policy.published", "Policy: in force"),
    ("policy.withdrawn", "Policy: withdrawn"),
    ("manifest.applied", "Manifest: applied"),
    ("secret.value_set", "Secret: value set"),
    ("vault.rewrapped", "Vault: rewrapped"),
    ("freeze.set", "Freeze: set"),
    ("freeze.lifted", "Freeze: lifted"),
)
DECISIONS = (("permit", "Permit"), ("deny", "Deny"), ("ask", "Ask"))
OUTCOMES = (
    ("ok", "OK"),
    ("tool_error", "The tool reported an error"),
    ("error", "Upstream failed"),
    ("refused", "Refused"),
    ("withheld", "Withheld: permission ended meanwhile"),
    ("not_sent", "Not sent"),
    ("unknown", "Unknown"),
)
PERIODS = {
    "hour": timedelta(hours=1),
    "day": timedelta(days=1),
    "week": timedelta(weeks=1),
    "month": timedelta(days=30),
}
COLOURS = {
    "permit": "success",
    "deny": "danger",
    "ask": "warning",
    "ok": "success",
    "tool_error": "warning",
    "error": "danger",
    "refused": "danger",
    "withheld": "warning",
    "not_sent": "info",
    "unknown": "warning",
}


class FixedChoice(admin.SimpleListFilter):
    """Choices written down here: finding the distinct values would read the whole table."""

    choices_shown: tuple[tuple[str, str], ...]

    def lookups(self, request: HttpRequest, model_admin: Any) -> tuple[tuple[str, str], ...]:
        return self.choices_shown

    def queryset(self, request: HttpRequest, events: QuerySet[EventRow]) -> QuerySet[EventRow]:
        return events.filter(**{str(self.parameter_name): self.value()}) if self.value() else events


class KindFilter(FixedChoice):
    title, parameter_name, choices_shown = "kind", "kind", KINDS


class DecisionFilter(FixedChoice):
    title, parameter_name, choices_shown = "decision", "decision", DECISIONS


class OutcomeFilter(FixedChoice):
    title, parameter_name, choices_shown = "outcome", "outcome", OUTCOMES


class PeriodFilter(admin.SimpleListFilter):
    """Ids are time-ordered (UUIDv7), so a time is a place in the primary key."""

    title = "time"
    parameter_name = "period"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return [(name, f"Past {name}") for name in PERIODS]

    def queryset(self, request: HttpRequest, events: QuerySet[EventRow]) -> QuerySet[EventRow]:
        if self.value() not in PERIODS:
            return events
        since = datetime.now(UTC) - PERIODS[str(self.value())]
        return events.filter(id__gte=UUID(int=int(since.timestamp() * 1000) << 80))


class EvidenceAdmin(ReadOnlyModelAdmin):
    """Large tables: newest first, next and previous, and no counting."""

    paginator = InfinitePaginator
    show_full_result_count = False
    sortable_by = ()
    actions = None
    list_fullwidth = True

    @display(description="Time (UTC)")
    def time(self, row: Any) -> str:
        return moment(row.at)


@admin.register(EventRow)
class EventAdmin(EvidenceAdmin):
    list_display = (
        "time", "kind", "agent_shown", "tool_shown", "person_shown", "decision_shown", "outcome_shown", "actor_shown",
    )  # fmt: skip
    list_filter = (
        PeriodFilter,
        KindFilter,
        DecisionFilter,
        OutcomeFilter,
        ExactTextFilter.on("agent", "agent"),
        ExactTextFilter.on("tool", "tool"),
    )
    search_fields = ("id",)
    search_help_text = "An event or call id, or the whole name of an agent or tool."
    ordering = ("-id",)
    fields = (
        "time", "kind", "decision_shown", "outcome_shown", "agent_shown", "person_shown", "connector", "tool_shown",
        "actor_shown", "id", "same_call", "process_id", "decided_epoch", "epoch", "leaf", "header_shown",
    )  # fmt: skip

    def get_readonly_fields(self, request: HttpRequest, obj: EventRow | None = None) -> tuple[str, ...]:
        return self.fields

    def get_queryset(self, request: HttpRequest) -> QuerySet[EventRow]:
        """Headers may be large; only the page of one event reads its own."""
        return super().get_queryset(request).defer("header")  # type: ignore[no-any-return]

    def get_search_results(
        self, request: HttpRequest, events: QuerySet[EventRow], term: str
    ) -> tuple[QuerySet[EventRow], bool]:
        if not term:
            return events, False
        try:
            wanted = Q(id=UUID(term)) | Q(call_id=UUID(term))
        except ValueError:
            wanted = Q(agent=term) | Q(tool=term)
        return events.filter(wanted), False

    @display(description="Agent")
    def agent_shown(self, event: EventRow) -> str:
        return visible(event.agent)

    @display(description="Tool")
    def tool_shown(self, event: EventRow) -> str:
        return visible(event.tool)

    @display(description="Person")
    def person_shown(self, event: EventRow) -> str:
        return visible(event.person)

    @display(description="By")
    def actor_shown(self, event: EventRow) -> str:
        return visible(event.actor)

    @display(description="Decision", label=COLOURS)
    def decision_shown(self, event: EventRow) -> str:
        return visible(event.decision)

    @display(description="Outcome", label=COLOURS)
    def outcome_shown(self, event: EventRow) -> str:
        return visible(event.outcome)

    @display(description="Call")
    def same_call(self, event: EventRow) -> str:
        if event.call_id is None:
            return ""
        link = reverse("admin:audit_eventrow_changelist")
        return format_html('<a class="text-primary-600" href="{}?q={}">{}</a>', link, event.call_id, event.call_id)

    @display(description="Place in the log")
    def leaf(self, event: EventRow) -> str:
        leaf = Leaf.objects.filter(event_id=event.pk).first()
        return f"leaf {leaf.index:,}" if leaf else "not sequenced yet"

    @display(description="Hashed record")
    def header_shown(self, event: EventRow) -> str:
        return pretty_json(bytes(event.header))


def _hexadecimal(raw: bytes | memoryview) -> str:
    return bytes(raw).hex()


class LogAdmin(EvidenceAdmin):
    def get_readonly_fields(self, request: HttpRequest, obj: Model | None = None) -> tuple[str, ...]:
        return tuple(self.fields)


@admin.register(Leaf)
class LeafAdmin(LogAdmin):
    list_display = ("index", "event", "hash_shown")
    list_filter = (ExactTextFilter.on("index", "index"),)
    ordering = ("-index",)
    fields = ("index", "event", "hash_shown")

    @display(description="Event")
    def event(self, leaf: Leaf) -> str:
        link = reverse("admin:audit_eventrow_change", args=[leaf.event_id])
        return format_html('<a class="text-primary-600" href="{}">{}</a>', link, leaf.event_id)

    @display(description="Hash")
    def hash_shown(self, leaf: Leaf) -> str:
        return _hexadecimal(leaf.hash)


@admin.register(Checkpoint)
class CheckpointAdmin(LogAdmin):
    list_display = ("size", "time", "root_shown")
    ordering = ("-size",)
    fields = ("size", "time", "root_shown", "note_shown")

    @display(description="Root")
    def root_shown(self, checkpoint: Checkpoint) -> str:
        return _hexadecimal(checkpoint.root)

    @display(description="Signed note")
    def note_shown(self, checkpoint: Checkpoint) -> str:
        return block(checkpoint.note)
