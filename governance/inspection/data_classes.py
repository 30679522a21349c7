"""Kinds of data that an organisation describes itself: by pattern or by dictionary, with a check and with context."""

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

import re2

from governance.inspection import checksums, personal_numbers
from governance.inspection.class_description import DataClass
from governance.inspection.detector import Hit
from governance.inspection.dictionaries import Dictionary
from governance.inspection.findings import Severity
from governance.inspection.signals import MAX_MATCHES, Signal, TooManyMatches
from governance.inspection.views import View
from governance.inspection.walk import Leaf

NEAR: Final = 120
"""Characters before and after a value in which its context stands."""
VALUE: Final = "value"
"""The group of a pattern that is what is meant, where the pattern has one."""
LIKELY: Final = 0.9
DOUBTED: Final = 0.3
"""Without its context: the test bench tells it, no rule counts it."""
CLASSES_KEPT: Final = 500


def _digits(text: str) -> str:
    return re.sub(r"\D", "", text)


def _letters_and_digits(text: str) -> str:
    return re.sub(r"[\W_]", "", text).upper()


def _luhn(text: str) -> bool:
    digits = _digits(text)
    return len(set(digits)) > 1 and checksums.luhn(digits)


def _verhoeff(text: str) -> bool:
    digits = _digits(text)
    return len(set(digits)) > 1 and checksums.verhoeff(digits)


CHECKS: Final[Mapping[str, Callable[[str], bool]]] = {
    "luhn": _luhn,
    "iban": lambda text: personal_numbers.iban(_letters_and_digits(text)),
    "verhoeff": _verhoeff,
    "card": lambda text: personal_numbers.card(_digits(text)) is not None,
    "ssn": lambda text: len(digits := _digits(text)) == 9 and personal_numbers.ssn(digits),
    "nhs": lambda text: len(digits := _digits(text)) == 10 and personal_numbers.nhs(digits),
    "cpf": lambda text: personal_numbers.cpf(_digits(text)),
    "nir": lambda text: personal_numbers.nir(_letters_and_digits(text)),
}
"""One for each of VALIDATORS."""


class ClassTable:
    """Data classes ready to look. Threads may look at the same time."""

    __slots__ = ("_compiled", "names")

    def __init__(self, classes: Iterable[DataClass]) -> None:
        self._compiled = tuple(map(_compiled, classes))
        self.names = frozenset(each.about.name for each in self._compiled)

    def __bool__(self) -> bool:
        return bool(self._compiled)

    def look(self, view: View, leaf: Leaf, is_over: Callable[[], bool]) -> Iterator[Hit]:
        """Asks before each class whether the time is over; who says so has said what follows."""
        for each in self._compiled:
            if is_over():
                return
            try:
                yield from each.look(view, leaf)
            except TooManyMatches:
                yield Hit("limit.matches", 1, "limit", Severity.MEDIUM, 1.0, 0, len(view.text))


@dataclass(frozen=True, slots=True)
class _Compiled:
    about: DataClass
    patterns: tuple[tuple[Signal, int | None], ...]
    """Each with the number of its group VALUE, if it has one."""
    words: Dictionary
    context: Dictionary

    def look(self, view: View, leaf: Leaf) -> Iterator[Hit]:
        about = self.about
        for start, end in self._spans(view):
            confidence = LIKELY if self._is_in_context(view.text, start, end, leaf) else DOUBTED
            yield Hit(about.name, about.version, "data_class", about.severity, confidence, start, end)

    def _spans(self, view: View) -> Iterator[tuple[int, int]]:
        """Only what a pattern matches can have a checksum."""
        check = CHECKS.get(self.about.validator)
        for signal, group in self.patterns:
            for match in signal.find(view.encoded):
                start, end = (match.start, match.end) if group is None else match.groups[group - 1]
                if start < end and (check is None or check(view.text[start:end])):
                    yield start, end
        for number, span in enumerate(self.words.spans(view.text) if self.words else ()):
            if number >= MAX_MATCHES:
                raise TooManyMatches(self.about.name)
            yield span

    def _is_in_context(self, text: str, start: int, end: int, leaf: Leaf) -> bool:
        if not self.context:
            return True
        near = f"{text[max(0, start - NEAR) : start]}\n{text[end : end + NEAR]}"
        return self.context.occurs(leaf.name) or self.context.occurs(near)


@lru_cache(maxsize=CLASSES_KEPT)
def _compiled(about: DataClass) -> _Compiled:
    """Once for each version."""
    return _Compiled(about, tuple(map(_pattern, about.patterns)), Dictionary(about.words), Dictionary(about.context))


def _pattern(pattern: str) -> tuple[Signal, int | None]:
    signal = Signal("data_class", pattern)
    signal.prepare()
    options = re2.Options()
    options.log_errors = False
    return signal, re2.compile(pattern, options).groupindex.get(VALUE)


NO_CLASSES: Final = ClassTable(())
