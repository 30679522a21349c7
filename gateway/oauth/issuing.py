"""What is issued, in one transaction with its evidence, and how it is answered."""

from collections.abc import Callable
from datetime import datetime
from typing import Any

from oauthlib.common import Request
from oauthlib.oauth2.rfc6749 import errors

from gateway.actions import act
from gateway.oauth import uses
from gateway.oauth.assertions import NotBelieved
from gateway.oauth.spent import spend
from governance import authorizations
from governance.facts import Fact, Recorder
from governance.models import OAuthClient
from governance.oauth_tokens import NotIssuable, Reused, Tokens

Issue = Callable[[Recorder, datetime], Tokens]


def named(client: OAuthClient) -> str:
    """As evidence names it."""
    return f"oauth_client:{client.client_id}"


def issued(issue: Issue, request: Request) -> Tokens:
    """One transaction: what proved the client is spent, the token is issued, evidence is told. Raises OAuth2Error."""
    client, statement = request.client, request.proven.statement if request.proven is not None else None

    def work(record: Recorder, now: datetime) -> Tokens:
        if statement is not None:
            spend(statement)
        return told(issue(record, now), record)

    try:
        return act(work, by=named(client))
    except Reused as reused:
        end_family(reused, client)
        raise errors.InvalidGrantError(request=request) from None
    except NotBelieved:
        raise errors.InvalidClientError(request=request) from None
    except NotIssuable:
        raise errors.InvalidGrantError(request=request) from None


def end_family(reused: Reused, client: OAuthClient) -> None:
    by = named(client)
    act(
        lambda record, now: authorizations.revoke(
            reused.authorization, by=by, record=record, now=now, because=f"Its {reused.what} was used twice."
        ),
        by=by,
    )


def told(tokens: Tokens, record: Recorder) -> Tokens:
    """In the transaction that issues them."""
    uses.write_noted()
    row = tokens.row
    details = {
        "token": str(row.id),
        "oauth_client": row.client.client_id if row.client is not None else "",
        "rests_on": f"authorization:{row.authorization_id}" if row.authorization_id else f"key:{row.credential_id}",
        "resource": row.resource,
        "oauth_scopes": row.oauth_scopes,
        "expires_at": row.expires_at,
    }
    record(Fact("access_token.issued", f"agent:{row.agent.name}", details))
    return tokens


def body_of(tokens: Tokens) -> dict[str, Any]:
    row = tokens.row
    body = {
        "access_token": tokens.access,
        "token_type": "Bearer",
        "expires_in": int((row.expires_at - row.issued_at).total_seconds()),
        "scope": " ".join(row.oauth_scopes),
    }
    return body | ({"refresh_token": tokens.refresh} if tokens.refresh else {})
