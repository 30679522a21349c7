"""Connected accounts: whose account at an upstream the gateway may use, and how that ends.

Nothing here talks to a provider. Ending marks the row, which the fence makes final at once; what is still valid at the
provider is revoked afterwards (`account_revocations.py`), and every step is evidence.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any
from urllib.parse import urlsplit
from uuid import UUID

from django.db.models import Q, QuerySet
from django.views.decorators.debug import sensitive_variables

from governance.account_tokens import (
    Tokens,
    client_context,
    columns_of,
    emptied,
    holds_tokens,
    put_envelope,
    seal_tokens,
)
from governance.facts import Fact, Recorder
from governance.models import Connector, Secret, UpstreamAuthServer, UpstreamClient, UpstreamGrant, User
from governance.vault import keyring, seal

Status, Revocation = UpstreamGrant.Status, UpstreamGrant.Revocation
LEASE = timedelta(seconds=45)
"""Longer than a renewal may take, so that the one who renews is alone; short enough that a crash holds up nobody."""
LONGEST_PROBLEM = 300
OAUTH_SCOPE_PATTERN = r"[\x21\x23-\x5b\x5d-\x7e]{1,200}"
"""RFC 6749 section 3.3, of a bearable length."""
ACCOUNT_KINDS = (Connector.Account.PERSON, Connector.Account.SHARED)


class CannotConnect(Exception):
    """The account cannot be connected as things are; the message says why, and is fit for a page."""


@dataclass(frozen=True, slots=True)
class ClientIdentity:
    """As whom we are known to a server. `secret` names the vault's pair, `client_secret` is one that was given to us
    when we registered ourselves."""

    source: str
    client_id: str = ""
    auth_method: str = "none"
    secret: Secret | None = None
    client_secret: str = field(default="", repr=False)


# -- authorization servers and clients


def put_server(issuer: str, metadata: Mapping[str, Any], *, now: datetime) -> UpstreamAuthServer:
    """As it describes itself now."""
    server, _ = UpstreamAuthServer.objects.update_or_create(
        issuer=issuer, defaults={"metadata": dict(metadata), "fetched_at": now}
    )
    return server


@sensitive_variables("identity")
def set_client(
    connector: Connector,
    server: UpstreamAuthServer,
    identity: ClientIdentity,
    *,
    resource: str,
    oauth_scopes: Iterable[str],
    by: str,
    record: Recorder,
    now: datetime,
) -> UpstreamClient:
    """Makes this the way to the connector's accounts. Accounts that were connected another way end."""
    if not covers(resource, connector.urls):
        raise CannotConnect("The upstream's resource identifier is not an address of this connector.")
    scopes = sorted(set(oauth_scopes))
    found = UpstreamClient.objects.select_for_update().filter(connector=connector).first()
    if found is not None and _is_same_way(found, server, identity, resource):
        UpstreamClient.objects.filter(pk=found.pk).update(auth_method=identity.auth_method, oauth_scopes=scopes)
        found.refresh_from_db()
        return found
    if found is not None:
        retire_client(found, by=by, record=record, now=now)
    client = UpstreamClient(
        connector=connector,
        server=server,
        source=identity.source,
        secret=identity.secret,
        client_id=identity.client_id,
        auth_method=identity.auth_method,
        resource=resource,
        oauth_scopes=scopes,
        created_at=now,
        created_by=by,
    )
    if identity.client_secret:
        envelope = seal(identity.client_secret.encode(), context=client_context(client), keyring=keyring())
        put_envelope(client, envelope)
    client.save(force_insert=True)
    if connector.account == Connector.Account.SHARED:
        _shared_grant(client, by=by, now=now)
    told = {"issuer": server.issuer, "source": identity.source, "resource": resource, "by": by}
    record(Fact("connector.account_set_up", f"connector:{connector.name}", told))
    return client


def _is_same_way(client: UpstreamClient, server: UpstreamAuthServer, identity: ClientIdentity, resource: str) -> bool:
    now = (client.server_id, client.source, client.client_id, client.secret_id, client.resource)
    secret_id = identity.secret.pk if identity.secret is not None else None
    return now == (server.pk, identity.source, identity.client_id, secret_id, resource)


def retire_client(client: UpstreamClient, *, by: str, record: Recorder, now: datetime) -> int:
    """The connector is reached another way: the accounts connected this way end."""
    ended = end_grants(client.grants.all(), by=by, record=record, now=now)
    UpstreamClient.objects.filter(pk=client.pk).update(connector=None)
    return ended


def _shared_grant(client: UpstreamClient, *, by: str, now: datetime) -> UpstreamGrant:
    """Without tokens as yet: the first call that needs one asks for it."""
    return UpstreamGrant.objects.create(
        client=client,
        connector=client.connector,
        resource=client.resource,
        oauth_scopes=client.oauth_scopes,
        created_at=now,
        created_by=by,
    )


def covers(resource: str, urls: Iterable[str]) -> bool:
    """Whether a token for this resource may be sent to all these addresses: same origin, and below its path."""
    wanted = urlsplit(resource)
    path = wanted.path.rstrip("/")
    found = [urlsplit(url) for url in urls]
    return bool(found) and all(
        (each.scheme, each.netloc.lower()) == (wanted.scheme, wanted.netloc.lower())
        and (each.path == path or each.path.startswith(f"{path}/"))
        for each in found
    )


def account_faults(account: str, secret: Secret | None, urls: Iterable[str]) -> Iterator[tuple[str, str]]:
    """Why a connector with these cannot work: fields and messages."""
    is_client = secret is not None and secret.kind == Secret.Kind.OAUTH_CLIENT
    if not account and is_client:
        yield "account", "A secret of kind OAuth client says as which client accounts are used: choose whose."
    if account and secret is not None and not is_client:
        yield "secret", "With accounts, the secret is of kind OAuth client, or there is none."
    if account == Connector.Account.SHARED and secret is None:
        yield "secret", "The gateway's own account needs a secret of kind OAuth client."
    if account and len({(parts.scheme, parts.netloc) for parts in map(urlsplit, urls)}) > 1:
        yield "urls", "Accounts need a system with one origin."


# -- connecting


@sensitive_variables("tokens")
def connect(
    client: UpstreamClient, person: User, tokens: Tokens, *, by: str, record: Recorder, now: datetime
) -> UpstreamGrant:
    """Keeps what the provider gave for her. Raises CannotConnect if she or the connector are not what they were.

    An account that she connected before is replaced. Its tokens are only forgotten: many providers take the revocation
    of an old one for the end of all that the person ever agreed to.
    """
    person = User.objects.select_for_update().get(pk=person.pk)
    connector = Connector.objects.select_for_update().filter(upstream_client=client).first()
    client = UpstreamClient.objects.select_for_update().get(pk=client.pk)
    if not person.is_active or connector is None or client.connector_id != connector.pk:
        raise CannotConnect("Something changed meanwhile. Begin again.")
    if connector.account != Connector.Account.PERSON or not covers(client.resource, connector.urls):
        raise CannotConnect("This system does not take accounts of people any more.")
    earlier = UpstreamGrant.objects.filter(connector=connector, person=person).exclude(status=Status.ENDED)
    replaced = earlier.update(status=Status.ENDED, ended_at=now, ended_by=by, **emptied())
    grant = UpstreamGrant(
        client=client,
        connector=connector,
        person=person,
        resource=client.resource,
        oauth_scopes=list(tokens.oauth_scopes) or client.oauth_scopes,
        created_at=now,
        created_by=by,
        expires_at=tokens.expires_at,
    )
    put_envelope(grant, seal_tokens(grant.pk, 0, tokens))
    grant.save(force_insert=True)
    record(Fact("account.connected", f"person:{person.email}", told_of(grant, replaced=bool(replaced))))
    return grant


# -- renewing: moves no epoch


def take_lease(grant_id: UUID, *, generation: int, worker: UUID, now: datetime) -> bool:
    """Whether this worker is now the only one that may renew these tokens."""
    free = Q(renewing_until=None) | Q(renewing_until__lt=now)
    rows = UpstreamGrant.objects.filter(free, pk=grant_id, generation=generation, status=Status.LIVE)
    return bool(rows.update(renewing_until=now + LEASE, renewing_by=worker))


def give_lease_back(grant_id: UUID, *, worker: UUID) -> None:
    """The provider could not be asked: somebody may try again."""
    UpstreamGrant.objects.filter(pk=grant_id, renewing_by=worker).update(renewing_until=None, renewing_by=None)


@sensitive_variables("tokens")
def store_renewed(grant_id: UUID, tokens: Tokens, *, generation: int, worker: UUID, now: datetime) -> bool:
    """Before any of it is used. False: the account has ended, or another's lease counts; then the tokens must go."""
    envelope = seal_tokens(grant_id, generation + 1, tokens)
    rows = UpstreamGrant.objects.filter(pk=grant_id, generation=generation, renewing_by=worker, status=Status.LIVE)
    return bool(
        rows.update(
            generation=generation + 1,
            expires_at=tokens.expires_at,
            renewed_at=now,
            renewing_until=None,
            renewing_by=None,
            **columns_of(envelope),
        )
    )


@sensitive_variables("tokens")
def keep_for_revocation(grant_id: UUID, tokens: Tokens, *, now: datetime) -> bool:
    """Tokens that came when the account had ended already: they are what is to be revoked."""
    row = UpstreamGrant.objects.select_for_update().filter(pk=grant_id, status=Status.ENDED).first()
    if row is None:
        return False
    generation = row.generation + 1
    UpstreamGrant.objects.filter(pk=grant_id).update(
        generation=generation,
        revocation=Revocation.DUE,
        revocation_due_at=now,
        **columns_of(seal_tokens(grant_id, generation, tokens)),
    )
    return True


def need_reconnect(grant: UpstreamGrant, problem: str, *, generation: int, record: Recorder, now: datetime) -> bool:
    """The provider does not renew it any more: only its human can help. False if it was renewed or ended meanwhile."""
    rows = UpstreamGrant.objects.filter(pk=grant.pk, generation=generation, status=Status.LIVE)
    said = problem[:LONGEST_PROBLEM]
    if not rows.update(status=Status.RECONNECT, problem=said, renewing_until=None, renewing_by=None, **emptied()):
        return False
    record(Fact("account.reconnect_needed", subject_of(grant), told_of(grant, problem=said)))
    return True


# -- ending


def live_of_person(person: User) -> QuerySet[UpstreamGrant]:
    """Her connected accounts that have not ended, those that must be connected again included."""
    rows = UpstreamGrant.objects.filter(person=person).exclude(status=Status.ENDED)
    return rows.select_related("connector", "client__server", "person").order_by("created_at")


def end_of_person(person: User, *, by: str, record: Recorder, now: datetime) -> int:
    """None of her accounts can be used from this transaction on; the provider is told afterwards."""
    return end_grants(live_of_person(person), by=by, record=record, now=now)


def end_grants(grants: QuerySet[UpstreamGrant], *, by: str, record: Recorder, now: datetime) -> int:
    """How many had not ended before."""
    rows = grants.exclude(status=Status.ENDED).select_for_update(of=("self",))
    return sum(end_grant(row, by=by, record=record, now=now) for row in rows)


def end_grant(grant: UpstreamGrant, *, by: str, record: Recorder, now: datetime) -> bool:
    """False if it had ended before."""
    row = UpstreamGrant.objects.select_for_update().filter(pk=grant.pk).exclude(status=Status.ENDED).first()
    if row is None:
        return False
    row.status, row.ended_at, row.ended_by = Status.ENDED, now, by
    row.revocation = Revocation.DUE if holds_tokens(row) else Revocation.NONE
    row.revocation_due_at, row.revocation_attempts = now, 0
    row.save()
    record(Fact("account.disconnected", subject_of(row), told_of(row, by=by, revocation=row.revocation)))
    return True


# -- evidence


def subject_of(grant: UpstreamGrant) -> str:
    if grant.person is not None:
        return f"person:{grant.person.email}"
    return f"connector:{grant.connector.name if grant.connector is not None else 'removed'}"


def told_of(grant: UpstreamGrant, **more: Any) -> dict[str, Any]:
    return {
        "account_id": str(grant.pk),
        "connector": grant.connector.name if grant.connector is not None else "",
        "issuer": grant.client.server.issuer,
        "oauth_scopes": list(grant.oauth_scopes),
        **more,
    }
