"""The words for what evidence says: kinds, decisions, outcomes, and how each reads to people."""

CALL_ENDS = ("call.outcome", "call.refused")
"""Each call ends in exactly one of these, so they stand for it in lists and numbers."""

CALL_KINDS = ("call.intent", *CALL_ENDS)

TALK_KINDS = ("call.asked", "call.told")
"""While a call runs: what its upstream asks of the caller's side, and what it is told. Their details name the call."""

LISTED_KINDS = ("tools.listed", "prompts.listed", "resources.listed", "templates.listed")

ROUTINE_KINDS = (*LISTED_KINDS, "resource.watched", *TALK_KINDS, "audit.heartbeat")
"""Neither calls nor acts of anybody, and many."""

KINDS = {
    "call.intent": "Call: sent",
    "call.outcome": "Call: came back",
    "call.refused": "Call: refused",
    "call.asked": "Call: the system asked something back",
    "call.told": "Call: the system was answered",
    "resource.watched": "Resource: watched for changes",
    "tools.listed": "Tools: listed",
    "prompts.listed": "Prompts: listed",
    "resources.listed": "Resources: listed",
    "templates.listed": "Resource templates: listed",
    "tools.registered": "Tools: found at an upstream",
    "tool.quarantined": "Tool: quarantined",
    "tool.released": "Tool: released",
    "definition.pinned": "Definition: pinned",
    "definition.rejected": "Definition: rejected",
    "strangers.refused": "Strangers refused",
    "calls.refused_again": "Calls: refused again and again",
    "person.signed_in": "Person: signed in",
    "person.signed_out": "Person: signed out",
    "identity.linked": "Person: single sign-on connected",
    "identity.ended": "Person: single sign-on disconnected",
    "identity.groups_followed": "Person: rights followed her groups",
    "person.session_ended": "Person: a session of hers ended",
    "person.sign_in_locked": "Person: sign-in locked for a while",
    "person.password_set": "Person: password set",
    "person.password_changed": "Person: password changed",
    "person.password_reset": "Person: forgotten password replaced",
    "person.second_factor_added": "Person: second factor added",
    "person.second_factor_removed": "Person: second factor removed",
    "person.recovery_codes_made": "Person: recovery codes made",
    "person.sign_in_failed": "Person: sign-in failed",
    "person.one_time_login_made": "Person: one-time login made",
    "person.offboarded": "Person: offboarded",
    "offboarding.scheduled": "Offboarding: planned",
    "offboarding.cancelled": "Offboarding: plan cancelled",
    "offboarding.failed": "Offboarding: plan could not be carried out",
    "offboarding.completed": "Offboarding: enforced everywhere",
    "offboarding.incomplete": "Offboarding: not confirmed everywhere",
    "offboarding.checked": "Offboarding: ended keys tried again",
    "owner.created": "Owner: made",
    "agent.created": "Agent: made",
    "agent.transferred": "Agent: handed over",
    "agent.suspended": "Agent: suspended",
    "agent.resumed": "Agent: resumed",
    "agent.retired": "Agent: retired",
    "connector.created": "Connector: added",
    "connector.changed": "Connector: changed",
    "connector.offers_asked": "Connector: asked for its prompts and resources",
    "key.issued": "Key: issued",
    "key.revoked": "Key: revoked",
    "keys.revoked": "Keys: all of an agent revoked",
    "bundle.published": "Bundle: published",
    "bundle.withdrawn": "Bundle: withdrawn",
    "bundle.drafted": "Bundle: draft begun",
    "bundle.submitted": "Bundle: sent for review",
    "bundle.sent_back": "Bundle: sent back to its author",
    "bundle.discarded": "Bundle: draft discarded",
    "bundle.rolled_back": "Bundle: draft that goes back to an earlier version",
    "bundle.staged": "Bundle: published to some agents first",
    "bundle.taken_back": "Bundle: taken back from those agents",
    "policy.published": "Policy: in force",
    "policy.withdrawn": "Policy: withdrawn",
    "policy.drafted": "Policy: draft begun",
    "policy.submitted": "Policy: sent for review",
    "policy.sent_back": "Policy: sent back to its author",
    "policy.discarded": "Policy: draft discarded",
    "policy.rolled_back": "Policy: draft that goes back to an earlier version",
    "manifest.applied": "Manifest: applied",
    "organization.review_off": "Organization: changes of rules need no second person any more",
    "role.given": "Role: given",
    "approval.asked": "Approval: asked for",
    "approval.explained": "Approval: the asking side said why",
    "approval.decided": "Approval: somebody decided",
    "approval.approved": "Approval: given",
    "approval.denied": "Approval: denied",
    "approval.narrowed": "Approval: arguments narrowed",
    "approval.escalated": "Approval: gone to others, nobody answered",
    "approval.expired": "Approval: nobody decided, or it was not used, in time",
    "approval.cancelled": "Approval: withdrawn",
    "approval.voided": "Approval: void, something changed",
    "approval.used": "Approval: used",
    "approvals.listed": "Approvals: an agent read how its own stand",
    "grant.given": "Grant: given",
    "grant.revoked": "Grant: revoked",
    "grant.reviewed": "Grant: break-glass reviewed",
    "break_glass.taken": "Break-glass: taken without approval",
    "token.issued": "Personal token: issued",
    "token.revoked": "Personal token: revoked",
    "tokens.revoked": "Personal tokens: all of a person revoked",
    "tools.classified": "Tools: classified",
    "secret.value_set": "Secret: value set",
    "secret.replaced": "Secret: value replaced",
    "second_factors.rewrapped": "Vault: second factors rewrapped",
    "vault.rewrapped": "Vault: rewrapped",
    "freeze.set": "Freeze: set",
    "freeze.lifted": "Freeze: lifted",
    "reaction.fired": "Reaction: carried out",
    "notice.retried": "Notices: tried again",
    "governance.changed": "Governance: row changed",
    "list.exported": "List: exported",
    "access.exported": "Access matrix: exported",
    "backup.made": "Backup: made",
    "backup.restored": "Backup: restored",
    "payload.opened": "Evidence: arguments or result opened",
    "audit.heartbeat": "Evidence: sign of life",
}
VERBS = {"call.intent": "asks for", "call.outcome": "called", "call.refused": "was refused"}
"""What an agent did to a tool, for one line."""

DECISIONS = {"permit": "Permitted", "deny": "Denied", "ask": "Needs a person"}
OUTCOMES = {
    "ok": "OK",
    "tool_error": "Tool reported an error",
    "input_required": "Asked something first",
    "error": "Upstream answered with an error",
    "failed": "Upstream failed",
    "cancelled": "Cancelled by the agent",
    "refused": "Refused",
    "withheld": "Withheld: permission ended meanwhile",
    "not_sent": "Not sent",
    "unknown": "Unknown",
}
TONES = {
    "permit": "good",
    "deny": "bad",
    "ask": "warn",
    "ok": "good",
    "tool_error": "warn",
    "input_required": "info",
    "error": "bad",
    "failed": "bad",
    "cancelled": "info",
    "refused": "bad",
    "withheld": "warn",
    "not_sent": "info",
    "unknown": "warn",
}
"""How a decision or outcome is marked, beside its word."""


def kind_in_words(kind: str) -> str:
    """A kind this table does not know yet reads as `Subject: past event`."""
    subject, _, event = kind.replace("_", " ").partition(".")
    return KINDS.get(kind) or f"{subject.capitalize()}: {event}"
