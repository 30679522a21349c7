"""Patterns for a first pass that reads bytes: none of what a pattern means by characters may escape it. Pure.

hyperscan counts bytes and re2 characters, so `[^.]{0,30}` ends after 30 letters for the one and after 15 of Cyrillic
for the other. What is made here matches, in bytes, wherever the pattern does, and sometimes more.
"""

import re
from typing import Final

LONGEST: Final = 4
"""Bytes of a character in UTF-8."""
MOST_COUNTED: Final = 8
"""Characters; a pattern that may go on for more goes on for ever. To count takes time when it is compiled."""
BEYOND_ASCII: Final = r"\x80-\xff"
_TOKENS: Final = re.compile(
    r"(?P<atom>\\.|\[\^?\]?(?:\\.|[^\]\\])*\]|\((?:\?(?:P?<\w+>|[a-z]*:))?|[^?*+{]|\{(?!\d))"
    r"(?P<repeat>[?*+]|\{(?P<least>\d+)(?:,(?P<most>\d*))?\})?(?P<lazy>\??)",
    re.DOTALL,
)
_MEMBERS: Final = re.compile(r"(?P<first>\\.|.)(?:-(?:\\.|.))?", re.DOTALL)
"""Of a class: each letter, or range of letters."""


def in_bytes(pattern: str, *, caseless: bool = False) -> str:
    """Of a pattern in what hyperscan and re2 both understand."""
    return "".join(_widened(token, caseless) for token in _TOKENS.finditer(pattern))


def _widened(token: re.Match[str], caseless: bool) -> str:
    atom, rest = token["atom"], token[0][len(token["atom"]) :]
    if not atom.isascii() and not atom.startswith("["):
        return _letter(atom, caseless, is_repeated=token["repeat"] is not None) + rest
    if not _reaches_beyond_ascii(atom):
        return token[0]
    return (atom if atom.isascii() else _class(atom)) + _counted(token) + token["lazy"]


def _class(atom: str) -> str:
    """Its members beyond ASCII are any byte there."""
    opened, any_other = ("[^", "") if atom.startswith("[^") else ("[", BEYOND_ASCII)
    return opened + _MEMBERS.sub(_in_ascii, atom[len(opened) : -1]) + any_other + "]"


def _in_ascii(member: re.Match[str]) -> str:
    if member[0].isascii():
        return member[0]
    return rf"{member['first']}-\x7f" if member["first"].isascii() else ""


def _letter(letter: str, caseless: bool, *, is_repeated: bool) -> str:
    """As one thing, whatever its length, and in both cases: in bytes only those of ASCII are known."""
    cases = dict.fromkeys((letter, letter.lower(), letter.upper())) if caseless else {letter: None}
    return f"(?:{'|'.join(cases)})" if is_repeated or len(cases) > 1 else letter


def _reaches_beyond_ascii(atom: str) -> bool:
    if atom.startswith("["):
        return atom.startswith("[^") or not atom.isascii() or re.search(r"\\[DSW]", atom) is not None
    return atom in (".", r"\D", r"\S", r"\W")


def _counted(token: re.Match[str]) -> str:
    repeat = token["repeat"]
    if repeat in ("*", "+") or token["most"] == "":
        return str(repeat)
    least = 1 if repeat is None else int(token["least"] or 0)
    most = int(token["most"] or token["least"] or 1)
    return f"{{{least},{most * LONGEST if most <= MOST_COUNTED else ''}}}"
