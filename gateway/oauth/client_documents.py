"""Clients whose id is the address of a document about them, e.g. https://claude.ai/oauth/claude-code-client-metadata.

Read only from hosts the organisation named, only for somebody who is signed in, from public addresses, without
following redirects, and not more often than the floor. What is found waits for an administrator; so an unknown client
that somebody tries is seen, whether its host may be read or not. Not inside a transaction.
"""

import hashlib
from datetime import datetime, timedelta
from typing import Final

from django.core.cache import cache

from gateway.actions import act
from gateway.fetching import NotFetched, fetch, json_object
from gateway.models import ClientDocument
from governance import client_documents
from governance.client_documents import Described, TooManyWait, host_of, is_document_id
from governance.facts import Fact, Recorder
from governance.models import OAuthClient
from governance.oauth_clients import BadClient

MOST_BYTES: Final = 16 * 1024
FETCH_SECONDS: Final = 5.0
FLOOR: Final = timedelta(minutes=5)
YOUNG: Final = timedelta(hours=24)
OLDEST: Final = timedelta(days=7)
TOLD_AGAIN_SECONDS: Final = 24 * 60 * 60


class NoSuchClient(Exception):
    """There is no client by this id, or not now; the message is for the person who tries."""


def client_by_document(client_id: str, *, by: str, now: datetime) -> OAuthClient:
    """The client as its document describes it, in whatever state: who asks looks whether it is approved. `by` is the
    person who is signed in. Raises NoSuchClient."""
    if not is_document_id(client_id):
        raise NoSuchClient("This is no address that a client can have.")
    known = OAuthClient.objects.filter(client_id=client_id, origin=OAuthClient.Origin.CIMD).first()
    if not client_documents.may_be_read(client_id):
        _tell_of_stranger(client_id, by=by)
        raise NoSuchClient(f"Clients of {host_of(client_id)} are not let in here. Ask your administrators.")
    copy = ClientDocument.objects.filter(digest=_digest(client_id)).first()
    if known is not None and copy is not None and _is_at_most(copy, YOUNG, now):
        return known
    described = _read(client_id, now) if _may_try(client_id, copy, now) else None
    if described is not None:
        return _settled(client_id, known, described, by=by)
    if known is not None and copy is not None and _is_at_most(copy, OLDEST, now):
        return known
    raise NoSuchClient("The client's own description cannot be read right now, or is no good.")


def _settled(client_id: str, known: OAuthClient | None, described: Described, *, by: str) -> OAuthClient:
    def work(record: Recorder, now: datetime) -> OAuthClient:
        if known is not None:
            return client_documents.renew(known, described, by=by, record=record)
        there = OAuthClient.objects.filter(client_id=client_id).first()
        return there or client_documents.enqueue(
            described, client_id=client_id, origin=OAuthClient.Origin.CIMD, by=by, record=record, now=now
        )

    try:
        return act(work, by=by)
    except (BadClient, TooManyWait) as reason:
        raise NoSuchClient(str(reason)) from None


def _read(client_id: str, now: datetime) -> Described | None:
    kept = ClientDocument.objects.filter(digest=_digest(client_id))
    try:
        reply = fetch(
            "GET", client_id, headers=(("Accept", "application/json"),), seconds=FETCH_SECONDS, at_most=MOST_BYTES
        )
        described = client_documents.read_document(client_id, json_object(reply))
    except (NotFetched, BadClient) as reason:
        kept.update(problem=str(reason)[:300])
        return None
    kept.update(fetched_at=now, problem="")
    return described


def _may_try(client_id: str, copy: ClientDocument | None, now: datetime) -> bool:
    """One of all processes, and not too soon after the last."""
    if copy is None:
        wanted = {"client_id": client_id, "tried_at": now}
        return ClientDocument.objects.get_or_create(digest=_digest(client_id), defaults=wanted)[1]
    due = ClientDocument.objects.filter(digest=copy.digest, tried_at__lte=now - FLOOR)
    return bool(due.update(tried_at=now))


def _is_at_most(copy: ClientDocument, age: timedelta, now: datetime) -> bool:
    return copy.fetched_at is not None and now - copy.fetched_at <= age


def _tell_of_stranger(client_id: str, *, by: str) -> None:
    """Once a day for each: that somebody here uses it is worth knowing, and nothing was asked of its host."""
    if cache.add(f"oauth:stranger:{_digest(client_id).hex()}", 1, TOLD_AGAIN_SECONDS):
        subject = f"oauth_client:{client_id}"
        act(lambda record, _: record(Fact("oauth_client.not_read", subject, {"host": host_of(client_id)})), by=by)


def _digest(client_id: str) -> bytes:
    return hashlib.sha256(client_id.encode()).digest()


def forget_unused(now: datetime) -> int:
    """Of documents nobody tried for a month; the clients stay."""
    return ClientDocument.objects.filter(tried_at__lt=now - timedelta(days=30)).delete()[0]
