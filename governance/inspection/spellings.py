"""How a value that is known may be written so that it does not look like itself. Pure."""

import base64
from codecs import encode
from collections.abc import Callable, Iterator
from typing import Final

SHORTEST_TURNED: Final = 12
"""Characters: a shorter one, backwards or in another alphabet, may be a word."""
SHIFTS: Final = range(3)
"""So many bytes may stand before a value in its group of base64."""


def spellings(text: str) -> Iterator[bytes]:
    """In hexadecimal, base32, base85 and base64 wherever it begins; and backwards and in rot13."""
    raw = text.encode()
    yield from (raw.hex().encode(), raw.hex().upper().encode())
    whole = base64.b32encode(raw)[: len(raw) * 8 // 5]
    yield from (whole, whole.lower())
    for alphabet in (base64.b64encode, base64.urlsafe_b64encode):
        yield from (_shifted(raw, shift, alphabet) for shift in SHIFTS)
    yield from (code(raw)[: len(raw) // 4 * 5] for code in (base64.b85encode, base64.a85encode))
    if len(text) >= SHORTEST_TURNED:
        yield from (text[::-1].encode(), encode(text, "rot13").encode())


def _shifted(raw: bytes, shift: int, alphabet: Callable[[bytes], bytes]) -> bytes:
    """The letters that do not depend on what stands around it."""
    return alphabet(b"\0" * shift + raw)[-(-8 * shift // 6) : 8 * (shift + len(raw)) // 6]
