"""The organisation's OpenID provider: what it says of itself, its keys, and the two questions we put to it.

Both documents are kept for an hour; one that cannot be fetched anew is used on for a day. A key that is not known is
looked for at most every half minute, however many tokens name one. Nothing here holds a lock or a transaction.
"""

import base64
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final, Generic, TypeVar
from urllib.parse import quote_plus, urlencode, urlsplit

from django.conf import settings
from django.views.decorators.debug import sensitive_variables
from joserfc.errors import JoseError
from joserfc.jwk import ECKey, JWKRegistry, RSAKey

from gateway.console.single_sign_on.tokens import Key, NotProven
from gateway.fetching import NotFetched, fetch, json_object

WELL_KNOWN: Final = "/.well-known/openid-configuration"
FRESH_SECONDS: Final = 3600.0
USABLE_SECONDS: Final = 24 * 3600.0
UNKNOWN_KEY_SECONDS: Final = 30.0
LONGEST_URL: Final = 2000
MOST_KEYS: Final = 50
SMALLEST_RSA: Final = 2048
Document = TypeVar("Document")
FORM: Final = ("Content-Type", "application/x-www-form-urlencoded")


@dataclass(frozen=True, slots=True)
class Provider:
    """What it publishes of itself, checked."""

    issuer: str
    authorization_endpoint: str
    token_endpoint: str
    jwks_uri: str
    userinfo_endpoint: str = ""
    end_session_endpoint: str = ""
    names_itself: bool = False
    """It sends `iss` along with each answer (RFC 9207), so one without is not its."""
    takes_basic: bool = True


class Kept(Generic[Document]):
    """A document of the provider, in this process."""

    def __init__(self, get: Callable[[], Document]) -> None:
        self._get = get
        self._found: Document | None = None
        self._found_at = self._tried_at = float("-inf")

    def current(self, *, younger_than: float = FRESH_SECONDS) -> Document:
        """Raises NotFetched, NotProven."""
        now = time.monotonic()
        if self._found is not None and now - self._found_at < younger_than:
            return self._found
        if self._found is not None and now - self._tried_at < UNKNOWN_KEY_SECONDS:
            return self._found
        self._tried_at = now
        try:
            self._found, self._found_at = self._get(), now
        except (NotFetched, NotProven):
            if self._found is None or now - self._found_at > USABLE_SECONDS:
                raise
        return self._found

    def forget(self) -> None:
        self._found, self._found_at, self._tried_at = None, float("-inf"), float("-inf")


def is_configured() -> bool:
    return bool(settings.OIDC_ISSUER)


def provider() -> Provider:
    """Raises NotFetched, NotProven."""
    return _provider.current()


def keys(kid: str | None) -> list[Key]:
    """Those with this id; without one, all. Raises NotFetched, NotProven."""
    found = _chosen(_keys.current(), kid)
    return found or _chosen(_keys.current(younger_than=UNKNOWN_KEY_SECONDS), kid)


def forget() -> None:
    """Whatever was kept, for another provider."""
    _provider.forget()
    _keys.forget()


@sensitive_variables()
def redeem(parameters: dict[str, str]) -> dict[str, Any]:
    """What the code is worth. Raises NotFetched; its message holds nothing that the provider wrote."""
    known = provider()
    headers, body = [FORM], {name: value for name, value in parameters.items() if name != "client_secret"}
    if known.takes_basic:
        # RFC 6749 2.3.1 encodes both before they are joined.
        pair = f"{quote_plus(settings.OIDC_CLIENT_ID)}:{quote_plus(settings.OIDC_CLIENT_SECRET)}"
        headers.append(("Authorization", f"Basic {base64.b64encode(pair.encode()).decode()}"))
    else:
        body["client_secret"] = str(settings.OIDC_CLIENT_SECRET)
    return json_object(fetch("POST", known.token_endpoint, headers=headers, body=urlencode(body).encode()))


@sensitive_variables()
def userinfo(access_token: str) -> dict[str, Any]:
    """Empty where the provider has no such endpoint. Raises NotFetched."""
    url = provider().userinfo_endpoint
    if not url:
        return {}
    return json_object(fetch("GET", url, headers=[("Authorization", f"Bearer {access_token}")]))


def _chosen(found: list[Key], kid: str | None) -> list[Key]:
    return found if kid is None else [key for key in found if key.kid == kid]


def _fetch_provider() -> Provider:
    url = f"{settings.OIDC_ISSUER.rstrip('/')}{WELL_KNOWN}"
    return read_provider(json_object(fetch("GET", url)), issuer=settings.OIDC_ISSUER)


def read_provider(said: dict[str, Any], *, issuer: str) -> Provider:
    """Raises NotProven when it is another's, or leads where a secret must not go."""
    if said.get("issuer") != issuer:
        raise NotProven("discovery", f"What {issuer} publishes is another provider's.")
    methods = said.get("token_endpoint_auth_methods_supported", ["client_secret_basic"])
    return Provider(
        issuer=issuer,
        authorization_endpoint=_endpoint(said, "authorization_endpoint", issuer),
        token_endpoint=_endpoint(said, "token_endpoint", issuer),
        jwks_uri=_endpoint(said, "jwks_uri", issuer),
        userinfo_endpoint=_endpoint(said, "userinfo_endpoint", issuer, is_needed=False),
        end_session_endpoint=_endpoint(said, "end_session_endpoint", issuer, is_needed=False),
        names_itself=said.get("authorization_response_iss_parameter_supported") is True,
        takes_basic=not isinstance(methods, list) or "client_secret_basic" in methods,
    )


def _endpoint(said: dict[str, Any], name: str, issuer: str, *, is_needed: bool = True) -> str:
    """Over https, unless the issuer itself was configured without it."""
    value = said.get(name)
    if value is None and not is_needed:
        return ""
    schemes = {"https", urlsplit(issuer).scheme}
    if not isinstance(value, str) or len(value) > LONGEST_URL or urlsplit(value).scheme not in schemes:
        raise NotProven("discovery", f"What {issuer} publishes has no usable {name}.")
    return value


def _fetch_keys() -> list[Key]:
    return read_keys(json_object(fetch("GET", provider().jwks_uri)))


def read_keys(said: dict[str, Any]) -> list[Key]:
    """The usable ones; a provider may publish others, too."""
    listed = said.get("keys")
    entries = [entry for entry in listed[:MOST_KEYS] if isinstance(entry, dict)] if isinstance(listed, list) else []
    return [key for key in map(_key, entries) if key is not None]


def _key(entry: dict[str, Any]) -> Key | None:
    if entry.get("kty") not in ("RSA", "EC") or entry.get("use", "sig") != "sig":
        return None
    public = {name: value for name, value in entry.items() if name in ("kty", "kid", "n", "e", "crv", "x", "y")}
    try:
        key = JWKRegistry.import_key(public)
    except (JoseError, ValueError, TypeError):
        return None
    if isinstance(key, RSAKey):
        return key if key.raw_value.key_size >= SMALLEST_RSA else None
    return key if isinstance(key, ECKey) and public.get("crv") == "P-256" else None


_provider: Kept[Provider] = Kept(_fetch_provider)
_keys: Kept[list[Key]] = Kept(_fetch_keys)
