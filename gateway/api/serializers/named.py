"""What the serializers of all governed rows share: names, addresses, and a name that is unique."""

from typing import Any

from django.core.exceptions import ValidationError
from django.core.validators import validate_email
from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers

from gateway.api.fields import (
    Row,
    Text,
)
from governance.models.base import NAME_PATTERN


class Name(serializers.RegexField):  # type: ignore[misc]
    """Given once: evidence and addresses name rows by it."""

    def __init__(self, **options: Any) -> None:
        hint = "Use 1 to 63 of a-z, 0-9 and '-', starting with a letter or digit."
        super().__init__(NAME_PATTERN.replace(r"\Z", "$"), **{"max_length": 63, "trim_whitespace": False, **options})
        self.error_messages["invalid"] = hint

    def to_internal_value(self, value: Any) -> str:
        if not isinstance(value, str) or value.endswith("\n"):
            self.fail("invalid")
        return str(super().to_internal_value(value))


@extend_schema_field({"type": "string", "format": "email", "maxLength": 254})
class Email(Text):
    default_error_messages = {"rule": "This is no e-mail address we could write to."}

    def __init__(self, **options: Any) -> None:
        super().__init__(**{"max_length": 254, **options})

    def to_internal_value(self, value: Any) -> str:
        address = super().to_internal_value(value).lower()
        try:
            validate_email(address)
        except ValidationError:
            self.fail("rule")
        return address


def is_taken(model: Any, name: str, *, besides: Any, column: str = "name") -> bool:
    rows = model.objects.filter(**{f"{column}__iexact": name})
    return bool((rows.exclude(pk=besides.pk) if besides else rows).exists())


class NamedRow(Row):
    """A row whose `name` is unique."""

    def validate_name(self, name: str) -> str:
        if is_taken(self.Meta.model, name, besides=self.instance):
            raise serializers.ValidationError(f"The name '{name}' is taken.", "unique")
        return name
