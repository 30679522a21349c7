"""Asking every upstream again what it offers: what is new or changed waits for review, what was pinned is served on."""

from datetime import datetime
from functools import partial

from connectors.base import UpstreamAuth
from gateway.actions import act
from gateway.discovery import Question, discover
from gateway.wiring import open_secret, upstream_spec
from governance.facts import Recorder
from governance.manifest.apply import take_in
from governance.registry import Catalogue
from governance.snapshot import Connector
from governance.snapshot_builder import build_snapshot
from governance.vault import auth_headers, keyring

BY = "system:discovery"


def rediscover(*, only: str = "", by: str = BY) -> dict[str, Catalogue]:
    """Connector name -> what it answered. Nothing is open in the database while upstreams are asked."""
    known = build_snapshot().connectors.values()
    connectors = [each for each in known if each.is_enabled and not each.secret_missing and only in ("", each.name)]
    catalogues = discover(Question(upstream_spec(each), partial(_open_auth, each)) for each in connectors)

    def work(record: Recorder, now: datetime) -> None:
        take_in(catalogues, by=by, record=record, now=now)

    act(work, by=by)
    return catalogues


def _open_auth(connector: Connector) -> UpstreamAuth:
    """Raises VaultError."""
    secret = connector.secret
    if secret is None:
        return UpstreamAuth()
    value = open_secret(secret, keyring())
    return UpstreamAuth(auth_headers(secret.kind, secret.header_name, value), secret.version_id)
