"""Is this number one that a scheme would have issued? Cards, accounts, national and health numbers."""

import re
from collections.abc import Callable
from ipaddress import AddressValueError, IPv4Address, IPv6Address
from typing import Final

from governance.inspection import checksums

IBAN_LENGTHS: Final = {
    country: int(length)
    for country, length in (
        pair.split(":")
        for pair in [
            "AD:24",
            "AE:23",
            "AL:28",
            "AT:20",
            "AZ:28",
            "BA:20",
            "BE:16",
            "BG:22",
            "BH:22",
            "BI:27",
            "BR:29",
            "BY:28",
            "CH:21",
            "CR:22",
            "CY:28",
            "CZ:24",
            "DE:22",
            "DJ:27",
            "DK:18",
            "DO:28",
            "EE:20",
            "EG:29",
            "ES:24",
            "FI:18",
            "FK:18",
            "FO:18",
            "FR:27",
            "GB:22",
            "GE:22",
            "GI:23",
            "GL:18",
            "GR:27",
            "GT:28",
            "HR:21",
            "HU:28",
            "IE:22",
            "IL:23",
            "IQ:23",
            "IS:26",
            "IT:27",
            "JO:30",
            "KW:30",
            "KZ:20",
            "LB:28",
            "LC:32",
            "LI:21",
            "LT:20",
            "LU:20",
            "LV:21",
            "LY:25",
            "MC:27",
            "MD:24",
            "ME:22",
            "MK:19",
            "MN:20",
            "MR:27",
            "MT:31",
            "MU:30",
            "NI:28",
            "NL:18",
            "NO:15",
            "OM:23",
            "PK:24",
            "PL:28",
            "PS:29",
            "PT:25",
            "QA:29",
            "RO:24",
            "RS:22",
            "RU:33",
            "SA:24",
            "SC:31",
            "SD:18",
            "SE:24",
            "SI:19",
            "SK:24",
            "SM:27",
            "SO:23",
            "ST:25",
            "SV:28",
            "TL:23",
            "TN:24",
            "TR:26",
            "UA:29",
            "VA:22",
            "VG:24",
            "XK:20",
            "YE:30",
        ]
    )
}
"""Of the SWIFT registry."""
NOT_NINO: Final = frozenset(("BG", "GB", "KN", "NK", "NT", "TN", "ZZ"))
CARD_LENGTHS: Final[tuple[tuple[str, frozenset[int]], ...]] = (
    (r"4", frozenset((13, 16, 19))),
    (r"5[1-5]|222[1-9]|22[3-9]|2[3-6]|27[01]|2720", frozenset((16,))),
    (r"3[47]", frozenset((15,))),
    (r"6011|64[4-9]|65", frozenset(range(16, 20))),
    (r"30[0-5]|36|3[89]", frozenset((14, 16))),
    (r"35(?:2[89]|[3-8])", frozenset(range(16, 20))),
    (r"62|81", frozenset(range(16, 20))),
    (r"220[0-4]|50|5[6-9]|6", frozenset((12, 13, 14, 15, 16, 17, 18, 19))),
)
"""Ranges by ISO/IEC 7812; the last are those of Maestro and Mir, wide and rarely met."""
RARE_CARDS: Final = len(CARD_LENGTHS) - 1
_CARDS: Final = tuple((re.compile(prefix), lengths) for prefix, lengths in CARD_LENGTHS)


def card(digits: str) -> int | None:
    """Which range of CARD_LENGTHS would have issued it."""
    if not 12 <= len(digits) <= 19 or len(set(digits)) < 2 or not checksums.luhn(digits):
        return None
    return next(
        (number for number, (prefix, of) in enumerate(_CARDS) if prefix.match(digits) and len(digits) in of), None
    )


def iban(text: str) -> bool:
    text = text.upper()
    return IBAN_LENGTHS.get(text[:2]) == len(text) and checksums.mod97(text[4:] + text[:4]) == 1


def ssn(digits: str, *, labelled: bool = False) -> bool:
    """As the Social Security Administration gives them; those from 900 on are tax numbers (ITIN)."""
    area, group, serial = digits[:3], digits[3:5], digits[5:]
    if area in ("000", "666") or group == "00" or serial == "0000" or digits in ("123456789", "078051120"):
        return False
    return labelled or area < "900" or "50" <= group <= "99"


def nino(text: str) -> bool:
    return text[:2].upper() not in NOT_NINO


def nhs(digits: str) -> bool:
    """Modulus 11, as the NHS data dictionary has it."""
    check = 11 - sum(int(digit) * weight for digit, weight in zip(digits, range(10, 1, -1), strict=False)) % 11
    return len(digits) == 10 and len(set(digits)) > 2 and check % 11 == int(digits[9])


def cpf(digits: str) -> bool:
    """Brazil's two check digits."""

    def expected(length: int) -> int:
        total = sum(int(digit) * (length + 1 - place) for place, digit in enumerate(digits[:length]))
        return total * 10 % 11 % 10

    return (
        len(digits) == 11 and len(set(digits)) > 1 and (expected(9), expected(10)) == (int(digits[9]), int(digits[10]))
    )


def aadhaar(digits: str) -> bool:
    return len(digits) == 12 and digits[0] in "23456789" and checksums.verhoeff(digits)


def nir(text: str) -> bool:
    """France's, with the key that is 97 less the number's rest."""
    digits = text.upper().replace("2A", "19").replace("2B", "18")
    return len(digits) == 15 and digits.isdigit() and int(digits[13:]) == 97 - int(digits[:13]) % 97


def address(text: str) -> IPv4Address | IPv6Address | None:
    try:
        return IPv6Address(text) if ":" in text else IPv4Address(text)
    except AddressValueError:
        return None


Check = Callable[[str], bool]
