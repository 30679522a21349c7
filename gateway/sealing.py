"""What we hand out and want back unaltered, or keep for a while and nobody else should read: cursors, request states,
tasks, letters between processes. AES-256-GCM under a key for each purpose, derived from SECRET_KEY."""

import base64
import binascii
import secrets
from functools import lru_cache

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from django.conf import settings

NONCE_BYTES = 12


class NotOurs(Exception):
    """Altered, made elsewhere, made for another purpose or bound to something else."""


@lru_cache(maxsize=16)
def _cipher(purpose: str, key: str) -> AESGCM:
    derived = HKDF(hashes.SHA256(), 32, salt=None, info=f"gatehouse {purpose}".encode()).derive(key.encode())
    return AESGCM(derived)


def seal(purpose: str, plaintext: bytes, *, bound_to: str = "") -> bytes:
    """`bound_to` names whom or what it is for; opening it needs the same."""
    nonce = secrets.token_bytes(NONCE_BYTES)
    return nonce + _cipher(purpose, settings.SECRET_KEY).encrypt(nonce, plaintext, bound_to.encode())


def unseal(purpose: str, sealed: bytes, *, bound_to: str = "") -> bytes:
    """Raises NotOurs."""
    try:
        nonce, body = sealed[:NONCE_BYTES], sealed[NONCE_BYTES:]
        return _cipher(purpose, settings.SECRET_KEY).decrypt(nonce, body, bound_to.encode())
    except (InvalidTag, ValueError):
        raise NotOurs from None


def seal_text(purpose: str, plaintext: bytes, *, bound_to: str = "") -> str:
    """As `seal`, in URL-safe letters."""
    return base64.urlsafe_b64encode(seal(purpose, plaintext, bound_to=bound_to)).decode().rstrip("=")


def unseal_text(purpose: str, sealed: str, *, bound_to: str = "") -> bytes:
    """Raises NotOurs."""
    try:
        raw = base64.b64decode(sealed.encode("ascii") + b"=" * (-len(sealed) % 4), altchars=b"-_", validate=True)
    except (UnicodeEncodeError, binascii.Error):
        raise NotOurs from None
    return unseal(purpose, raw, bound_to=bound_to)
