"""Tokens that stand for what was masked, so that it can be put back: typed, numbered, and provably of one run. Pure.

`[EMAIL#3~k7q2mxab]`, `[CARD_NUMBER#1~b3xq7zds …4242]`. The letters after the tilde are a proof over the run, the
number and the value: nobody can make one up, and what is no token of this very run is just text.
"""

import re
from collections.abc import Container, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple

import orjson

from governance.inspection.findings import Finding, names_of
from governance.inspection.json_text import Scalar, decoded, encoded, in_json_text, is_json_text
from governance.inspection.redaction import ALIKE, placeholder, redact
from governance.inspection.walk import token_of

MARK: Final = b"~"
"""Stands in every token, and in few other texts."""
LONGEST_VALUE: Final = 8_192
"""Characters; what is longer is masked for good."""
MOST_SHOWN: Final = 4
PART_SHOWN: Final = 3
"""Of the letters and digits of a value at most one in so many is shown."""
_TOKEN: Final = re.compile(r"\[([A-Za-z0-9_.:-]{1,80}#[1-9][0-9]{0,5})~([a-z2-7]{8})(?: …(\w{1,4}))?\]")
_LABEL: Final = re.compile(r"[A-Za-z0-9_.:-]{1,80}")


ONE_WAY: Final = ("injection", "suspected_injection", "untrusted_destination", "untrusted_link", "anomaly")
"""What rules call what is masked for good."""


def goes_back(name: str) -> bool:
    """Whether what rules call so can have a token. Nobody may have orders put back."""
    return name not in ONE_WAY


class Names(NamedTuple):
    """What rules allow by name, and what they do not, whatever else allows it."""

    allowed: frozenset[str]
    barred: frozenset[str] = frozenset()

    def covers(self, finding: Iterable[str]) -> bool:
        """One that rules may call any of these."""
        called = frozenset(finding)
        return not self.allowed.isdisjoint(called) and self.barred.isdisjoint(called)


class Value(NamedTuple):
    """What a token stands for. A number is written as JSON writes it, and comes back as a number. `names` has for each
    finding that is in it what rules may call that."""

    label: str
    rule: str
    names: tuple[tuple[str, ...], ...]
    text: str
    is_number: bool = False

    def __repr__(self) -> str:
        return f"<{self.label}>"


@dataclass(frozen=True, slots=True)
class Seen:
    """What has the form of a token, and where it stands."""

    name: str
    """Type and number, e.g. `EMAIL#3`: never a part of the value."""
    text: str
    path: str


def token(name: str, proof: str, shown: str) -> str:
    return f"[{name}~{proof} …{shown}]" if shown else f"[{name}~{proof}]"


def last_of(text: str, most: int) -> str:
    """The end of a value, as far as it may be shown."""
    signs = [sign for sign in text if sign.isalnum()]
    count = min(most, MOST_SHOWN, len(signs) // PART_SHOWN)
    return "".join(signs[-count:]) if count else ""


# -- masking


@dataclass(frozen=True, slots=True)
class Reversing:
    """Masks what rules call one of `names` by tokens, and all else for good. `tokens` are those that are known."""

    names: Names
    tokens: Mapping[Value, str]
    wanted: dict[Value, None] = field(default_factory=dict, repr=False)
    """All that there could be a token for."""

    def __call__(self, found: tuple[Finding, ...], text: str, is_number: bool) -> str:
        value = value_of(found, text, is_number=is_number, names=self.names)
        if value is None:
            return _plain(found[0])
        self.wanted[value] = None
        return self.tokens.get(value) or _plain(found[0])


def _plain(finding: Finding) -> str:
    return ALIKE.get(finding.kind, placeholder(finding))


def value_of(found: tuple[Finding, ...], text: str, *, is_number: bool, names: Names) -> Value | None:
    """None for what is masked for good, as all is that is known to be secret: values of the vault, canaries."""
    if any(finding.kind == "secret" and finding.subject for finding in found):
        return None
    label = placeholder(found[0])[1:-1]
    each = {tuple(sorted(names_of(finding))) for finding in found}
    if not all(map(names.covers, each)) or len(text) > LONGEST_VALUE or not _LABEL.fullmatch(label):
        return None
    return Value(label, found[0].rule, tuple(sorted(each)), text, is_number)


def values_in(content: Any, found: Iterable[Finding], names: Names) -> list[Value]:
    """What of the content needs a token, each once, in the order of the text."""
    reversing = Reversing(names, {})
    redact(content, found, reversing)
    return list(reversing.wanted)


def masked(content: Any, found: Iterable[Finding], names: Names, tokens: Mapping[Value, str]) -> Any:
    return redact(content, found, Reversing(names, tokens))


def without_tokens(content: Any, found: Iterable[Finding], tokens: Container[str]) -> list[Finding]:
    """Findings that see nothing but one of these tokens are none."""
    spans: dict[tuple[str, bool], list[tuple[int, int]]] = {}
    for path, text, is_key in _texts(content, ""):
        if standing := [match.span() for match in _matches(text) if match[0] in tokens]:
            spans.setdefault((path, is_key), []).extend(standing)
    return [each for each in found if not _is_inside(each, spans.get((each.path, each.in_key), ()))]


def _is_inside(finding: Finding, spans: Iterable[tuple[int, int]]) -> bool:
    return any(start <= finding.start and finding.end <= end for start, end in spans)


# -- putting back


def tokens_in(content: Any) -> Iterator[Seen]:
    """What may be one, wherever it stands."""
    for path, text, _ in _texts(content, ""):
        for match in _matches(text):
            yield Seen(match[1], match[0], path)


def unmasked(content: Any, values: Mapping[str, Value]) -> Any:
    """A copy with the values of these tokens. A value is put in as it is: what it contains is not looked at again."""
    if isinstance(content, str):
        return _restored(content, values)
    if isinstance(content, dict):
        return {_restored_text(key, values): unmasked(member, values) for key, member in content.items()}
    if isinstance(content, list | tuple):
        return [unmasked(member, values) for member in content]
    return content


def _restored(text: str, values: Mapping[str, Value]) -> Any:
    value = values.get(text)
    return orjson.loads(value.text) if value is not None and value.is_number else _restored_text(text, values)


def _restored_text(text: str, values: Mapping[str, Value]) -> str:
    """In text that is JSON a value stays within its string, whatever signs it has."""
    if "~" not in text or not any(each in text for each in values):
        return text
    if is_json_text(text):
        return in_json_text(text, lambda scalar: _in_scalar(scalar, values))
    return _with_values(text, values)


def _in_scalar(scalar: Scalar, values: Mapping[str, Value]) -> str | None:
    """What a string of a JSON text becomes, as JSON; None if it stays."""
    if not scalar.is_string or "~" not in scalar.inner:
        return None
    text = decoded(scalar.inner)
    value = values.get(text)
    if value is not None and value.is_number:
        return value.text
    restored = _with_values(text, values)
    return f'"{encoded(restored)}"' if restored != text else None


def _with_values(text: str, values: Mapping[str, Value]) -> str:
    return _TOKEN.sub(lambda match: values[match[0]].text if match[0] in values else match[0], text)


def _matches(text: str) -> Iterable[re.Match[str]]:
    return _TOKEN.finditer(text) if "~" in text else ()


def _texts(value: Any, path: str) -> Iterator[tuple[str, str, bool]]:
    """Path, text and whether it is a key, of values whose depth is known to be bounded."""
    if isinstance(value, str):
        yield path, value, False
    elif isinstance(value, dict):
        for key, member in value.items():
            below = f"{path}/{token_of(key)}"
            yield below, key, True
            yield from _texts(member, below)
    elif isinstance(value, list | tuple):
        for number, member in enumerate(value):
            yield from _texts(member, f"{path}/{number}")
