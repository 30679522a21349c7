"""YAML or JSON into a tree that knows its lines. Strict, and bounded in size, depth and number of nodes.

Scalars follow YAML 1.2's core schema, in which `on`, `no` and `08:00` are text, as JSON has it; PyYAML's own
rules (1.1) would read them as true, false and 480. Anchors, aliases, tags and merge keys are refused: a file
that says who may do what should say it where one reads it, and an alias bomb needs them.
"""

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, NoReturn

import yaml

MAX_FILE_BYTES = 4 * 1024 * 1024
MAX_DEPTH = 16
MAX_NODES = 500_000
SURROGATE_PAIR = len(r"\ud83d\ude00")

_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_NULLS = frozenset(("", "~", "null", "Null", "NULL"))
_FLAGS = {"true": True, "True": True, "TRUE": True, "false": False, "False": False, "FALSE": False}
_INTEGER = re.compile(r"[-+]?[0-9]{1,18}")
_DECIMAL = re.compile(r"[-+]?(\.[0-9]{1,18}|[0-9]{1,18}(\.[0-9]{0,18})?)([eE][-+]?[0-9]{1,3})?")
_ESCAPE = re.compile(r"\\u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}|\\.")
_FORBIDDEN = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f\ud800-\udfff]")


@dataclass(frozen=True, slots=True)
class Place:
    """Where in which file; lines count from 1, and 0 stands for no line."""

    file: str
    line: int

    def __str__(self) -> str:
        return f"{self.file}:{self.line}" if self.line else self.file


@dataclass(frozen=True, slots=True)
class Fault:
    """What is wrong and where. `path` names the field, e.g. `bundles[0].tools`; empty for the whole file."""

    place: Place
    path: str
    message: str

    def __str__(self) -> str:
        return f"{self.place}: {self.path}: {self.message}" if self.path else f"{self.place}: {self.message}"

    def as_json(self) -> dict[str, Any]:
        return {
            "file": self.place.file,
            "line": self.place.line,
            "field": self.path,
            "message": self.message,
        }


class BadManifest(Exception):
    """The file is not a manifest; every fault that could be found at once."""

    def __init__(self, *faults: Fault) -> None:
        super().__init__("\n".join(str(fault) for fault in faults))
        self.faults = faults


@dataclass(frozen=True, slots=True)
class Node:
    """A scalar, a list of nodes or a mapping of names to nodes. The place of a mapping's member is its key's."""

    value: Any
    place: Place
    path: str = field(default="", compare=False)

    def fail(self, message: str) -> NoReturn:
        raise BadManifest(Fault(self.place, self.path, message))

    def members(self) -> dict[str, "Node"]:
        """Raises BadManifest when this is no mapping."""
        if not isinstance(self.value, dict):
            self.fail(f"a mapping is expected here, not {described(self.value)}")
        return self.value

    def items(self) -> list["Node"]:
        """Raises BadManifest when this is no list."""
        if not isinstance(self.value, list):
            self.fail(f"a list is expected here, not {described(self.value)}")
        return self.value


def described(value: Any) -> str:
    """What was found instead; long text is cut."""
    if isinstance(value, dict):
        return "a mapping"
    if isinstance(value, list):
        return "a list"
    if isinstance(value, str):
        return f"'{value[:40]}'"
    return {True: "true", False: "false", None: "nothing"}.get(value, str(value))


def node_of(plain: Any, path: str = "") -> Node:
    """Plain data as if it stood in a file of that name."""
    place = Place(path, 0)
    if isinstance(plain, Mapping):
        return Node({name: node_of(value, f"{path}.{name}") for name, value in plain.items()}, place, path)
    if isinstance(plain, list | tuple):
        return Node([node_of(value, f"{path}[{index}]") for index, value in enumerate(plain)], place, path)
    return Node(plain, place, path)


def read(content: bytes, *, file: str) -> Node:
    """Raises BadManifest."""
    if len(content) > MAX_FILE_BYTES:
        _refuse(file, 1, f"the file is larger than {MAX_FILE_BYTES // 1024 // 1024} MB")
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        _refuse(file, content.count(b"\n", 0, error.start) + 1, "the file is not valid UTF-8")
    return _Reader(file, _as_yaml(text)).document()


def _as_yaml(text: str) -> str:
    """JSON is YAML but for two things: tabs between its tokens, and one character escaped as two surrogates."""
    if not text.lstrip().startswith("{"):
        return text
    try:
        json.loads(text)
    except (ValueError, RecursionError):
        return text
    return _ESCAPE.sub(_joined, text.replace("\t", " "))


def _joined(escape: re.Match[str]) -> str:
    return str(json.loads(f'"{escape[0]}"')) if len(escape[0]) == SURROGATE_PAIR else escape[0]


def _refuse(file: str, line: int, message: str) -> NoReturn:
    raise BadManifest(Fault(Place(file, line), "", message))


def _plain_scalar(text: str) -> str | int | float | bool | None:
    """What unquoted text means."""
    if text in _NULLS:
        return None
    if text in _FLAGS:
        return _FLAGS[text]
    if _INTEGER.fullmatch(text):
        return int(text)
    return float(text) if _DECIMAL.fullmatch(text) else text


def reads_as_text(text: str) -> bool:
    """Whether it stays text when written without quotes."""
    return isinstance(_plain_scalar(text), str)


class _Reader:
    """Builds the tree from the parser's events, which come one by one: bounds act before a bomb unfolds."""

    def __init__(self, file: str, text: str) -> None:
        self._file = file
        self._nodes = 0
        self._events = self._checked(text)

    def document(self) -> Node:
        """The only document of the file; an empty file is an empty mapping."""
        root = Node({}, Place(self._file, 1))
        seen = 0
        for event in self._events:
            if isinstance(event, yaml.DocumentStartEvent):
                seen += 1
                if seen > 1:
                    self._fail(event, "a file holds one document; split it into several files")
                root = self._node(next(self._events), "", depth=0)
        return root

    def _checked(self, text: str) -> Iterator[Any]:
        try:
            for event in yaml.parse(text, Loader=_LOADER):
                self._check(event)
                yield event
        except yaml.MarkedYAMLError as error:
            mark = error.problem_mark or error.context_mark
            _refuse(self._file, mark.line + 1 if mark else 1, f"not valid YAML or JSON: {error.problem}")
        except yaml.YAMLError as error:
            _refuse(self._file, 1, f"not valid YAML or JSON: {str(error).splitlines()[0]}")

    def _check(self, event: Any) -> None:
        if isinstance(event, yaml.AliasEvent) or getattr(event, "anchor", None):
            self._fail(event, "anchors and aliases are not part of a manifest; write it out")
        if getattr(event, "tag", None):
            self._fail(event, "tags (!...) are not part of a manifest")
        self._nodes += 1
        if self._nodes > MAX_NODES:
            self._fail(event, f"the file has more than {MAX_NODES} nodes")

    def _node(self, event: Any, path: str, *, depth: int, place: Place | None = None) -> Node:
        if depth > MAX_DEPTH:
            self._fail(event, "nested too deeply")
        place = place or self._place(event)
        if isinstance(event, yaml.MappingStartEvent):
            return Node(self._mapping(path, depth), place, path)
        if isinstance(event, yaml.SequenceStartEvent):
            return Node(self._sequence(path, depth), place, path)
        return Node(self._scalar(event), place, path)

    def _mapping(self, path: str, depth: int) -> dict[str, Node]:
        members: dict[str, Node] = {}
        while not isinstance(event := next(self._events), yaml.MappingEndEvent):
            if not isinstance(event, yaml.ScalarEvent):
                self._fail(event, "a key must be plain text")
            key, place = self._text(event), self._place(event)
            if key in members:
                self._fail(event, f"the key '{key[:64]}' occurs twice (first in line {members[key].place.line})")
            inner = f"{path}.{key}" if path else key
            members[key] = self._node(next(self._events), inner, depth=depth + 1, place=place)
        return members

    def _sequence(self, path: str, depth: int) -> list[Node]:
        items: list[Node] = []
        while not isinstance(event := next(self._events), yaml.SequenceEndEvent):
            items.append(self._node(event, f"{path}[{len(items)}]", depth=depth + 1))
        return items

    def _scalar(self, event: Any) -> str | int | float | bool | None:
        text = self._text(event)
        return _plain_scalar(text) if event.implicit[0] else text

    def _text(self, event: Any) -> str:
        text = str(event.value)
        if _FORBIDDEN.search(text):
            self._fail(event, "the text holds control characters or half a character")
        return text

    def _place(self, event: Any) -> Place:
        return Place(self._file, event.start_mark.line + 1)

    def _fail(self, event: Any, message: str) -> NoReturn:
        _refuse(self._file, event.start_mark.line + 1, message)
