"""Is a data class fit to look at every text there is? What is wrong, by field, with the limit and the way out."""

import re
import time
from collections.abc import Iterable, Iterator
from typing import Final

import re2

from governance.inspection.class_description import (
    LONGEST_PATTERN,
    LONGEST_TEST,
    LONGEST_WORD,
    MOST_CONTEXT,
    MOST_PATTERNS,
    MOST_TESTS,
    MOST_WORDS,
    VALIDATORS,
    Case,
    ClassFault,
    DataClass,
)
from governance.inspection.data_classes import ClassTable
from governance.inspection.dictionaries import MOST_TOKENS, tokens_of
from governance.inspection.engine import inspect_text
from governance.inspection.signals import Encoded, Signal, TooManyMatches

MOST_REPEATS: Final = 1_000
"""Of all bounds of a pattern together: what it matches stays short enough to be found whole in a stream."""
SLOWEST_SECONDS: Final = 0.05
REPEATED_BYTES: Final = 100_000
MOST_SEEDS: Final = 16
ATTEMPTS: Final = 3
"""The quickest counts: a machine that is busy is no fault of the pattern."""
SHORT_TEXTS: Final = ("", "a", "a b", "0", "-a- ", "\n", "é")

_TOKENS: Final = re.compile(
    r"\\Q(?P<quoted>.*?)(?:\\E|$)|\\.|\[\^?\]?(?:\\.|\[:\^?\w+:\]|[^\]\\])*\]"
    r"|(?P<endless>[*+]|\{\d+,\})|\{(?:(?P<least>\d+)(?:,(?P<most>\d+))?)\}",
    re.DOTALL,
)


def class_faults(about: DataClass, tests: Iterable[Case]) -> list[ClassFault]:
    """The first look is at what is written; only what can be compiled is tried."""
    cases = list(tests)
    faults = [*_written(about), *_written_tests(cases)]
    if not faults:
        faults = [*_too_slow(about, cases)] or [*_failing(about, cases)]
    return faults


def _written(about: DataClass) -> Iterator[ClassFault]:
    if not about.patterns and not about.words:
        yield ClassFault("patterns", "write a pattern, or words: as it is, it finds nothing")
    if len(about.patterns) > MOST_PATTERNS:
        yield ClassFault("patterns", f"at most {MOST_PATTERNS}; make another data class for the rest")
    for place, pattern in enumerate(about.patterns[:MOST_PATTERNS]):
        for message in _pattern_faults(pattern):
            yield ClassFault(f"patterns[{place}]", message)
    yield from _written_words("words", about.words, MOST_WORDS)
    yield from _written_words("context", about.context, MOST_CONTEXT)
    if about.validator not in ("", *VALIDATORS):
        yield ClassFault("validator", f"'{about.validator[:64]}' is not one of {', '.join(VALIDATORS)}")


def _pattern_faults(pattern: str) -> Iterator[str]:
    if len(pattern) > LONGEST_PATTERN:
        yield f"longer than {LONGEST_PATTERN} characters; split it into several patterns"
        return
    repeats = 0
    for token in _TOKENS.finditer(pattern):
        if token["endless"]:
            yield f"'{token['endless']}' has no end; write a bound such as {{1,40}}"
            return
        repeats += int(token["most"] or token["least"] or 0)
    if repeats > MOST_REPEATS:
        yield f"its bounds come to {repeats}, more than {MOST_REPEATS}; look for the beginning of the value only"
        return
    yield from _not_compiled(pattern)


def _not_compiled(pattern: str) -> Iterator[str]:
    options = re2.Options()
    options.log_errors = False
    try:
        compiled = re2.compile(pattern, options)
    except re2.error as error:
        reason = error.args[0] if error.args else ""
        told = reason.decode(errors="replace") if isinstance(reason, bytes) else str(reason)
        yield f"this is no RE2 pattern ({told[:100]}); look-around and back-references are not in RE2"
        return
    if any(match.start() == match.end() for text in SHORT_TEXTS for match in compiled.finditer(text)):
        yield "it matches where nothing stands; make a part of it required"


def _written_words(field: str, words: tuple[str, ...], most: int) -> Iterator[ClassFault]:
    if len(words) > most:
        yield ClassFault(field, f"{len(words)} are more than {most}; make another data class for the rest")
        return
    for place, word in enumerate(words):
        count = len(tokens_of(word)) if len(word) <= LONGEST_WORD else 0
        if len(word) > LONGEST_WORD or count > MOST_TOKENS:
            yield ClassFault(f"{field}[{place}]", f"longer than {LONGEST_WORD} characters or {MOST_TOKENS} words")
        elif not count or len(word.strip()) < 2:
            yield ClassFault(f"{field}[{place}]", f"'{word[:20]}' is no word of two letters or digits or more")


def _written_tests(cases: list[Case]) -> Iterator[ClassFault]:
    if len(cases) > MOST_TESTS:
        yield ClassFault("tests", f"at most {MOST_TESTS}")
    if not any(case.found for case in cases):
        yield ClassFault("tests", "write at least one text in which it is found")
    for place, case in enumerate(cases[:MOST_TESTS]):
        if len(case.text) > LONGEST_TEST:
            yield ClassFault(f"tests[{place}].text", f"longer than {LONGEST_TEST} characters")


def _failing(about: DataClass, cases: list[Case]) -> Iterator[ClassFault]:
    table = ClassTable((about,))
    for place, case in enumerate(cases):
        found = inspect_text(case.text, kinds=frozenset(("data_class",)), classes=table).sure().of("data_class")
        if bool(found) is not case.found:
            expected = "found" if case.found else "not found"
            yield ClassFault(f"tests[{place}].text", f"it should be {expected} in this text, and is {_not(found)}")


def _not(found: object) -> str:
    return "found" if found else "not: look at the pattern, its validator and the words that have to be near it"


# -- how long it takes


def _too_slow(about: DataClass, cases: list[Case]) -> Iterator[ClassFault]:
    for place, pattern in enumerate(about.patterns):
        signal = Signal("data_class", pattern)
        signal.prepare()
        slowest = max(_seconds(signal, text) for text in _repeats(pattern, cases))
        if slowest > SLOWEST_SECONDS:
            told = f"it takes {slowest * 1000:.0f} ms for {REPEATED_BYTES // 1000} KB of repeats, more than "
            yield ClassFault(f"patterns[{place}]", f"{told}{SLOWEST_SECONDS * 1000:.0f} ms; bound it more closely")


def _repeats(pattern: str, cases: list[Case]) -> Iterator[str]:
    """What a hostile text would be made of: the pattern's own signs and the texts of the tests, over and over."""
    own = "".join(sign for sign in dict.fromkeys(pattern) if sign.isalnum() or sign in " -./:@_")
    signs = ("a", "0", "A", " ", "aA0-", "a ", "0-", own[:200], *(case.text[:200] for case in cases))
    for seed in list(dict.fromkeys(filter(None, signs)))[:MOST_SEEDS]:
        yield (seed * (REPEATED_BYTES // len(seed) + 1))[:REPEATED_BYTES]


def _seconds(signal: Signal, text: str) -> float:
    """Of this thread's CPU."""
    encoded = Encoded(text)
    best = float("inf")
    for _ in range(ATTEMPTS):
        started = time.thread_time()
        try:
            for _ in signal.find(encoded):
                pass
        except TooManyMatches:
            pass
        best = min(best, time.thread_time() - started)
        if best <= SLOWEST_SECONDS:
            break
    return best
