"""Strings that a pattern describes, drawn by a seed: no token of anybody's stands in this repository."""

import random
import re._constants as opcodes
import re._parser as parser
import string
from typing import Any

PRINTABLE = [each for each in string.printable if not each.isspace() and each not in "\"'<>\\`"]


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


def _allows(members: Any, character: str) -> bool:
    negated = members[0][0] is opcodes.NEGATE
    inside = any(
        (kind is opcodes.LITERAL and ord(character) == argument)
        or (kind is opcodes.RANGE and argument[0] <= ord(character) <= argument[1])
        or (kind is opcodes.CATEGORY and (character.isalnum() or character == "_"))
        for kind, argument in members
    )
    return inside != negated
