"""The sidebar: what exists, in the words of those who work with it, without what they may not see."""

from dataclasses import dataclass
from typing import Any

from django.http import HttpRequest
from django.urls import reverse


@dataclass(frozen=True, slots=True)
class Entry:
    """One list of the admin. `hint` says on the home page what it is for."""

    title: str
    model: str
    icon: str
    hint: str

    def is_visible(self, request: HttpRequest) -> bool:
        app, _, model = self.model.partition(".")
        return request.user.has_perm(f"{app}.view_{model}")

    def as_item(self) -> dict[str, Any]:
        link = reverse(f"admin:{self.model.replace('.', '_')}_changelist")
        return {"title": self.title, "icon": self.icon, "link": link, "hint": self.hint}


GROUPS: dict[str, tuple[Entry, ...]] = {
    "People": (
        Entry("People", "governance.user", "person", "Who works here, and with which duties."),
        Entry("Teams", "governance.team", "groups", "People together; rules can bind a team."),
    ),
    "Agents": (
        Entry("Agents", "governance.agent", "smart_toy", "Software that calls tools, each with an owner."),
        Entry("Agent keys", "governance.agentcredential", "key", "What agents prove themselves with."),
        Entry("Roles", "governance.role", "badge", "Who gets which bundles, and when."),
    ),
    "Systems": (
        Entry("Connectors", "governance.connector", "hub", "The systems behind the gateway."),
        Entry("Tools", "governance.tool", "build", "What those systems can do; risk and quarantine."),
        Entry("Tool definitions", "governance.tooldefinition", "fact_check", "New and changed ones await review."),
        Entry("Secrets", "governance.secret", "lock", "What we present to the systems. Values are write-only."),
        Entry("Secret versions", "governance.secretversion", "history", "When which value was live."),
    ),
    "Rules": (
        Entry("Bundles", "governance.bundle", "inventory_2", "Tools and rules, given to agents as one."),
        Entry("Bundle versions", "governance.bundleversion", "layers", "What was published, and when."),
        Entry("Policies", "governance.policy", "gavel", "Rules that permit, deny, mask or ask."),
        Entry("Policy versions", "governance.policyversion", "rule", "The rules in force, and those before."),
    ),
    "Evidence": (
        Entry("Events", "audit.eventrow", "receipt_long", "What was called, decided, and answered."),
        Entry("Changes", "governance.change", "difference", "Every governed change: who, before, after."),
        Entry("Log leaves", "audit.leaf", "account_tree", "Each event's place in the tamper-evident log."),
        Entry("Checkpoints", "audit.checkpoint", "verified", "Signed statements of the log's size and root."),
    ),
    "Operations": (
        Entry("Freezes", "governance.freeze", "ac_unit", "The emergency switch."),
        Entry("Gateway processes", "gateway.gatewayprocess", "dns", "What is running, and how current it is."),
        Entry("Organization", "governance.organization", "apartment", "Name, time zone, rules that bind every call."),
    ),
}


def navigation(request: HttpRequest) -> list[dict[str, Any]]:
    groups = (
        {"title": title, "items": [entry.as_item() for entry in entries if entry.is_visible(request)]}
        for title, entries in GROUPS.items()
    )
    return [group for group in groups if group["items"]]
