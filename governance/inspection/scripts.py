"""What kind of letter a character is, as far as hiding text depends on it."""

from typing import Final

ALL_ALIKE: Final = frozenset("асеорхуіјѕԁԛԝһӏɑοʜАВЕЅІЈКМНОРСТХҮԌԚԜΑΒΕΖΗΙΚΜΝΟΡΤΥΧ")
"""Cyrillic and Greek letters that nobody can tell from Latin ones."""
SOME_ALIKE: Final = ALL_ALIKE | frozenset("вгкмнптиьαγιηκνρτυχωενЗбѡ")
"""Those, and letters that pass for Latin ones at a glance."""

_JOINING: Final = (
    (0x0590, 0x08FF),  # Hebrew, Arabic, Syriac, Thaana, N'Ko
    (0x0900, 0x0DFF),  # India, Sri Lanka
    (0x0E00, 0x0FFF),  # Thai, Lao, Tibetan
    (0x1000, 0x109F),  # Myanmar
    (0x1780, 0x18AF),  # Khmer, Mongolian
    (0x1900, 0x1CFF),
    (0x3040, 0x30FF),  # kana: breaks between words
    (0x3400, 0x9FFF),
    (0xA800, 0xABFF),
    (0xAC00, 0xD7AF),
    (0xFB1D, 0xFDFF),
    (0xFE70, 0xFEFC),
    (0x10A00, 0x11FFF),
    (0x1E900, 0x1EEFF),
    (0x20000, 0x323AF),
)
_RIGHT_TO_LEFT: Final = ((0x0590, 0x08FF), (0xFB1D, 0xFDFF), (0xFE70, 0xFEFC), (0x10800, 0x10FFF), (0x1E800, 0x1EFFF))
_EMOJI: Final = (
    (0x00A9, 0x00A9),
    (0x00AE, 0x00AE),
    (0x203C, 0x203C),
    (0x2049, 0x2049),
    (0x2122, 0x2122),
    (0x2139, 0x2139),
    (0x2190, 0x21FF),
    (0x2300, 0x27BF),
    (0x2900, 0x297F),
    (0x2B00, 0x2BFF),
    (0x3030, 0x303D),
    (0x3297, 0x3299),
    (0x1F000, 0x1FAFF),
)
_IDEOGRAPHS: Final = ((0x2E80, 0x303F), (0x3040, 0x30FF), (0x3400, 0x9FFF), (0xF900, 0xFAFF), (0x20000, 0x323AF))
_LATIN: Final = ((0x41, 0x5A), (0x61, 0x7A), (0xC0, 0xD6), (0xD8, 0xF6), (0xF8, 0x24F), (0x1E00, 0x1EFF))

_Ranges = tuple[tuple[int, int], ...]


def _within(character: str, ranges: _Ranges) -> bool:
    code = ord(character) if character else -1
    return any(first <= code <= last for first, last in ranges)


def is_latin(character: str) -> bool:
    return _within(character, _LATIN)


def is_joining(character: str) -> bool:
    """Of a script that needs joiners, or has no spaces and marks where lines may break."""
    return _within(character, _JOINING)


def is_right_to_left(character: str) -> bool:
    return _within(character, _RIGHT_TO_LEFT)


def is_emoji(character: str) -> bool:
    """A pictogram, an arrow or sign that can be one, a skin tone, or the style that makes it one."""
    return character in ("\ufe0f", "\u20e3") or _within(character, _EMOJI)


def is_ideograph(character: str) -> bool:
    return _within(character, _IDEOGRAPHS)
