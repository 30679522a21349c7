"""Authorizations by which nothing can be had any more: their client never came for its tokens, or let the last go."""

from datetime import datetime, timedelta
from typing import Final

from django.db.models import Exists, OuterRef, Q, QuerySet

from governance import authorizations
from governance.facts import Recorder
from governance.models import Authorization, RefreshToken
from governance.oauth_tokens import CODE_LIFETIME, DEVICE_LIFETIME

SLACK: Final = timedelta(minutes=1)
"""Longer than the transaction of a client that came at the last moment."""
AT_ONCE: Final = 200
BECAUSE: Final = "Its client never came for its tokens, or let the last one expire."


def unredeemed(now: datetime) -> QuerySet[Authorization]:
    """Those that people gave: an identity provider's word is asked for anew with each token."""
    basis = Authorization.Basis
    is_too_late = Q(basis=basis.CONSENT, created_at__lt=now - CODE_LIFETIME - SLACK) | Q(
        basis=basis.DEVICE, created_at__lt=now - DEVICE_LIFETIME - SLACK
    )
    renewable = RefreshToken.objects.filter(authorization=OuterRef("pk"), used_at=None, expires_at__gt=now - SLACK)
    found = Authorization.objects.filter(authorizations.live(now), is_too_late).exclude(Exists(renewable))
    return found.select_related("client", "agent", "person").order_by("created_at")


def end_unredeemed(*, by: str, record: Recorder, now: datetime) -> int:
    """Of as many as one transaction may hold; returns how many ended."""
    rows = list(unredeemed(now)[:AT_ONCE])
    return sum(authorizations.revoke(row, by=by, record=record, now=now, because=BECAUSE) for row in rows)
