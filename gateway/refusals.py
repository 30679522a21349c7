"""Every reason for which we say no: its text for the agent, its remedy, and whether it may exist at all."""

from dataclasses import dataclass, field
from enum import Enum
from typing import Any

from gateway.call import Call, Held
from governance.decision import Decision


class Shape(Enum):
    """How a refusal reaches the agent."""

    UNAUTHENTICATED = "401 with WWW-Authenticate"
    FORBIDDEN = "403 with WWW-Authenticate that says which OAuth scopes would do"
    UNKNOWN_TOOL = "JSON-RPC error, the same for what does not exist and what may not be seen"
    UNKNOWN_RESOURCE = "the same, with the code that a revision has for resources"
    BAD_REQUEST = "JSON-RPC invalid params"
    RESULT = "tool result with isError; where there are no tool results a JSON-RPC error"
    UNAVAILABLE = "503 with Retry-After"
    TOO_MANY = "429 with Retry-After"


@dataclass(frozen=True, slots=True)
class Reason:
    code: str
    shape: Shape
    text: str
    remedy: str = ""


NO_TOKEN = Reason("no_token", Shape.UNAUTHENTICATED, "Send your agent key as 'Authorization: Bearer <key>'.")
BAD_TOKEN = Reason("bad_token", Shape.UNAUTHENTICATED, "This key is unknown, expired or revoked.")
INSUFFICIENT_SCOPE = Reason(
    "insufficient_scope",
    Shape.FORBIDDEN,
    "This access token does not cover the tool.",
    "Ask for a token with the scopes that WWW-Authenticate names.",
)
UNKNOWN_TOOL = Reason("unknown_tool", Shape.UNKNOWN_TOOL, "Unknown tool")
UNKNOWN_PROMPT = Reason("unknown_prompt", Shape.UNKNOWN_TOOL, "Unknown prompt")
UNKNOWN_RESOURCE = Reason("unknown_resource", Shape.UNKNOWN_RESOURCE, "Resource not found")
UNKNOWN_REFERENCE = Reason("unknown_reference", Shape.UNKNOWN_TOOL, "Unknown reference")
UNKNOWN_BY_METHOD = {
    "tools/call": UNKNOWN_TOOL,
    "prompts/get": UNKNOWN_PROMPT,
    "resources/read": UNKNOWN_RESOURCE,
    "resources/subscribe": UNKNOWN_RESOURCE,
    "completion/complete": UNKNOWN_REFERENCE,
}
BAD_ARGUMENTS = Reason("bad_arguments", Shape.BAD_REQUEST, "The arguments cannot be accepted.")
MALFORMED = Reason("malformed_request", Shape.BAD_REQUEST, "The message cannot be read.")
DENIED = Reason(
    "denied_by_rule",
    Shape.RESULT,
    "Denied",
    "Do not retry with changed arguments; tell the person you work for.",
)
APPROVAL = Reason(
    "approval_required",
    Shape.RESULT,
    "Denied",
    "Nobody can be asked about this kind of request; tell the person you work for.",
)
WAITING = Reason("approval_required", Shape.RESULT, "Approval is needed.")
APPROVAL_DENIED = Reason(
    "approval_denied",
    Shape.RESULT,
    "An approver said no.",
    "Do not ask again with other arguments or tools; tell the person you work for.",
)
APPROVAL_ENDED = Reason(
    "approval_ended", Shape.RESULT, "The request for approval is over.", "The same call asks for approval anew."
)
ANSWER_GONE = Reason(
    "answer_gone",
    Shape.RESULT,
    "The call was carried out, and its answer is not to be had any more.",
    "The same call would carry it out again.",
)
TOO_MANY_APPROVALS = Reason(
    "too_many_approvals",
    Shape.RESULT,
    "Too many calls of this agent wait for approval, or did within the last hour.",
    "Wait until they are decided; do not split the work into more calls.",
)
APPROVAL_REFUSED_FOR_NOW = Reason(
    "approval_refused_for_now",
    Shape.RESULT,
    "Approvers have denied too many calls of this agent within an hour; nobody is asked now.",
    "Stop, and tell the person you work for.",
)
OUTSIDE_SCOPE = Reason(
    "outside_scope",
    Shape.RESULT,
    "Denied",
    "Use arguments within it, as the tool's description says; tell the person you work for if it does not suffice.",
)
FROZEN = Reason("frozen", Shape.RESULT, "Denied", "Wait until an administrator lifts the freeze.")
CREDENTIAL_IN_ARGUMENTS = Reason(
    "credential_in_arguments",
    Shape.RESULT,
    "Denied: the arguments contain a credential.",
    "Never put keys or tokens into tool arguments; the gateway adds the upstream's secret itself.",
)
NOT_INSPECTED = Reason(
    "not_inspected",
    Shape.RESULT,
    "Denied: a rule masks what you send, and it is too large or too deep to be looked at.",
    "Send less at once.",
)
REPEATED = Reason(
    "repeated",
    Shape.RESULT,
    "The call was sent with these answers before, and is not sent again.",
    "It may have had an effect: do not repeat it blindly.",
)
CONNECTOR_DISABLED = Reason("connector_disabled", Shape.RESULT, "Denied", "Ask an administrator.")
SECRET_MISSING = Reason(
    "secret_missing", Shape.RESULT, "Denied", "Ask an administrator to store the secret in the vault."
)
ACCOUNT_NEEDED = Reason(
    "account_needed",
    Shape.RESULT,
    "This system works only with the account of the person you work for, which is not connected.",
    "Ask her to connect it, then make the same call again:",
)
ACCOUNT_RECONNECT = Reason(
    "account_reconnect",
    Shape.RESULT,
    "The account of the person you work for has to be connected again.",
    "Ask her to do it, then make the same call again:",
)
ACCOUNT_NOT_SET_UP = Reason(
    "account_not_set_up",
    Shape.RESULT,
    "Accounts at this system are not set up here, or not any more.",
    "Ask an administrator to set up the connector's authorization server.",
)
ACCOUNT_UNAVAILABLE = Reason(
    "account_unavailable",
    Shape.RESULT,
    "The provider of the account does not renew it now; the call was not made.",
    "Retry in a minute; tell an administrator if it lasts.",
)
EVIDENCE_UNAVAILABLE = Reason(
    "evidence_unavailable",
    Shape.UNAVAILABLE,
    "The call cannot be recorded now, so it was not made.",
    "Retry later.",
)
CROWDED = Reason(
    "crowded", Shape.UNAVAILABLE, "This system has no room for the call now; it was not made.", "Retry later."
)
RATE_LIMITED = Reason(
    "rate_limited",
    Shape.TOO_MANY,
    "Over a limit; the call was not made.",
    "Wait as long as the answer says, then retry.",
)
OVER_SHARE = Reason(
    "over_share",
    Shape.TOO_MANY,
    "Too many requests of this agent are at work at once; this one was not looked at.",
    "Wait as long as the answer says, then retry.",
)
BUSY = Reason("busy", Shape.UNAVAILABLE, "Permissions are changing too fast to decide.", "Retry.")

DENIALS = (DENIED, APPROVAL, OUTSIDE_SCOPE, FROZEN, CONNECTOR_DISABLED, SECRET_MISSING)
BY_DECISION_CODE = {reason.code: reason for reason in DENIALS}


@dataclass(slots=True)
class Refusal(Exception):
    """We said no before anything was sent. `reason_text` replaces the reason's own text, e.g. with a rule's.

    `is_final` is False for what a change of a moment ago could make right: the snapshot is confirmed first. `held` says
    what humans have to do with it, `page` where one of them can open the way. `call` and `decision` are known where
    its arguments were looked at.
    """

    reason: Reason
    reason_text: str = ""
    facts: dict[str, Any] = field(default_factory=dict)
    is_final: bool = True
    held: Held | None = None
    page: str = ""
    call: Call | None = field(default=None, repr=False)
    decision: Decision | None = field(default=None, repr=False)

    def __str__(self) -> str:
        return self.reason.code

    @property
    def text(self) -> str:
        return self.reason_text or self.reason.text
