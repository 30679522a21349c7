"""What a manifest may say of what is looked for in content, beside what everybody has."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any, ClassVar

from governance.canaries import canary_faults
from governance.class_checks import class_faults
from governance.detection_rules import REASON_LIMIT
from governance.inspection.class_description import VALIDATORS, Case
from governance.inspection.class_description import DataClass as Described
from governance.inspection.findings import DATA_CLASS, DETECTOR, Severity
from governance.manifest.common import NAME_TEXT, TITLE, Entry, Reference
from governance.manifest.fields import Choice, Flag, ListOf, Record, Text, of
from governance.models import Canary, DataClass

SEVERITIES = tuple(DataClass.Severity.values)
WORDS = ListOf(Text(200))
"""Longer ones are refused with what is allowed, by the checks."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ClassCaseEntry:
    text: str = of(Text(20_000))
    found: bool = of(Flag(), True)


@dataclass(frozen=True, slots=True, kw_only=True)
class DataClassEntry(Entry):
    """What is looked for, and texts that show what is found and what is not."""

    name: str = of(NAME_TEXT)
    title: str = of(TITLE, "")
    patterns: tuple[str, ...] = of(ListOf(Text(2_000)), ())
    words: tuple[str, ...] = of(WORDS, ())
    validator: str = of(Choice(tuple(VALIDATORS)), "")
    context: tuple[str, ...] = of(WORDS, ())
    severity: str = of(Choice(SEVERITIES), "medium")
    tests: tuple[ClassCaseEntry, ...] = of(ListOf(Record(ClassCaseEntry)), ())

    def faults(self) -> Iterator[tuple[str, str]]:
        cases = [Case(case.text, case.found) for case in self.tests]
        for fault in class_faults(self._described(), cases):
            yield fault.field, fault.message

    def _described(self) -> Described:
        severity = Severity[self.severity.upper()]
        return Described(self.name, 1, self.patterns, self.words, self.validator, self.context, severity)


def class_columns(entry: DataClassEntry) -> dict[str, Any]:
    """As the row keeps it."""
    return {
        "title": entry.title,
        "patterns": list(entry.patterns),
        "words": list(entry.words),
        "validator": entry.validator,
        "context": list(entry.context),
        "severity": entry.severity,
        "tests": [{"text": case.text, "found": case.found} for case in entry.tests],
    }


def stored_class(row: DataClass) -> DataClassEntry:
    return DataClassEntry(
        name=row.name,
        title=row.title,
        patterns=tuple(row.patterns),
        words=tuple(row.words),
        validator=row.validator,
        context=tuple(row.context),
        severity=row.severity,
        tests=tuple(ClassCaseEntry(**case) for case in row.tests),
    )


def finding_references(findings: Iterable[str], key: str) -> Iterator[Reference]:
    for name in findings:
        if name.startswith(DATA_CLASS):
            yield Reference(key, "data_classes", name.removeprefix(DATA_CLASS))
        if name.startswith(DETECTOR):
            yield Reference(key, "detectors", name.removeprefix(DETECTOR))


@dataclass(frozen=True, slots=True, kw_only=True)
class CanaryEntry(Entry):
    """A planted value. It is made by the gateway and stands in no file; its page shows it, once."""

    name: str = of(NAME_TEXT)
    kind: str = of(Choice(tuple(Canary.Kind.values)))
    place: str = of(Text(200), "")
    planted_in: str = of(Text(500), "")

    def faults(self) -> Iterator[tuple[str, str]]:
        yield from canary_faults(self.kind, self.place)


@dataclass(frozen=True, slots=True, kw_only=True)
class DetectionOffEntry(Entry):
    """A detection rule that is off for the whole organization, and why."""

    KEY: ClassVar[str] = "rule"
    rule: str = of(Text(100))
    reason: str = of(Text(REASON_LIMIT, tidy=str.strip))

    def faults(self) -> Iterator[tuple[str, str]]:
        if not self.reason:
            yield "reason", "say why"
