"""Form fields for what the database keeps as JSON and people write as lines or ticks."""

import re
from typing import Any

from django import forms
from django.core.exceptions import ValidationError

from gateway.console.base import CheckboxList, ClockInput, MultiLineText
from governance.connected_accounts import OAUTH_SCOPE_PATTERN
from governance.manifest.common import check_url
from governance.models.base import name_validator

VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,99}")


class Lines(forms.CharField):
    """A list of texts, one a line; empty lines do not count."""

    def __init__(self, *, check: Any = None, rows: int = 3, **options: Any) -> None:
        super().__init__(widget=MultiLineText(attrs={"rows": rows}), **options)
        self._check = check

    def prepare_value(self, value: Any) -> Any:
        return "\n".join(value) if isinstance(value, list) else value

    def has_changed(self, initial: Any, data: Any) -> bool:
        return bool(self.to_python(data) != (initial or []))

    def to_python(self, value: Any) -> Any:
        lines = value.splitlines() if isinstance(value, str) else value or []
        return [line.strip() for line in lines if line.strip()]

    def run_validators(self, value: Any) -> None:
        for line in value if self._check else ():
            self._check(line)


class Variables(Lines):
    """Environment variables, NAME=value, one a line."""

    def __init__(self, **options: Any) -> None:
        super().__init__(required=False, **options)

    def prepare_value(self, value: Any) -> Any:
        return "\n".join(f"{name}={said}" for name, said in value.items()) if isinstance(value, dict) else value

    def has_changed(self, initial: Any, data: Any) -> bool:
        return bool(self.to_python(data) != (initial or {}))

    def to_python(self, value: Any) -> Any:
        if isinstance(value, dict):
            return value
        variables = {}
        for line in super().to_python(value):
            name, is_there, said = line.partition("=")
            if not is_there or not VARIABLE.fullmatch(name):
                raise ValidationError("Write NAME=value, one a line.")
            variables[name] = said
        return variables


class ListsByName(Lines):
    """NAME = value, value, one name a line. `check` is called with each name and value."""

    def __init__(self, *, check: Any, **options: Any) -> None:
        super().__init__(required=False, **options)
        self._check_pair = check

    def prepare_value(self, value: Any) -> Any:
        if not isinstance(value, dict):
            return value
        return "\n".join(f"{name} = {', '.join(values)}" for name, values in value.items())

    def has_changed(self, initial: Any, data: Any) -> bool:
        return bool(self.to_python(data) != (initial or {}))

    def to_python(self, value: Any) -> Any:
        if isinstance(value, dict):
            return value
        found: dict[str, list[str]] = {}
        for line in super().to_python(value):
            name, is_there, said = line.partition("=")
            values = sorted({part.strip() for part in said.split(",") if part.strip()})
            if not is_there or not values:
                raise ValidationError("Write name = value, value, one name a line.")
            found[name.strip()] = values
        return found

    def run_validators(self, value: Any) -> None:
        for name, values in value.items():
            for each in values:
                self._check_pair(name, each)


def check_web_address(address: str) -> None:
    try:
        check_url(address)
    except ValueError as error:
        raise ValidationError(f"Write full addresses, one a line: {error}.") from None


def check_oauth_scope(scope: str) -> None:
    if not re.fullmatch(OAUTH_SCOPE_PATTERN, scope):
        raise ValidationError("A scope is one word, without quotes, of at most 200 characters.")


def check_label(label: str) -> None:
    name_validator(label)


class Ticks(forms.MultipleChoiceField):
    """Several of a few known values, as checkboxes."""

    def __init__(self, **options: Any) -> None:
        super().__init__(required=False, widget=CheckboxList, **options)


class ClockTime(forms.TimeField):
    """A time of day to the minute, or none."""

    def __init__(self, **options: Any) -> None:
        super().__init__(required=False, widget=ClockInput(format="%H:%M"), **options)
