"""What inspection noticed in a text, where, and how sure it is. Never the text itself."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import IntEnum
from typing import Any, Final, Literal, get_args

Kind = Literal[
    "secret", "personal", "card", "injection", "suspicion", "guess", "unicode", "definition",
    "destination", "mention", "link", "limit", "data_class", "external", "anomaly",
]  # fmt: skip
CONTAINED: Final[frozenset[Kind]] = frozenset(("destination", "mention", "link"))
"""What only counts because of where a run met it: the engine looks for these only if it is asked to."""
MEASURED: Final[frozenset[Kind]] = frozenset(("guess",))
"""What nobody acts on, however sure: it grades texts for who measures."""
KINDS: Final[frozenset[Kind]] = frozenset(get_args(Kind)) - CONTAINED - MEASURED


NAMED: Final[Mapping[str, frozenset[Kind]]] = {
    "secret": frozenset(("secret",)),
    "personal_data": frozenset(("personal", "card")),
    "payment_card": frozenset(("card",)),
    "injection": frozenset(("injection", "unicode")),
    "suspected_injection": frozenset(("suspicion",)),
    "untrusted_destination": frozenset(("destination",)),
    "untrusted_link": frozenset(("link",)),
    "anomaly": frozenset(("anomaly",)),
}
"""How rules name what may be found, and the kinds of finding that are meant. What is suspected is wrong about three
times as often as what is found, and most documents about attacks are: it is to be told, not to be acted on."""
FOUND_IN: Final[Mapping[str, str]] = {
    "untrusted_destination": "arguments",
    "untrusted_link": "result",
    "anomaly": "arguments",
}
"""The only side where some of these are looked for."""
DATA_CLASS: Final = "data_class:"
"""Before the name of a data class, in rules: what the class describes was found."""
DETECTOR: Final = "detector:"
"""Before the name of a configured detector of somebody else's, in rules: it found something."""
OWN: Final = r"(?:data_class|detector):[a-z0-9][a-z0-9-]{0,62}"
"""What an organisation adds to NAMED."""
BESIDE: Final = frozenset(("anomaly",))
"""Names of what does not stand in a text: a text that cannot be looked at says nothing of them."""
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
    exception: str = ""
    """The name of what excepts it from rules."""

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
    """All findings of one inspection, in the order of the text, each place and rule once; `asked` are the names of what
    was looked for."""

    found: tuple[Finding, ...] = ()
    asked: frozenset[str] = frozenset()
    excepted: tuple[Finding, ...] = ()
    """What is there and counts for no rule, because somebody allowed it for a time."""

    def __iter__(self) -> Any:
        return iter(self.found)

    def __len__(self) -> int:
        return len(self.found)

    def __bool__(self) -> bool:
        return bool(self.found or self.excepted)

    @property
    def is_complete(self) -> bool:
        return not any(finding.kind == "limit" for finding in self.found)

    def sure(self) -> "Findings":
        """Those that count: surer than a guess, and what could not be looked at."""
        return Findings(tuple(finding for finding in self.found if finding.confidence >= SURE), self.asked)

    def named(self) -> frozenset[str]:
        """What rules call what is there."""
        return frozenset().union(*map(names_of, self.found))

    def unseen(self) -> frozenset[str]:
        """Names of what may be there or not: a part of it was not looked at."""
        return frozenset().union(*(self.unseen_by(each) for each in self.found if each.kind == "limit"))

    def unseen_by(self, limit: Finding) -> frozenset[str]:
        """A detector that fails speaks for itself alone; else all that was asked of our own is in doubt."""
        return frozenset((limit.subject,)) if limit.subject else (self.asked or frozenset(NAMED)) - BESIDE

    def of(self, *kinds: Kind) -> "Findings":
        return Findings(tuple(finding for finding in self.found if finding.kind in kinds))


def names_of(finding: Finding) -> frozenset[str]:
    return names_for(finding.kind, finding.rule, finding.subject)


def names_for(kind: str, rule: str, subject: str) -> frozenset[str]:
    """What rules call a finding."""
    if kind == "data_class":
        return frozenset((f"{DATA_CLASS}{rule}",))
    if kind == "external":
        return frozenset((f"{DETECTOR}{subject}",))
    return frozenset(name for name, of in NAMED.items() if kind in of)


def kinds_named(name: str) -> frozenset[Kind]:
    """The kinds of finding that a rule means by this name."""
    if name.startswith(DATA_CLASS):
        return frozenset(("data_class",))
    return frozenset(("external",)) if name.startswith(DETECTOR) else NAMED[name]


def settled(found: Iterable[Finding]) -> Findings:
    """Of the same rule at the same place the surest stays, whatever view it came from."""
    best: dict[tuple[str, bool, str, int, int, str], Finding] = {}
    for finding in found:
        whose = finding.subject if finding.kind in CONTAINED else ""
        place = (finding.path, finding.in_key, finding.rule, finding.start, finding.end, whose)
        if place not in best or best[place].confidence < finding.confidence:
            best[place] = finding
    return Findings(tuple(sorted(best.values(), key=lambda each: (each.path, each.start, each.end, each.rule))))


def limit(rule: str, path: str, start: int = 0, end: int = 0, *, subject: str = "") -> Finding:
    """Says that something was too large, too deep or too much to look at; `subject` is the only name it speaks of."""
    return Finding(rule, 1, "limit", Severity.MEDIUM, 1.0, path, start, end, "raw", subject)
