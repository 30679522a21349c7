"""The screens of what happened: to read, to filter, never to change."""

from datetime import UTC, datetime, timedelta
from typing import Any, ClassVar

from django.contrib import admin
from django.contrib.admin.views.main import ChangeList
from django.db.models import Model, QuerySet
from django.http import HttpRequest
from django.urls import reverse
from django.utils.html import format_html
from django.utils.safestring import SafeString

from audit.false_alarms import rates
from audit.kinds import CALL_KINDS, DECISIONS, OUTCOMES, TONES, VERBS, kind_in_words
from audit.models import (
    AgentSession,
    AnchorReceipt,
    Checkpoint,
    DeadLetter,
    EventRow,
    FindingGroup,
    Leaf,
)
from audit.search import VIEWS, EventSearch
from audit.sightings import seen_with
from gateway.console.base import (
    ExactTextFilter,
    InfinitePaginator,
    KeysetChangeList,
    ReadOnlyModelAdmin,
    block,
    copyable,
    display,
    moment,
    name_of,
    pretty_json,
    visible,
)


class EvidenceAdmin(ReadOnlyModelAdmin):
    """Large tables: newest first, page after page by key, and no counting."""

    show_full_result_count = False
    sortable_by = ()
    actions = None
    list_fullwidth = True

    def get_changelist(self, request: HttpRequest, **kwargs: Any) -> type[KeysetChangeList]:
        return KeysetChangeList

    def get_readonly_fields(self, request: HttpRequest, obj: Model | None = None) -> tuple[str, ...]:
        return tuple(self.fields)

    @display(description="Time (UTC)")
    def time(self, row: Any) -> str:
        return moment(row.at)


class EventChangeList(KeysetChangeList):
    """The list's own form does all the filtering, so that its address can be kept and sent to others."""

    search: EventSearch

    def get_filters_params(self, params: Any = None) -> dict[str, Any]:
        left = super().get_filters_params(params)
        return {name: value for name, value in left.items() if name not in EventSearch.base_fields}

    def get_queryset(self, request: HttpRequest, exclude_parameters: Any = None) -> QuerySet[EventRow]:
        self.search = EventSearch(request.GET)
        events = super().get_queryset(request, exclude_parameters)
        return self.search.narrow(events) if self.search.is_valid() else events.none()

    @property
    def is_narrowed(self) -> bool:
        return not self.search.is_valid() or self.search.is_narrowed

    def url_for_result(self, result: Any) -> str:
        """A call has a page of its own, which tells all its events."""
        return _page_of(result)

    @property
    def views(self) -> list[tuple[str, str, bool]]:
        """(title, link, is it this one) of each way to look at the same question."""
        shown = self.search.view_shown if self.search.is_valid() else ""
        return [(title, self.get_query_string({"view": name}), name == shown) for name, title in VIEWS.items()]


@admin.register(EventRow)
class EventAdmin(EvidenceAdmin):
    """Reads as a story: when, who, did what, whether it was allowed, and how it ended."""

    list_display = ("when", "who", "what", "decision_shown", "outcome_shown", "took")
    list_before_template = "console/evidence/filters.html"
    empty_hint = "As soon as an agent calls a tool, the call stands here."
    export_columns: ClassVar[tuple[str, ...]] = (
        "at", "kind", "actor", "agent", "person", "connector", "tool", "decision", "outcome", "took_ms", "call_id",
    )  # fmt: skip
    ordering = ("-id",)
    fields = (
        "time", "kind_shown", "decision_shown", "outcome_shown", "agent_shown", "person_shown", "connector_shown",
        "tool_shown", "actor_shown", "id_shown", "same_call", "process_id", "decided_epoch", "epoch", "leaf",
        "header_shown",
    )  # fmt: skip

    class Media:
        css: ClassVar[dict[str, tuple[str, ...]]] = {"all": ("gatehouse/home.css",)}

    def get_changelist(self, request: HttpRequest, **kwargs: Any) -> type[EventChangeList]:
        return EventChangeList

    def has_export_permission(self, request: HttpRequest) -> bool:
        return request.user.has_perm("governance.export_eventrow")

    def get_queryset(self, request: HttpRequest) -> QuerySet[EventRow]:
        """Headers may be large; only the page of one event reads its own."""
        return super().get_queryset(request).defer("header")  # type: ignore[no-any-return]

    # The list

    @display(description="Time (UTC)")
    def when(self, event: EventRow) -> SafeString:
        return moment(event.at)

    @display(description="Who")
    def who(self, event: EventRow) -> SafeString:
        name = event.agent if event.kind in CALL_KINDS else event.actor.removeprefix("person:")
        answers = event.person if event.kind in CALL_KINDS and event.person else ""
        return _two_lines(visible(name), f"for {visible(answers)}" if answers else "")

    @display(description="Did what")
    def what(self, event: EventRow) -> SafeString:
        verb = VERBS.get(event.kind)
        if verb is None:
            about = event.agent or event.person or event.tool or event.connector
            return _two_lines(kind_in_words(event.kind), visible(about))
        tool = visible(event.tool) or "a tool outside its reach"
        return _two_lines(f"{verb} {tool}", f"on {visible(event.connector)}" if event.connector else "")

    @display(description="Id")
    def copy_id(self, event: Any) -> SafeString:
        """Of the call, which all its events share, or else of the event: the search box finds both."""
        return _short(str(event.call_id or event.pk))

    @display(description="Decision")
    def decision_shown(self, event: EventRow) -> SafeString:
        return _badge(event.decision, DECISIONS)

    @display(description="Outcome")
    def outcome_shown(self, event: EventRow) -> SafeString:
        return _badge(event.outcome, OUTCOMES)

    @display(description="Took")
    def took(self, event: EventRow) -> str:
        milliseconds = self.took_ms(event)
        return "" if milliseconds is None else f"{milliseconds:,} ms"

    @display(description="Took (ms)")
    def took_ms(self, event: EventRow) -> int | None:
        """From the question to its answer: the id of a call holds the millisecond in which it was asked."""
        if event.call_id is None or event.kind != "call.outcome":
            return None
        asked = datetime.fromtimestamp((event.call_id.int >> 80) / 1000, UTC)
        return max(0, (event.at - asked) // timedelta(milliseconds=1))

    # One event

    @display(description="Kind")
    def kind_shown(self, event: EventRow) -> str:
        return kind_in_words(event.kind)

    @display(description="Agent")
    def agent_shown(self, event: EventRow) -> str:
        return visible(event.agent)

    @display(description="Connector")
    def connector_shown(self, event: EventRow) -> str:
        return visible(event.connector)

    @display(description="Tool")
    def tool_shown(self, event: EventRow) -> str:
        return visible(event.tool)

    @display(description="Person")
    def person_shown(self, event: EventRow) -> str:
        return visible(event.person)

    @display(description="By")
    def actor_shown(self, event: EventRow) -> str:
        return visible(event.actor)

    @display(description="Id")
    def id_shown(self, event: EventRow) -> SafeString:
        return copyable(str(event.pk))

    @display(description="Call")
    def same_call(self, event: EventRow) -> str:
        if event.kind not in CALL_KINDS:
            return ""
        link = reverse("call_page", args=[event.call_id or event.pk])
        return format_html('<a class="font-medium text-primary-600" href="{}">The whole call, as a story</a>', link)

    @display(description="Place in the log")
    def leaf(self, event: EventRow) -> str:
        leaf = Leaf.objects.filter(event_id=event.pk).first()
        return f"leaf {leaf.index:,}" if leaf else "not sequenced yet"

    @display(description="Hashed record")
    def header_shown(self, event: EventRow) -> SafeString:
        return pretty_json(bytes(event.header))


def _page_of(event: EventRow) -> str:
    if event.kind in CALL_KINDS:
        return reverse("call_page", args=[event.call_id or event.pk])
    return reverse("admin:audit_eventrow_change", args=[event.pk])


def _two_lines(first: str, second: str) -> SafeString:
    return format_html('<span class="gh-lines"><b>{}</b><small>{}</small></span>', first, second)


def _badge(word: str, words: dict[str, str]) -> SafeString:
    if not word:
        return SafeString("")
    shown = words.get(word) or visible(word)
    return format_html('<span class="gh-badge" data-tone="{}">{}</span>', TONES.get(word, "none"), shown)


def _short(text: str) -> SafeString:
    """Its beginning, and a button that copies all of it."""
    return copyable(text, shown=f"{text[:16]}…")


def _hexadecimal(raw: bytes | memoryview) -> str:
    return bytes(raw).hex()


class SessionChangeList(KeysetChangeList):
    def url_for_result(self, result: Any) -> str:
        return reverse("session_page", args=[result.pk])


@admin.register(AgentSession)
class SessionAdmin(EvidenceAdmin):
    """The runs of agents, summed up a moment after their calls end."""

    list_display = ("began_shown", "agent_shown", "person_shown", "calls", "refused", "failed", "last_shown")
    list_filter = (ExactTextFilter.on("agent", "agent"), ExactTextFilter.on("person", "person"))
    empty_hint = "As soon as an agent has called a tool, its session stands here."
    export_columns = ("id", "began_at", "agent", "person", "calls", "refused", "failed", "last_at")
    ordering = ("-began",)
    fields = ("timeline", "began_shown", "last_shown", "agent_shown", "person_shown", "calls", "refused", "failed")

    def get_changelist(self, request: HttpRequest, **kwargs: Any) -> type[SessionChangeList]:
        return SessionChangeList

    @display(description="Began (UTC)")
    def began_shown(self, session: AgentSession) -> SafeString:
        return moment(session.began_at)

    @display(description="Last call ended (UTC)")
    def last_shown(self, session: AgentSession) -> SafeString:
        return moment(session.last_at)

    @display(description="Agent")
    def agent_shown(self, session: AgentSession) -> str:
        return visible(session.agent)

    @display(description="For")
    def person_shown(self, session: AgentSession) -> str:
        return visible(session.person)

    @display(description="Timeline")
    def timeline(self, session: AgentSession) -> SafeString:
        link = reverse("session_page", args=[session.pk])
        return format_html('<a class="font-medium text-primary-600" href="{}">The whole session</a>', link)

    @display(description="Id")
    def copy_id(self, session: Any) -> SafeString:
        return _short(str(session.pk))


@admin.register(Leaf)
class LeafAdmin(EvidenceAdmin):
    list_display = ("index", "event", "copy_event", "copy_hash")
    export_columns = ("index", "event", "hash_shown")
    list_filter = (ExactTextFilter.on("index", "index"),)
    ordering = ("-index",)
    fields = ("index", "event", "hash_shown")

    @display(description="Event")
    def event(self, leaf: Leaf) -> SafeString:
        link = reverse("admin:audit_eventrow_change", args=[leaf.event_id])
        return format_html('<a class="text-primary-600" href="{}">{}</a>', link, leaf.event_id)

    @display(description="Its id")
    def copy_event(self, leaf: Leaf) -> SafeString:
        return _short(str(leaf.event_id))

    @display(description="Hash")
    def copy_hash(self, leaf: Leaf) -> SafeString:
        return _short(_hexadecimal(leaf.hash))

    @display(description="Hash")
    def hash_shown(self, leaf: Leaf) -> str:
        return _hexadecimal(leaf.hash)


@admin.register(Checkpoint)
class CheckpointAdmin(EvidenceAdmin):
    list_display = ("size", "time", "copy_root")
    export_columns = ("size", "time", "root_shown")
    ordering = ("-size",)
    fields = ("size", "time", "root_shown", "note_shown", "file", "continued")

    @display(description="Root")
    def copy_root(self, checkpoint: Checkpoint) -> SafeString:
        return _short(_hexadecimal(checkpoint.root))

    @display(description="Root")
    def root_shown(self, checkpoint: Checkpoint) -> str:
        return _hexadecimal(checkpoint.root)

    @display(description="Signed note")
    def note_shown(self, checkpoint: Checkpoint) -> str:
        return block(checkpoint.note)

    @display(description="To keep elsewhere")
    def file(self, checkpoint: Checkpoint) -> SafeString:
        link = reverse("checkpoint_note", args=[checkpoint.pk])
        return format_html('<a class="text-primary-600" href="{}">Download the note (.txt)</a>', link)

    @display(description="For an auditor who kept it")
    def continued(self, checkpoint: Checkpoint) -> SafeString | str:
        newest = Checkpoint.objects.order_by("-size").values_list("size", flat=True).first()
        if newest is None or not 0 < checkpoint.size < newest:
            return ""
        link = reverse("checkpoint_consistency", args=[newest, checkpoint.size])
        text = '<a class="text-primary-600" href="{}">Proof that the checkpoint of {} leaves only adds to it</a>'
        return format_html(text, link, f"{newest:,}")


@admin.register(DeadLetter)
class DeadLetterAdmin(ReadOnlyModelAdmin):
    empty_hint = "Every sink takes every leaf so far. What one does not take is kept here and can be tried again."
    list_display = ("index", "sink_shown", "error_shown", "attempts", "at")
    export_columns = ("index", "sink", "event_id", "error", "attempts", "at")
    ordering = ("sink", "index")
    list_filter = (ExactTextFilter.on("sink", "sink"), ExactTextFilter.on("index", "index"))
    fields = ("index", "sink_shown", "event", "error_shown", "attempts", "at")
    readonly_fields = ("event", "error_shown", "sink_shown")
    actions = None
    list_fullwidth = True

    def get_queryset(self, request: HttpRequest) -> QuerySet[DeadLetter]:
        rows: QuerySet[DeadLetter] = super().get_queryset(request)
        return rows.annotate(sink_name=name_of("governance.Sink", "sink"))

    @display(description="Sink")
    def sink_shown(self, letter: Any) -> SafeString | str:
        if letter.sink_name is None:
            return f"{str(letter.sink)[:8]}, which is gone"
        link = reverse("admin:governance_sink_change", args=[letter.sink])
        return format_html('<a class="text-primary-600" href="{}">{}</a>', link, visible(letter.sink_name))

    @display(description="Why")
    def error_shown(self, letter: DeadLetter) -> str:
        return visible(letter.error)

    @display(description="Event")
    def event(self, letter: DeadLetter) -> SafeString:
        link = reverse("admin:audit_eventrow_change", args=[letter.event_id])
        return format_html('<a class="text-primary-600" href="{}">{}</a>', link, letter.event_id)


@admin.register(AnchorReceipt)
class AnchorReceiptAdmin(EvidenceAdmin):
    """What was kept where; an anchor itself is asked by `verify_audit --anchors`."""

    empty_hint = "Nothing was kept elsewhere yet."
    list_display = ("size", "anchor", "time", "where")
    list_filter = (ExactTextFilter.on("anchor", "anchor"),)
    ordering = ("-id",)
    fields = ("size", "anchor", "time", "where", "stamp", "note_shown")

    @display(description="Where, or stamped when")
    def where(self, receipt: AnchorReceipt) -> str:
        return visible(receipt.reference)

    @display(description="Time stamp")
    def stamp(self, receipt: AnchorReceipt) -> SafeString | str:
        if not receipt.proof:
            return ""
        link = reverse("anchor_stamp", args=[receipt.pk])
        return format_html('<a class="text-primary-600" href="{}">Download the answer (.tsr)</a>', link)

    @display(description="Signed note")
    def note_shown(self, receipt: AnchorReceipt) -> str:
        return block(receipt.note)


FINDING_STATES = {"open": "", "true": FindingGroup.TRUE, "false-alarm": FindingGroup.FALSE}
FINDING_WORDS = {"": "open", FindingGroup.TRUE: "true", FindingGroup.FALSE: "false alarm"}


class FindingState(admin.SimpleListFilter):
    title = "state"
    parameter_name = "state"

    def lookups(self, request: HttpRequest, model_admin: object) -> list[tuple[str, str]]:
        return [("open", "Open"), ("true", "True"), ("false-alarm", "False alarm")]

    def queryset(self, request: HttpRequest, rows: QuerySet[FindingGroup]) -> QuerySet[FindingGroup]:
        verdict = FINDING_STATES.get(self.value() or "")
        return rows if verdict is None else rows.filter(verdict=verdict)


class SeenWithAgent(ExactTextFilter):
    title = "agent"
    parameter_name = "agent"

    def queryset(self, request: HttpRequest, rows: Any) -> Any:
        return rows.filter(seen_with(self.value())) if self.value() else rows


class FindingList(ChangeList):
    def get_results(self, request: HttpRequest) -> None:
        """With what was judged of the rules on this page, in one query."""
        super().get_results(request)
        known = {rate.rule: rate for rate in rates(*{row.rule for row in self.result_list})}
        for row in self.result_list:
            row.rate = known.get(row.rule)

    def url_for_result(self, result: Any) -> str:
        return reverse("finding", args=[result.pk])


@admin.register(FindingGroup)
class FindingAdmin(ReadOnlyModelAdmin):
    """Filled by the worker, some seconds after the call; each row leads to a page where it is judged."""

    empty_hint = "Rules about content find secrets, personal data and injected orders; what they find stands here."
    list_display = ("rule_shown", "kind", "where", "records", "state", "wrong", "first_shown", "last_shown")
    list_filter = (
        FindingState,
        ExactTextFilter.on("kind", "kind"),
        ExactTextFilter.on("rule", "rule"),
        ExactTextFilter.on("tool", "tool"),
        ExactTextFilter.on("connector", "connector"),
        SeenWithAgent,
    )
    list_filter_submit = True
    export_columns = (
        "rule", "version", "kind", "fingerprint", "connector", "tool", "records", "excepted", "state", "note",
        "judged_by", "judged_at", "first_at", "last_at",
    )  # fmt: skip
    ordering = ("-last_at", "id")
    sortable_by = ()
    paginator = InfinitePaginator
    show_full_result_count = False
    actions = None
    list_fullwidth = True
    fields: ClassVar[tuple[str, ...]] = (
        "rule_shown", "kind", "where", "fingerprint", "records", "excepted", "state", "note_shown", "first_shown",
        "last_shown",
    )  # fmt: skip
    readonly_fields = ("rule_shown", "where", "state", "note_shown", "first_shown", "last_shown")

    def get_changelist(self, request: HttpRequest, **kwargs: Any) -> type[FindingList]:
        return FindingList

    @display(description="Rule")
    def rule_shown(self, row: FindingGroup) -> str:
        return visible(row.rule)

    @display(description="At")
    def where(self, row: FindingGroup) -> str:
        tool = visible(row.tool) or "a tool outside its reach"
        return f"{tool} on {visible(row.connector)}" if row.connector else tool

    @display(description="State", label={"open": "warning", "true": "danger", "false alarm": "success"})
    def state(self, row: FindingGroup) -> str:
        return FINDING_WORDS.get(row.verdict, row.verdict)

    @display(description="Note")
    def note_shown(self, row: FindingGroup) -> str:
        return visible(row.note)

    @display(description="False alarms of the rule")
    def wrong(self, row: FindingGroup) -> str:
        rate = getattr(row, "rate", None)
        return rate.in_words if rate else ""

    @display(description="First (UTC)")
    def first_shown(self, row: FindingGroup) -> SafeString:
        return moment(row.first_at)

    @display(description="Last (UTC)")
    def last_shown(self, row: FindingGroup) -> SafeString:
        return moment(row.last_at)
