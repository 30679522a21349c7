"""Kinds of data that an organisation describes itself, for rules about content."""

from typing import Any, ClassVar

from django.core.exceptions import ValidationError
from django.db import models

from governance.class_checks import class_faults
from governance.inspection.class_description import VALIDATORS, Case
from governance.inspection.class_description import DataClass as Described
from governance.inspection.findings import Severity
from governance.models.base import Governed, NameField


class DataClass(Governed):
    """Rules name it `data_class:NAME`. Its tests have passed, or it was not stored.

    Each stored state is a version of its own; findings say which one found them.
    """

    class Severity(models.TextChoices):
        LOW = "low", "Low"
        MEDIUM = "medium", "Medium"
        HIGH = "high", "High"
        CRITICAL = "critical", "Critical"

    SEALED_COLUMNS: ClassVar[frozenset[str]] = frozenset({"words", "tests"})
    """Large, and what they hold may well be real."""
    VALIDATORS: ClassVar = tuple((name, name) for name in VALIDATORS)

    name = NameField()
    title = models.CharField(max_length=200, blank=True)
    patterns = models.JSONField(default=list, blank=True)
    words = models.JSONField(default=list, blank=True)
    validator = models.CharField(max_length=20, blank=True, default="")
    context = models.JSONField(default=list, blank=True)
    severity = models.CharField(max_length=8, choices=Severity, default=Severity.MEDIUM)
    tests = models.JSONField(default=list, blank=True)
    number = models.PositiveIntegerField("version", default=0, editable=False)

    class Meta:
        ordering = ("name",)
        verbose_name_plural = "data classes"

    def __str__(self) -> str:
        return self.title or self.name

    def save(self, *args: Any, **kwargs: Any) -> None:
        self.number += 1
        super().save(*args, **kwargs)

    def clean(self) -> None:
        faults: dict[str, list[str]] = {}
        for fault in class_faults(self.described(), self.cases()):
            field, _, place = fault.field.partition("[")
            number = f"{int(place.partition(']')[0]) + 1}: " if place else ""
            faults.setdefault(field, []).append(f"{number}{fault.message}.")
        if faults:
            raise ValidationError(faults)

    def described(self) -> Described:
        return Described(
            self.name,
            self.number,
            tuple(self.patterns),
            tuple(self.words),
            self.validator,
            tuple(self.context),
            Severity[self.severity.upper()],
        )

    def cases(self) -> list[Case]:
        return [Case(case["text"], case["found"]) for case in self.tests]
