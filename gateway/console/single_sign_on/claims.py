"""Who stands at the door, made of proven claims: bounded, and nothing is believed that was not said."""

from typing import Any, Final

from django.conf import settings
from django.core.exceptions import ValidationError
from django.core.validators import validate_email

from gateway.console.single_sign_on.tokens import NotProven, subject_of
from governance.models import StaffIdentity
from governance.staff_identities import Account

MOST_GROUPS: Final = 1000
LONGEST_GROUP: Final = 300
LONGEST_NAME: Final = 200
LONGEST_EMAIL: Final = 254


def account_of(id_token: dict[str, Any], userinfo: dict[str, Any]) -> Account:
    """Raises NotProven."""
    subject = subject_of(id_token)
    if userinfo and userinfo.get("sub") != subject:
        raise NotProven("userinfo_sub", "What the provider tells of you is about somebody else.")
    name = userinfo.get("name", id_token.get("name"))
    return Account(
        protocol=StaffIdentity.Protocol.OIDC,
        issuer=settings.OIDC_ISSUER,
        subject=subject,
        email=verified_email(userinfo) or verified_email(id_token),
        name=name[:LONGEST_NAME] if isinstance(name, str) else "",
        groups=groups_of(userinfo, id_token),
    )


def verified_email(claims: dict[str, Any]) -> str:
    """Empty if there is none. Some providers write the flag as text, and some leave it out altogether."""
    email, flag = claims.get("email"), claims.get("email_verified")
    is_verified = flag is True or flag == "true" or (flag is None and settings.OIDC_TRUST_EMAIL)
    if not is_verified or not isinstance(email, str) or len(email) > LONGEST_EMAIL or not email.isascii():
        return ""
    try:
        validate_email(email)
    except ValidationError:
        return ""
    return email


def groups_of(*documents: dict[str, Any]) -> tuple[str, ...]:
    """Of the first document that names any. In none at all she is in no group. Raises NotProven."""
    name = settings.OIDC_GROUPS_CLAIM
    for claims in documents:
        if isinstance(claims.get("_claim_names"), dict) and name in claims["_claim_names"]:
            raise NotProven("groups", "You are in too many groups for the provider to name them all.")
        if name in claims:
            return checked_groups(claims[name])
    return ()


def checked_groups(said: Any) -> tuple[str, ...]:
    """Unknown groups are not no groups: what cannot be read lets nobody in. Raises NotProven."""
    groups = [said] if isinstance(said, str) else said
    if not isinstance(groups, list) or len(groups) > MOST_GROUPS:
        raise NotProven("groups", "The provider does not say which groups you are in as we can read it.")
    if not all(isinstance(group, str) and 0 < len(group) <= LONGEST_GROUP for group in groups):
        raise NotProven("groups", "The provider does not say which groups you are in as we can read it.")
    return tuple(dict.fromkeys(groups))
