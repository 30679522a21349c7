"""What all governed rows share."""

import uuid
from typing import TYPE_CHECKING, Any, ClassVar

from django.core.validators import RegexValidator
from django.db import models

NAME_PATTERN = r"^[a-z0-9][a-z0-9-]{0,62}\Z"
name_validator = RegexValidator(NAME_PATTERN, "Use 1 to 63 of a-z, 0-9 and '-', starting with a letter or digit.")


class Governed(models.Model):
    """A row whose change moves the epoch and is copied into evidence by a database trigger.

    `SEALED_COLUMNS` never reach evidence (secrets, large bodies); a change of `QUIET_COLUMNS` alone is no governed
    change (status that nobody is allowed anything by).
    """

    SEALED_COLUMNS: ClassVar[frozenset[str]] = frozenset()
    QUIET_COLUMNS: ClassVar[frozenset[str]] = frozenset()

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)

    class Meta:
        abstract = True


class NameField(models.CharField[str, str] if TYPE_CHECKING else models.CharField):  # type: ignore[misc]
    """The unique, URL-safe name by which manifests and people refer to a row."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**{"max_length": 63, "unique": True, "validators": [name_validator], **options})

    def deconstruct(self) -> tuple[str, str, Any, Any]:
        name, path, args, options = super().deconstruct()
        for implied in ("max_length", "unique", "validators"):
            options.pop(implied, None)
        return name, path, args, options
