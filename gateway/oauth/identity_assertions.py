"""ID-JAG (draft-ietf-oauth-identity-assertion-authz-grant): the organisation's identity provider vouches that a client
acts for a person. Nobody clicks; and nobody gets a refresh token, because the provider has to be asked again.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from gateway.oauth.assertions import Expected, NotBelieved
from gateway.oauth.spent import spend
from gateway.oauth.trusted import Vouched, our_issuer, still_trusted, vouched
from governance import authorizations, oauth_resources, oauth_tokens
from governance.authorizations import NotAuthorizable
from governance.facts import Fact, Recorder
from governance.issuers import person_of
from governance.models import Authorization, OAuthClient, TrustedIssuer, User
from governance.oauth_resources import BadResource, BadScope
from governance.oauth_tokens import NotIssuable, Tokens

GRANT_TYPE: Final = "urn:ietf:params:oauth:grant-type:jwt-bearer"
KIND: Final = "oauth-id-jag+jwt"
LONGEST: Final = timedelta(minutes=10)


class NotVouched(Exception):
    """No token for this assertion; `code` is what OAuth calls it, the message is for whoever set this up."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


@dataclass(frozen=True, slots=True)
class Asked:
    """What the provider vouched for, looked at whole and not yet taken."""

    vouched: Vouched
    client: OAuthClient
    resource: str
    oauth_scopes: tuple[str, ...]


def asked(
    assertion: str, *, client: OAuthClient, oauth_scopes: Iterable[str] | None, resource: str = "", now: datetime
) -> Asked:
    """`oauth_scopes` and `resource` are what the request asks for besides: it may ask for less than the assertion
    says, never for more. Not inside a transaction. Raises NotBelieved, NotVouched, KeysAway."""
    if not client.is_confidential or client.status != OAuthClient.Status.APPROVED:
        raise NotVouched("unauthorized_client", "Only a client that proves itself may show an identity assertion.")
    expected = Expected(
        issuer="", audiences=(our_issuer(),), algorithms=(), kinds=(KIND,), longest=LONGEST, needs_issue_time=True
    )
    found = vouched(assertion, expected, now=now, kind=TrustedIssuer.Kind.DIRECTORY, grants_access=True)
    if found.statement.text("client_id") != client.client_id:
        raise NotBelieved("client", "It was made for another client.")
    said = _resource(found.statement.text("resource", longest=oauth_resources.LONGEST))
    if resource and _resource(resource) != said:
        raise NotVouched("invalid_target", "It vouches for another endpoint.")
    return Asked(found, client, said, _scopes(found, oauth_scopes, said))


def _resource(text: str) -> str:
    try:
        return oauth_resources.canonical_resource(text, origin=our_issuer())
    except BadResource:
        raise NotVouched("invalid_target", "It is for no endpoint of this gateway.") from None


def _scopes(found: Vouched, wanted: Iterable[str] | None, resource: str) -> tuple[str, ...]:
    """What the assertion says, less what the client does not ask for. What she may not herself, the data path cuts."""
    said = found.statement.claims.get("scope", "")
    if not isinstance(said, str):
        raise NotBelieved("claims", "Its scope is no text.")
    chosen = said.split() if wanted is None else [scope for scope in wanted if not said or scope in said.split()]
    try:
        scopes = oauth_resources.read_scopes(chosen, resource=resource, origin=our_issuer())
    except BadScope:
        scopes = ()
    if not scopes:
        raise NotVouched("invalid_scope", "It vouches for none of these scopes.")
    return scopes


def issue(asked_for: Asked, *, record: Recorder, now: datetime) -> Tokens:
    """In the caller's transaction. Raises NotBelieved for one that was shown before, and NotVouched."""
    statement, issuer = asked_for.vouched.statement, asked_for.vouched.issuer
    spend(statement)
    person = person_of(issuer, statement.text("sub", longest=300)) if still_trusted(issuer) else None
    if person is None:
        raise NotVouched("invalid_grant", "It is about nobody who is active here.")
    try:
        row = _standing(asked_for, person, now) or _let_in(asked_for, person, record=record, now=now)
        return oauth_tokens.issue_for_authorization(row, now=now, oauth_scopes=asked_for.oauth_scopes)
    except (NotAuthorizable, NotIssuable) as reason:
        raise NotVouched("invalid_grant", str(reason)) from None


def _standing(asked_for: Asked, person: User, now: datetime) -> Authorization | None:
    """One that covers it, from an earlier assertion: a token an hour is no governed change an hour."""
    rows = Authorization.objects.filter(
        authorizations.live(now),
        client=asked_for.client,
        person=person,
        basis=Authorization.Basis.ASSERTION,
        resource=asked_for.resource,
    )
    wanted = set(asked_for.oauth_scopes)
    return next((row for row in rows.order_by("-created_at")[:20] if wanted <= set(row.oauth_scopes)), None)


def _let_in(asked_for: Asked, person: User, *, record: Recorder, now: datetime) -> Authorization:
    """A client of people gets an agent that is hers; an agent's own client acts on her behalf."""
    by = f"issuer:{asked_for.vouched.issuer.name}"
    if asked_for.client.agent is None:
        return authorizations.let_in(
            asked_for.client,
            person,
            resource=asked_for.resource,
            oauth_scopes=asked_for.oauth_scopes,
            basis=Authorization.Basis.ASSERTION,
            by=by,
            record=record,
            now=now,
        )
    held = User.objects.select_for_update().filter(id=person.id, is_active=True).first()
    if held is None:
        raise NotAuthorizable(f"{person.email} is not active.")
    row = Authorization.objects.create(
        client=asked_for.client,
        agent=asked_for.client.agent,
        person=held,
        basis=Authorization.Basis.ASSERTION,
        resource=asked_for.resource,
        oauth_scopes=list(asked_for.oauth_scopes),
        created_by=by,
        expires_at=now + authorizations.LONGEST,
    )
    told = {
        "authorization": str(row.id),
        "oauth_client": asked_for.client.client_id,
        "agent": row.agent.name,
        "resource": row.resource,
        "oauth_scopes": row.oauth_scopes,
        "basis": row.basis,
        "expires_at": row.expires_at,
    }
    record(Fact("authorization.given", f"person:{held.email}", told))
    return row
