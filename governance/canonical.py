"""Canonical JSON, and the digests that bind an approval or a pin to exactly what was seen.

What is decided must be what is sent: arguments are parsed once, strictly, and only their re-encoding travels
on. Refused is whatever two parsers could read differently: duplicate keys, integers beyond 64 bits, NaN and
infinity, lone surrogates, invalid UTF-8.
"""

import hashlib
import json
from collections.abc import Mapping
from typing import Any

import orjson

MAX_DEPTH = 64
INTEGERS = range(-(2**63), 2**64)
LONGEST_INTEGER = len(str(-(2**63)))
_INEXACT = 2.0**63
_SUSPECT = -(2**60)


class NotCanonical(ValueError):
    """`code` is one of invalid_json, too_deep, duplicate_key, number_out_of_range."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.message = message


def parse(body: bytes, *, max_depth: int = MAX_DEPTH) -> Any:
    """Decodes JSON, or raises NotCanonical. Nesting counts containers: `[[]]` has depth 2."""
    try:
        value = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise _describe(error) from None
    keys = _count_keys((value,), max_depth + 1)
    if keys != body.count(b":") and (keys != body.count(b'":') or _has_space_before_colon(body)):
        _check_slowly(body)
    return value


def _count_keys(container: Any, depth: int) -> int:
    """How many object keys survived decoding; a count far below zero when a number needs the slow check.

    The text has at least as many colons as members, and at least as many members as keys: if first and last
    are equal, no key was lost. Where strings hold colons the same goes for `":`, if no space stands before a
    colon.
    """
    if not depth:
        raise NotCanonical("too_deep", "The JSON is nested too deeply.")
    if type(container) is dict:
        keys = len(container)
        container = container.values()
    else:
        keys = 0
    for member in container:
        kind = type(member)
        if kind is str:
            continue
        if kind is dict or kind is list:
            keys += _count_keys(member, depth - 1)
        elif kind is float and (member >= _INEXACT or member <= -_INEXACT):
            keys += _SUSPECT
    return keys


def _has_space_before_colon(body: bytes) -> bool:
    """One byte is found much faster than two, and compact JSON has no line breaks or tabs."""
    return (
        b" :" in body
        or (b"\n" in body and b"\n:" in body)
        or (b"\r" in body and b"\r:" in body)
        or (b"\t" in body and b"\t:" in body)
    )


def _check_slowly(body: bytes) -> None:
    """Reads the text again, member by member. Its depth is known to be bounded."""
    try:
        json.loads(body.decode(), object_pairs_hook=_unique, parse_int=_exact_integer)
    except RecursionError:
        raise NotCanonical("too_deep", "The JSON is nested too deeply.") from None


def _unique(members: list[tuple[str, Any]]) -> None:
    seen = set()
    for key, _ in members:
        if key in seen:
            raise NotCanonical("duplicate_key", f"The key {_shown(key)} occurs twice in one object.")
        seen.add(key)


def _exact_integer(digits: str) -> int:
    if len(digits) > LONGEST_INTEGER or (value := int(digits)) not in INTEGERS:
        raise NotCanonical("number_out_of_range", f"The integer {digits[:24]} does not fit into 64 bits.")
    return value


def _shown(key: str) -> str:
    return json.dumps(key if len(key) <= 64 else key[:63] + "…", ensure_ascii=False)


def _describe(error: orjson.JSONDecodeError) -> NotCanonical:
    if error.msg.startswith("depth limit"):
        return NotCanonical("too_deep", "The JSON is nested too deeply.")
    return NotCanonical("invalid_json", f"Not valid JSON: {error.msg} (line {error.lineno}, column {error.colno}).")


def encode(value: Any) -> bytes:
    """The one encoding of a parsed value: sorted keys, no spaces, UTF-8, no needless escape."""
    return orjson.dumps(value, option=orjson.OPT_SORT_KEYS)


def digest(domain: bytes, *fields: bytes) -> bytes:
    """SHA-256 over length-prefixed fields. `domain` keeps digests of different meaning apart."""
    hasher = hashlib.sha256()
    for part in (domain, *fields):
        hasher.update(len(part).to_bytes(8, "big"))
        hasher.update(part)
    return hasher.digest()


def call_digest(
    *,
    organization: str,
    agent: str,
    person: str,
    connector: str,
    tool: str,
    definition: str,
    arguments: bytes,
    bundle_version: str,
) -> bytes:
    """What an approval binds: who calls which pinned tool with what, under which rules.

    `person` is the on-behalf-of user, empty when the agent acts for itself; `definition` is the definition
    hash; `arguments` are canonical.
    """
    names = (organization, agent, person, connector, tool, definition)
    return digest(b"gatehouse/call/v1", *(name.encode() for name in names), arguments, bundle_version.encode())


def definition_hash(tool: Mapping[str, Any]) -> str:
    """Hex identity of a tool definition, unknown fields included."""
    return digest(b"gatehouse/definition/v1", encode(tool)).hex()
