"""A passkey in software, for signing in through the pages as a browser would."""

import os
from typing import Any

import orjson
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from fido2.cose import ES256
from fido2.utils import sha256, websafe_decode, websafe_encode
from fido2.webauthn import AttestationObject, AttestedCredentialData, AuthenticatorData, CollectedClientData

FLAGS = AuthenticatorData.FLAG.UP | AuthenticatorData.FLAG.UV


class SoftPasskey:
    """Speaks for one page: `origin` is what the browser would say it is on."""

    def __init__(self, *, origin: str = "http://localhost") -> None:
        self.origin = origin
        self.key = ec.generate_private_key(ec.SECP256R1())
        self.id = os.urandom(16)
        self.user_handle = ""

    def create(self, options: dict[str, Any]) -> str:
        """The credential for the form that adds a passkey."""
        asked = options["publicKey"]
        self.user_handle = _text(asked["user"]["id"])
        public = ES256.from_cryptography_key(self.key.public_key())
        held = AttestedCredentialData.create(bytes(16), self.id, public)
        flags = FLAGS | AuthenticatorData.FLAG.AT
        data = AuthenticatorData.create(sha256(asked["rp"]["id"].encode()), flags, 0, held)
        attested = AttestationObject.create("none", data, {})
        client = self._client_data("webauthn.create", asked)
        response = {"clientDataJSON": websafe_encode(client), "attestationObject": websafe_encode(bytes(attested))}
        return self._credential(response, {"credProps": {"rk": True}})

    def get(self, options: dict[str, Any]) -> str:
        """The credential for the forms that sign in."""
        asked = options["publicKey"]
        data = AuthenticatorData.create(sha256(asked["rpId"].encode()), FLAGS, 1)
        client = self._client_data("webauthn.get", asked)
        response = {
            "clientDataJSON": websafe_encode(client),
            "authenticatorData": websafe_encode(bytes(data)),
            "signature": websafe_encode(self.key.sign(bytes(data) + sha256(client), ec.ECDSA(SHA256()))),
            "userHandle": self.user_handle,
        }
        return self._credential(response, {})

    def _client_data(self, kind: str, asked: dict[str, Any]) -> bytes:
        challenge = websafe_decode(_text(asked["challenge"]))
        return bytes(CollectedClientData.create(kind, challenge, self.origin))

    def _credential(self, response: dict[str, str], extensions: dict[str, Any]) -> str:
        name = websafe_encode(self.id)
        whole = {
            "id": name,
            "rawId": name,
            "type": "public-key",
            "response": response,
            "clientExtensionResults": extensions,
            "authenticatorAttachment": "platform",
        }
        return orjson.dumps(whole).decode()


def _text(value: Any) -> str:
    return value if isinstance(value, str) else websafe_encode(bytes(value))
