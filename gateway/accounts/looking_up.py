"""With whose account a system is asked what it offers: the shared one, or that of its resource owner. Nobody else's is
used for what she did not ask."""

from uuid import UUID, uuid4

from django.db.models import F, Q

from connectors.base import UpstreamAuth
from gateway.accounts.renewing import AccountEnded, AccountUnavailable, presented_now
from gateway.discovery import OpenAuth
from governance.models import UpstreamGrant
from governance.vault import VaultError

NOBODY = "It wants accounts. Its resource owner connects hers first: tools are looked up with it."
NOT_NOW = "The account that tools are looked up with has no good token now."


def account_opener(connector_id: UUID | None) -> OpenAuth:
    """The token is fetched here, where waiting is allowed; the opener only hands it out, or says why there is none."""
    rows = UpstreamGrant.objects.filter(connector=connector_id, status=UpstreamGrant.Status.LIVE)
    grant = rows.filter(Q(person=None) | Q(person=F("connector__owner"))).first() if connector_id else None
    if grant is None:
        return _refusing(NOBODY)
    try:
        auth = presented_now(grant.pk.hex, worker=uuid4()).auth
    except (AccountEnded, AccountUnavailable):
        return _refusing(NOT_NOW)
    return lambda: auth


def _refusing(why: str) -> OpenAuth:
    def refuse() -> UpstreamAuth:
        raise VaultError(why)

    return refuse
