"""The bridge as an OAuth client: public, by device code alone, and unknown until somebody admits it."""

from datetime import datetime

from gatehouse_bridge import CLIENT_ID
from gateway.actions import act
from governance import oauth_clients
from governance.facts import Recorder
from governance.models import OAuthClient

NAME = "Gatehouse bridge"


def is_admitted() -> bool:
    return OAuthClient.objects.filter(client_id=CLIENT_ID, status=OAuthClient.Status.APPROVED).exists()


def admit_bridge(*, by: str) -> bool:
    """People may sign in with it from now on. False if they could before."""
    return act(lambda record, now: _admit(by=by, record=record, now=now), by=by)


def _admit(*, by: str, record: Recorder, now: datetime) -> bool:
    known = OAuthClient.objects.filter(client_id=CLIENT_ID).first()
    if known is not None:
        return oauth_clients.approve(known, by=by, record=record)
    grants = (oauth_clients.DEVICE, oauth_clients.REFRESH)
    oauth_clients.register(
        name=NAME, redirect_uris=(), grant_types=grants, client_id=CLIENT_ID, by=by, record=record, now=now
    )
    return True
