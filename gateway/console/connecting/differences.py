"""What changed between two definitions of a tool, for a human to compare. Pure; both sides are hostile.

Bounded in lines and letters, because an upstream chooses what is compared; difflib passes over lines that repeat
too often (its `autojunk`), without which a long list of equal lines would take it minutes.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from difflib import SequenceMatcher
from itertools import zip_longest
from textwrap import wrap
from typing import Any, Literal

import orjson

from gateway.console.connecting.offer import remarks
from gateway.hostile_text import visible

MAX_LINES = 600
MAX_LINE = 2_000
MAX_PARAMETERS = 300
WIDTH = 100

Change = Literal["same", "added", "removed", "changed"]


@dataclass(frozen=True, slots=True)
class Row:
    """One line beside the other; None where a side has none."""

    before: str | None
    after: str | None
    change: Change


@dataclass(frozen=True, slots=True)
class Parameter:
    name: str
    change: Change
    before: str
    after: str
    is_required: bool


@dataclass(frozen=True, slots=True)
class Difference:
    description: tuple[Row, ...]
    parameters: tuple[Parameter, ...]
    definition: tuple[Row, ...]
    remarks: tuple[str, ...]


def compare(before: Mapping[str, Any], after: Mapping[str, Any]) -> Difference:
    """`before` is empty for a tool that is new."""
    return Difference(
        description=rows(_prose(before), _prose(after)),
        parameters=parameters(before, after),
        definition=rows(_lines(before), _lines(after)),
        remarks=tuple(dict.fromkeys([*(_risks(before, after) if before else ()), *remarks(after)])),
    )


def rows(before: list[str], after: list[str]) -> tuple[Row, ...]:
    found: list[Row] = []
    for _, first, last, start, end in SequenceMatcher(None, before[:MAX_LINES], after[:MAX_LINES]).get_opcodes():
        pairs = zip_longest(before[first:last], after[start:end])
        found += [Row(old, new, _change(old, new)) for old, new in pairs]
    if len(before) > MAX_LINES or len(after) > MAX_LINES:
        found.append(Row(f"… {len(before)} lines in all", f"… {len(after)} lines in all", "changed"))
    return tuple(found)


def _change(old: object, new: object) -> Change:
    if old == new:
        return "same"
    if old is None:
        return "added"
    return "removed" if new is None else "changed"


def _prose(definition: Mapping[str, Any]) -> list[str]:
    text = definition.get("description")
    if not isinstance(text, str):
        return []
    lines = visible(text[: MAX_LINE * 10]).split("\n")[: MAX_LINES + 1]
    return [piece for line in lines for piece in (wrap(line[:MAX_LINE], WIDTH) or [""])]


def _lines(definition: Mapping[str, Any]) -> list[str]:
    if not definition:
        return []
    text = orjson.dumps(dict(definition), option=orjson.OPT_INDENT_2 | orjson.OPT_SORT_KEYS).decode()
    return [visible(line[:MAX_LINE]) for line in text.split("\n")]


def parameters(before: Mapping[str, Any], after: Mapping[str, Any]) -> tuple[Parameter, ...]:
    """First those that differ."""
    old, new = _properties(before), _properties(after)
    demanded = _required(after)
    names = sorted({*old, *new}, key=lambda name: (old.get(name) == new.get(name), name))
    return tuple(
        Parameter(
            visible(name),
            _change(old.get(name), new.get(name)),
            _told(old.get(name)),
            _told(new.get(name)),
            name in demanded,
        )
        for name in names[:MAX_PARAMETERS]
    )


def _schema(definition: Mapping[str, Any]) -> Mapping[str, Any]:
    schema = definition.get("inputSchema")
    return schema if isinstance(schema, Mapping) else {}


def _properties(definition: Mapping[str, Any]) -> dict[str, Any]:
    properties = _schema(definition).get("properties")
    return dict(properties) if isinstance(properties, Mapping) else {}


def _required(definition: Mapping[str, Any]) -> set[str]:
    required = _schema(definition).get("required")
    return {name for name in required if isinstance(name, str)} if isinstance(required, list) else set()


def _told(schema: Any) -> str:
    """A parameter in one line: its type, what it may be, what it is for."""
    if schema is None:
        return ""
    if not isinstance(schema, Mapping):
        return visible(str(schema)[:MAX_LINE])
    kind, choices, text = schema.get("type", "anything"), schema.get("enum"), schema.get("description", "")
    one_of = f" of {choices}" if isinstance(choices, list) else ""
    about = f": {text}" if text else ""
    return visible(f"{kind}{one_of}{about}"[:MAX_LINE])


def _risks(before: Mapping[str, Any], after: Mapping[str, Any]) -> Iterator[str]:
    old, new = _properties(before), _properties(after)
    for name in sorted(new.keys() - old.keys()):
        kind = "takes free text" if _is_free_text(new[name]) else "is new"
        yield f"The parameter “{visible(name[:80])}” {kind}: an agent may be led to put things there."
    for name in sorted(old.keys() & new.keys()):
        if _is_free_text(new[name]) and not _is_free_text(old[name]):
            yield f"The parameter “{visible(name[:80])}” takes free text now."
    if added := sorted(_required(after) - _required(before)):
        yield f"Agents must now give: {visible(', '.join(added)[:300])}."
    yield from _hints(_annotations(before), _annotations(after))
    if before.get("outputSchema") != after.get("outputSchema"):
        yield "What it answers has another form."


def _annotations(definition: Mapping[str, Any]) -> Mapping[str, Any]:
    annotations = definition.get("annotations")
    return annotations if isinstance(annotations, Mapping) else {}


def _hints(old: Mapping[str, Any], new: Mapping[str, Any]) -> Iterator[str]:
    if bool(new.get("destructiveHint")) != bool(old.get("destructiveHint")):
        yield f"The system now says that it {'may' if new.get('destructiveHint') else 'cannot'} destroy things."
    if bool(new.get("readOnlyHint")) != bool(old.get("readOnlyHint")):
        yield f"The system now says that it {'only reads' if new.get('readOnlyHint') else 'also changes things'}."


def _is_free_text(schema: Any) -> bool:
    if not isinstance(schema, Mapping):
        return False
    kind = schema.get("type", "string")
    is_text = kind == "string" or (isinstance(kind, list) and "string" in kind)
    return is_text and not any(limit in schema for limit in ("enum", "const", "pattern", "format"))
