"""Codes and tokens of our authorization server: issuing, renewing and ending them.

To issue one is no governed act: it moves no epoch and allows nothing that its authorization or credential did not.
What a token rests on is locked and looked at again whenever one is issued; whoever ends that waits, or is seen.
"""

import base64
import hashlib
import hmac
import re
import secrets
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from django.db import transaction
from django.db.models import Q, QuerySet
from django.utils.crypto import salted_hmac

from governance import agent_keys, authorizations, key_text
from governance.facts import Fact, Recorder
from governance.models import (
    AccessToken,
    Agent,
    AgentCredential,
    Authorization,
    AuthorizationCode,
    DeviceCode,
    OAuthClient,
    RefreshToken,
    TokenRevocation,
)

ACCESS_PREFIX = "gate_at_"
REFRESH_PREFIX = "gate_rt_"
CODE_PREFIX = "gate_ac_"
DEVICE_PREFIX = "gate_dc_"
ACCESS_LIFETIME = timedelta(minutes=10)
REFRESH_LIFETIME = timedelta(days=30)
CODE_LIFETIME = timedelta(minutes=1)
DEVICE_LIFETIME = timedelta(minutes=10)
POLL_INTERVAL = timedelta(seconds=5)
CHALLENGE = re.compile(r"[A-Za-z0-9_-]{43}")
"""Of S256: 256 bits."""
VERIFIER = re.compile(r"[A-Za-z0-9._~-]{43,128}")
USER_CODE_LETTERS = "BCDFGHJKLMNPQRSTVWXZ"
"""No vowels, so that it spells nothing (RFC 8628 section 6.1)."""
USER_CODE_LENGTH = 8


class NotIssuable(Exception):
    """No token for this; the message says why, to those who may know."""


class Reused(NotIssuable):
    """What may be used once was used again: whoever it is, the family has to end."""

    def __init__(self, authorization: Authorization, what: str) -> None:
        super().__init__(f"The {what} was used before.")
        self.authorization = authorization
        self.what = what


class Pending(NotIssuable):
    """Nobody has decided about the device yet."""


class TooFast(Pending):
    """The device asks more often than it was told to."""


class Denied(NotIssuable):
    """A person said no."""


@dataclass(frozen=True, slots=True)
class Tokens:
    """The only moment at which they exist; without `refresh` there is none."""

    row: AccessToken
    access: str = field(repr=False)
    refresh: str = field(default="", repr=False)


@dataclass(frozen=True, slots=True)
class DeviceCodes:
    row: DeviceCode
    device: str = field(repr=False)
    user: str = field(repr=False)


# -- what a token may rest on


def issue_for_authorization(
    row: Authorization, *, now: datetime, oauth_scopes: Iterable[str] | None = None, has_refresh: bool = False
) -> Tokens:
    """Raises NotIssuable."""
    with transaction.atomic(savepoint=False):
        return _issue(_held(row, now=now), now=now, oauth_scopes=oauth_scopes, has_refresh=has_refresh)


def _held(row: Authorization, *, now: datetime) -> Authorization:
    """The row as it is, locked. Raises NotIssuable unless all it rests on is live."""
    rows = Authorization.objects.select_for_update(of=("self",), no_key=True)
    held = rows.select_related("client", "agent__owner", "person").get(id=row.id)
    if held.revoked_at is not None or held.expires_at <= now:
        raise NotIssuable("The authorization has ended.")
    if held.client is not None and held.client.status != OAuthClient.Status.APPROVED:
        raise NotIssuable("The client is not approved.")
    if held.person is not None and not held.person.is_active:
        raise NotIssuable("The person is not active.")
    _check_agent(held.agent)
    return held


def _check_agent(agent: Agent) -> None:
    if agent.status != Agent.Status.LIVE or not agent.owner.is_active:
        raise NotIssuable(f"Agent {agent.name} is not live.")


def _issue(
    held: Authorization, *, now: datetime, oauth_scopes: Iterable[str] | None = None, has_refresh: bool
) -> Tokens:
    scopes = list(held.oauth_scopes if oauth_scopes is None else oauth_scopes)
    if not scopes or set(scopes) - set(held.oauth_scopes):
        raise NotIssuable("The authorization does not cover these scopes.")
    access = key_text.new_text(ACCESS_PREFIX)
    token = AccessToken.objects.create(
        digest=key_text.digest_of(access),
        issued_at=now,
        expires_at=min(now + ACCESS_LIFETIME, held.expires_at),
        authorization=held,
        client=held.client,
        agent=held.agent,
        person=held.person,
        resource=held.resource,
        oauth_scopes=scopes,
    )
    if not has_refresh:
        return Tokens(token, access)
    refresh = key_text.new_text(REFRESH_PREFIX)
    RefreshToken.objects.create(
        digest=key_text.digest_of(refresh),
        issued_at=now,
        expires_at=min(now + REFRESH_LIFETIME, held.expires_at),
        authorization=held,
    )
    return Tokens(token, access, refresh)


def issue_for_credential(
    credential: AgentCredential,
    *,
    client: OAuthClient,
    resource: str,
    oauth_scopes: Iterable[str],
    now: datetime,
) -> Tokens:
    """For an agent that proved itself. The token ends with the credential, and with the client. Raises NotIssuable."""
    with transaction.atomic(savepoint=False):
        client = OAuthClient.objects.select_for_update(no_key=True).get(id=client.id)
        if client.status != OAuthClient.Status.APPROVED or client.agent_id != credential.agent_id:
            raise NotIssuable("The client is not approved.")
        ends, person_id = _end_and_person(credential, now=now)
        access = key_text.new_text(ACCESS_PREFIX)
        token = AccessToken.objects.create(
            digest=key_text.digest_of(access),
            issued_at=now,
            expires_at=min(now + ACCESS_LIFETIME, ends or now + ACCESS_LIFETIME),
            credential=credential,
            client=client,
            agent=credential.agent,
            person_id=person_id,
            resource=resource,
            oauth_scopes=list(oauth_scopes),
        )
        return Tokens(token, access)


def _end_and_person(credential: AgentCredential, *, now: datetime) -> tuple[datetime | None, UUID | None]:
    """As they are now. Raises NotIssuable unless it is live, with all that it needs: a few columns, for it is asked
    with each token."""
    live = AgentCredential.objects.filter(
        agent_keys.live(now), agent__status=Agent.Status.LIVE, agent__owner__is_active=True
    )
    held = live.filter(Q(person=None) | Q(person__is_active=True), id=credential.id).order_by("id")
    found = held.values_list("expires_at", "person_id").first()
    if found is None:
        raise NotIssuable("The credential, its agent, owner or person is no longer live.")
    return found


# -- codes


def new_code(row: Authorization, *, redirect_uri: str, code_challenge: str, now: datetime) -> str:
    code = key_text.new_text(CODE_PREFIX)
    AuthorizationCode.objects.create(
        digest=key_text.digest_of(code),
        issued_at=now,
        expires_at=now + CODE_LIFETIME,
        authorization=row,
        redirect_uri=redirect_uri,
        code_challenge=code_challenge,
    )
    return code


def redeem_code(code: str, *, client: OAuthClient, redirect_uri: str, verifier: str, now: datetime) -> Tokens:
    """Of all who show the code at once, one gets tokens. Raises NotIssuable; Reused for those who come later."""
    rows = AuthorizationCode.objects.select_related("authorization__client", "authorization__person")
    found = rows.filter(digest=key_text.digest_of(code), authorization__client=client).first()
    if found is None:
        raise NotIssuable("The code is unknown.")
    if not _proves(verifier, found.code_challenge) or redirect_uri != found.redirect_uri:
        raise NotIssuable("The code was issued to somebody else.")
    return _once(found, "code", lambda held: _issue(held, now=now, has_refresh=True), now=now)


def _proves(verifier: str, challenge: str) -> bool:
    """RFC 7636, S256."""
    if VERIFIER.fullmatch(verifier) is None:
        return False
    digest = base64.urlsafe_b64encode(hashlib.sha256(verifier.encode()).digest()).rstrip(b"=")
    return hmac.compare_digest(digest, challenge.encode())


def _once(
    found: AuthorizationCode | RefreshToken, what: str, issue: Callable[[Authorization], Tokens], *, now: datetime
) -> Tokens:
    """Uses it up and issues, in one transaction. Raises NotIssuable, Reused."""
    with transaction.atomic(savepoint=False):
        unused: QuerySet[Any] = type(found)._default_manager.filter(id=found.id, used_at=None)
        if not unused.update(used_at=now):
            raise Reused(found.authorization, what)
        if found.expires_at <= now:
            raise NotIssuable(f"The {what} has expired.")
        return issue(_held(found.authorization, now=now))


# -- refreshing


def refresh(token: str, *, client: OAuthClient, oauth_scopes: Iterable[str] | None, now: datetime) -> Tokens:
    """The old one is used up. Raises NotIssuable, Reused."""
    rows = RefreshToken.objects.select_related("authorization__client", "authorization__person")
    found = rows.filter(digest=key_text.digest_of(token), authorization__client=client).first()
    if found is None:
        raise NotIssuable("The refresh token is unknown.")
    return _once(
        found,
        "refresh token",
        lambda held: _issue(held, now=now, oauth_scopes=oauth_scopes, has_refresh=True),
        now=now,
    )


def resource_of_refresh(token: str, *, client: OAuthClient) -> str:
    """What its family is for; empty for one that the client has not."""
    rows = RefreshToken.objects.filter(digest=key_text.digest_of(token), authorization__client=client)
    return rows.values_list("authorization__resource", flat=True).first() or ""


def resource_of_code(code: str, *, client: OAuthClient) -> str:
    rows = AuthorizationCode.objects.filter(digest=key_text.digest_of(code), authorization__client=client)
    return rows.values_list("authorization__resource", flat=True).first() or ""


# -- devices


def new_device_code(client: OAuthClient, *, resource: str, oauth_scopes: Iterable[str], now: datetime) -> DeviceCodes:
    device = key_text.new_text(DEVICE_PREFIX)
    user = "".join(secrets.choice(USER_CODE_LETTERS) for _ in range(USER_CODE_LENGTH))
    row = DeviceCode.objects.create(
        digest=key_text.digest_of(device),
        user_code_digest=user_code_digest(user),
        issued_at=now,
        expires_at=now + DEVICE_LIFETIME,
        client=client,
        resource=resource,
        oauth_scopes=list(oauth_scopes),
    )
    half = USER_CODE_LENGTH // 2
    return DeviceCodes(row, device, f"{user[:half]}-{user[half:]}")


def user_code_digest(typed: str) -> bytes:
    """However it is typed. Keyed: so short a code could be found out from a plain hash."""
    letters = "".join(letter for letter in typed.upper() if letter.isalpha())
    return salted_hmac("gatehouse.user-code", letters, algorithm="sha256").digest()


def find_device(typed: str, *, now: datetime) -> DeviceCode | None:
    rows = DeviceCode.objects.filter(status=DeviceCode.Status.PENDING, expires_at__gt=now).select_related("client")
    return rows.filter(user_code_digest=user_code_digest(typed[:100])).first()


def decide_device(row: DeviceCode, authorization: Authorization | None, *, now: datetime) -> bool:
    """In the transaction of the consent; None is a no. False if somebody decided before, or too late."""
    open_rows = DeviceCode.objects.filter(id=row.id, status=DeviceCode.Status.PENDING, expires_at__gt=now)
    status = DeviceCode.Status.DENIED if authorization is None else DeviceCode.Status.APPROVED
    return bool(open_rows.update(status=status, authorization=authorization))


def poll_device(code: str, *, client: OAuthClient, now: datetime) -> DeviceCode:
    """The row, once a person agreed. That it was asked is kept, so not in a transaction that may be rolled back. Raises
    NotIssuable, Pending, TooFast, Denied."""
    rows = DeviceCode.objects.select_related("authorization")
    row = rows.filter(digest=key_text.digest_of(code), client=client).first()
    if row is None or row.expires_at <= now:
        raise NotIssuable("The device code is unknown or has expired.")
    if row.status == DeviceCode.Status.PENDING:
        asked_at = row.polled_at
        DeviceCode.objects.filter(id=row.id).update(polled_at=now)
        raise TooFast if asked_at is not None and now - asked_at < POLL_INTERVAL else Pending
    if row.status == DeviceCode.Status.DENIED:
        raise Denied("A person refused.")
    return row


def redeem_device(row: DeviceCode, *, now: datetime) -> Tokens:
    """Raises NotIssuable."""
    with transaction.atomic(savepoint=False):
        approved = DeviceCode.objects.filter(id=row.id, status=DeviceCode.Status.APPROVED)
        if row.authorization is None or not approved.update(status=DeviceCode.Status.USED):
            raise NotIssuable("The device code was used before.")
        return _issue(_held(row.authorization, now=now), now=now, has_refresh=True)


# -- ending


def revoke_shown(text: str, *, client: OAuthClient, by: str, record: Recorder, now: datetime) -> bool:
    """RFC 7009: of the client's own, and with the family it belongs to. False for what is nothing to it."""
    digest = key_text.digest_of(text)
    refresh_row = RefreshToken.objects.filter(digest=digest, authorization__client=client).first()
    if refresh_row is not None:
        return authorizations.revoke(
            refresh_row.authorization, by=by, record=record, now=now, because="The client revoked its refresh token."
        )
    access = AccessToken.objects.filter(digest=digest, client=client, expires_at__gt=now).first()
    return access is not None and revoke_access(access, by=by, record=record, now=now)


def revoke_access(row: AccessToken, *, by: str, record: Recorder, now: datetime) -> bool:
    """Of an authorization with its family, whose refresh token would make another; else the token alone."""
    if row.authorization is not None:
        return authorizations.revoke(
            row.authorization, by=by, record=record, now=now, because="Its access token was revoked."
        )
    return bool(_end([row], f"agent:{row.agent.name}", by=by, record=record, now=now))


def end_those_of_client(client: OAuthClient, *, by: str, record: Recorder, now: datetime) -> int:
    """Of those that rest on a credential; the others ended with their authorizations."""
    rows = list(AccessToken.objects.filter(client=client, authorization=None, expires_at__gt=now))
    return _end(rows, f"oauth_client:{client.client_id}", by=by, record=record, now=now)


def _end(rows: list[AccessToken], subject: str, *, by: str, record: Recorder, now: datetime) -> int:
    ended = set(
        TokenRevocation.objects.filter(token_id__in=[row.id for row in rows]).values_list("token_id", flat=True)
    )
    fresh = [row for row in rows if row.id not in ended]
    TokenRevocation.objects.bulk_create(
        TokenRevocation(
            token_id=row.id, digest=row.digest, token_expires_at=row.expires_at, revoked_at=now, revoked_by=by
        )
        for row in fresh
    )
    if fresh:
        record(Fact("access_tokens.revoked", subject, {"tokens": [str(row.id) for row in fresh]}))
    return len(fresh)


# -- looking


def find_live(text: str, *, now: datetime) -> AccessToken | None:
    """What the data path would take, and may say who it is for; None without saying why."""
    if not key_text.is_well_formed(text, prefix=ACCESS_PREFIX):
        return None
    rows = AccessToken.objects.select_related("authorization", "credential", "client", "agent__owner", "person")
    row = rows.filter(digest=key_text.digest_of(text), expires_at__gt=now).first()
    if row is None or TokenRevocation.objects.filter(token_id=row.id).exists():
        return None
    if row.authorization is not None and (row.authorization.revoked_at or row.authorization.expires_at <= now):
        return None
    if row.credential is not None and (row.credential.revoked_at is not None):
        return None
    is_live = row.agent.status == Agent.Status.LIVE and row.agent.owner.is_active
    return row if is_live and (row.person is None or row.person.is_active) else None


def forget_old(now: datetime, *, keep: timedelta = timedelta(days=1)) -> int:
    """What is over tells nobody anything, but for used refresh tokens: by them theft is noticed while the family
    lives. Safe to run anywhere, at any time."""
    old = now - keep
    gone = AccessToken.objects.filter(expires_at__lt=old).delete()[0]
    gone += AuthorizationCode.objects.filter(expires_at__lt=old).delete()[0]
    gone += DeviceCode.objects.filter(expires_at__lt=old).delete()[0]
    gone += RefreshToken.objects.filter(expires_at__lt=old).delete()[0]
    if TokenRevocation.objects.filter(token_expires_at__lt=old).exists():
        gone += TokenRevocation.objects.filter(token_expires_at__lt=old).delete()[0]
    return gone
