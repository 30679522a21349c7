"""What inspection noticed in a text, where, and how sure it is. Never the text itself."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import IntEnum
from typing import Any, Final, Literal, get_args

Kind = Literal["secret", "personal", "injection", "unicode", "definition", "destination", "link", "limit"]
CONTAINED: Final[frozenset[Kind]] = frozenset(("destination", "link"))
"""What only counts because of where a run met it: the engine looks for these only if it is asked to."""
KINDS: Final[frozenset[Kind]] = frozenset(get_args(Kind)) - CONTAINED


NAMED: Final[Mapping[str, frozenset[Kind]]] = {
    "secret": frozenset(("secret",)),
    "personal_data": frozenset(("personal",)),
    "injection": frozenset(("injection", "unicode")),
    "untrusted_destination": frozenset(("destination",)),
    "untrusted_link": frozenset(("link",)),
}
"""How rules name what may be found, and the kinds of finding that are meant."""
FOUND_IN: Final[Mapping[str, str]] = {"untrusted_destination": "arguments", "untrusted_link": "result"}
"""The only side where some of these are looked for."""
SURE: Final = 0.5
"""Findings that are less sure are told by the test bench, and no rule counts them."""


class Severity(IntEnum):
    LOW = 1
    MEDIUM = 2
    HIGH = 3
    CRITICAL = 4


@dataclass(frozen=True, slots=True)
class Finding:
    """`start` and `end` count characters of the raw text of the leaf at `path`; `view` tells how it had to be read.

    Kind `limit` says that a part was not looked at: policy decides what that means, and by default it means no.
    """

    rule: str
    version: int
    kind: Kind
    severity: Severity
    confidence: float
    path: str
    start: int
    end: int
    view: str
    subject: str = ""
    """Whose value it is, where it is known: the name of a secret in the vault, of a canary."""
    in_key: bool = False
    """It stands in the name of a member, not in its value."""

    def as_json(self) -> dict[str, Any]:
        return {
            "rule": self.rule,
            "version": self.version,
            "kind": self.kind,
            "severity": self.severity.name.lower(),
            "confidence": self.confidence,
            "path": self.path,
            "start": self.start,
            "end": self.end,
            "view": self.view,
            "subject": self.subject,
        }


@dataclass(frozen=True, slots=True)
class Budget:
    """How much of a hostile text is looked at before the rest counts as not inspected."""

    characters: int = 4_000_000
    leaves: int = 100_000
    depth: int = 200
    findings: int = 5_000
    cpu_seconds: float = 5.0


@dataclass(frozen=True, slots=True)
class Findings:
    """All findings of one inspection, in the order of the text, each place and rule once."""

    found: tuple[Finding, ...] = ()

    def __iter__(self) -> Any:
        return iter(self.found)

    def __len__(self) -> int:
        return len(self.found)

    @property
    def is_complete(self) -> bool:
        return not any(finding.kind == "limit" for finding in self.found)

    def sure(self) -> "Findings":
        """Those that count: surer than a guess, and what could not be looked at."""
        return Findings(tuple(finding for finding in self.found if finding.confidence >= SURE))

    def named(self) -> frozenset[str]:
        """What rules call it. What was not looked at may be anything."""
        kinds = {finding.kind for finding in self.found}
        return frozenset(name for name, of in NAMED.items() if "limit" in kinds or not of.isdisjoint(kinds))

    def of(self, *kinds: Kind) -> "Findings":
        return Findings(tuple(finding for finding in self.found if finding.kind in kinds))


def settled(found: Iterable[Finding]) -> Findings:
    """Of the same rule at the same place the surest stays, whatever view it came from."""
    best: dict[tuple[str, bool, str, int, int], Finding] = {}
    for finding in found:
        place = (finding.path, finding.in_key, finding.rule, finding.start, finding.end)
        if place not in best or best[place].confidence < finding.confidence:
            best[place] = finding
    return Findings(tuple(sorted(best.values(), key=lambda each: (each.path, each.start, each.end, each.rule))))


def limit(rule: str, path: str, start: int = 0, end: int = 0) -> Finding:
    """Says that something was too large, too deep or too much to look at."""
    return Finding(rule, 1, "limit", Severity.MEDIUM, 1.0, path, start, end, "raw")
