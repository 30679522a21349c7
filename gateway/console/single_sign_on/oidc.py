"""mozilla-django-oidc's code flow with the checks that it leaves out, asking the provider only through our egress.

What the library does not do, and is done here: discovery, issuer, audience, azp, times, at_hash, the subject of
userinfo, keys that are kept, time limits, people by issuer and subject instead of by e-mail address.
"""

import time
from typing import Any

from django.conf import settings
from django.contrib.auth.models import AnonymousUser
from django.http import HttpRequest
from django.urls import reverse
from django.views.decorators.debug import sensitive_variables
from mozilla_django_oidc.auth import OIDCAuthenticationBackend

from gateway.console.single_sign_on import provider
from gateway.console.single_sign_on.arriving import Arrival, arrive, connect
from gateway.console.single_sign_on.claims import account_of
from gateway.console.single_sign_on.tokens import Expected, proven_claims
from gateway.sealing import NotOurs, seal_text, unseal_text
from governance.models import User
from governance.staff_identities import NotBound

PURPOSE = "single sign-on hint"
LONGEST_HINT = 8 * 1024


def setting(name: str, *default: Any) -> Any:
    """What the library wants to know, from the provider's own description."""
    known = provider.provider()
    return {
        "OIDC_OP_AUTHORIZATION_ENDPOINT": known.authorization_endpoint,
        "OIDC_OP_TOKEN_ENDPOINT": known.token_endpoint,
        "OIDC_OP_USER_ENDPOINT": known.userinfo_endpoint,
        "OIDC_OP_JWKS_ENDPOINT": known.jwks_uri,
        "OIDC_RP_CLIENT_ID": settings.OIDC_CLIENT_ID,
        "OIDC_RP_CLIENT_SECRET": settings.OIDC_CLIENT_SECRET,
        "OIDC_RP_SCOPES": settings.OIDC_SCOPES,
        "OIDC_RP_SIGN_ALGO": "RS256",
        "OIDC_USE_PKCE": True,
        "OIDC_AUTHENTICATION_CALLBACK_URL": "single_sign_on_callback",
    }.get(name, *default)


def callback_url() -> str:
    """Of the public name, whatever Host header a request carries."""
    return f"{settings.PUBLIC_URL}{reverse('single_sign_on_callback')}"


class CodeFlow(OIDCAuthenticationBackend):  # type: ignore[misc]
    """One answer of the provider. Not among AUTHENTICATION_BACKENDS: it lets nobody in by itself and gives no rights.

    `max_age`: she must have proven herself so recently; `connects`: whom to bind the account to, by her own word.
    """

    get_settings = staticmethod(setting)

    def __init__(self, *, max_age: float | None = None, connects: User | None = None) -> None:
        super().__init__()
        self._max_age = max_age
        self._connects = connects
        self._access_token = ""
        self.claims: dict[str, Any] = {}
        self.arrival: Arrival | None = None
        self.hint = ""

    @sensitive_variables()
    def get_token(self, payload: dict[str, str]) -> dict[str, Any]:
        found = provider.redeem({**payload, "redirect_uri": callback_url()})
        token = found.get("access_token")
        self._access_token = token if isinstance(token, str) else ""
        return found

    @sensitive_variables()
    def verify_token(self, token: Any, **kwargs: Any) -> dict[str, Any]:
        expected = Expected(
            issuer=settings.OIDC_ISSUER,
            client_id=settings.OIDC_CLIENT_ID,
            nonce=kwargs.get("nonce") or "",
            now=time.time(),
            max_age=self._max_age,
        )
        self.claims = proven_claims(token, expected, find_keys=provider.keys, access_token=self._access_token)
        return self.claims

    @sensitive_variables()
    def store_tokens(self, access_token: Any, id_token: str) -> None:
        """None is kept but the one by which the provider knows whom to sign out, sealed."""
        self.hint = seal_text(PURPOSE, id_token.encode()) if len(id_token) <= LONGEST_HINT else ""

    @sensitive_variables()
    def get_or_create_user(self, access_token: Any, id_token: str, payload: dict[str, Any]) -> User:
        """Nobody is created: people are IT's word."""
        account = account_of(payload, provider.userinfo(self._access_token) if self._access_token else {})
        if self._connects and not self.request.session.exists(self.request.session.session_key):
            raise NotBound("signed_out", "You are not signed in here any more.")
        self.arrival = connect(self._connects, account) if self._connects else arrive(account)
        return self.arrival.person

    def proven_at(self) -> float:
        """When she proved to the provider who she is; 0 if it does not say."""
        said = self.claims.get("auth_time")
        return float(said) if isinstance(said, int | float) and not isinstance(said, bool) and said > 0 else 0.0

    def get_user(self, user_id: Any) -> User | None:
        return User.objects.filter(pk=user_id, is_active=True).first()

    def get_all_permissions(self, user_obj: User | AnonymousUser, obj: Any = None) -> set[str]:
        return set()


def id_token_of(request: HttpRequest, hint: str) -> str:
    try:
        return unseal_text(PURPOSE, hint).decode()
    except NotOurs:
        return ""
