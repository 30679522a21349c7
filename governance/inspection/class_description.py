"""What a data class is, as it is described; what looks for it is loaded where something is to be looked at."""

from dataclasses import dataclass
from typing import Final

from governance.inspection.findings import Severity

VALIDATORS: Final = ("luhn", "iban", "verhoeff", "card", "ssn", "nhs", "cpf", "nir")
"""Checksums by name; separators in the value do not count."""
MOST_PATTERNS: Final = 20
LONGEST_PATTERN: Final = 500
MOST_WORDS: Final = 5_000
LONGEST_WORD: Final = 100
MOST_CONTEXT: Final = 50
MOST_TESTS: Final = 50
LONGEST_TEST: Final = 10_000


@dataclass(frozen=True, slots=True)
class DataClass:
    """What a data class looks for. A value needs one of the `context` words near it, if there are any."""

    name: str
    version: int = 1
    patterns: tuple[str, ...] = ()
    words: tuple[str, ...] = ()
    validator: str = ""
    context: tuple[str, ...] = ()
    severity: Severity = Severity.MEDIUM


@dataclass(frozen=True, slots=True)
class Case:
    """A test: whether the class has to be found in the text."""

    text: str
    found: bool


@dataclass(frozen=True, slots=True)
class ClassFault:
    """`field` as a manifest calls it, e.g. `patterns[0]`."""

    field: str
    message: str
