"""Security events of issuers that do not send them: fetched (RFC 8936), one by one taken, and only then acknowledged.
Not inside a transaction.
"""

import json
import logging
from datetime import UTC, datetime
from typing import Any, Final

from gateway.departures import Braked
from gateway.fetching import NotFetched, fetch, json_object
from gateway.jwks import KeysAway
from gateway.notices.delivery import opened
from gateway.notices.sending import Undelivered
from gateway.oauth.assertions import NotBelieved
from gateway.security_events.intake import ERRORS, take_event
from gateway.security_events.reading import NotUnderstood
from governance.models import TrustedIssuer

logger = logging.getLogger(__name__)

AT_ONCE: Final = 25
ROUNDS: Final = 8
FETCH_SECONDS: Final = 10.0
ANSWER_BYTES: Final = 512 * 1024
LONGEST_ID: Final = 256


def poll_all() -> int:
    """How many events were taken. One issuer that fails leaves the others alone."""
    polled = TrustedIssuer.objects.filter(is_enabled=True, ends_access=True).exclude(poll_url="")
    return sum(_poll(issuer) for issuer in polled.select_related("poll_secret"))


def _poll(issuer: TrustedIssuer) -> int:
    taken = 0
    acknowledged: list[str] = []
    errors: dict[str, Any] = {}
    try:
        token = opened(issuer.poll_secret)
        for _ in range(ROUNDS):
            answer = _asked(issuer.poll_url, token, acknowledged, errors)
            sets = _sets(answer)
            acknowledged, errors = _taken(sets)
            taken += len(acknowledged)
            if not sets or not (acknowledged or errors):
                break
    except (NotFetched, Undelivered) as reason:
        logger.warning("Events of %s could not be fetched: %s", issuer.name, reason)
    return taken


def _asked(url: str, token: str, acknowledged: list[str], errors: dict[str, Any]) -> dict[str, Any]:
    wish: dict[str, Any] = {"maxEvents": AT_ONCE, "returnImmediately": True}
    wish |= {"ack": acknowledged} if acknowledged else {}
    wish |= {"setErrs": errors} if errors else {}
    kind = "application/json"
    headers = (("Authorization", f"Bearer {token}"), ("Content-Type", kind), ("Accept", kind))
    body = json.dumps(wish).encode()
    return json_object(fetch("POST", url, headers=headers, body=body, seconds=FETCH_SECONDS, at_most=ANSWER_BYTES))


def _sets(answer: dict[str, Any]) -> dict[str, str]:
    found = answer.get("sets", {})
    if not isinstance(found, dict):
        raise NotFetched("It did not answer with events.")
    fitting = {name: text for name, text in found.items() if len(name) <= LONGEST_ID and isinstance(text, str)}
    return dict(list(fitting.items())[:AT_ONCE])


def _taken(sets: dict[str, str]) -> tuple[list[str], dict[str, Any]]:
    """What is done with, and what never will be; the rest comes again."""
    acknowledged, errors = [], {}
    for name, text in sets.items():
        try:
            take_event(text, now=datetime.now(UTC))
            acknowledged.append(name)
        except NotBelieved as reason:
            if reason.code == "replayed":
                acknowledged.append(name)
            else:
                errors[name] = {"err": ERRORS.get(reason.code, "invalid_request"), "description": str(reason)}
        except NotUnderstood as reason:
            errors[name] = {"err": "invalid_request", "description": str(reason)}
        except (KeysAway, Braked) as reason:
            logger.warning("An event has to come again: %s", reason)
    return acknowledged, errors
