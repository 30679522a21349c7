"""What django-oauth-toolkit and oauthlib ask of us: every question is answered from governance.

The library reads the protocol; nothing is stored by it. What it is told here is looked at again, with locks, in the one
transaction that issues (`issuing.py`): between a question of the library's and its next the world may have changed.
"""

from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Any

from django.conf import settings
from oauth2_provider.oauth2_validators import OAuth2Validator
from oauthlib.common import Request
from oauthlib.oauth2.rfc6749 import errors

from gateway.actions import act
from gateway.oauth import uses
from gateway.oauth.asking import LONGEST, check_same_target, shown_by, target_of
from gateway.oauth.assertions import NotBelieved
from gateway.oauth.clients import Proven, find_client, prove_client
from gateway.oauth.issuing import Issue, body_of, end_family, issued, named
from gateway.oauth.spent import spend
from gateway.reach.current import current_snapshot
from governance import authorizations, key_text, oauth_clients, oauth_resources, oauth_tokens
from governance.agent_clients import CLIENT_CREDENTIALS
from governance.authorizations import NotAuthorizable
from governance.facts import Recorder
from governance.models import AuthorizationCode, OAuthClient, RefreshToken
from governance.oauth_resources import BadScope
from governance.oauth_tokens import Reused


class Validator(OAuth2Validator):  # type: ignore[misc]
    # -- which client

    def _load_application(self, client_id: Any, request: Request) -> OAuthClient | None:
        client = request.client = find_client(str(client_id or ""))
        return client

    def client_authentication_required(self, request: Request, *args: Any, **kwargs: Any) -> bool:
        shown = shown_by(request)
        client = self._load_application(shown.client_id, request)
        return shown.is_proof or client is None or client.is_confidential

    def authenticate_client(self, request: Request, *args: Any, **kwargs: Any) -> bool:
        proven = prove_client(shown_by(request), now=datetime.now(UTC))
        request.proven, request.client = proven, proven.client if proven is not None else None
        if proven is not None and proven.credential is not None:
            uses.note(proven.credential, request)
        return proven is not None

    def authenticate_client_id(self, client_id: str, request: Request, *args: Any, **kwargs: Any) -> bool:
        client = request.client or self._load_application(client_id, request)
        if client is None or client.client_id != client_id or client.is_confidential:
            return False
        request.proven = Proven(client)
        return True

    def validate_client_id(self, client_id: str, request: Request, *args: Any, **kwargs: Any) -> bool:
        return self._load_application(client_id, request) is not None

    # -- what it may ask for

    def validate_grant_type(
        self, client_id: str, grant_type: str, client: OAuthClient, request: Request, *args: Any, **kwargs: Any
    ) -> bool:
        return grant_type in client.grant_types

    def validate_response_type(
        self, client_id: str, response_type: str, client: OAuthClient, request: Request, *args: Any, **kwargs: Any
    ) -> bool:
        return response_type == "code" and oauth_clients.CODE in client.grant_types

    def validate_redirect_uri(
        self, client_id: str, redirect_uri: str, request: Request, *args: Any, **kwargs: Any
    ) -> bool:
        return oauth_clients.redirect_allowed(redirect_uri, request.client.redirect_uris)

    def get_default_redirect_uri(self, client_id: str, request: Request, *args: Any, **kwargs: Any) -> str | None:
        """Only where there can be no doubt."""
        registered = request.client.redirect_uris
        return registered[0] if len(registered) == 1 and not oauth_clients.is_loopback(registered[0]) else None

    def get_default_scopes(self, client_id: str, request: Request, *args: Any, **kwargs: Any) -> list[str]:
        return []

    def validate_scopes(
        self, client_id: str, scopes: Iterable[str], client: OAuthClient, request: Request, *args: Any, **kwargs: Any
    ) -> bool:
        try:
            request.scopes = list(
                oauth_resources.read_scopes(scopes or (), resource=target_of(request), origin=settings.PUBLIC_URL)
            )
        except BadScope:
            return False
        return True

    def is_pkce_required(self, client_id: str, request: Request) -> bool:
        return True

    # -- codes

    def save_authorization_code(
        self, client_id: str, code: dict[str, str], request: Request, *args: Any, **kwargs: Any
    ) -> None:
        """A person agreed, just now. The library made a text of its own for a code; what is sent is ours."""
        client, person, resource = request.client, request.user, target_of(request)
        by = f"person:{person.email}"

        def work(record: Recorder, now: datetime) -> str:
            row = authorizations.let_in(
                client, person, resource=resource, oauth_scopes=request.scopes, by=by, record=record, now=now
            )
            challenge, redirect_uri = str(request.code_challenge), str(request.redirect_uri)
            return oauth_tokens.new_code(row, redirect_uri=redirect_uri, code_challenge=challenge, now=now)

        try:
            code["code"] = act(work, by=by)
        except NotAuthorizable as error:
            raise errors.AccessDeniedError(str(error), request=request) from None

    def validate_code(
        self, client_id: str, code: str, client: OAuthClient, request: Request, *args: Any, **kwargs: Any
    ) -> bool:
        row = _code(code, client)
        if row is None:
            return False
        if row.used_at is not None:
            end_family(Reused(row.authorization, "code"), client)
            return False
        request.code_row = row
        request.scopes = list(row.authorization.oauth_scopes)
        return row.expires_at > datetime.now(UTC)

    def get_code_challenge(self, code: str, request: Request) -> str:
        return str(request.code_row.code_challenge)

    def get_code_challenge_method(self, code: str, request: Request) -> str:
        return "S256"

    def confirm_redirect_uri(
        self, client_id: str, code: str, redirect_uri: str, client: OAuthClient, request: Request, *args: Any, **kw: Any
    ) -> bool:
        return bool(redirect_uri == request.code_row.redirect_uri)

    def invalidate_authorization_code(
        self, client_id: str, code: str, request: Request, *args: Any, **kwargs: Any
    ) -> None:
        """It was used up with the tokens it gave, in one transaction."""

    # -- refreshing

    def validate_refresh_token(
        self, refresh_token: str, client: OAuthClient, request: Request, *args: Any, **kwargs: Any
    ) -> bool:
        row = _refresh(refresh_token, client)
        if row is None:
            return False
        if row.used_at is not None:
            end_family(Reused(row.authorization, "refresh token"), client)
            return False
        request.refresh_row = row
        return row.expires_at > datetime.now(UTC)

    def get_original_scopes(self, refresh_token: str, request: Request, *args: Any, **kwargs: Any) -> list[str]:
        return list(request.refresh_row.authorization.oauth_scopes)

    # -- issuing

    def save_bearer_token(self, token: dict[str, Any], request: Request, *args: Any, **kwargs: Any) -> None:
        """The library made texts of its own for tokens; what is answered are ours."""
        issue = {
            oauth_clients.CODE: self._for_code,
            oauth_clients.REFRESH: self._for_refresh,
            CLIENT_CREDENTIALS: self._for_credential,
        }[request.grant_type](request)
        tokens = issued(issue, request)
        token.clear()
        token.update(body_of(tokens))

    def _for_code(self, request: Request) -> Issue:
        row = request.code_row
        check_same_target(request, row.authorization.resource)
        code, verifier, redirect_uri = str(request.code), str(request.code_verifier), row.redirect_uri
        return lambda record, now: oauth_tokens.redeem_code(
            code, client=request.client, redirect_uri=redirect_uri, verifier=verifier, now=now
        )

    def _for_refresh(self, request: Request) -> Issue:
        check_same_target(request, request.refresh_row.authorization.resource)
        shown, scopes = str(request.refresh_token), list(request.scopes)
        return lambda record, now: oauth_tokens.refresh(shown, client=request.client, oauth_scopes=scopes, now=now)

    def _for_credential(self, request: Request) -> Issue:
        """What the agent holds now, and asks for; the next token may cover more."""
        credential = request.proven.credential
        if credential is None or request.client.agent_id is None:
            raise errors.UnauthorizedClientError(request=request)
        resource = target_of(request)
        scopes = held_scopes(request.scopes, resource, agent_id=request.client.agent_id.hex)
        if not scopes:
            raise errors.InvalidScopeError(request=request)
        return lambda record, now: oauth_tokens.issue_for_credential(
            credential, client=request.client, resource=resource, oauth_scopes=scopes, now=now
        )

    def rotate_refresh_token(self, request: Request) -> bool:
        return True

    # -- ending

    def revoke_token(self, token: str, token_type_hint: str, request: Request, *args: Any, **kwargs: Any) -> None:
        """What proved the client is spent with it. Raises OAuth2Error."""
        client, statement = request.client, request.proven.statement if request.proven is not None else None
        if client is None or not 0 < len(token) <= LONGEST:
            return
        by = named(client)

        def work(record: Recorder, now: datetime) -> None:
            if statement is not None:
                spend(statement)
            oauth_tokens.revoke_shown(token, client=client, by=by, record=record, now=now)

        try:
            act(work, by=by)
        except NotBelieved:
            raise errors.InvalidClientError(request=request) from None


# -- what is stored


def held_scopes(asked: Iterable[str], resource: str, *, agent_id: str = "", person_id: str = "") -> list[str]:
    """Of what is asked for, or of everything where nothing is named, what the agent or person holds now at the
    endpoint. A bundle that does not exist is one that is not held."""
    snapshot, now = current_snapshot(), datetime.now(UTC)
    agent = snapshot.agents.get(agent_id)
    bundles = snapshot.bundles_of(agent, now) if agent is not None else snapshot.person_bundles(person_id, now)
    held = [oauth_resources.scope_of(bundle.name) for bundle in bundles]
    wanted = set(asked)
    only = oauth_resources.bundle_of(resource, origin=settings.PUBLIC_URL)
    if only:
        wanted |= {oauth_resources.scope_of(only)}
    return [scope for scope in held if not wanted or scope in wanted]


def _code(code: Any, client: OAuthClient) -> AuthorizationCode | None:
    rows = AuthorizationCode.objects.select_related("authorization__client", "authorization__person")
    digest = key_text.digest_of(str(code)[:LONGEST])
    return rows.filter(digest=digest, authorization__client=client).first()


def _refresh(token: Any, client: OAuthClient) -> RefreshToken | None:
    rows = RefreshToken.objects.select_related("authorization__client", "authorization__person")
    digest = key_text.digest_of(str(token)[:LONGEST])
    return rows.filter(digest=digest, authorization__client=client).first()
