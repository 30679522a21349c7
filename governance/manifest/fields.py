"""The kinds of field a manifest has: each reads a node strictly, writes a value back, and describes itself.

An entry is a frozen dataclass whose fields carry one of these; `Record` does the rest.
"""

import re
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import MISSING, Field, dataclass, field, fields
from datetime import UTC, datetime
from difflib import get_close_matches
from typing import Any, Protocol, TypeVar

from governance.manifest.reader import BadManifest, Fault, Node, described

T = TypeVar("T")
Schema = dict[str, Any]

LATER = frozenset(
    (
        "approvals",
        "budgets",
        "freezes",
        "grants",
    )
)
"""Words of the manifest's format that this version has no entity for: a clearer answer than "unknown key"."""
NAME = r"[a-z0-9][a-z0-9-]{0,62}"


class Kind(Protocol):
    """One kind of field."""

    def read(self, node: Node) -> Any:
        """Raises BadManifest."""

    def dump(self, value: Any) -> Any:
        """The value as plain data."""

    def schema(self) -> Schema:
        """Its JSON Schema."""


@dataclass(frozen=True, slots=True)
class Text:
    """`check` raises ValueError with what is wrong; `tidy` brings equal texts into one form."""

    longest: int
    pattern: str = ""
    hint: str = ""
    check: Callable[[str], object] | None = None
    tidy: Callable[[str], str] = str

    def read(self, node: Node) -> str:
        if not isinstance(node.value, str):
            node.fail(f"text is expected here, not {described(node.value)}" + _quoting_hint(node.value))
        text = self.tidy(node.value)
        if len(text) > self.longest:
            node.fail(f"longer than {self.longest} characters")
        if self.pattern and not re.fullmatch(self.pattern, text):
            node.fail(f"'{text[:64]}' will not do: {self.hint}")
        self._check(node, text)
        return text

    def _check(self, node: Node, text: str) -> None:
        try:
            if self.check is not None:
                self.check(text)
        except ValueError as error:
            node.fail(str(error))

    def dump(self, value: str) -> str:
        return value

    def schema(self) -> Schema:
        pattern = {"pattern": f"^{self.pattern}$"} if self.pattern else {}
        return {"type": "string", "maxLength": self.longest, **pattern}


def _quoting_hint(value: Any) -> str:
    return " (put it in quotes)" if isinstance(value, int | float) else ""


@dataclass(frozen=True, slots=True)
class Choice:
    values: tuple[str, ...]

    def read(self, node: Node) -> str:
        if node.value not in self.values:
            options = ", ".join(self.values)
            node.fail(f"{described(node.value)} is not one of {options}" + nearest(node.value, self.values))
        return str(node.value)

    def dump(self, value: str) -> str:
        return value

    def schema(self) -> Schema:
        return {"enum": list(self.values)}


@dataclass(frozen=True, slots=True)
class Flag:
    def read(self, node: Node) -> bool:
        if not isinstance(node.value, bool):
            node.fail(f"true or false is expected here, not {described(node.value)}")
        return node.value

    def dump(self, value: bool) -> bool:
        return value

    def schema(self) -> Schema:
        return {"type": "boolean"}


@dataclass(frozen=True, slots=True)
class Number:
    low: float
    high: float
    is_whole: bool = False

    def read(self, node: Node) -> float:
        accepted = int if self.is_whole else int | float
        if not isinstance(node.value, accepted) or isinstance(node.value, bool):
            node.fail(f"a {'whole ' * self.is_whole}number is expected here, not {described(node.value)}")
        if not self.low <= node.value <= self.high:
            node.fail(f"{node.value} is not between {self.low} and {self.high}")
        return node.value

    def dump(self, value: float) -> float:
        return int(value) if value == int(value) else value

    def schema(self) -> Schema:
        return {
            "type": "integer" if self.is_whole else "number",
            "minimum": self.low,
            "maximum": self.high,
        }


@dataclass(frozen=True, slots=True)
class Moment:
    """A point in time with its offset."""

    def read(self, node: Node) -> datetime:
        try:
            moment = datetime.fromisoformat(node.value)
        except (TypeError, ValueError):
            node.fail(f"{described(node.value)} is no time; write e.g. 2026-01-31T17:00:00Z")
        if moment.tzinfo is None:
            node.fail("the time needs its offset, e.g. 2026-01-31T17:00:00-05:00 or ...Z")
        return moment.astimezone(UTC)

    def dump(self, value: datetime) -> str:
        return value.astimezone(UTC).isoformat().replace("+00:00", "Z")

    def schema(self) -> Schema:
        return {"type": "string", "format": "date-time"}


@dataclass(frozen=True, slots=True)
class ListOf:
    """A list as a tuple. One that is a set is kept sorted by `order`, so that writing it otherwise is no change."""

    item: Kind
    is_set: bool = False
    at_least: int = 0
    order: Callable[[Any], Any] | None = None

    def read(self, node: Node) -> tuple[Any, ...]:
        values = gather((item for item in node.items()), self.item.read)
        if len(values) < self.at_least:
            node.fail("the list must not be empty")
        return self.sorted(values) if self.is_set else tuple(values)

    def sorted(self, values: Collection[Any]) -> tuple[Any, ...]:
        return tuple(sorted(dict.fromkeys(values), key=self.order))

    def dump(self, value: tuple[Any, ...]) -> list[Any]:
        return [self.item.dump(item) for item in value]

    def schema(self) -> Schema:
        least = {"minItems": self.at_least} if self.at_least else {}
        return {"type": "array", "items": self.item.schema(), **least}


@dataclass(frozen=True, slots=True)
class TextByName:
    """A mapping of names to texts, as a tuple of pairs in the order of the names."""

    name: Text
    text: Text

    def read(self, node: Node) -> tuple[tuple[str, str], ...]:
        members = node.members().items()
        names = [self.name.read(Node(name, child.place, child.path)) for name, child in members]
        texts = gather((child for _, child in members), self.text.read)
        return tuple(sorted(zip(names, texts, strict=True)))

    def dump(self, value: tuple[tuple[str, str], ...]) -> dict[str, str]:
        return dict(value)

    def schema(self) -> Schema:
        names = self.name.schema()
        return {"type": "object", "propertyNames": names, "additionalProperties": self.text.schema()}


@dataclass(frozen=True, slots=True)
class ListByName:
    """A mapping of names to lists, as a tuple of pairs in the order of the names."""

    name: Text
    values: ListOf

    def read(self, node: Node) -> tuple[tuple[str, tuple[Any, ...]], ...]:
        members = node.members().items()
        names = [self.name.read(Node(name, child.place, child.path)) for name, child in members]
        lists = gather((child for _, child in members), self.values.read)
        return tuple(sorted(zip(names, lists, strict=True)))

    def dump(self, value: tuple[tuple[str, tuple[Any, ...]], ...]) -> dict[str, list[Any]]:
        return {name: self.values.dump(values) for name, values in value}

    def schema(self) -> Schema:
        names = self.name.schema()
        return {"type": "object", "propertyNames": names, "additionalProperties": self.values.schema()}


@dataclass(frozen=True, slots=True)
class Record:
    """A mapping as an instance of a dataclass whose fields were made by `of`.

    Left out or null, a field takes its default. The dataclass may have `faults()`, which yields (key, message)
    for what only shows when its fields are seen together, and a field `node` that keeps where it stood.
    """

    shape: type[Any]

    def read(self, node: Node) -> Any:
        members = node.members()
        known = {key: member for member in _members(self.shape) for key in keys_of(member)}
        gather(((key, child) for key, child in members.items() if key not in known), _unknown_key(known))
        missing = [member for member in _members(self.shape) if _is_required(member) and not _given(member, members)]
        if missing:
            node.fail(f"{' or '.join(keys_of(missing[0]))} is missing")
        found = dict(gather(self._given(members), _read_member))
        entry = self.shape(**found, **({"node": node} if _keeps_node(self.shape) else {}))
        faults = [self._fault(node, key, message) for key, message in getattr(entry, "faults", tuple)()]
        if faults:
            raise BadManifest(*faults)
        return entry

    def _given(self, members: Mapping[str, Node]) -> Iterator[tuple["Field[Any]", Node]]:
        for member in _members(self.shape):
            given = _given(member, members)
            if len(given) > 1:
                given[1].fail(f"write either {' or '.join(keys_of(member))}")
            if given:
                yield member, given[0]

    def _fault(self, node: Node, key: str, message: str) -> Fault:
        child = node.members().get(key, node)
        return Fault(child.place, f"{node.path}.{key}".lstrip("."), message)

    def dump(self, value: Any) -> dict[str, Any]:
        dumped: dict[str, Any] = {}
        for member in _members(self.shape):
            current = getattr(value, member.name)
            if _is_required(member) or current != member.default:
                key, plain = _dump_member(member, current)
                dumped[key] = plain
        return dumped

    def schema(self) -> Schema:
        properties = {}
        for member in _members(self.shape):
            kind: Kind = member.metadata["kind"]
            described_by = kind.schema()
            properties[member.metadata["key"] or member.name] = (
                described_by if _is_required(member) else {"anyOf": [described_by, {"type": "null"}]}
            )
            if member.metadata["singular"]:
                properties[member.metadata["singular"]] = described_by["items"]
        required = [keys_of(member)[0] for member in _members(self.shape) if _is_required(member)]
        return {
            "type": "object",
            "properties": properties,
            "additionalProperties": False,
            **({"required": required} if required else {}),
        }


def of(kind: Kind, default: Any = MISSING, *, key: str = "", singular: str = "") -> Any:
    """A field of an entry. `key` is its name in the file where Python reserves it; `singular` is a second key
    under which a list of one may be written without brackets."""
    return field(default=default, metadata={"kind": kind, "key": key, "singular": singular})


def keys_of(member: "Field[Any]") -> tuple[str, ...]:
    return tuple(filter(None, (member.metadata["key"] or member.name, member.metadata["singular"])))


def _members(shape: type[Any]) -> list["Field[Any]"]:
    return [member for member in fields(shape) if "kind" in member.metadata]


def _keeps_node(shape: type[Any]) -> bool:
    return any(member.name == "node" for member in fields(shape))


def _is_required(member: "Field[Any]") -> bool:
    return member.default is MISSING


def _given(member: "Field[Any]", members: Mapping[str, Node]) -> list[Node]:
    found = [members[key] for key in keys_of(member) if key in members]
    return [child for child in found if child.value is not None]


def _read_member(given: tuple["Field[Any]", Node]) -> tuple[str, Any]:
    member, child = given
    kind: Kind = member.metadata["kind"]
    if member.metadata["singular"] and not isinstance(child.value, list):
        child = Node([child], child.place, child.path)
    return member.name, kind.read(child)


def _dump_member(member: "Field[Any]", value: Any) -> tuple[str, Any]:
    kind: Kind = member.metadata["kind"]
    plain = kind.dump(value)
    if member.metadata["singular"] and len(plain) == 1:
        return member.metadata["singular"], plain[0]
    return member.metadata["key"] or member.name, plain


def _unknown_key(known: Collection[str]) -> Callable[[tuple[str, Node]], None]:
    def refuse(member: tuple[str, Node]) -> None:
        key, child = member
        if key in LATER:
            child.fail(f"this version does not know {key} yet")
        child.fail(f"unknown key '{key[:64]}'{nearest(key, known)}")

    return refuse


def nearest(word: object, known: Collection[str]) -> str:
    found = get_close_matches(str(word), known, n=1)
    return f"; did you mean '{found[0]}'?" if found else ""


def gather(given: Iterator[T], read: Callable[[T], Any]) -> list[Any]:
    """Reads all, and raises BadManifest with the faults of all."""
    values: list[Any] = []
    faults: list[Fault] = []
    for each in given:
        try:
            values.append(read(each))
        except BadManifest as bad:
            faults += bad.faults
    if faults:
        raise BadManifest(*faults)
    return values
