"""Authenticator apps, passkeys and recovery codes as django-allauth makes them, with our keys and our name."""

import ipaddress
from typing import Any

from allauth.core import context
from allauth.mfa.adapter import DefaultMFAAdapter
from allauth.mfa.totp.forms import ActivateTOTPForm
from allauth.mfa.totp.internal.auth import SECRET_SESSION_KEY
from allauth.mfa.webauthn.forms import AddWebAuthnForm
from django.conf import settings
from django.utils.functional import cached_property

from gateway.second_factors import opened, sealed
from governance.vault import keyring


class SecondFactorAdapter(DefaultMFAAdapter):  # type: ignore[misc]
    def encrypt(self, text: str) -> str:
        return sealed(text, keyring=keyring())

    def decrypt(self, encrypted_text: str) -> str:
        return opened(encrypted_text, keyring=keyring())

    def get_public_key_credential_rp_entity(self) -> dict[str, str]:
        """Passkeys belong to the public name, whatever Host header a request carries."""
        return {"id": settings.PUBLIC_HOST, "name": "Gatehouse"}

    def generate_authenticator_name(self, user: Any, type: Any) -> str:  # noqa: A002 - the library's name
        return "Passkey"


def passkeys_work() -> bool:
    """Browsers offer them under a name over HTTPS, or on this machine's `localhost`; never under a bare address."""
    host = settings.PUBLIC_HOST
    return host == "localhost" or (settings.HTTPS and not _is_address(host))


def _is_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


class ActivateAuthenticatorApp(ActivateTOTPForm):  # type: ignore[misc]
    """Keeps the seed sealed in the session, too, between showing it and the first code."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        session = context.request.session
        if waiting := session.get(SECRET_SESSION_KEY):
            session[SECRET_SESSION_KEY] = opened(waiting, keyring=keyring())
        super().__init__(*args, **kwargs)
        session[SECRET_SESSION_KEY] = sealed(self.secret, keyring=keyring())

    @cached_property
    def spaced_secret(self) -> str:
        """For typing it into a phone: groups of four."""
        return " ".join(self.secret[start : start + 4] for start in range(0, len(self.secret), 4))


class AddPasskey(AddWebAuthnForm):  # type: ignore[misc]
    """Asks for a passkey that signs in by itself, unless she unticks it."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.fields["passwordless"].initial = True
