"""How the keys we hand out look: a visible prefix, 256 random bits, a checksum.

Scanners and our own masking recognise them by it; a look-up needs no slow hash, because nobody guesses 256 bits.
"""

import hashlib
import secrets
import zlib

ALPHABET = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
RANDOM_CHARS = 43
"""43 characters of 62 hold 256 bits."""
CHECKSUM_CHARS = 6
HINT_CHARS = 4
"""Of the random part, kept in the clear to recognise a key by."""


def new_text(prefix: str) -> str:
    body = "".join(secrets.choice(ALPHABET) for _ in range(RANDOM_CHARS))
    return prefix + body + _checksum(body)


def is_well_formed(text: str, *, prefix: str) -> bool:
    """Right prefix, length and checksum; says nothing of whether it was ever issued."""
    body, checksum = text[len(prefix) : -CHECKSUM_CHARS], text[-CHECKSUM_CHARS:]
    return text.startswith(prefix) and len(body) == RANDOM_CHARS and checksum == _checksum(body)


def digest_of(text: str) -> bytes:
    return hashlib.sha256(text.encode()).digest()


def hint_of(text: str, *, prefix: str) -> str:
    return text[: len(prefix) + HINT_CHARS]


def _checksum(body: str) -> str:
    number, digits = zlib.crc32(body.encode()), []
    for _ in range(CHECKSUM_CHARS):
        number, digit = divmod(number, len(ALPHABET))
        digits.append(ALPHABET[digit])
    return "".join(reversed(digits))
