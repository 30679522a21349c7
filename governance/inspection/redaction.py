"""A JSON value without what was found in it, and what was found, provably: where, by which rule, never what. Pure."""

from bisect import bisect_left, bisect_right
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Final

import orjson

from governance.inspection.findings import Finding
from governance.inspection.hosts import host_in
from governance.inspection.json_text import Scalar, decoded, encoded, in_json_text, is_json_text, widened
from governance.inspection.sentences import sentences
from governance.inspection.walk import Leaf, text_of, token_of

MOST_PLACES: Final = 100
"""Different ones that are told; all are masked."""
FINGERPRINTS: Final = 10
"""Of one rule at one place."""
UNSEEN: Final = "[NOT INSPECTED]"
"""Stands for a text that could not be looked at in full."""
ALIKE: Final[Mapping[str, str]] = {
    "injection": "[INSTRUCTION]",
    "suspicion": "[INSTRUCTION]",
    "unicode": "",
    "definition": "[INSTRUCTION]",
    "destination": "[UNTRUSTED]",
}
"""What passages of these kinds leave behind, whichever rule saw them."""

ORDERS: Final = frozenset(("injection", "suspicion"))
"""Nothing of their sentences is left."""
OPENS_ANEW: Final = ("(", "[", ":")
"""After a bracket these would make a link of what is left."""

Spans = Mapping[tuple[str, bool], list[Finding]]
Place = tuple[str, int, str, str, str, str]
"""Rule, version, kind, path, subject and exception."""
Span = tuple[int, int, tuple[Finding, ...]]
Naming = Callable[[tuple[Finding, ...], str, bool], str]
"""What takes the place of a text in which these overlap; it may be a number as JSON writes it."""


@dataclass(frozen=True, slots=True)
class Found:
    """Evidence of a finding: `fingerprints` are keyed, so that the same value is known again and cannot be guessed."""

    rule: str
    version: int
    kind: str
    path: str
    count: int
    fingerprints: tuple[str, ...]
    subject: str = ""
    exception: str = ""
    """The name of what excepts it: no rule counted it."""

    def as_json(self) -> dict[str, Any]:
        told = {
            "rule": self.rule,
            "version": self.version,
            "kind": self.kind,
            "path": self.path,
            "count": self.count,
            "fingerprints": list(self.fingerprints),
        }
        more = {"subject": self.subject, "exception": self.exception}
        return told | {name: text for name, text in more.items() if text}


def by_name(found: tuple[Finding, ...], text: str, is_number: bool) -> str:
    return ALIKE.get(found[0].kind, placeholder(found[0]))


def redact(value: Any, found: Iterable[Finding], naming: Naming = by_name) -> Any:
    """A copy in which each finding is replaced by the name of what it was. A number becomes text as a whole; text that
    is JSON stays JSON."""
    return _Walk(_by_leaf(found), naming).value(value, "")


def evidence(value: Any, found: Iterable[Finding], fingerprint: Callable[[str], str]) -> list[Found]:
    """What was found in `value`, at most MOST_PLACES of it: what is known to be secret first, then one place of each
    rule, then the most frequent; so no crowd of one thing hides another. A place is told by what is left of its
    keys; of what was not looked at nobody knows what its keys say."""
    findings = list(found)
    spans = _by_leaf(findings)
    counts: Counter[Place] = Counter()
    prints: dict[Place, dict[str, None]] = defaultdict(dict)
    for leaf, shown in _leaves(value, "", "", spans):
        for each in spans[leaf.path, leaf.is_key]:
            place = (each.rule, each.version, each.kind, shown, each.subject, each.exception)
            if each.kind != "limit":
                counts[place] += 1
                if len(prints[place]) < FINGERPRINTS:
                    prints[place][fingerprint(leaf.text[each.start : each.end])] = None
    limits = (each for each in findings if each.kind == "limit")
    counts.update((each.rule, each.version, each.kind, "", each.subject, "") for each in limits)
    return [Found(*place[:4], counts[place], tuple(prints[place]), *place[4:]) for place in _told_first(counts)]


def _told_first(counts: Counter[Place]) -> list[Place]:
    by_count = [place for place, _ in counts.most_common()]
    first_of_rule = {place[0]: place for place in reversed(by_count)}
    ordered = sorted(by_count, key=lambda place: (not _is_known(place), first_of_rule[place[0]] is not place))
    return ordered[:MOST_PLACES]


def _is_known(place: Place) -> bool:
    """Whose value it is. What somebody else's detector tells comes after that, however much it is."""
    return bool(place[4]) and place[2] != "external"


def places(value: Any, wanted: Iterable[Finding], *, among: Iterable[Finding]) -> Iterator[tuple[Finding, str, str]]:
    """Each of these with its place as evidence tells it, and its text. `among` is all that was found."""
    asked, spans = set(wanted), _by_leaf(among)
    for leaf, shown in _leaves(value, "", "", spans):
        for each in spans[leaf.path, leaf.is_key]:
            if each in asked:
                yield each, shown, leaf.text[each.start : each.end]


def _by_leaf(found: Iterable[Finding]) -> Spans:
    spans: dict[tuple[str, bool], list[Finding]] = defaultdict(list)
    for finding in found:
        spans[finding.path, finding.in_key].append(finding)
    return spans


def _leaves(value: Any, path: str, shown: str, spans: Spans) -> Iterator[tuple[Leaf, str]]:
    """Only those that something was found in, each with what may be told of its path."""
    if isinstance(value, dict):
        for key, member in value.items():
            below, found = f"{path}/{token_of(key)}", spans.get((f"{path}/{token_of(key)}", True))
            told = f"{shown}/{token_of(_without(key, found) if found else key)}"
            if found:
                yield Leaf(below, "", key, is_key=True), told
            yield from _leaves(member, below, told, spans)
    elif isinstance(value, list | tuple):
        for number, member in enumerate(value):
            yield from _leaves(member, f"{path}/{number}", f"{shown}/{number}", spans)
    elif (path, False) in spans and (text := text_of(value)) is not None:
        yield Leaf(path, "", text), shown


@dataclass(frozen=True, slots=True)
class _Walk:
    """One pass over one value, whose depth is known to be bounded."""

    spans: Spans
    naming: Naming
    used: Counter[str] = field(default_factory=Counter)

    def value(self, value: Any, path: str) -> Any:
        if isinstance(value, dict):
            return self.object(value, path)
        if isinstance(value, list | tuple):
            return [self.value(member, f"{path}/{number}") for number, member in enumerate(value)]
        found, text = self.spans.get((path, False)), text_of(value)
        if not found or text is None:
            return value
        return _without(text, found, self.naming) if isinstance(value, str) else _instead_of(value, found, self.naming)

    def object(self, members: Mapping[str, Any], path: str) -> dict[str, Any]:
        """Two keys may become one; neither member may be lost."""
        shown: dict[str, Any] = {}
        for key, member in members.items():
            below = f"{path}/{token_of(key)}"
            found = self.spans.get((below, True))
            name = _without(key, found, self.naming) if found else key
            while name in shown or (name != key and name in members):
                self.used[name] += 1
                name = f"{name}#{self.used[name] + 1}"
            shown[name] = self.value(member, below)
        return shown


def _without(text: str, found: Iterable[Finding], naming: Naming = by_name) -> str:
    found = list(found)
    if any(each.kind == "limit" for each in found):
        return UNSEEN
    if is_json_text(text):
        return _without_in_json(text, list(_merged(found)), naming)
    parts, at = [], 0
    for start, end, there in _merged(_whole(text, each) for each in found):
        parts += [text[at:start], _apart(naming(there, text[start:end], False), text, there[0])]
        at = end
    return "".join((*parts, text[at:]))


def _whole(text: str, finding: Finding) -> Finding:
    if finding.kind not in ORDERS:
        return finding
    start, end = sentences(text, finding.start, finding.end)
    return replace(finding, start=start, end=end)


def _instead_of(number: Any, found: list[Finding], naming: Naming) -> str:
    if any(each.kind == "limit" for each in found):
        return UNSEEN
    return naming(tuple(found), orjson.dumps(number).decode(), True)


def _merged(found: Iterable[Finding]) -> Iterator[Span]:
    """Findings that overlap become one, named after the first."""
    group: list[Finding] = []
    end = 0
    for each in sorted(found, key=lambda each: (each.start, -each.end)):
        if group and each.start >= end:
            yield group[0].start, end, tuple(group)
            group = []
        group.append(each)
        end = max(end, each.end)
    if group:
        yield group[0].start, end, tuple(group)


def _without_in_json(text: str, spans: list[Span], naming: Naming) -> str:
    """What a finding has of a number is the number; of strings that it reaches over, its part of each."""
    ends = [end for _, end, _ in spans]

    def change(scalar: Scalar) -> str | None:
        first = bisect_right(ends, scalar.start)
        past = bisect_left(spans, scalar.start + len(scalar.inner), lo=first, key=lambda span: span[0])
        if first == past:
            return None
        if scalar.is_string:
            return f'"{_within(scalar, spans[first:past], naming, text)}"'
        return f'"{encoded(naming(spans[first][2], scalar.inner, True))}"'

    return in_json_text(text, change)


def _within(scalar: Scalar, spans: Iterable[Span], naming: Naming, text: str) -> str:
    inner, parts, at = scalar.inner, [], 0
    for begins, ends, found in spans:
        start, end = widened(inner, max(begins - scalar.start, at), min(ends - scalar.start, len(inner)))
        if start < end:
            named = naming(found, decoded(inner[start:end]), False)
            parts += [inner[at:start], encoded(_apart(named, text, found[0]))]
            at = end
    return "".join((*parts, inner[at:]))


def placeholder(finding: Finding) -> str:
    if finding.kind == "link":
        return _defused(finding)
    name = finding.rule.upper()
    return f"[SECRET:{finding.rule}]" if finding.kind == "secret" else f"[{name}]"


def _defused(finding: Finding) -> str:
    return "" if finding.rule == "link_text" else f"[{finding.rule} defused: {host_in(finding.subject)}]"


def _apart(named: str, text: str, finding: Finding) -> str:
    return _set_apart(named, text, finding) if finding.kind == "link" else named


def _set_apart(left: str, text: str, finding: Finding) -> str:
    """So that it neither sticks to a word nor becomes a link with what follows."""
    before = " " if left and finding.start and not text[finding.start - 1].isspace() else ""
    return f"{before}{left}{' ' if text[finding.end : finding.end + 1] in OPENS_ANEW else ''}"
