"""Is this from Slack? Its v0 signature: HMAC-SHA256 over `v0:<seconds>:<raw body>` under the app's signing secret."""

import hmac
from datetime import datetime
from hashlib import sha256
from typing import Final

from django.views.decorators.debug import sensitive_variables

CLOCK_SECONDS: Final = 5 * 60
"""What is older, or newer than our own clock by more, is a repetition by somebody who overheard it."""


@sensitive_variables("key")
def is_from_slack(body: bytes, *, timestamp: str, signature: str, key: str, now: datetime) -> bool:
    """False for anything at all that is not exactly as Slack signs it now."""
    if not key or not is_recent(timestamp, now):
        return False
    return hmac.compare_digest(signed(body, timestamp=timestamp, key=key).encode(), signature.encode())


@sensitive_variables("key")
def signed(body: bytes, *, timestamp: str, key: str) -> str:
    return f"v0={hmac.new(key.encode(), b'v0:%b:%b' % (timestamp.encode(), body), sha256).hexdigest()}"


def is_recent(timestamp: str, now: datetime) -> bool:
    if not (timestamp.isascii() and timestamp.isdecimal() and len(timestamp) <= 12):
        return False
    return abs(now.timestamp() - int(timestamp)) <= CLOCK_SECONDS
