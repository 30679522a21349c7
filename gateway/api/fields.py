"""Fields that take a value as it is or not at all: no number for a text, no "yes" for true, no misspelt member."""

import re
from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, datetime
from difflib import get_close_matches
from typing import Any

from django.db import models
from django.db.models import Model, QuerySet
from drf_spectacular.drainage import set_override
from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers
from rest_framework.exceptions import ErrorDetail

from governance.manifest.fields import Kind, Record
from governance.manifest.reader import BadManifest, node_of

MOST_REFERENCES = 500
_MOMENT = re.compile(r"\d{4}-\d\d-\d\d[Tt ]\d\d:\d\d(:\d\d(\.\d{1,9})?)?([Zz]|[+-]\d\d:?\d\d)", re.ASCII)


class Text(serializers.CharField):  # type: ignore[misc]
    """Kept as it was sent, spaces included."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**{"trim_whitespace": False, **options})

    def to_internal_value(self, value: Any) -> str:
        if not isinstance(value, str):
            self.fail("invalid")
        return str(super().to_internal_value(value))


class Flag(serializers.BooleanField):  # type: ignore[misc]
    def to_internal_value(self, value: Any) -> bool:
        if not isinstance(value, bool):
            self.fail("invalid", input=value)
        return bool(value)


class Number(serializers.FloatField):  # type: ignore[misc]
    def to_internal_value(self, value: Any) -> float:
        if isinstance(value, bool) or not isinstance(value, int | float):
            self.fail("invalid")
        return float(value)


class WholeNumber(serializers.IntegerField):  # type: ignore[misc]
    def to_internal_value(self, value: Any) -> int:
        if isinstance(value, bool) or not isinstance(value, int):
            self.fail("invalid")
        return int(value)


class Choice(serializers.ChoiceField):  # type: ignore[misc]
    def to_internal_value(self, value: Any) -> str:
        if not isinstance(value, str):
            self.fail("invalid_choice", input=value)
        return str(super().to_internal_value(value))


class Moment(serializers.DateTimeField):  # type: ignore[misc]
    """RFC 3339 with its offset: a time without one means something else to everybody."""

    def to_internal_value(self, value: Any) -> datetime:
        if not isinstance(value, str) or not _MOMENT.fullmatch(value):
            self.fail("invalid", format="2026-11-21T09:30:00Z")
        try:
            moment: datetime = super().to_internal_value(value)
            return moment.astimezone(UTC)
        except (OverflowError, ValueError):
            self.fail("invalid", format="2026-11-21T09:30:00Z")
            raise AssertionError("unreachable") from None


@extend_schema_field({"type": "string"})
class Reference(serializers.Field):  # type: ignore[misc]
    """Another row, by the name that people and manifests call it by."""

    default_error_messages = {"invalid": "Write a name.", "does_not_exist": "There is no {noun} '{name}'.{hint}"}

    def __init__(
        self, model: type[Model], *, by: str = "name", among: Mapping[str, Any] | None = None, **options: Any
    ) -> None:
        """`among` narrows which rows may be named."""
        super().__init__(**options)
        self.model, self.by, self.among = model, by, among or {}

    @property
    def rows(self) -> QuerySet[Any]:
        return self.model._default_manager.filter(**self.among)

    def to_internal_value(self, value: Any) -> Model:
        (row,) = self.find([value])
        return row

    def to_representation(self, row: Any) -> str:
        return str(getattr(row, self.by))

    def find(self, names: Iterable[Any]) -> list[Model]:
        wanted = list(names)
        if not all(isinstance(name, str) for name in wanted):
            self.fail("invalid")
        possible = [name for name in wanted if "\0" not in name]
        found = {getattr(row, self.by): row for row in self.rows.filter(**{f"{self.by}__in": possible})}
        for name in wanted:
            if name not in found:
                noun = self.model._meta.verbose_name
                self.fail("does_not_exist", noun=noun, name=name[:64], hint=self._hint(name))
        return [found[name] for name in dict.fromkeys(wanted)]

    def _hint(self, name: str) -> str:
        if "\0" in name:
            return ""
        start = self.rows.filter(**{f"{self.by}__startswith": name[:2]}).values_list(self.by, flat=True)[:100]
        near = get_close_matches(name, start, n=1)
        return f" Do you mean '{near[0]}'?" if near else ""


@extend_schema_field({"type": "array", "items": {"type": "string"}, "maxItems": MOST_REFERENCES})
class References(Reference):
    """Several rows, by name; their order says nothing."""

    default_error_messages = {"not_a_list": "Write a list of names.", "max_length": "Name at most {most}."}

    def to_internal_value(self, value: Any) -> Any:
        if not isinstance(value, list):
            self.fail("not_a_list")
        if len(value) > MOST_REFERENCES:
            self.fail("max_length", most=MOST_REFERENCES)
        return self.find(value)

    def to_representation(self, rows: Any) -> Any:
        return sorted(getattr(row, self.by) for row in rows.all())


class Written(serializers.Field):  # type: ignore[misc]
    """A structure just as a manifest writes it, read by the same code; null where there is none."""

    def __init__(self, kind: Kind, *, stored: Callable[[Any], Any] | None = None, **options: Any) -> None:
        """`stored` turns what was read into what the row keeps."""
        super().__init__(**options)
        self._kind = kind
        self._stored = stored or kind.dump
        set_override(self, "field", kind.schema())

    def to_internal_value(self, value: Any) -> Any:
        try:
            return self._stored(self._kind.read(node_of(value)))
        except BadManifest as bad:
            told = [f"{fault.path.lstrip('.')}: {fault.message}".removeprefix(": ") for fault in bad.faults[:20]]
            raise serializers.ValidationError(told, "rule") from None

    def to_representation(self, value: Any) -> Any:
        return None if not value and isinstance(self._kind, Record) else value


class Strict(serializers.Serializer):  # type: ignore[misc]
    """A member that nobody reads would be taken for one that counts."""

    def to_internal_value(self, value: Any) -> Any:
        if isinstance(value, Mapping):
            writable = [name for name, field in self.fields.items() if not field.read_only]
            unknown = {name: [_unknown(name, writable, self.fields)] for name in value if name not in writable}
            if unknown:
                raise serializers.ValidationError(unknown)
        return super().to_internal_value(value)


def _unknown(name: str, writable: list[str], fields: Mapping[str, Any]) -> Any:
    if name in fields:
        return ErrorDetail("It is read-only; leave it out.", "read_only")
    near = get_close_matches(name, writable, n=1)
    hint = f" Do you mean '{near[0]}'?" if near else ""
    return ErrorDetail(f"There is no such member here.{hint}", "unknown")


class Row(Strict, serializers.ModelSerializer):  # type: ignore[misc]
    """A governed row; what its columns and constraints forbid is told before the database does."""

    serializer_field_mapping = {
        **serializers.ModelSerializer.serializer_field_mapping,
        models.CharField: Text,
        models.TextField: Text,
        models.BooleanField: Flag,
        models.FloatField: Number,
        models.DateTimeField: Moment,
    }
    serializer_choice_field = Choice

    def get_validators(self) -> list[Any]:
        """The model's own constraints are asked when the row is stored."""
        return []

    def create(self, values: dict[str, Any]) -> Model:
        return self._store(self.Meta.model(), values)

    def update(self, row: Model, values: dict[str, Any]) -> Model:
        return self._store(row, values)

    def _store(self, row: Model, values: dict[str, Any]) -> Model:
        related = {field.name for field in row._meta.many_to_many}
        for name in values.keys() - related:
            setattr(row, name, values[name])
        row.validate_constraints()
        row.save()
        for name in values.keys() & related:
            getattr(row, name).set(values[name])
        return row


class Empty(Strict):
    """An act that takes no arguments."""


class Parameters(Strict):
    """What may stand behind the question mark; `source` of a field is the look-up it stands for."""

    limit = serializers.IntegerField(
        min_value=1, max_value=200, default=50, help_text="How many at most on a page, 1 to 200."
    )
    cursor = Text(required=False, max_length=2000, help_text="Where to go on; part of the `next` link of a page.")


class QueryFlag(serializers.ChoiceField):  # type: ignore[misc]
    """true or false, as text."""

    def __init__(self, **options: Any) -> None:
        super().__init__(choices=("true", "false"), **options)

    def to_internal_value(self, value: Any) -> bool:
        return bool(super().to_internal_value(value) == "true")
