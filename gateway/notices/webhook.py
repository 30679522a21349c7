"""A signed POST to a program: `Gatehouse-Signature: t=<seconds>,v1=<hex>`, where v1 is the HMAC-SHA256, under the
channel's secret, of `<t>.<body>`. Whoever checks it also checks that t is recent, or old messages can be repeated."""

import hmac
import json
from collections.abc import Mapping
from datetime import datetime
from hashlib import sha256
from typing import Any, Final

from django.views.decorators.debug import sensitive_variables

from gateway.notices.sending import Outgoing, Reply

SIGNATURE: Final = "Gatehouse-Signature"


def event(name: str, about: Mapping[str, Any], *, number: int, at: datetime) -> bytes:
    """`id` stays the same however often it is sent: by it a receiver knows a repetition."""
    return json.dumps({"id": str(number), "event": name, "at": at.isoformat(), **about}, sort_keys=True).encode()


@sensitive_variables("key")
def signature(body: bytes, *, key: str, now: datetime) -> str:
    moment = int(now.timestamp())
    return f"t={moment},v1={hmac.new(key.encode(), b'%d.%b' % (moment, body), sha256).hexdigest()}"


@sensitive_variables("key")
def posted(url: str, body: bytes, *, key: str, now: datetime) -> Outgoing:
    headers = ((SIGNATURE, signature(body, key=key, now=now)),) if key else ()
    return Outgoing(url, headers, body, _nothing)


def _nothing(reply: Reply) -> str:
    """A 2xx is all we want to know."""
    return ""
