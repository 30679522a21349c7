"""The grants we know, and none of the others: no implicit grant, no passwords, no `plain` PKCE."""

import json
from datetime import UTC, datetime
from typing import Any

from oauthlib.common import Request
from oauthlib.oauth2 import BearerToken
from oauthlib.oauth2.rfc6749 import errors
from oauthlib.oauth2.rfc6749.endpoints import AuthorizationEndpoint, RevocationEndpoint, TokenEndpoint
from oauthlib.oauth2.rfc6749.grant_types import (
    AuthorizationCodeGrant,
    ClientCredentialsGrant,
    RefreshTokenGrant,
)
from oauthlib.oauth2.rfc6749.grant_types.authorization_code import code_challenge_method_s256
from oauthlib.oauth2.rfc6749.grant_types.base import GrantTypeBase
from oauthlib.oauth2.rfc8628 import errors as device_errors

from gateway.actions import act
from gateway.jwks import KeysAway
from gateway.oauth import identity_assertions, uses, workloads
from gateway.oauth.asking import LONGEST, said, targets_of
from gateway.oauth.assertions import NotBelieved
from gateway.oauth.identity_assertions import NotVouched
from gateway.oauth.issuing import Issue, body_of, named, told
from gateway.oauth.spent import spend
from gateway.oauth.validator import Validator
from governance import oauth_clients, oauth_tokens
from governance.agent_clients import CLIENT_CREDENTIALS
from governance.facts import Recorder
from governance.oauth_tokens import Denied, NotIssuable, Pending, Tokens, TooFast

Reply = tuple[dict[str, str], str, int]


class AuthorizationServer(AuthorizationEndpoint, TokenEndpoint, RevocationEndpoint):  # type: ignore[misc]
    def __init__(self, request_validator: Validator, **_: Any) -> None:
        code = AuthorizationCodeGrant(request_validator)
        code._code_challenge_methods = {"S256": code_challenge_method_s256}
        bearer = BearerToken(request_validator)
        AuthorizationEndpoint.__init__(
            self, default_response_type="code", response_types={"code": code}, default_token_type=bearer
        )
        TokenEndpoint.__init__(
            self,
            default_grant_type=oauth_clients.CODE,
            grant_types={
                oauth_clients.CODE: code,
                oauth_clients.REFRESH: RefreshTokenGrant(request_validator),
                CLIENT_CREDENTIALS: ClientCredentialsGrant(request_validator),
                oauth_clients.DEVICE: DeviceGrant(request_validator),
                identity_assertions.GRANT_TYPE: IdentityAssertionGrant(request_validator),
                workloads.GRANT_TYPE: WorkloadGrant(request_validator),
            },
            default_token_type=bearer,
        )
        RevocationEndpoint.__init__(self, request_validator)


class OurGrant(GrantTypeBase):  # type: ignore[misc]
    """A grant the library does not know; `_tokens` raises OAuth2Error."""

    def create_token_response(self, request: Request, token_handler: Any) -> Reply:
        headers: dict[str, str] = self._get_default_headers()
        try:
            body = self._body(request)
        except errors.OAuth2Error as error:
            headers.update(error.headers)
            return headers, error.json, error.status_code
        return headers, json.dumps(body), 200

    def _body(self, request: Request) -> dict[str, Any]:
        raise NotImplementedError

    def _authenticate(self, request: Request) -> None:
        """Raises OAuth2Error."""
        if self.request_validator.client_authentication_required(request):
            if not self.request_validator.authenticate_client(request):
                raise errors.InvalidClientError(request=request)
        elif not self.request_validator.authenticate_client_id(request.client_id, request):
            raise errors.InvalidClientError(request=request)
        self.validate_grant_type(request)


class DeviceGrant(OurGrant):
    def _body(self, request: Request) -> dict[str, Any]:
        self._authenticate(request)
        code, client = said(request, "device_code")[:LONGEST], request.client
        try:
            row = oauth_tokens.poll_device(code, client=client, now=datetime.now(UTC))
            return body_of(_act(lambda _, now: oauth_tokens.redeem_device(row, now=now), by=named(client)))
        except TooFast:
            raise device_errors.SlowDownError from None
        except Pending:
            raise device_errors.AuthorizationPendingError from None
        except Denied:
            raise device_errors.AccessDenied from None
        except NotIssuable:
            raise device_errors.ExpiredTokenError from None


class IdentityAssertionGrant(OurGrant):
    def _body(self, request: Request) -> dict[str, Any]:
        self._authenticate(request)
        client, statement = request.client, request.proven.statement
        scopes = said(request, "scope").split() or None

        def issue(record: Recorder, now: datetime) -> Tokens:
            if statement is not None:
                spend(statement)
            return identity_assertions.issue(asked, record=record, now=now)

        try:
            asked = identity_assertions.asked(
                said(request, "assertion"),
                client=client,
                oauth_scopes=scopes,
                resource=_one_target(request),
                now=datetime.now(UTC),
            )
            return body_of(_act(issue, by=named(client)))
        except (NotVouched, NotBelieved, KeysAway) as reason:
            raise _told(reason) from None


class WorkloadGrant(OurGrant):
    """The workload's own token is all the proof there is: it need be no client beforehand."""

    def _body(self, request: Request) -> dict[str, Any]:
        asked = workloads.Exchange(
            subject_token_type=said(request, "subject_token_type"),
            requested_token_type=said(request, "requested_token_type"),
            has_actor=bool(said(request, "actor_token")),
            client_id=said(request, "client_id")[:255],
            resource=_one_target(request),
            oauth_scopes=tuple(said(request, "scope").split()),
        )
        try:
            found = workloads.recognised(said(request, "subject_token"), asked, now=datetime.now(UTC))
            uses.note(found.credential, request)
            by = f"issuer:{found.vouched.issuer.name}"
            tokens = _act(lambda record, now: workloads.issue(found, record=record, now=now), by=by)
        except (NotVouched, NotBelieved, KeysAway) as reason:
            raise _told(reason) from None
        return body_of(tokens) | {"issued_token_type": workloads.ACCESS_TOKEN_TYPE}


def _act(issue: Issue, *, by: str) -> Tokens:
    return act(lambda record, now: told(issue(record, now), record), by=by)


def _one_target(request: Request) -> str:
    targets = targets_of(request)
    return targets[0] if len(targets) == 1 else ""


def _told(reason: Exception) -> errors.OAuth2Error:
    """Which check failed stays here: whoever shows a statement may not have made it."""
    if isinstance(reason, KeysAway):
        return errors.TemporarilyUnavailableError()
    code = reason.code if isinstance(reason, NotVouched) else "invalid_grant"
    text = str(reason) if isinstance(reason, NotVouched) else "The assertion will not do."
    return errors.CustomOAuth2Error(error=code, description=text)
