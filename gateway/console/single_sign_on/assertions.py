"""Whether a SAML response proves what it says.

python3-saml verifies signature, issuer, recipient and times; here is what it lets pass: no audience, no end, no request
that it answers, and names that are given to somebody else one day.
"""

import base64
import binascii
import time
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import urlsplit

from django.conf import settings
from django.urls import reverse
from lxml.etree import LxmlError
from onelogin.saml2.authn_request import OneLogin_Saml2_Authn_Request
from onelogin.saml2.constants import OneLogin_Saml2_Constants as Saml
from onelogin.saml2.errors import OneLogin_Saml2_Error, OneLogin_Saml2_ValidationError
from onelogin.saml2.response import OneLogin_Saml2_Response
from onelogin.saml2.settings import OneLogin_Saml2_Settings
from onelogin.saml2.utils import OneLogin_Saml2_Utils
from onelogin.saml2.xml_utils import OneLogin_Saml2_XML

from gateway.console.single_sign_on.claims import LONGEST_EMAIL, LONGEST_NAME, checked_groups
from gateway.console.single_sign_on.tokens import CLOCK_SKEW, NotProven, subject_of
from governance.models import StaffIdentity
from governance.staff_identities import Account

LONGEST_RESPONSE: Final = 256 * 1024
PASSING_NAMES: Final = frozenset({Saml.NAMEID_TRANSIENT, Saml.NAMEID_EMAIL_ADDRESS})
"""One is new at each sign-in, the other may be somebody else's next year."""


@dataclass(frozen=True, slots=True)
class Request:
    """What is sent to the provider, and the id that its answer must name."""

    id: str
    url: str


@dataclass(frozen=True, slots=True)
class Proven:
    account: Account
    proven_at: float


def entity_id() -> str:
    return f"{settings.PUBLIC_URL}{reverse('saml_metadata')}"


def consumer_url() -> str:
    return f"{settings.PUBLIC_URL}{reverse('saml_callback')}"


def metadata() -> bytes:
    """For the provider's administrator to load."""
    text: str | bytes = _settings().get_sp_metadata()
    return text if isinstance(text, bytes) else text.encode()


def new_request(*, asks_nothing: bool, proves_anew: bool) -> Request:
    made = OneLogin_Saml2_Authn_Request(
        _settings(), force_authn=proves_anew, is_passive=asks_nothing, set_nameid_policy=False
    )
    packed = made.get_request()
    url = OneLogin_Saml2_Utils.redirect(settings.SAML_IDP_SSO_URL, {"SAMLRequest": packed}, _request_data())
    return Request(made.get_id(), url)


class Answer:
    """A response that nobody has looked into yet."""

    def __init__(self, posted: str) -> None:
        """Raises NotProven."""
        if not posted or len(posted) > LONGEST_RESPONSE:
            raise NotProven("saml", "The provider sent no answer that we can read.")
        try:
            base64.b64decode(posted, validate=False)
            self._response = OneLogin_Saml2_Response(_settings(), posted)
        except (binascii.Error, ValueError, LxmlError, OneLogin_Saml2_Error, OneLogin_Saml2_ValidationError):
            raise NotProven("saml", "The provider sent no answer that we can read.") from None

    @property
    def answers(self) -> str:
        """The request it claims to answer: only good for looking that up."""
        return self._response.get_in_response_to() or ""

    def proven(self, *, request_id: str, proven_since: float | None = None) -> Proven:
        """Raises NotProven. `proven_since`: she must have proven herself at the provider after this."""
        self._check_signed(request_id)
        self._check_bounds(request_id)
        proven_at = self._proven_at()
        if proven_since is not None and proven_at < proven_since - CLOCK_SKEW:
            raise NotProven("auth_time", "The provider did not ask you to prove again who you are.")
        return Proven(self._account(), proven_at)

    def _check_signed(self, request_id: str) -> None:
        try:
            is_valid = self._response.is_valid(_request_data(), request_id, raise_exceptions=True)
        except OneLogin_Saml2_ValidationError as error:
            raise NotProven(*_reason(error)) from None
        except (OneLogin_Saml2_Error, LxmlError, ValueError):
            is_valid = False
        if not is_valid:
            raise NotProven("saml", "The provider's answer proves nothing.")

    def _check_bounds(self, request_id: str) -> None:
        """Only what was signed is looked at. The library takes a missing audience, end or request for no limit."""
        if entity_id() not in self._texts("/saml:Conditions/saml:AudienceRestriction/saml:Audience"):
            raise NotProven("aud", "The answer is not for this application.")
        conditions = self._nodes("/saml:Conditions")
        if not all(node.get("NotOnOrAfter") for node in conditions):
            raise NotProven("exp", "The answer never ends.")
        confirmed = self._nodes("/saml:Subject/saml:SubjectConfirmation/saml:SubjectConfirmationData")
        if not confirmed or any(node.get("InResponseTo") != request_id for node in confirmed):
            raise NotProven("state", "The answer does not belong to this sign-in.")

    def _account(self) -> Account:
        attributes = self._response.get_attributes()
        email = self._only(attributes, settings.SAML_EMAIL_ATTRIBUTE) if settings.SAML_TRUST_EMAIL else ""
        return Account(
            protocol=StaffIdentity.Protocol.SAML,
            issuer=settings.SAML_IDP_ENTITY_ID,
            subject=subject_of({"sub": self._subject(attributes)}),
            email=email if len(email) <= LONGEST_EMAIL and email.isascii() and "@" in email else "",
            name=self._only(attributes, "displayName")[:LONGEST_NAME],
            groups=checked_groups(attributes.get(settings.SAML_GROUPS_ATTRIBUTE, [])),
        )

    def _subject(self, attributes: dict[str, list[str]]) -> str:
        if settings.SAML_SUBJECT_ATTRIBUTE:
            return self._only(attributes, settings.SAML_SUBJECT_ATTRIBUTE)
        node = self._nodes("/saml:Subject/saml:NameID")[0]
        if node.get("Format") in PASSING_NAMES:
            raise NotProven("sub", "The provider names you by something that may be somebody else's one day.")
        return self._text(node)

    def _only(self, attributes: dict[str, list[str]], name: str) -> str:
        values = attributes.get(name, [])
        return str(values[0]) if len(values) == 1 else ""

    def _proven_at(self) -> float:
        instants = [node.get("AuthnInstant") for node in self._nodes("/saml:AuthnStatement")]
        try:
            return min(float(OneLogin_Saml2_Utils.parse_SAML_to_time(instants[0])), time.time() + CLOCK_SKEW)
        except (ValueError, TypeError, IndexError):
            return 0.0

    def _texts(self, path: str) -> set[str]:
        return {self._text(node) for node in self._nodes(path)}

    def _text(self, node: Any) -> str:
        """All of it: a comment in the middle must not cut a name short."""
        return (OneLogin_Saml2_XML.element_text(node) or "").strip()

    def _nodes(self, path: str) -> list[Any]:
        return list(self._response._query_assertion(path))


def _reason(error: OneLogin_Saml2_ValidationError) -> tuple[str, str]:
    kinds = {
        error.STATUS_CODE_IS_NOT_SUCCESS: ("provider_error", "Your identity provider did not let you in."),
        error.WRONG_AUDIENCE: ("aud", "The answer is not for this application."),
        error.WRONG_ISSUER: ("iss", "The answer is another provider's."),
        error.ASSERTION_EXPIRED: ("exp", "The answer has expired."),
        error.ASSERTION_TOO_EARLY: ("iat", "The answer is not of now. Is the clock right here and at the provider?"),
        error.WRONG_INRESPONSETO: ("state", "The answer does not belong to this sign-in."),
    }
    return kinds.get(getattr(error, "code", None), ("saml", "The provider's answer proves nothing."))


def _request_data() -> dict[str, Any]:
    """Of the public name, whatever Host header a request carries."""
    parts = urlsplit(consumer_url())
    scheme = "on" if parts.scheme == "https" else "off"
    return {"https": scheme, "http_host": parts.netloc, "script_name": parts.path, "get_data": {}, "post_data": {}}


def _settings() -> OneLogin_Saml2_Settings:
    return OneLogin_Saml2_Settings(
        {
            "strict": True,
            "sp": {
                "entityId": entity_id(),
                "assertionConsumerService": {"url": consumer_url(), "binding": Saml.BINDING_HTTP_POST},
                "NameIDFormat": Saml.NAMEID_PERSISTENT,
            },
            "idp": {
                "entityId": settings.SAML_IDP_ENTITY_ID,
                "singleSignOnService": {"url": settings.SAML_IDP_SSO_URL, "binding": Saml.BINDING_HTTP_REDIRECT},
                "x509cert": str(settings.SAML_IDP_CERTIFICATE),
            },
            "security": {
                "wantAssertionsSigned": True,
                "wantNameId": not settings.SAML_SUBJECT_ATTRIBUTE,
                "wantAttributeStatement": False,
                "allowRepeatAttributeName": False,
                "rejectDeprecatedAlgorithm": True,
                "requestedAuthnContext": False,
            },
        }
    )
