"""Other arguments in place of those asked for: typed as text, one field for each, shown before they are agreed to."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import orjson

from gateway.console.approvals.arguments import Mask
from gateway.console.approvals.sentences import words_of
from gateway.held_rows import call_digest
from gateway.hostile_text import visible
from governance import canonical
from governance.approval_rows import approval_digest
from governance.models import ApprovalRequest

MOST_FIELDS = 30


@dataclass(frozen=True, slots=True)
class Field:
    """One argument to change. Text is typed as it is, everything else as JSON. `name` is by position in the form:
    agents choose what arguments are called."""

    name: str
    argument: str
    label: str
    text: str
    problem: str = ""


@dataclass(frozen=True, slots=True)
class Change:
    name: str
    old: str
    new: str


@dataclass(frozen=True, slots=True)
class Narrowing:
    """What was typed: the arguments it makes, and how they differ. `digest` is what an approver of it agrees to."""

    fields: tuple[Field, ...]
    arguments: Mapping[str, Any]
    changes: tuple[Change, ...]
    digest: str

    @property
    def problems(self) -> bool:
        return any(field.problem for field in self.fields)


def fields_of(arguments: Mapping[str, Any], *, mask: Mask) -> tuple[Field, ...]:
    """Empty where there are too many to look through."""
    if len(arguments) > MOST_FIELDS:
        return ()
    return tuple(
        Field(f"argument-{position}", name, words_of(name), editable(value, mask))
        for position, (name, value) in enumerate(sorted(arguments.items()), start=1)
    )


def editable(value: Any, mask: Mask) -> str:
    shown = mask(value)
    return visible(shown if isinstance(shown, str) else orjson.dumps(shown).decode())


def narrowing_of(
    row: ApprovalRequest, arguments: Mapping[str, Any], typed: Mapping[str, str], *, mask: Mask
) -> Narrowing:
    """A field that was left alone keeps its value exactly, also where it is shown masked."""
    fields, after = [], dict(arguments)
    for field in fields_of(arguments, mask=mask):
        name = field.argument
        text = typed.get(field.name, field.text).replace("\r\n", "\n")
        problem = ""
        if text != field.text:
            after[name], problem = _read(text, arguments[name])
        fields.append(replace(field, text=text, problem=problem))
    changed = [name for name in arguments if canonical.encode(after[name]) != canonical.encode(arguments[name])]
    changes = tuple(
        Change(words_of(name), editable(arguments[name], mask), editable(after[name], mask)) for name in changed
    )
    would_be = ApprovalRequest(key=row.key, call_digest=call_digest(row, canonical.encode(after)))
    return Narrowing(tuple(fields), after, changes, approval_digest(would_be).hex())


def _read(text: str, before: Any) -> tuple[Any, str]:
    """The value, and what is wrong with the text; then the value is the one before."""
    if isinstance(before, str):
        return text, ""
    try:
        return canonical.parse(text.encode()), ""
    except UnicodeEncodeError:
        return before, "This holds characters that cannot be sent."
    except canonical.NotCanonical as reason:
        return before, reason.message
