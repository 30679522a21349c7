"""What vendors and standards compute over their numbers and tokens, so that a chance match can be told."""

import base64
import binascii
import json
import zlib
from typing import Final

BASE62: Final = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"


def crc32_base62(body: str, digits: int = 6) -> str:
    """As GitHub and npm end their tokens."""
    number = zlib.crc32(body.encode())
    written = ""
    while number:
        number, rest = divmod(number, 62)
        written = BASE62[rest] + written
    return written.rjust(digits, "0")


def ends_in_crc32(token: str) -> bool:
    """Of `prefix_` and 30 letters, are the last six the checksum?"""
    body = token.rpartition("_")[2]
    return crc32_base62(body[:-6]) == body[-6:]


def luhn(digits: str) -> bool:
    """ISO/IEC 7812-1."""
    total = 0
    for place, digit in enumerate(reversed(digits)):
        value = int(digit) * (2 if place % 2 else 1)
        total += value - 9 if value > 9 else value
    return total % 10 == 0


def mod97(text: str) -> int:
    """ISO 7064 over letters and digits, as IBAN (ISO 13616) counts them; -1 for other characters."""
    if not text.isascii() or not text.isalnum():
        return -1
    return int("".join(str(int(each, 36)) for each in text)) % 97


def verhoeff(digits: str) -> bool:
    """As India's Aadhaar numbers end."""
    check = 0
    for place, digit in enumerate(reversed(digits)):
        check = _D5[check][_permuted(int(digit), place % 8)]
    return check == 0


def _dihedral(a: int, b: int) -> int:
    if a < 5:
        return (a + b) % 5 if b < 5 else 5 + (a + b - 5) % 5
    return 5 + (a - 5 - b) % 5 if b < 5 else (a - b) % 5


_D5: Final = [[_dihedral(a, b) for b in range(10)] for a in range(10)]
_STEP: Final = (1, 5, 7, 6, 2, 8, 3, 0, 9, 4)


def _permuted(digit: int, times: int) -> int:
    for _ in range(times):
        digit = _STEP[digit]
    return digit


def is_jose(token: str) -> bool:
    """Does it begin with a header as RFC 7515 has it?"""
    header = token.partition(".")[0]
    try:
        read = json.loads(base64.urlsafe_b64decode(header + "=" * (-len(header) % 4)))
    except (binascii.Error, ValueError, RecursionError):
        return False
    return isinstance(read, dict) and "alg" in read
