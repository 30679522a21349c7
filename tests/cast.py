"""The people and agents of the tests, by name, and the organisation they work in as a manifest."""

from collections.abc import Mapping
from typing import Any

ANA = "ana@example.com"
"""Owns the support agents."""
LEE = "lee@example.com"
"""Leads support; takes over from Ana."""
NOOR = "noor@example.com"
"""IT admin: freezes, revokes and offboards."""
OMAR = "omar@example.com"
"""Leaves; Lee takes over his agent."""
MALLORY = "mallory@example.com"
"""Works here, holds nothing."""

TRIAGE_BOT = "triage-bot"
"""Ana's; holds the bundle `support`."""
NIGHT_BOT = "night-bot"
"""Ana's second one, with the same rights."""
RETIRED_BOT = "retired-bot"
"""Lee's; has the rights too, but tests end it."""
HANDOVER_BOT = "handover-bot"
"""Omar's, then Lee's."""
ROGUE_BOT = "rogue-bot"
"""Mallory's; live, with a valid key, without any role."""

PEOPLE = (ANA, LEE, NOOR, OMAR, MALLORY)
DUTIES = {NOOR: ["it-admin"]}
REFUND_LIMIT = "big-refunds-are-refused"


def organisation(
    connectors: Mapping[str, str],
    *,
    secrets: Mapping[str, str] | None = None,
    bundles: Mapping[str, list[dict[str, Any]]] | None = None,
    timeout_seconds: float = 10,
) -> dict[str, Any]:
    """A manifest. `connectors` maps names to URLs, `secrets` connector names to the environment variable that
    holds the bearer token. Without `bundles` each connector is a bundle of its own; all support agents hold all."""
    secrets = secrets or {}
    chosen = bundles or {name: [{"connector": name, "allow": ["*"]}] for name in connectors}
    owners = {TRIAGE_BOT: ANA, NIGHT_BOT: ANA, RETIRED_BOT: LEE, HANDOVER_BOT: OMAR}
    holders = [{"name": agent, "owner": owner, "roles": ["support-agent"]} for agent, owner in owners.items()]
    return {
        "people": [
            {"email": email, "name": email.partition("@")[0].title(), "duties": DUTIES.get(email, [])}
            for email in PEOPLE
        ],
        "secrets": [
            {"name": f"{name}-token", "kind": "bearer", "value_from": {"env": variable}}
            for name, variable in secrets.items()
        ],
        "connectors": [
            {"name": name, "kind": "mcp", "url": url, "timeout_seconds": timeout_seconds}
            | ({"secret": f"{name}-token"} if name in secrets else {})
            for name, url in connectors.items()
        ],
        "bundles": [{"name": name, "tools": tools} for name, tools in chosen.items()],
        "roles": [{"name": "support-agent", "bundles": list(chosen)}],
        "agents": [*holders, {"name": ROGUE_BOT, "owner": MALLORY, "roles": []}],
    }


def support_desk(url: str) -> dict[str, Any]:
    """The demo helpdesk, whose secret is in HELPDESK_TOKEN, as a support team uses it."""
    tools = {
        "connector": "helpdesk",
        "allow": ["ticket_*", "kb_search", "billing_refund", "session_info"],
        "deny": ["ticket_delete"],
    }
    manifest = organisation({"helpdesk": url}, secrets={"helpdesk": "HELPDESK_TOKEN"}, bundles={"support": [tools]})
    refuse = {
        "effect": "deny",
        "tools": ["billing_refund"],
        "when": "args.amount > 100",
        "reason": "Refunds over 100 need a lead",
    }
    manifest["policies"] = [{"name": REFUND_LIMIT, "rules": [refuse]}]
    manifest["bundles"][0]["policies"] = [REFUND_LIMIT]
    return manifest
