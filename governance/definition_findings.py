"""What inspection has to say of a tool's definition, in the form in which it is kept beside it: never the text.

The engine is loaded where an upstream has just answered, and nowhere else.
"""

import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import Any, Final, Protocol

from django.utils.module_loading import import_string

ROOM: Final = "governance.inspection.tool_definitions"
MOST_KEPT: Final = 50
GRAVE: Final = ("high", "critical")
OF_CHANGES: Final = frozenset(("definition.changed", "definition.added"))
"""What `new_tools: allow` allows; a change for the worse is graver."""
WORDS: Final[Mapping[str, str]] = {
    "definition.precedence": "It wants to be used before or instead of other tools",
    "definition.excludes": "It tells the reader not to use other tools",
    "definition.other_tool": "It gives orders about other tools",
    "definition.loot": "It asks for the conversation, credentials or files as an argument",
    "definition.local_files": "It points at files that are none of its business",
    "definition.model_must": "It gives orders to the model",
    "definition.hidden_step": "It asks for steps that the user is not told of",
    "definition.new_rules": "It announces new rules for the model",
    "definition.parameter": "A parameter fishes for the conversation",
    "definition.long": "It is unusually long",
    "definition.look_alike_name": "Its name looks like that of",
    "definition.same_name": "It has the name of",
    "definition.near_name": "Its name is almost that of",
    "definition.speaks_of_other": "It speaks of a tool of another system,",
    "definition.riskier": "It says that it does more harm than before",
    "definition.changed": "Changed",
    "definition.added": "New",
    "definition.removed": "No longer there",
}
OF_KIND: Final[Mapping[str, str]] = {
    "injection": "It reads like instructions to a model",
    "unicode": "It holds letters that cannot be seen or that deceive",
    "limit": "It is too much to be looked at as a whole",
}


class _Found(Protocol):
    """A finding of the engine."""

    rule: str
    confidence: float
    severity: Any
    path: str


@dataclass(frozen=True, slots=True)
class Remark:
    """One finding about one definition."""

    rule: str
    severity: str
    path: str = ""
    about: str = ""
    """The other system's tool that it imitates or speaks of."""

    @property
    def is_serious(self) -> bool:
        """Grave enough that a human has to agree before any agent reads the definition."""
        return self.severity in GRAVE or (self.severity == "medium" and self.rule not in OF_CHANGES)

    @property
    def words(self) -> str:
        """For people. The path is hostile text."""
        kind = self.rule.partition(".")[0]
        said = WORDS.get(self.rule) or OF_KIND.get(kind) or "Something suspicious stands in it"
        place = f" (at {self.path})" if self.path else ""
        return f"{said}{f' {self.about}' if self.about else ''}{place}."

    def as_json(self) -> dict[str, str]:
        return {name: value for name, value in asdict(self).items() if value}


Remarks = tuple[Remark, ...]


def inspected(definitions: Iterable[Mapping[str, Any]], *, cpu_seconds: float) -> Iterator[Remarks]:
    """Of every name and text in each. Takes its time: never in a transaction or on an event loop. What is not looked at
    within the time counts as suspicious; to load the engine takes none of it."""
    inspect, started = None, 0.0
    for definition in definitions:
        if inspect is None:
            inspect, started = import_string(f"{ROOM}.inspect_definition"), time.thread_time()
        is_late = time.thread_time() - started > cpu_seconds
        yield (Remark("limit.time", "medium"),) if is_late else remarks_of(inspect(definition))


def changed(pinned: Mapping[str, Any], offered: Mapping[str, Any]) -> Remarks:
    """Where the offered one differs from the pinned."""
    return remarks_of(import_string(f"{ROOM}.changes")(pinned, offered))


def shadowing(offered: Mapping[str, str], *, connector: str, known: Iterable[tuple[str, str]]) -> dict[str, Remarks]:
    """Tool name -> whose tool of another connector it imitates or speaks of; `offered` are names with their texts."""
    find: Callable[..., dict[str, list[tuple[str, str, str]]]] = import_string(f"{ROOM}.shadows_of")
    found = find(offered, connector=connector, known=known)
    return {
        name: tuple(Remark(rule, severity, "", about) for rule, severity, about in of) for name, of in found.items()
    }


def remarks_of(found: Iterable[_Found]) -> Remarks:
    """The sure ones, the gravest first, each rule and place once."""
    sure = [each for each in found if each.confidence >= 0.5]
    ordered = sorted(sure, key=lambda each: -each.severity)
    remarks = (Remark(each.rule, each.severity.name.lower(), each.path) for each in ordered)
    return tuple(dict.fromkeys(remarks))[:MOST_KEPT]


def stored(remarks: Iterable[Remark]) -> list[dict[str, str]]:
    return [remark.as_json() for remark in remarks][:MOST_KEPT]


def read(kept: Iterable[Mapping[str, str]] | None) -> Iterator[Remark]:
    """Those of a stored definition; none where it has not been looked at yet."""
    for each in kept or ():
        yield Remark(each["rule"], each["severity"], each.get("path", ""), each.get("about", ""))


def is_suspicious(remarks: Iterable[Remark]) -> bool:
    return any(remark.is_serious for remark in remarks)
