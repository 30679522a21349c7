"""Whether a result that was masked still has the form that its tool promises. Pure.

No schema is carried out: it comes from the upstream, and its patterns could take any time. What is known instead is
that the result was valid, and where it was changed; so it is enough that nothing on the way there asks more of a text
than to be one. Where that cannot be seen, the answer is no.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final

MOST_STEPS: Final = 100_000
DEEPEST: Final = 60
"""Of schema and value together."""
SCHEMA_ITSELF: Final = ("$comment", "$schema", "$defs", "definitions")
REMARKS: Final = frozenset(
    ("title", "description", "default", "examples", "deprecated", "readOnly", "writeOnly", *SCHEMA_ITSELF)
)
OF_OBJECTS: Final = frozenset(
    ("type", "properties", "additionalProperties", "required", "minProperties", "maxProperties", "propertyNames")
)
"""What can be seen to hold still where all members have kept their names."""
OF_LISTS: Final = frozenset(("type", "items", "minItems", "maxItems"))
OF_TEXTS: Final = frozenset(("type", "minLength", "maxLength"))
JSON_TYPES: Final[Mapping[type, tuple[str, ...]]] = {
    dict: ("object",),
    list: ("array",),
    str: ("string",),
    bool: ("boolean",),
    int: ("integer", "number"),
    float: ("integer", "number"),
    type(None): ("null",),
}


def still_valid(schema: Any, before: Any, after: Any) -> bool:
    """Whether what was valid by this schema surely still is."""
    root = {name: said for name, said in schema.items() if name != "$id"} if isinstance(schema, dict) else schema
    return _Reading(root).keeps(root, before, after)


@dataclass(slots=True)
class _Reading:
    root: Any
    steps: int = MOST_STEPS
    depth: int = 0

    def keeps(self, schema: Any, before: Any, after: Any) -> bool:
        self.steps -= 1
        if self.steps < 0 or self.depth >= DEEPEST:
            return False
        if before == after or isinstance(schema, bool):
            return True
        self.depth += 1
        kept = isinstance(schema, dict) and self._keeps(schema, before, after)
        self.depth -= 1
        return kept

    def _keeps(self, schema: Mapping[str, Any], before: Any, after: Any) -> bool:
        asked = frozenset(name for name in schema if name not in REMARKS and not name.startswith("x-"))
        if asked == {"$ref"}:
            return self._referred(schema["$ref"], before, after)
        if asked in ({"anyOf"}, {"allOf"}):
            return self._each_of(schema, asked, before, after)
        if not _allows(schema, before):
            return _is_type(schema)
        if isinstance(before, dict) and isinstance(after, dict):
            return asked <= OF_OBJECTS and self._object(schema, before, after)
        if isinstance(before, list) and isinstance(after, list):
            return asked <= OF_LISTS and self._list(schema, before, after)
        return isinstance(after, str) and asked <= OF_TEXTS and _is_text(schema, after)

    def _referred(self, reference: Any, before: Any, after: Any) -> bool:
        target = self._target(reference)
        return target is not None and self.keeps(target, before, after)

    def _target(self, reference: Any) -> Any:
        """Within this schema: `#/$defs/name`."""
        if not isinstance(reference, str) or not reference.startswith("#/") or "~" in reference or "%" in reference:
            return None
        target = self.root
        for name in reference[2:].split("/"):
            if not isinstance(target, dict) or name not in target or (target is not self.root and "$id" in target):
                return None
            target = target[name]
        return target

    def _each_of(self, schema: Mapping[str, Any], asked: Iterable[str], before: Any, after: Any) -> bool:
        """It was valid by one of them, nobody knows which."""
        (name,) = asked
        branches = schema[name]
        return isinstance(branches, list) and all(self.keeps(each, before, after) for each in branches)

    def _object(self, schema: Mapping[str, Any], before: dict[str, Any], after: dict[str, Any]) -> bool:
        members, others = schema.get("properties", {}), schema.get("additionalProperties", True)
        return (
            isinstance(members, dict)
            and before.keys() == after.keys()
            and all(self.keeps(members.get(name, others), before[name], after[name]) for name in before)
        )

    def _list(self, schema: Mapping[str, Any], before: list[Any], after: list[Any]) -> bool:
        items = schema.get("items", True)
        return len(before) == len(after) and all(
            self.keeps(items, was, is_now) for was, is_now in zip(before, after, strict=True)
        )


def _types(schema: Mapping[str, Any]) -> Any:
    types = schema.get("type", [])
    return [types] if isinstance(types, str) else types


def _is_type(schema: Mapping[str, Any]) -> bool:
    types = _types(schema)
    return isinstance(types, list) and all(isinstance(each, str) for each in types)


def _allows(schema: Mapping[str, Any], value: Any) -> bool:
    """What the type does not allow was not valid by this schema."""
    types = _types(schema)
    return not types or not isinstance(types, list) or any(each in types for each in JSON_TYPES.get(type(value), ()))


def _is_text(schema: Mapping[str, Any], text: str) -> bool:
    types, shortest, longest = _types(schema), schema.get("minLength", 0), schema.get("maxLength", len(text))
    return (
        isinstance(types, list)
        and (not types or "string" in types)
        and isinstance(shortest, int | float)
        and isinstance(longest, int | float)
        and shortest <= len(text) <= longest
    )
