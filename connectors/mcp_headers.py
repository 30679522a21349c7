"""The routing headers of MCP 2026-07-28: encoding of their values, and `x-mcp-header` arguments mirrored
into them."""

import base64
import binascii
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

PARAM_PREFIX = "Mcp-Param-"

_PLAIN = re.compile(r"[\x21-\x7e](?:[\x20-\x7e]*[\x21-\x7e])?")
_SENTINEL = re.compile(r"=\?base64\?(.*)\?=", re.DOTALL)
_TOKEN = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")
_TYPES = ("string", "integer", "boolean")
_ANNOTATION = "x-mcp-header"
_NAME_MAPS = frozenset(("properties", "patternProperties", "$defs", "definitions", "dependentSchemas"))
_PLAIN_VALUES = frozenset(("default", "const", "enum", "examples", _ANNOTATION))


def encode_value(value: str) -> str:
    """The value as it stands when it is plain printable ASCII, else its UTF-8 in base64 between the
    sentinels."""
    if _PLAIN.fullmatch(value) and not _SENTINEL.fullmatch(value):
        return value
    return f"=?base64?{base64.b64encode(value.encode()).decode('ascii')}?="


def decode_value(value: str) -> str:
    """The inverse of `encode_value`. Raises ValueError for base64 that is not canonical or not UTF-8: two
    spellings of one value would let a header and a body look different to us and alike to the upstream."""
    sentinel = _SENTINEL.fullmatch(value)
    if sentinel is None:
        return value
    try:
        raw = base64.b64decode(sentinel[1], validate=True)
    except binascii.Error as error:
        raise ValueError("bad base64 in header value") from error
    if base64.b64encode(raw).decode("ascii") != sentinel[1]:
        raise ValueError("base64 in header value is not canonical")
    return raw.decode()


@dataclass(frozen=True, slots=True)
class ParamHeader:
    """One tool argument that the upstream wants repeated in a header."""

    name: str
    path: tuple[str, ...]


class InvalidAnnotation(ValueError):
    """A tool's schema carries an `x-mcp-header` the specification forbids; the tool must not be offered."""


def param_headers(input_schema: object) -> tuple[ParamHeader, ...]:
    """The annotated arguments of a tool. Raises InvalidAnnotation."""
    headers = tuple(_reachable(input_schema, ()))
    names = {header.name.lower() for header in headers}
    if len(names) != len(headers) or len(headers) != _count_annotations(input_schema):
        raise InvalidAnnotation("duplicate or unreachable header annotation")
    return headers


def _reachable(schema: object, path: tuple[str, ...]) -> Iterator[ParamHeader]:
    properties = schema.get("properties") if isinstance(schema, dict) else None
    if not isinstance(properties, dict):
        return
    for name, sub in properties.items():
        if isinstance(sub, dict) and _ANNOTATION in sub:
            yield ParamHeader(name=PARAM_PREFIX + _checked_token(sub), path=(*path, name))
        yield from _reachable(sub, (*path, name))


def _checked_token(schema: dict[str, Any]) -> str:
    token = schema[_ANNOTATION]
    if not isinstance(token, str) or not _TOKEN.fullmatch(token) or schema.get("type") not in _TYPES:
        raise InvalidAnnotation("header annotation is not a token on a string, integer or boolean")
    return token


def _count_annotations(schema: object) -> int:
    """All annotations in schema positions, also those behind `items`, `anyOf`, `$defs` and the like, which
    are forbidden there. A property that merely happens to be called `x-mcp-header` is not one."""
    pending: list[tuple[object, bool]] = [(schema, False)]
    count = 0
    while pending:
        node, is_name_map = pending.pop()
        if isinstance(node, list):
            pending += [(child, False) for child in node]
        elif isinstance(node, dict) and is_name_map:
            pending += [(child, False) for child in node.values()]
        elif isinstance(node, dict):
            count += _ANNOTATION in node
            pending += [(child, key in _NAME_MAPS) for key, child in node.items() if key not in _PLAIN_VALUES]
    return count


def header_lines(headers: tuple[ParamHeader, ...], arguments: Mapping[str, Any]) -> list[tuple[str, str]]:
    """The headers for one call; absent and null arguments have none."""
    lines = []
    for header in headers:
        rendered = _rendered(_value_at(arguments, header.path))
        if rendered is not None:
            lines.append((header.name, encode_value(rendered)))
    return lines


def _value_at(arguments: object, path: tuple[str, ...]) -> object:
    for name in path:
        if not isinstance(arguments, Mapping):
            return None
        arguments = arguments.get(name)
    return arguments


def _rendered(value: object) -> str | None:
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value) if isinstance(value, str | int | float) else None
