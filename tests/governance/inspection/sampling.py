"""Strings that a pattern describes, drawn by a seed: no token of anybody's stands in this repository."""

import random
import re._constants as opcodes
import re._parser as parser
import string
from typing import Any

PRINTABLE = [each for each in string.printable if not each.isspace() and each not in "\"'<>\\`"]
EVERY = [*string.printable, *"éßЖя中の😀\u2019\u3002\uff20"]


def sample(pattern: str, draw: random.Random) -> str:
    return "".join(_drawn(parser.parse(pattern), draw))


def _drawn(items: Any, draw: random.Random) -> list[str]:
    return [_one(opcode, argument, draw) for opcode, argument in items]


def _one(opcode: Any, argument: Any, draw: random.Random) -> str:
    if opcode in (opcodes.MAX_REPEAT, opcodes.MIN_REPEAT):
        least, most, inner = argument
        return "".join("".join(_drawn(inner, draw)) for _ in range(draw.randint(least, min(most, least + 8))))
    drawn = {
        opcodes.LITERAL: lambda: chr(argument),
        opcodes.ANY: lambda: draw.choice(PRINTABLE),
        opcodes.IN: lambda: draw.choice([each for each in PRINTABLE if _allows(argument, each)]),
        opcodes.SUBPATTERN: lambda: "".join(_drawn(argument[3], draw)),
        opcodes.BRANCH: lambda: "".join(_drawn(draw.choice(argument[1]), draw)),
    }
    return drawn[opcode]() if opcode in drawn else ""


def _is_word(character: str) -> bool:
    return character.isascii() and (character.isalnum() or character == "_")


_CATEGORIES = {
    opcodes.CATEGORY_WORD: _is_word,
    opcodes.CATEGORY_NOT_WORD: lambda character: not _is_word(character),
    opcodes.CATEGORY_DIGIT: lambda character: character in string.digits,
    opcodes.CATEGORY_NOT_DIGIT: lambda character: character not in string.digits,
    opcodes.CATEGORY_SPACE: lambda character: character in " \t\n\f\r",
    opcodes.CATEGORY_NOT_SPACE: lambda character: character not in " \t\n\f\r",
}


class Widest:
    """Draws strings in which what may be beyond ASCII is, and what may come again comes as often as it may, or not."""

    def __init__(self, pattern: str, draw: random.Random) -> None:
        self._parsed = parser.parse(pattern)
        self._draw = draw

    def draw(self) -> str:
        return "".join(self._drawn(self._parsed))

    def _drawn(self, items: Any) -> list[str]:
        return [self._one(opcode, argument) for opcode, argument in items]

    def _one(self, opcode: Any, argument: Any) -> str:
        if opcode in (opcodes.MAX_REPEAT, opcodes.MIN_REPEAT):
            least, most, inner = argument
            often = self._draw.choice((least, min(most, least + 400)))
            return "".join("".join(self._drawn(inner)) for _ in range(often))
        if opcode is opcodes.SUBPATTERN:
            return "".join(self._drawn(argument[3]))
        if opcode is opcodes.BRANCH:
            return "".join(self._drawn(self._draw.choice(argument[1])))
        if opcode is opcodes.LITERAL:
            return chr(argument)
        if opcode in (opcodes.ANY, opcodes.NOT_LITERAL, opcodes.IN):
            allowed = [each for each in EVERY if _fits(opcode, argument, each)]
            return self._draw.choice([each for each in allowed if not each.isascii()] or allowed)
        return ""


def _fits(opcode: Any, argument: Any, character: str) -> bool:
    if opcode is opcodes.IN:
        return _allows(argument, character)
    return character != ("\n" if opcode is opcodes.ANY else chr(argument))


def _allows(members: Any, character: str) -> bool:
    negated = members[0][0] is opcodes.NEGATE
    inside = any(
        (kind is opcodes.LITERAL and ord(character) == argument)
        or (kind is opcodes.RANGE and argument[0] <= ord(character) <= argument[1])
        or (kind is opcodes.CATEGORY and _CATEGORIES[argument](character))
        for kind, argument in members
    )
    return inside != negated
