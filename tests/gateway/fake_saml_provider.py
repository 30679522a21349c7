"""A SAML provider that signs what a test wants, true or forged, with a real key (xmlsec)."""

import base64
import zlib
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import parse_qs, urlsplit
from uuid import uuid4

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.x509.oid import NameOID
from lxml import etree
from onelogin.saml2.utils import OneLogin_Saml2_Utils

ENTITY = "https://idp.example.com/saml"
SSO_URL = "https://idp.example.com/sso"
AUDIENCE = "http://127.0.0.1:8000/account/single-sign-on/saml/metadata/"
CONSUMER = "http://127.0.0.1:8000/account/single-sign-on/saml/callback/"
PERSISTENT = "urn:oasis:names:tc:SAML:2.0:nameid-format:persistent"
BEARER = "urn:oasis:names:tc:SAML:2.0:cm:bearer"
SUCCESS = "urn:oasis:names:tc:SAML:2.0:status:Success"
NO_PASSIVE = "urn:oasis:names:tc:SAML:2.0:status:NoPassive"
NAMES = {
    "samlp": "urn:oasis:names:tc:SAML:2.0:protocol",
    "saml": "urn:oasis:names:tc:SAML:2.0:assertion",
    "ds": "http://www.w3.org/2000/09/xmldsig#",
}

ASSERTION = """<saml:Assertion xmlns:saml="urn:oasis:names:tc:SAML:2.0:assertion" ID="{id}" Version="2.0"
 IssueInstant="{now}"><saml:Issuer>{issuer}</saml:Issuer><saml:Subject>
<saml:NameID Format="{format}">{name}</saml:NameID>
<saml:SubjectConfirmation Method="{bearer}"><saml:SubjectConfirmationData {answers}
 NotOnOrAfter="{until}" Recipient="{recipient}"/></saml:SubjectConfirmation></saml:Subject>
<saml:Conditions NotBefore="{since}" {ends}>{audience}</saml:Conditions>
<saml:AuthnStatement AuthnInstant="{proven}" SessionIndex="1"><saml:AuthnContext><saml:AuthnContextClassRef
>urn:oasis:names:tc:SAML:2.0:ac:classes:Password</saml:AuthnContextClassRef></saml:AuthnContext></saml:AuthnStatement>
<saml:AttributeStatement>{attributes}</saml:AttributeStatement></saml:Assertion>"""

RESPONSE = """<samlp:Response xmlns:samlp="urn:oasis:names:tc:SAML:2.0:protocol" ID="{id}" Version="2.0"
 IssueInstant="{now}" Destination="{recipient}" InResponseTo="{request}"><saml:Issuer
 xmlns:saml="urn:oasis:names:tc:SAML:2.0:assertion">{issuer}</saml:Issuer><samlp:Status><samlp:StatusCode
 Value="{status}"/></samlp:Status>{assertion}</samlp:Response>"""


def key_and_certificate() -> tuple[str, str]:
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "idp.example.com")])
    now = datetime.now(UTC)
    made = x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
    made = made.not_valid_before(now - timedelta(days=1)).not_valid_after(now + timedelta(days=1))
    pem = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    return pem.decode(), made.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM).decode()


class FakeSamlProvider:
    def __init__(self) -> None:
        self.key, self.certificate = key_and_certificate()

    def request(self, location: str) -> Any:
        """What the browser brought."""
        assert location.startswith(f"{SSO_URL}?SAMLRequest="), location
        packed = parse_qs(urlsplit(location).query)["SAMLRequest"][0]
        return etree.fromstring(zlib.decompress(base64.b64decode(packed), -15))

    def assertion(self, request_id: str, **wanted: Any) -> str:
        now = datetime.now(UTC)
        values = {
            "id": f"_{uuid4()}",
            "issuer": ENTITY,
            "now": stamp(now),
            "since": stamp(now - timedelta(minutes=1)),
            "until": stamp(now + timedelta(minutes=5)),
            "proven": stamp(now),
            "format": PERSISTENT,
            "name": "a-1",
            "bearer": BEARER,
            "answers": f'InResponseTo="{request_id}"',
            "recipient": CONSUMER,
            "audience": audience(AUDIENCE),
            "attributes": attribute("email", "ana@example.com"),
        } | wanted
        values.setdefault("ends", f'NotOnOrAfter="{values["until"]}"')
        return ASSERTION.format(**values)

    def response(self, request_id: str, assertion: str, **wanted: Any) -> str:
        values = {"id": f"_{uuid4()}", "issuer": ENTITY, "now": stamp(datetime.now(UTC)), "status": SUCCESS}
        values |= {"recipient": CONSUMER, "request": request_id, "assertion": assertion} | wanted
        return RESPONSE.format(**values)

    def signed(self, xml: str, *, key: tuple[str, str] | None = None) -> str:
        pem, certificate = key or (self.key, self.certificate)
        raw = OneLogin_Saml2_Utils.add_sign(
            xml, pem, certificate, sign_algorithm="http://www.w3.org/2001/04/xmldsig-more#rsa-sha256",
            digest_algorithm="http://www.w3.org/2001/04/xmlenc#sha256",
        )  # fmt: skip
        return (raw.decode() if isinstance(raw, bytes) else raw).removeprefix(
            "<?xml version='1.0' encoding='UTF-8'?>\n"
        )

    def answer(self, request_id: str, *, response: dict[str, Any] | None = None, **wanted: Any) -> str:
        """Right in everything but what is wanted otherwise."""
        return packed(self.response(request_id, self.signed(self.assertion(request_id, **wanted)), **(response or {})))


def packed(xml: str) -> str:
    return base64.b64encode(xml.encode()).decode()


def stamp(at: datetime) -> str:
    return f"{at:%Y-%m-%dT%H:%M:%SZ}"


def audience(name: str) -> str:
    return f"<saml:AudienceRestriction><saml:Audience>{name}</saml:Audience></saml:AudienceRestriction>"


def attribute(name: str, *values: str) -> str:
    said = "".join(f"<saml:AttributeValue>{value}</saml:AttributeValue>" for value in values)
    return f'<saml:Attribute Name="{name}">{said}</saml:Attribute>'
