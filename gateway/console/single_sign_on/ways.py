"""The ways of single sign-on that this installation has, by the names of their pages."""

from dataclasses import dataclass
from typing import Final

from django.conf import settings

from governance.models import StaffIdentity

OIDC, SAML = StaffIdentity.Protocol.OIDC, StaffIdentity.Protocol.SAML


@dataclass(frozen=True, slots=True)
class Way:
    """Names of views: to sign in, to prove it again, to be asked about quietly, to connect an account."""

    protocol: str
    name: str
    issuer: str
    start: str
    again: str
    recheck: str
    connect: str


PAGES: Final = {
    OIDC: ("single_sign_on_start", "single_sign_on_again", "single_sign_on_recheck", "single_sign_on_connect_go"),
    SAML: ("saml_start", "saml_again", "saml_recheck", "saml_connect_go"),
}


def ways() -> list[Way]:
    named = ((OIDC, settings.OIDC_NAME, settings.OIDC_ISSUER), (SAML, settings.SAML_NAME, settings.SAML_IDP_ENTITY_ID))
    return [Way(str(protocol), name, issuer, *PAGES[protocol]) for protocol, name, issuer in named if issuer]


def way_by(protocol: str) -> Way | None:
    return next((way for way in ways() if way.protocol == protocol), None)


def only_way() -> bool:
    """For all but the break-glass account."""
    return bool(ways()) and settings.LOCAL_SIGN_IN == "break-glass"
