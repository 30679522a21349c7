"""The sidebar: what exists, in the words of those who work with it, without what they may not see."""

from dataclasses import dataclass
from typing import Any

from django.core.cache import cache
from django.db.models import F, Func, IntegerField, QuerySet, Subquery
from django.http import HttpRequest
from django.urls import reverse
from django.utils import timezone

from governance.freezes import in_force
from governance.grants import unreviewed
from governance.group_mappings import awaiting_approval
from governance.models import (
    AccessReview,
    BundleVersion,
    Connector,
    DirectoryLoss,
    Epoch,
    Freeze,
    OAuthClient,
    Offboarding,
    PolicyVersion,
    ToolDefinition,
)
from governance.models.versions import State
from governance.rotation import overdue_tasks

BADGE_SECONDS = 5


@dataclass(frozen=True, slots=True)
class Entry:
    """One page. `view` is its URL name, `permission` what it takes to open it; `hint` says what it is for.

    `waits` names the count (of `waiting()`) that stands beside it while it is not zero.
    """

    title: str
    view: str
    permission: str
    icon: str
    hint: str
    waits: str = ""

    def is_visible(self, request: HttpRequest) -> bool:
        return not self.permission or request.user.has_perm(self.permission)

    def as_item(self, counts: dict[str, int]) -> dict[str, Any]:
        item = {"title": self.title, "icon": self.icon, "link": reverse(self.view), "hint": self.hint}
        return {**item, **_badge(counts.get(self.waits, 0))}


def _badge(count: int) -> dict[str, str]:
    """In the words of the skin's template."""
    return {"badge": f"{count:,}", "badge_variant": "warning"} if count else {}


def _list(title: str, model: str, icon: str, hint: str, waits: str = "") -> Entry:
    """The list of a model in the admin."""
    app, _, name = model.partition(".")
    return Entry(title, f"admin:{app}_{name}_changelist", f"{app}.view_{name}", icon, hint, waits)


GROUPS: dict[str, tuple[Entry, ...]] = {
    "": (
        Entry("Home", "admin:index", "", "home", "What needs you now."),
        Entry("My page", "me", "", "account_circle", "Your agents, sessions and tokens."),
        Entry("Approvals", "approvals", "", "how_to_reg", "Calls and wishes that wait for a human."),
        Entry("Find calls", "runs", "", "manage_search", "What agents did, by words too; searches that are kept."),
    ),
    "People and teams": (
        _list("People", "governance.user", "person", "Who works here, and with which duties."),
        _list("Teams", "governance.team", "groups", "People together; rules can bind a team."),
        _list("On-call shifts", "governance.oncallshift", "support_agent", "Who answers for a team, and when."),
        Entry(
            "Offboarding",
            "offboardings",
            "governance.view_offboarding",
            "person_remove",
            "End all that hangs on a person, at once or on a date.",
            "offboardings",
        ),
        _list("Directories", "governance.directory", "contacts", "Identity providers that keep people here.", "losses"),
        _list(
            "Directory users", "governance.directoryuser", "contact_page", "Whom directories brought, and who waits."
        ),
        _list("Group mappings", "governance.groupmapping", "account_tree", "What being in a group gives.", "mappings"),
        _list(
            "Directory messages", "governance.directorymessage", "sync", "What directories sent, and what it changed."
        ),
        _list("Single sign-on", "governance.staffidentity", "passkey", "As whom people sign in at their provider."),
        _list("Personal tokens", "governance.personaltoken", "vpn_key", "By which people's scripts use the API."),
    ),
    "Agents and roles": (
        _list("Agents", "governance.agent", "smart_toy", "Software that calls tools, each with an owner."),
        _list("Agent keys", "governance.agentcredential", "key", "What agents prove themselves with."),
        _list("To be replaced", "governance.rotationtask", "autorenew", "Keys and secrets that are due.", "rotation"),
        Entry(
            "Emergency rotation",
            "emergency_rotation",
            "governance.cut_rotationtask",
            "lock_reset",
            "End at once what somebody else may know.",
        ),
        _list("Roles", "governance.role", "badge", "Who gets which bundles, and when."),
    ),
    "Access for a time": (
        _list("Grants", "governance.grant", "hourglass_top", "Rights that end by themselves.", "unreviewed"),
        Entry(
            "Break-glass",
            "break_glass",
            "governance.break_glass_grant",
            "emergency",
            "Access at once, without approval, reviewed afterwards.",
        ),
        Entry(
            "Break-glass account",
            "break_glass_account",
            "governance.review_grant",
            "fire_extinguisher",
            "The one way in without single sign-on, and when it was used.",
        ),
    ),
    "Systems": (
        _list("Connectors", "governance.connector", "hub", "The systems behind the gateway.", "failing"),
        Entry(
            "New connector",
            "connector_new",
            "governance.discover_connector",
            "add_link",
            "Connect a system step by step.",
        ),
        Entry(
            "Review queue",
            "review_queue",
            "governance.view_tooldefinition",
            "fact_check",
            "New and changed tools wait here for your yes.",
            "review",
        ),
        _list("Tools", "governance.tool", "build", "What those systems can do; risk and quarantine."),
        _list("Tool definitions", "governance.tooldefinition", "description", "What each tool said it is, ever."),
        _list("Secrets", "governance.secret", "lock", "What we present to the systems. Values are write-only."),
        _list("Secret versions", "governance.secretversion", "history", "When which value was live."),
        _list("Connected accounts", "governance.upstreamgrant", "link", "Whose accounts at systems may be used."),
    ),
    "Rules": (
        _list("Bundles", "governance.bundle", "inventory_2", "Tools and rules, given to agents as one."),
        _list("Bundle versions", "governance.bundleversion", "layers", "What was published, and when.", "bundles"),
        _list("Policies", "governance.policy", "gavel", "Rules that permit, deny, mask or ask."),
        Entry(
            "Ready policies",
            "ready_policies",
            "governance.view_policy",
            "verified_user",
            "Policies that come with Gatehouse, added by a click.",
        ),
        _list("Rate limits", "governance.ratelimit", "speed", "How much agents, teams and tools may use."),
        _list("Data classes", "governance.dataclass", "fingerprint", "What rules look for, beside what is usual."),
        _list("Detectors", "governance.externaldetector", "radar", "Services and models that rules may ask."),
        _list("Baselines", "governance.agentbaseline", "monitoring", "What is usual for each agent."),
        _list("Canaries", "governance.canary", "crisis_alert", "Planted values that raise an alarm."),
        _list("Reactions", "governance.reaction", "bolt", "What the gateway does by itself, at once."),
        _list(
            "Policy versions", "governance.policyversion", "rule", "The rules in force, and those before.", "policies"
        ),
    ),
    "Inspection": (
        _list("Findings", "audit.findinggroup", "policy_alert", "What was found in calls; say what is true."),
        _list("Exceptions", "governance.patternexception", "rule_settings", "What counts for no rule, until when."),
        Entry(
            "Detection rules",
            "detection_rules",
            "governance.view_detectionoff",
            "frame_inspect",
            "What inspection looks for; switch it off and on.",
        ),
        Entry(
            "On recorded traffic", "what_if", "audit.view_payload", "history", "What rules would have done to calls."
        ),
        Entry("Test bench", "test_bench", "governance.inspect_policy", "science", "What would be found in a text."),
        Entry("False alarms", "finding_rates", "audit.view_findinggroup", "percent", "How often each rule was wrong."),
    ),
    "Who can do what": (
        Entry("Explain", "explain", "governance.explain_agent", "help", "Why an agent can or cannot call a tool."),
        Entry("Agents and tools", "matrix_agents", "governance.explain_agent", "grid_on", "Every agent by every tool."),
        Entry("People and tools", "matrix_people", "governance.explain_agent", "table_chart", "Who reaches what."),
    ),
    "Evidence": (
        _list("Events", "audit.eventrow", "receipt_long", "What was called, decided, and answered."),
        _list("Sessions", "audit.agentsession", "timeline", "The runs of agents, each as one timeline."),
        Entry(
            "Access reviews",
            "access_reviews",
            "governance.view_accessreview",
            "rule_folder",
            "Whether people and agents still need what they hold.",
            "attestations",
        ),
        Entry("Reports", "reports", "gateway.view_report", "assessment", "Evidence for auditors, with its proof."),
        _list("Changes", "governance.change", "difference", "Governed changes of the last day, row by row."),
        _list("Log leaves", "audit.leaf", "account_tree", "Each event's place in the tamper-evident log."),
        _list("Checkpoints", "audit.checkpoint", "verified", "Signed statements of the log's size and root."),
        _list("Sinks", "governance.sink", "output", "Where evidence is sent, and how far each is."),
        _list("Dead letters", "audit.deadletter", "mark_email_unread", "Leaves that a sink does not take."),
        _list("Anchors", "governance.anchor", "anchor", "Where checkpoints are kept beyond our reach."),
        _list("Anchor receipts", "audit.anchorreceipt", "inventory", "Which checkpoint was kept where, and when."),
        _list("Retention classes", "governance.retentionclass", "auto_delete", "How long evidence is kept."),
        _list("Legal holds", "governance.legalhold", "policy", "What is kept whatever retention says."),
        _list("Erasures", "governance.erasure", "person_off", "Whose arguments and results were made unreadable."),
    ),
    "Operations": (
        _list("Trusted issuers", "governance.trustedissuer", "verified_user", "Whose signed word counts here."),
        _list("OAuth clients", "governance.oauthclient", "apps", "Programs that people let in.", "clients"),
        _list("Authorizations", "governance.authorization", "how_to_reg", "Who let which client in, until when."),
        _list("Freezes", "governance.freeze", "ac_unit", "The emergency switch.", "freezes"),
        _list("Notification channels", "governance.notificationchannel", "campaign", "Who is told beside e-mail."),
        _list("Chat identities", "governance.chatidentity", "alternate_email", "Which person a chat account is."),
        _list("Notices", "gateway.notice", "mark_email_unread", "What was told to whom, and what did not arrive."),
        _list("Gateway processes", "gateway.gatewayprocess", "dns", "What is running, and how current it is."),
        _list("Organization", "governance.organization", "apartment", "Name, time zone, rules that bind every call."),
        Entry("API", "api_docs", "", "terminal", "What scripts can do here, and how."),
    ),
}


def navigation(request: HttpRequest) -> list[dict[str, Any]]:
    """Folded are the other groups than that of the page; at home, and elsewhere in none of them, all lie open."""
    counts = waiting()
    shown = ((title, [entry for entry in entries if entry.is_visible(request)]) for title, entries in GROUPS.items())
    groups = [_group(title, entries, counts) for title, entries in shown if entries]
    around_here = [group for group in groups if group["title"] and _leads_to(request.path, group)]
    return [{**group, "is_open": group in (around_here or groups)} for group in groups]


def _group(title: str, entries: list[Entry], counts: dict[str, int]) -> dict[str, Any]:
    """`waiting` is what waits in it altogether, for when it is folded."""
    total = sum(counts.get(entry.waits, 0) for entry in entries)
    return {"title": title, "items": [entry.as_item(counts) for entry in entries], "waiting": _badge(total)}


def group_of(link: str) -> str:
    """The title of the group whose page has this address; empty if none has."""
    return next((title for title, entries in GROUPS.items() if any(reverse(e.view) == link for e in entries)), "")


def _leads_to(path: str, group: dict[str, Any]) -> bool:
    return any(path.startswith(item["link"]) for item in group["items"])


def waiting() -> dict[str, int]:
    """What waits for somebody, a few seconds old at most, in one query."""
    counts = cache.get("navigation:waiting")
    if counts is None:
        counts = _count_waiting()
        cache.set("navigation:waiting", counts, BADGE_SECONDS)
    return dict(counts)


def _count_waiting() -> dict[str, int]:
    unfinished = (Offboarding.State.ENFORCING, Offboarding.State.INCOMPLETE, Offboarding.State.FAILED)
    totals = {
        "review": ToolDefinition.objects.filter(status=ToolDefinition.Status.WAITING),
        "failing": Connector.objects.filter(is_enabled=True).exclude(last_error=""),
        "offboardings": Offboarding.objects.filter(state__in=unfinished),
        "rotation": overdue_tasks(timezone.now()),
        "attestations": AccessReview.objects.filter(state=AccessReview.State.OPEN, due_at__lt=timezone.now()),
        "freezes": Freeze.objects.filter(in_force(timezone.now())),
        "unreviewed": unreviewed(),
        "clients": OAuthClient.objects.filter(status=OAuthClient.Status.PENDING),
        "bundles": BundleVersion.objects.filter(state=State.REVIEW),
        "losses": DirectoryLoss.objects.filter(state=DirectoryLoss.State.HELD),
        "mappings": awaiting_approval(),
        "policies": PolicyVersion.objects.filter(state=State.REVIEW),
    }
    counted = {f"{name}_waiting": _total(rows) for name, rows in totals.items()}
    row = Epoch.objects.annotate(**counted).values(*counted).get(id=1)
    return {name: row[f"{name}_waiting"] for name in totals}


def _total(rows: QuerySet[Any]) -> Subquery:
    counted = rows.order_by().annotate(total=Func(F("pk"), function="COUNT", output_field=IntegerField()))
    return Subquery(counted.values("total"))
