"""How a value that is known may be written so that it does not look like itself. Pure."""

import base64
import string
from codecs import encode
from collections.abc import Callable, Iterator
from typing import Final

SHORTEST_TURNED: Final = 12
"""Characters: a shorter one, backwards or in another alphabet, may be a word."""
SHORTEST_TWICE: Final = 16
"""A shorter one that is looked for in more ways costs every text some time."""
LONGEST_NUMBER: Final = 256
"""Bytes of a value that is known as one number: to write a longer one takes time."""
SHIFTS: Final = range(3)
"""So many bytes may stand before a value in its group of base64."""
PRINTABLE: Final = "".join(map(chr, range(0x21, 0x7F)))
ROT47: Final = str.maketrans(PRINTABLE, PRINTABLE[47:] + PRINTABLE[:47])
ATBASH: Final = str.maketrans(string.ascii_letters, string.ascii_lowercase[::-1] + string.ascii_uppercase[::-1])
BASE58: Final = "123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz"


def spellings(text: str) -> Iterator[bytes]:
    """In codes, as one number, backwards and by other alphabets; and in two of these, one put on the other."""
    yield from _codes(text)
    yield from (code(text.encode())[: len(text.encode()) // 4 * 5] for code in (base64.b85encode, base64.a85encode))
    if len(text.encode()) <= LONGEST_NUMBER:
        yield from _numbers(text.encode())
    if len(text) >= SHORTEST_TURNED:
        yield from (text[::-1].encode(), encode(text, "rot13").encode())
    if len(text) >= SHORTEST_TWICE:
        yield from (text.translate(ROT47).encode(), text.translate(ATBASH).encode(), text.swapcase().encode())
        yield from _twice(text)


def _codes(text: str) -> Iterator[bytes]:
    """In hexadecimal, base32, and base64 wherever it begins."""
    raw = text.encode()
    yield from (raw.hex().encode(), raw.hex().upper().encode())
    whole = base64.b32encode(raw)[: len(raw) * 8 // 5]
    yield from (whole, whole.lower())
    for alphabet in (base64.b64encode, base64.urlsafe_b64encode):
        yield from (_shifted(raw, shift, alphabet) for shift in SHIFTS)


def _shifted(raw: bytes, shift: int, alphabet: Callable[[bytes], bytes]) -> bytes:
    """The letters that do not depend on what stands around it."""
    return alphabet(b"\0" * shift + raw)[-(-8 * shift // 6) : 8 * (shift + len(raw)) // 6]


def _numbers(raw: bytes) -> Iterator[bytes]:
    """In base58 and in decimal, by itself."""
    number, digits = int.from_bytes(raw), ""
    decimal = str(number)
    while number:
        number, digit = divmod(number, len(BASE58))
        digits = BASE58[digit] + digits
    yield from (written.encode() for written in (decimal, digits) if len(written) > len(raw))


def _twice(text: str) -> Iterator[bytes]:
    """The usual ones. Each is looked for in every text and takes memory, so these are not all."""
    raw = text.encode()
    yield encode(text[::-1], "rot13").encode()
    yield from (code[::-1] for code in (raw.hex().encode(), *_base64(raw)))
    for inner in (text[::-1].encode(), base64.b64encode(raw)[: len(raw) // 3 * 4]):
        yield from _base64(inner)


def _base64(raw: bytes) -> Iterator[bytes]:
    return (_shifted(raw, shift, base64.b64encode) for shift in SHIFTS)
