"""Whoever is turned away at the pages, REST, SCIM or OAuth leaves a record, as whoever is at MCP does.

The first refusal of a minute is recorded at once, then the second, the fourth, the eighth: so a flood writes little and
stays visible while it lasts. `total` is how many there were since the record before.
"""

import logging
from datetime import UTC, datetime
from typing import Any, Final

from django.db import Error, transaction
from django.http import HttpRequest
from django.http.response import HttpResponseBase
from django.utils.deprecation import MiddlewareMixin

from audit.event import AuditEvent
from audit.record import record
from gateway.api import throttling
from governance.models import User

logger = logging.getLogger(__name__)

REFUSALS: Final = frozenset((401, 403, 429))
REFUSING_WITH_400: Final = frozenset(("oauth/token", "ssf/events"))
"""As RFC 6749 5.2 and RFC 8935 2.4 want it."""
ADDRESSES_A_MINUTE: Final = 200
OTHERS: Final = "others"


class RecordRefusals(MiddlewareMixin):
    """What cannot be recorded was refused all the same."""

    def process_response(self, request: HttpRequest, response: HttpResponseBase) -> HttpResponseBase:
        status = response.status_code
        if status in REFUSALS or (status == 400 and _route(request) in REFUSING_WITH_400):
            event = _of_person(request, status) or _of_stranger(request, status)
            if event is not None:
                _keep(event)
        return response


def _of_person(request: HttpRequest, status: int) -> AuditEvent | None:
    person = getattr(request, "user", None)
    if not isinstance(person, User):
        return None
    total = _since_the_last(f"{person.id}:{request.method}:{_route(request)}")
    details = {"door": _door(request), "method": str(request.method), "route": _route(request)}
    return _event("act.refused", f"person:{person.email}", details | {"status": status, "total": total}, person.email)


def _of_stranger(request: HttpRequest, status: int) -> AuditEvent | None:
    door, address = _door(request), str(request.META.get("REMOTE_ADDR", ""))
    total = _since_the_last(f"{door}:{address}")
    if total == 1 and throttling.count(f"away:{door}") > ADDRESSES_A_MINUTE:
        address = OTHERS
        total = _since_the_last(f"{door}:{address}")
    sources = [{"reason": str(status), "source_ip": address, "count": total}]
    return _event("strangers.refused", "system:pages", {"door": door, "total": total, "sources": sources})


def _since_the_last(what: str) -> int:
    """How many refusals the record now due is about; 0 while none is due."""
    count = throttling.count(f"away:{what}")
    return count - count // 2 if count & (count - 1) == 0 else 0


def _event(kind: str, actor: str, details: dict[str, Any], person: str = "") -> AuditEvent | None:
    if not details["total"]:
        return None
    return AuditEvent(
        kind=kind,
        at=datetime.now(UTC),
        actor=actor,
        person=person,
        decision="deny",
        outcome="refused",
        details=details,
    )


def _keep(event: AuditEvent) -> None:
    try:
        with transaction.atomic():
            record(event)
    except Error as error:
        logger.warning("a refusal was not recorded: %s", type(error).__name__)


def _door(request: HttpRequest) -> str:
    return _route(request).partition("/")[0]


def _route(request: HttpRequest) -> str:
    """As it is written in the table of addresses, with nothing of the request in it."""
    return request.resolver_match.route if request.resolver_match else ""
