"""Secrets written in codes that no view reads through: hexadecimal with gaps, numbers of characters, bits, base32 and
base64 with gaps, base85. As in `disguises.py` only what begins like a token is read."""

import base64
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import partial
from itertools import chain
from typing import Final

from governance.inspection.disguises import MOST_TOKEN, NEEDLES, USUAL_GAPS, Disguise, Reading, signal, spelled

PRINTABLE: Final = re.compile(rb"[\x20-\x7e]*")


def _decoded(start: int, data: bytes, ends: Sequence[int]) -> Reading:
    """As far as it is text."""
    run = PRINTABLE.match(data)
    plain = run.group().decode() if run else ""
    return Reading(start, plain, ends[: len(plain)])


def _along(pattern: re.Pattern[str], text: str, start: int, most: int) -> list[tuple[int, int]]:
    """Where the group of the pattern stands, again and again without a break."""
    places: list[tuple[int, int]] = []
    while len(places) < most and (found := pattern.match(text, start)):
        places.append(found.span(1))
        start = found.end()
    return places


# -- hexadecimal, also cut over the labels of a host

NIBBLE: Final = re.compile(r"[^0-9A-Za-z]{0,4}(?:0?x)?([0-9A-Fa-f])")
BYTE_GAPS: Final = (*USUAL_GAPS, ":", "\\x", ", 0x", " 0x", "%", "=")
LABEL_GAPS: Final = (".", "-", " ", "\n")


def _hexadecimal(text: str, start: int, _: int) -> Iterator[Reading]:
    places = _along(NIBBLE, text, start, 2 * MOST_TOKEN)
    digits = "".join([text[place] for place, _ in places])
    yield _decoded(start, bytes.fromhex(digits[: len(digits) // 2 * 2]), [end for _, end in places[1::2]])


def _in_hex(sizes: Sequence[int], gaps: Sequence[str]) -> Iterator[str]:
    for digits in (needle.encode().hex() for needle in NEEDLES):
        yield digits
        for size in sizes:
            yield from spelled(digits, size, gaps)


# -- numbers of characters

NUMBER: Final = re.compile(r"[^0-9A-Za-z]{0,5}([0-9]{2,3})(?![0-9])")
NUMBER_GAPS: Final = (*USUAL_GAPS, ":", "/")
OCTAL_GAPS: Final = ("\\", " ")


def _numbers(text: str, start: int, _: int, *, base: int) -> Iterator[Reading]:
    codes: list[int] = []
    places = _along(NUMBER, text, start, MOST_TOKEN)
    for first, last in places:
        digits = text[first:last]
        if base == OCTAL and ("8" in digits or "9" in digits):
            break
        codes.append(min(int(digits, base), LAST_CODE))
    yield _decoded(start, bytes(codes), [end for _, end in places])


DECIMAL: Final = 10
OCTAL: Final = 8
LAST_CODE: Final = 0xFF


def _in_numbers(form: str, gaps: Sequence[str]) -> Iterator[str]:
    for needle in NEEDLES:
        codes = [format(ord(each), form) for each in needle]
        yield from (gap.join(codes) for gap in gaps)


# -- bits

EIGHT: Final = re.compile(r"[^0-9A-Za-z]{0,3}(?:0b)?([01]{8})")


def _bits_apart(text: str, start: int, _: int) -> Iterator[Reading]:
    places = _along(EIGHT, text, start, MOST_TOKEN)
    yield _decoded(start, bytes(int(text[first:last], 2) for first, last in places), [end for _, end in places])


def _in_bits() -> Iterator[str]:
    for needle in NEEDLES:
        yield from (gap.join(format(ord(each), "08b") for each in needle) for gap in ("", " ", "\n", ", ", ","))


# -- base32 and base64

LETTER_32: Final = re.compile(r"[^0-9A-Za-z]{0,4}([A-Za-z2-7])")
LETTER_64: Final = re.compile(r"[^0-9A-Za-z+/_-]{0,4}([A-Za-z0-9+/_-])")
WHOLE_64: Final = re.compile(r"[A-Za-z0-9+/_-]{64}")
URL_SAFE: Final = str.maketrans("-_", "+/")
Code = Callable[[bytes], bytes]


def _shifted(bits: int, encode: Code) -> dict[str, int]:
    """What of the code of a needle does not depend on what stands around it -> how many bytes stand before it."""
    return {
        encode(b"\0" * before + needle.encode() + b"\0" * 5)[
            -(-8 * before // bits) : 8 * (before + 4) // bits
        ].decode(): before
        for needle in NEEDLES
        for before in range(bits if bits == BITS_32 else 3)
    }


BITS_32: Final = 5
BITS_64: Final = 6
SHIFTS_32: Final = _shifted(BITS_32, base64.b32encode)
SHIFTS_64: Final = _shifted(BITS_64, base64.b64encode)


def _base32(text: str, start: int, end: int) -> Iterator[Reading]:
    before = SHIFTS_32[_bare(text[start:end]).upper()]
    places = _letters(LETTER_32, text, start, is_cut=8 * before % BITS_32 > 0)
    padding = "A" * (8 * before // BITS_32)
    code = padding + "".join([text[place] for place, _ in places]).upper()
    data = base64.b32decode(code + "A" * (-len(code) % 8))
    yield _bits(places, data, BITS_32, before)


def _base64(text: str, start: int, end: int) -> Iterator[Reading]:
    if WHOLE_64.match(text, start):
        return
    before = SHIFTS_64[_bare(text[start:end])]
    places = _letters(LETTER_64, text, start, is_cut=8 * before % BITS_64 > 0)
    if places[-1][1] - places[0][0] == len(places):
        return  # a view reads what has no gaps
    padding = "A" * (8 * before // BITS_64)
    code = padding + "".join([text[place] for place, _ in places]).translate(URL_SAFE)
    yield _bits(places, base64.b64decode(code + "A" * (-len(code) % 4)), BITS_64, before)


def _bare(code: str) -> str:
    return "".join(code.split())


def _in_fours(codes: Iterable[str]) -> Iterator[str]:
    """As they stand, and as people group them."""
    for code in codes:
        yield code
        yield from spelled(code, 4, FOURS)


FOURS: Final = (" ", "\n")


def _letters(pattern: re.Pattern[str], text: str, start: int, *, is_cut: bool) -> list[tuple[int, int]]:
    """The needle may begin within the letter before."""
    first = start - 1 if is_cut and start and pattern.match(text, start - 1) else start
    return _along(pattern, text, first, 2 * MOST_TOKEN)


def _bits(places: Sequence[tuple[int, int]], data: bytes, bits: int, before: int) -> Reading:
    skipped = 8 * before // bits
    last = len(places) - 1
    count = (skipped + len(places)) * bits // 8 - before
    ends = [places[min(last, -(-8 * (before + number) // bits) - skipped - 1)][1] for number in range(1, count + 1)]
    return _decoded(places[0][0], data[before : before + count], ends)


# -- base85

RUN_85: Final = re.compile(r"[!-~]*")
CODES_85: Final[Mapping[str, tuple[Code, Code]]] = {
    "a": (base64.a85encode, base64.a85decode),
    "b": (base64.b85encode, base64.b85decode),
}
GROUP: Final = 5


def _base85(text: str, start: int, _: int, *, decode: Code) -> Iterator[Reading]:
    """Group by group, as far as each is one."""
    run = RUN_85.match(text, start, start + 2 * MOST_TOKEN)
    data, ends = b"", []
    for first in range(start, run.end() if run else start, GROUP):
        try:
            group = decode(text[first : min(first + GROUP, run.end() if run else start)].encode())
        except ValueError:
            break
        data += group
        ends += [first + GROUP] * len(group)
    yield _decoded(start, data, [min(end, len(text)) for end in ends])


CODES: Final = (
    Disguise(signal("hex_bytes", _in_hex((2,), BYTE_GAPS), caseless=True), _hexadecimal),
    Disguise(signal("hex_labels", _in_hex((1, 3, 4), LABEL_GAPS), caseless=True), _hexadecimal),
    Disguise(signal("decimal", _in_numbers("d", NUMBER_GAPS)), partial(_numbers, base=DECIMAL)),
    Disguise(signal("bits", _in_bits()), _bits_apart),
    Disguise(signal("octal", _in_numbers("o", OCTAL_GAPS)), partial(_numbers, base=OCTAL)),
    Disguise(signal("base32", _in_fours(chain(SHIFTS_32, (each.lower() for each in SHIFTS_32)))), _base32),
    Disguise(signal("base64", _in_fours(SHIFTS_64)), _base64),
    *(
        Disguise(
            signal(f"{name}85", (encode(needle.encode()).decode() for needle in NEEDLES)),
            partial(_base85, decode=decode),
        )
        for name, (encode, decode) in CODES_85.items()
    ),
)
