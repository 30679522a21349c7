"""What is said of an approval request outside our own pages: no argument of the call, no capability in the link."""

from typing import Any
from urllib.parse import quote

from django.conf import settings

from gateway.hostile_text import visible
from governance.models import ApprovalRequest

LONGEST_TEXT = 200
DIGEST_SHOWN = 8


def url_of(request: ApprovalRequest) -> str:
    """Renders for whoever may see it; scanners and previews of links change nothing."""
    return f"{settings.PUBLIC_URL}/approvals/{quote(str(request.key))}/"


def who(request: ApprovalRequest) -> str:
    asking = request.agent or request.person
    return f"{asking} (for {request.person})" if request.agent and request.person else asking


def what(request: ApprovalRequest) -> str:
    if request.kind == ApprovalRequest.Kind.CALL:
        return plain(f"{request.tool} on {request.connector}")
    if request.kind == ApprovalRequest.Kind.ANSWER:
        return plain(f"the answer of {request.tool} on {request.connector}")
    wanted = request.wanted.get("tool") or request.wanted.get("bundle") or "access"
    return plain(f"{wanted} for {request.wanted.get('minutes', '?')} minutes")


def why(request: ApprovalRequest) -> list[str]:
    """What the asking rules say; never what the agent says."""
    return [plain(str(each.get("reason") or each.get("rule") or "")) for each in request.terms]


def digest(request: ApprovalRequest) -> str:
    return bytes(request.call_digest).hex()[:DIGEST_SHOWN]


def outcome(request: ApprovalRequest) -> str:
    """How it stands, in one line."""
    state = request.get_state_display()
    if request.ended_because:
        return plain(f"{state}: {request.ended_because}")
    agreed = request.decisions.filter(verdict="approve").values_list("person", flat=True)
    return plain(f"{state} by {', '.join(agreed)}" if agreed else state)


def as_event(request: ApprovalRequest) -> dict[str, Any]:
    """For programs."""
    return {
        "id": str(request.key),
        "name": request.name,
        "url": url_of(request),
        "kind": request.kind,
        "state": request.state,
        "agent": request.agent,
        "person": request.person,
        "connector": request.connector,
        "tool": request.tool[:LONGEST_TEXT],
        "digest": digest(request),
        "reasons": why(request),
        "created_at": request.created_at.isoformat(),
        "expires_at": request.expires_at.isoformat(),
        "ended_at": request.ended_at.isoformat() if request.ended_at else None,
    }


def plain(text: str) -> str:
    """Names come from upstreams: one line, nothing invisible, no way to pass for something else."""
    shown = " ".join(visible(text).split())
    return shown if len(shown) <= LONGEST_TEXT else f"{shown[: LONGEST_TEXT - 1]}…"
