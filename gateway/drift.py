"""Asking every upstream again what it offers: what is new or changed waits for review, what was pinned is served on."""

from datetime import datetime
from functools import partial

from gateway.actions import act
from gateway.discovery import Question, discover
from gateway.wiring import opened_auth, upstream_spec
from governance.facts import Recorder
from governance.manifest.apply import take_in
from governance.registry import Catalogue
from governance.snapshot_builder import build_snapshot
from governance.vault import keyring

BY = "system:discovery"


def rediscover(*, only: str = "", by: str = BY) -> dict[str, Catalogue]:
    """Connector name -> what it answered. Nothing is open in the database while upstreams are asked."""
    known = build_snapshot().connectors.values()
    connectors = [each for each in known if each.is_enabled and not each.secret_missing and only in ("", each.name)]
    keys = keyring()
    catalogues = discover(Question(upstream_spec(each), partial(opened_auth, each, keys)) for each in connectors)

    def work(record: Recorder, now: datetime) -> None:
        take_in(catalogues, by=by, record=record, now=now)

    act(work, by=by)
    return catalogues
