"""What one version of a bundle or policy says otherwise than another, in words a security person reads. Pure.

Versions come as a manifest writes them; globs are resolved to the tools they select now, with their risk.
"""

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any

from governance.rule_texts import ToolText

MOST_TOOLS = 200
"""Of tools that come or go so many are called by name."""
GIVEN = ("resources", "prompts")
NAMES = {"": "plain while all tools come from one system", "plain": "as the upstream names them"}
NAMES |= {"prefixed": "connector__tool"}
RECORDING = {"full": "arguments and results", "metadata": "no arguments, no results"}
COMPARISONS = {">": "over", ">=": "at least", "<": "under", "<=": "at most", "==": "is", "!=": "is not"}
_SIMPLE = re.compile(r"args\.([A-Za-z_]\w*) *(>=|<=|==|!=|>|<) *(-?[0-9.]+|\"[^\"\\]*\"|'[^'\\]*'|true|false)")
PARTS = {
    "effect": "effect",
    "tools": "tools",
    "connectors": "systems",
    "data_classes": "data classes",
    "risks": "risks",
    "access": "access",
    "on": "side",
    "when": "condition",
    "findings": "findings",
    "on_failure": "what could not be looked at",
    "fields": "fields",
    "reversible": "tokens",
    "keep_last": "letters shown",
    "approvers": "approvers",
    "reason": "reason",
}
"""Member of a rule -> what it is called."""
USUAL: Mapping[str, Any] = {"tools": ["*"], "on": "arguments", "on_failure": "closed"}
ALIKE = 3
"""A rule with so many points in common with another is the same rule, changed."""

Known = Mapping[str, Mapping[str, ToolText]]
"""Connector -> tool, as far as they are known."""
Plain = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Change:
    """`sign` is `+`, `−` or `~`; what was stands in `before`, what comes in `after`; either may be empty. `note` says
    how dangerous what comes or goes is."""

    sign: str
    part: str
    before: str
    after: str
    note: str = ""

    def __str__(self) -> str:
        text = f"{self.before} → {self.after}" if self.sign == "~" else self.before or self.after
        return f"{text} ({self.note})" if self.note else text

    def as_json(self) -> dict[str, str]:
        kinds = {"+": "added", "−": "removed", "~": "changed"}
        return {
            "change": kinds[self.sign],
            "part": self.part,
            "before": self.before,
            "after": self.after,
            "note": self.note,
        }


def bundle_changes(before: Plain, after: Plain, *, known: Known) -> list[Change]:
    """What is given comes first, resolved; then the patterns that give it, and the rest."""
    return [
        *_tools(before, after, known),
        *_patterns("tools", before, after),
        *(change for part in GIVEN for change in _patterns(part, before, after)),
        *_names("inherits", "inherits the rules of {}", before, after),
        *_names("policies", "is bound by policy {}", before, after),
        *_word("names", "names of the tools: {}", NAMES, before, after),
        *_word("recording", "evidence keeps {}", RECORDING, before, after),
    ]


def policy_changes(before: Plain, after: Plain) -> list[Change]:
    """A rule that keeps most of what it says is told as changed."""
    was, becomes = _apart(before.get("rules", []), after.get("rules", []))
    changes = []
    for rule in becomes:
        if (old := _nearest(rule, was)) is None:
            changes.append(Change("+", "rules", "", rule_sentence(rule)))
        else:
            was.remove(old)
            changes.append(_of_rule(old, rule))
    gone = [Change("−", "rules", rule_sentence(rule), "") for rule in was]
    return [*changes, *gone, *_tests(before, after)]


# -- tools


def given_tools(version: Plain, known: Known) -> dict[tuple[str, str], ToolText]:
    """(connector, tool) of all known tools that the version selects."""
    return {
        (connector, name): tool
        for connector, allow, deny in _selections(version.get("tools", []))
        for name, tool in known.get(connector, {}).items()
        if _matches(name, allow) and not _matches(name, deny)
    }


def _tools(before: Plain, after: Plain, known: Known) -> Iterator[Change]:
    was, becomes = given_tools(before, known), given_tools(after, known)
    gained = sorted(becomes.keys() - was.keys(), key=lambda key: (_danger(becomes[key]), key))
    lost = sorted(was.keys() - becomes.keys())
    for key in gained[:MOST_TOOLS]:
        yield Change("+", "tools", "", f"gives {'/'.join(key)}", _risk(becomes[key]))
    for key in lost[:MOST_TOOLS]:
        yield Change("−", "tools", f"gives {'/'.join(key)}", "", _risk(was[key]))
    if more := len(gained[MOST_TOOLS:]):
        yield Change("+", "tools", "", f"gives {more:,} more tools")
    if more := len(lost[MOST_TOOLS:]):
        yield Change("−", "tools", f"gives {more:,} more tools", "")


def _danger(tool: ToolText) -> int:
    return 0 if tool.risk == "high" else 2 if tool.is_read_only else 1


def _risk(tool: ToolText) -> str:
    return ("high risk", "can change data", "reads")[_danger(tool)]


def _selections(entries: Iterable[Plain]) -> Iterator[tuple[str, Sequence[str], Sequence[str]]]:
    for entry in entries:
        yield entry["connector"], entry.get("allow", ["*"]), entry.get("deny", [])


def _matches(name: str, globs: Iterable[str]) -> bool:
    return any(fnmatchcase(name, glob) for glob in globs)


def _patterns(part: str, before: Plain, after: Plain) -> Iterator[Change]:
    was, becomes = (_pattern_words(part, version.get(part, [])) for version in (before, after))
    yield from _sets("patterns", was, becomes)


def _pattern_words(part: str, entries: Iterable[Plain]) -> set[str]:
    words = set()
    for connector, allow, deny in _selections(entries):
        what = connector if part == "tools" else f"{part} of {connector}"
        words |= {f"gives {what}: {glob}" for glob in allow}
        words |= {f"but never {what}: {glob}" for glob in deny}
    return words


def _names(part: str, words: str, before: Plain, after: Plain) -> Iterator[Change]:
    was, becomes = ({words.format(name) for name in version.get(part, [])} for version in (before, after))
    yield from _sets(part, was, becomes)


def _sets(part: str, was: set[str], becomes: set[str]) -> Iterator[Change]:
    yield from (Change("+", part, "", text) for text in sorted(becomes - was))
    yield from (Change("−", part, text, "") for text in sorted(was - becomes))


def _word(part: str, words: str, table: Mapping[str, str], before: Plain, after: Plain) -> Iterator[Change]:
    was, becomes = (version.get(part) for version in (before, after))
    if was is not None and was != becomes:
        yield Change("~", part, words.format(table.get(was, was)), words.format(table.get(str(becomes), becomes)))


# -- rules


def rule_sentence(rule: Plain) -> str:
    """E.g. `ask support-leads (1 of them) before billing_refund when args.amount > 100: Refunds need a lead`."""
    effect = rule["effect"]
    approvers = rule.get("approvers") or {}
    who = f" {approvers_words(approvers)}" if approvers else ""
    before = " before" if effect == "ask" else ""
    fields = f" the fields {', '.join(rule['fields'])} of" if rule.get("fields") else ""
    side = " in results" if rule.get("on") == "result" else ""
    found = f" where {' or '.join(rule['findings'])} is found" if rule.get("findings") else ""
    found += " (but not where nobody could look)" if rule.get("on_failure") == "open" else ""
    when = f" when {rule['when']}" if rule.get("when") else ""
    why = f": {rule['reason']}" if rule.get("reason") else ""
    tokens = f" by tokens{_shown_end(rule)}" if rule.get("reversible") else ""
    put = " real values for" if effect == "restore" else ""
    return f"{effect}{put}{who}{before}{fields} {_which(rule)}{side}{found}{tokens}{when}{why}"


def _shown_end(rule: Plain) -> str:
    return f" that show the last {rule['keep_last']}" if rule.get("keep_last") else ""


def _which(rule: Plain) -> str:
    """The tools that the rule is about."""
    access = {"read": " that read", "write": " that write"}.get(rule.get("access", ""), "")
    systems = f" of {' or '.join(rule['connectors'])}" if rule.get("connectors") else ""
    classes = f" with {' or '.join(rule['data_classes'])}" if rule.get("data_classes") else ""
    risks = f" of {' or '.join(rule['risks'])} risk" if rule.get("risks") else ""
    return f"{', '.join(rule.get('tools', ['*']))}{systems}{access}{classes}{risks}"


def approvers_words(approvers: Plain) -> str:
    """E.g. `support-leads (2 of them)`."""
    team = approvers.get("team")
    teams = [*([team] if isinstance(team, str) else team or []), *_listed(approvers.get("teams"))]
    others = {
        "people": "{}",
        "on_call": "whoever is on call for {}",
        "duties": "the duty {}",
    }
    named = [*teams, *(words.format(each) for key, words in others.items() for each in _listed(approvers.get(key)))]
    named += ["the owner's manager"] * bool(approvers.get("manager"))
    named += ["the system's owner"] * bool(approvers.get("resource_owner"))
    return f"{', '.join(named) or 'an approver'} ({approvers.get('count', 1)} of them)"


def _listed(value: Any) -> list[str]:
    return [value] if isinstance(value, str) else list(value or [])


def condition_words(condition: str) -> str:
    """`args.amount > 100` is `amount over 100`; what is not that simple stays as it is written."""
    found = _SIMPLE.fullmatch(condition.strip())
    return f"{found[1]} {COMPARISONS[found[2]]} {found[3]}" if found else condition or "always"


def _apart(before: Iterable[Plain], after: Iterable[Plain]) -> tuple[list[Plain], list[Plain]]:
    """Without what both have; their order says nothing."""
    was, becomes = list(before), []
    for rule in after:
        if rule in was:
            was.remove(rule)
        else:
            becomes.append(rule)
    return was, becomes


def _member(rule: Plain, name: str) -> Any:
    return rule.get(name) or USUAL.get(name, "")


def _nearest(rule: Plain, others: Sequence[Plain]) -> Plain | None:
    """The rule that this one was, if there is one that says much the same."""
    scored = [(_common(rule, other), -position, other) for position, other in enumerate(others)]
    best = max(scored, key=lambda each: each[:2], default=None)
    return best[2] if best and best[0] >= ALIKE else None


def _common(rule: Plain, other: Plain) -> int:
    """Points for what both say: the tools and the reason tell most."""
    weights = {"effect": 1, "tools": 2, "reason": 2, "when": 1, "findings": 1, "approvers": 1}
    usual = {"reason": "", "when": "", "findings": "", "approvers": ""}
    return sum(
        weight for name, weight in weights.items() if _member(rule, name) == _member(other, name) != usual.get(name)
    )


def _of_rule(old: Plain, new: Plain) -> Change:
    """E.g. `Refunds need a lead: condition amount over 100` → `... condition amount over 500`."""
    changed = [name for name in PARTS if _member(old, name) != _member(new, name)]
    title = old.get("reason") or f"{old['effect']} {_which(old)}"
    was, becomes = ("; ".join(f"{PARTS[name]} {_shown(rule, name)}" for name in changed) for rule in (old, new))
    return Change("~", "rules", f"{title}: {was}", f"{title}: {becomes}")


def _shown(rule: Plain, name: str) -> str:
    value = _member(rule, name)
    words: dict[str, Callable[[Any], str]] = {"when": condition_words, "approvers": approvers_words}
    if name in words and value:
        return words[name](value)
    return ", ".join(value) if isinstance(value, list) else str(value) or ("always" if name == "when" else "none")


def _tests(before: Plain, after: Plain) -> Iterator[Change]:
    was, becomes = ({test_words(test) for test in version.get("tests", [])} for version in (before, after))
    yield from _sets("tests", was, becomes)


def test_words(test: Plain) -> str:
    name = test.get("name", "")
    return f"test “{name}” expects {test.get('expect', '')}"
