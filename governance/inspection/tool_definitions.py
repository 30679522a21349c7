"""What is suspicious in how an upstream describes its tools. Pure: no Django, no database, no network.

That a definition changed at all is known for certain from its pinned digest (`governance.registry`); here is told what
changed, what its words try, and whose tools its name imitates.
"""

import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final, NamedTuple

from governance.inspection.engine import inspect_value
from governance.inspection.findings import Budget, Finding, Findings, Kind, Severity, limit, settled
from governance.inspection.folding import folded
from governance.inspection.walk import TooMuch, leaves

VERSION: Final = 1
KINDS: Final[frozenset[Kind]] = frozenset(("definition", "injection", "suspicion", "unicode"))
SAYING: Final = (
    "injection.override",
    "injection.concealment",
    "injection.exfiltration",
    "injection.spoof",
    "injection.encoded",
)
"""Families of injection that a definition has no use for. It may well address the model and tell what a user wants:
that is what it is for, and honest systems do."""
LONGEST_DESCRIPTION: Final = 8_000
LEAST_NEAR: Final = 6
"""Letters of names that count as near when they differ in one."""
MOST_TOOLS: Final = 5_000
MOST_OFFERED: Final = 1_000
"""Tools of one connector that are compared with others'."""
_SEPARATORS: Final = re.compile(r"[\W_]+")
_TRAILING: Final = re.compile(r"(?:s|v?\d+)$")
_NAMED: Final = re.compile(r"[A-Za-z][\w-]{2,127}")
_DANGER: Final[Mapping[str, Any]] = {"readOnlyHint": False, "destructiveHint": True, "openWorldHint": True}
"""Annotations in the value that is worse."""
_SHADOWS: Final[Mapping[str, str]] = {
    "definition.look_alike_name": "high",
    "definition.speaks_of_other": "medium",
    "definition.near_name": "low",
    "definition.same_name": "low",
}
"""How grave each is. Two systems with a tool of one name are everyday: agents tell them apart by their prefix."""


class OfferedTool(NamedTuple):
    connector: str
    name: str
    text: str
    """Its title and description."""


class Shadow(NamedTuple):
    """One tool that stands in the way of another connector's."""

    rule: str
    confidence: float
    tool: OfferedTool
    other: OfferedTool


def inspect_definition(definition: Mapping[str, Any]) -> Findings:
    """Of every text and name in it, whatever field it hides in."""
    found = [each for each in inspect_value(definition, kinds=KINDS) if not _is_usual(each)]
    description = definition.get("description")
    if isinstance(description, str) and len(description) > LONGEST_DESCRIPTION:
        found.append(_finding("long", Severity.LOW, "/description", start=LONGEST_DESCRIPTION, end=len(description)))
    return settled(found)


def _is_usual(finding: Finding) -> bool:
    return finding.kind in ("injection", "suspicion") and not finding.rule.startswith(SAYING)


def changes(pinned: Mapping[str, Any], offered: Mapping[str, Any]) -> Findings:
    """Where the offered definition differs from the pinned one; paths are those of the offered, or of what is gone."""
    budget = Budget()
    try:
        before, after = _texts(pinned, budget), _texts(offered, budget)
    except TooMuch as where:
        return Findings((limit("limit.leaves", str(where)),))
    found = [_change(path, before.get(path), after.get(path)) for path in sorted({*before, *after})]
    told = [each for each in found if each is not None]
    if not told and pinned != offered:
        told = [_finding("changed", Severity.MEDIUM, "")]
    return settled(told)


def _texts(definition: Mapping[str, Any], budget: Budget) -> dict[str, str]:
    """True and false too: they are the annotations."""
    return dict(_flags(definition)) | {
        leaf.path: leaf.text for leaf in leaves(dict(definition), budget) if not leaf.is_key
    }


def _flags(definition: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    annotations = definition.get("annotations")
    if isinstance(annotations, Mapping):
        yield from ((f"/annotations/{key}", str(value)) for key, value in annotations.items())


def _change(path: str, before: str | None, after: str | None) -> Finding | None:
    if before == after:
        return None
    name = path.rsplit("/", 1)[-1]
    if path.startswith("/annotations/") and name in _DANGER and after == str(_DANGER[name]):
        return _finding("riskier", Severity.HIGH, path, end=len(after))
    if after is None:
        return _finding("removed", Severity.LOW, path)
    rule = "added" if before is None else "changed"
    severity = Severity.MEDIUM if name in ("description", "title") or "/required/" in path else Severity.LOW
    return _finding(rule, severity, path, end=len(after))


def shadows(tools: Iterable[OfferedTool]) -> list[Shadow]:
    """Names that are, look or nearly are another connector's, and descriptions that speak of its tools."""
    known = list(tools)[:MOST_TOOLS]
    return [*_same_names(known), *_near_names(known), *_spoken_of(known)]


def plain_name(name: str) -> str:
    """As it looks: letters of other alphabets made Latin, without case and separators."""
    return _SEPARATORS.sub("", folded(name).text().casefold())


def _same_names(tools: Iterable[OfferedTool]) -> Iterator[Shadow]:
    groups: dict[str, list[OfferedTool]] = defaultdict(list)
    for tool in tools:
        groups[plain_name(tool.name)].append(tool)
    for group in groups.values():
        first = group[0]
        for tool in group[1:]:
            if tool.connector != first.connector or tool.name != first.name:
                yield _same(tool, first)


def _same(tool: OfferedTool, first: OfferedTool) -> Shadow:
    if not (tool.name.isascii() and first.name.isascii()):
        return Shadow("definition.look_alike_name", 0.95, tool, first)
    if tool.name == first.name:
        return Shadow("definition.same_name", 0.5, tool, first)
    return Shadow("definition.near_name", 0.6, tool, first)


def _near_names(tools: Iterable[OfferedTool]) -> Iterator[Shadow]:
    """Names with one letter more, less or other have a form in common with that letter left out."""
    forms: dict[str, list[OfferedTool]] = defaultdict(list)
    for tool in tools:
        name = plain_name(tool.name)
        if len(name) >= LEAST_NEAR:
            for form in {name, *(name[:at] + name[at + 1 :] for at in range(len(name)))}:
                forms[form].append(tool)
    seen: set[tuple[OfferedTool, OfferedTool]] = set()
    for group in forms.values():
        first = group[0]
        for tool in group[1:]:
            if tool.connector != first.connector and (tool, first) not in seen and _is_near(tool.name, first.name):
                seen.add((tool, first))
                yield Shadow("definition.near_name", 0.6, tool, first)


def _is_near(one: str, other: str) -> bool:
    """Plurals and versions are honest."""
    one, other = plain_name(one), plain_name(other)
    if one == other or _TRAILING.sub("", one) == _TRAILING.sub("", other):
        return False
    if len(one) != len(other):
        return True
    different = [at for at in range(len(one)) if one[at] != other[at]]
    return len(different) == 1 or (len(different) == 2 and sorted(one) == sorted(other))


def _spoken_of(tools: Iterable[OfferedTool]) -> Iterator[Shadow]:
    """Only names that are no plain words: nobody writes `send_invoice` by chance. Its own system's come first."""
    names: dict[str, dict[str, OfferedTool]] = defaultdict(dict)
    for tool in tools:
        if re.search(r"[a-z0-9][_-][a-z0-9]|[a-z][A-Z]", tool.name):
            names[tool.name].setdefault(tool.connector, tool)
    for tool in tools:
        for word in dict.fromkeys(_NAMED.findall(tool.text)):
            if (owners := names.get(word)) and tool.connector not in owners:
                yield Shadow("definition.speaks_of_other", 0.6, tool, next(iter(owners.values())))


def shadows_of(
    offered: Mapping[str, str], *, connector: str, known: Iterable[tuple[str, str]]
) -> dict[str, list[tuple[str, str, str]]]:
    """Of one connector's tools (name -> text) the shadows they throw on those known of others (connector, name): rule,
    severity, the other tool."""
    others = [OfferedTool(of, name, "") for of, name in known]
    ours = [OfferedTool(connector, name, text) for name, text in offered.items()]
    found: dict[str, list[tuple[str, str, str]]] = defaultdict(list)
    for shadow in shadows([*ours[:MOST_OFFERED], *others]):
        one, other = shadow.tool, shadow.other
        if one.connector != connector and not shadow.rule.endswith("speaks_of_other"):
            one, other = other, one
        imitates = shadow.rule != "definition.look_alike_name" or not one.name.isascii()
        if one.connector == connector and other.connector != connector and imitates:
            found[one.name].append((shadow.rule, _SHADOWS[shadow.rule], f"{other.connector}/{other.name}"))
    return dict(found)


def _finding(rule: str, severity: Severity, path: str, *, start: int = 0, end: int = 0) -> Finding:
    """These are facts: nothing to be unsure of."""
    return Finding(f"definition.{rule}", VERSION, "definition", severity, 1.0, path, start, end, "raw")
