"""What an explanation consists of. Members of its JSON are only ever added: scripts read them."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any

OUTCOMES = {
    "always": "applies to every such call",
    "true": "its condition holds",
    "undecided": "its condition cannot be worked out, so it counts at its strictest",
    "false": "its condition does not hold",
    "needs_arguments": "looks at the arguments, which are not given here",
    "not_asked": "not asked, because the call fails before the rules",
    "later": "looks at what the call carries, so it takes part while the call runs",
    "not_selected": "is not for this tool",
}
SCOPE_OUTCOMES = {
    "holds": "the call lies within it",
    "does_not_hold": "the call lies outside",
    "undecided": "cannot be worked out, which counts as outside",
    "needs_arguments": "looks at the arguments, which are not given here",
}


@dataclass(frozen=True, slots=True)
class Considered:
    """One rule around the call. `outcome` says what became of it: see OUTCOMES; `why` says more, where there is more to
    say: what is missing, or by what the rule passes the tool over."""

    policy: str
    version: int
    position: int
    effect: str
    origin: str
    condition: str
    reason: str
    outcome: str
    why: str = ""

    def as_json(self) -> dict[str, Any]:
        return {
            "policy": self.policy,
            "version": self.version,
            "rule": self.position,
            "effect": self.effect,
            "from": self.origin,
            "when": self.condition,
            "reason": self.reason,
            "outcome": self.outcome,
            "why": self.why,
        }


@dataclass(frozen=True, slots=True)
class ScopeTold:
    """A limit on the arguments of what a role gives, and whether the call lies within it: see SCOPE_OUTCOMES."""

    text: str
    condition: str
    outcome: str
    why: str

    def as_json(self) -> dict[str, str]:
        return {"text": self.text, "when": self.condition, "outcome": self.outcome, "why": self.why}


@dataclass(frozen=True, slots=True)
class GivenBy:
    """A role, or a grant that stands for one, by which the agent or the person it acts for has the tool."""

    role: str
    whose: str
    """agent or person."""
    times: str
    is_in_time: bool
    grant: str
    """The id of the grant; empty for a lasting role."""
    ends_at: datetime | None
    scopes: tuple[ScopeTold, ...]

    @property
    def waits_for_arguments(self) -> bool:
        return any(scope.outcome == "needs_arguments" for scope in self.scopes)

    def as_json(self) -> dict[str, Any]:
        return {
            "role": self.role,
            "whose": self.whose,
            "times": self.times,
            "in_time": self.is_in_time,
            "grant": self.grant,
            "ends_at": _moment(self.ends_at),
            "scopes": [scope.as_json() for scope in self.scopes],
        }


@dataclass(frozen=True, slots=True)
class Asked:
    """A rule, by key, that wants humans to agree: how many, and the addresses of those who could, as things are at the
    moment that is explained. `able` counts them all, where `approvers` are only the first."""

    rule: str
    reason: str
    needed: int
    approvers: tuple[str, ...]
    able: int
    pending_seconds: int
    use_within_seconds: int

    def as_json(self) -> dict[str, Any]:
        return {
            "rule": self.rule,
            "reason": self.reason,
            "needed": self.needed,
            "approvers": list(self.approvers),
            "able": self.able,
            "pending_seconds": self.pending_seconds,
            "use_within_seconds": self.use_within_seconds,
        }


@dataclass(frozen=True, slots=True)
class Rested:
    """A grant on which the decision rests."""

    id: str
    kind: str
    holder: str
    ends_at: datetime
    is_counted: bool
    agreed: tuple[str, ...]

    def as_json(self) -> dict[str, Any]:
        return {
            "id": self.id,
            "kind": self.kind,
            "holder": self.holder,
            "ends_at": self.ends_at.isoformat(),
            "counted": self.is_counted,
            "agreed": list(self.agreed),
        }


@dataclass(frozen=True, slots=True)
class Masked:
    """What a rule, by key, has masked in the result."""

    rule: str
    fields: tuple[str, ...]

    def as_json(self) -> dict[str, Any]:
        return {"rule": self.rule, "fields": list(self.fields)}


@dataclass(frozen=True, slots=True)
class Frozen:
    of: str
    reason: str
    ends_at: datetime | None

    def as_json(self) -> dict[str, Any]:
        return {"of": self.of, "reason": self.reason, "ends_at": _moment(self.ends_at)}


@dataclass(frozen=True, slots=True)
class Path:
    """One bundle that holds the tool, and how far the agent gets through it. `rules` are those that matched,
    `considered` all that select the tool, `passed_over` the nearest of those that do not."""

    bundle: str
    connector: str
    roles: tuple[str, ...]
    effect: str
    code: str
    reason: str
    rules: tuple[dict[str, Any], ...]
    considered: tuple[Considered, ...]
    decides: bool
    """Of several the one that the call would go through."""
    is_staged: bool
    given_by: tuple[GivenBy, ...]
    asks: tuple[Asked, ...]
    grants: tuple[Rested, ...]
    masks: tuple[Masked, ...]
    freezes: tuple[Frozen, ...]
    passed_over: tuple[Considered, ...]
    passed_over_count: int
    reads_labels: bool
    valid_until: datetime | None

    @property
    def waits_for_arguments(self) -> bool:
        rules = any(rule.outcome == "needs_arguments" and rule.effect in ("ask", "deny") for rule in self.considered)
        return rules or any(self._is_limited(whose) for whose in ("agent", "person"))

    def _is_limited(self, whose: str) -> bool:
        """By each of the roles that count, in a way that only the arguments tell."""
        given = [each for each in self.given_by if each.whose == whose and each.is_in_time]
        return bool(given) and all(each.waits_for_arguments for each in given)

    def as_json(self) -> dict[str, Any]:
        return {
            "bundle": self.bundle,
            "connector": self.connector,
            "roles": list(self.roles),
            "effect": self.effect,
            "code": self.code,
            "rules": list(self.rules),
            "considered": [rule.as_json() for rule in self.considered],
            "reason": self.reason,
            "decides": self.decides,
            "staged": self.is_staged,
            "given_by": [each.as_json() for each in self.given_by],
            "asks": [each.as_json() for each in self.asks],
            "grants": [each.as_json() for each in self.grants],
            "masks": [each.as_json() for each in self.masks],
            "freezes": [each.as_json() for each in self.freezes],
            "passed_over": [rule.as_json() for rule in self.passed_over],
            "passed_over_count": self.passed_over_count,
            "reads_labels": self.reads_labels,
            "valid_until": _moment(self.valid_until),
        }


@dataclass(frozen=True, slots=True)
class Remedy:
    """What would change a "no". It names rows that only those with the permission `needs` may know of."""

    text: str
    needs: str

    def as_json(self) -> dict[str, Any]:
        return {"text": self.text, "needs": self.needs}


@dataclass(frozen=True, slots=True)
class Detection:
    """By what content is looked at: the pack of detection rules, those that are switched off, and the names of the
    exceptions in force for the tool."""

    pack: str
    off: tuple[str, ...]
    exceptions: tuple[str, ...]

    def as_json(self) -> dict[str, Any]:
        return {"pack": self.pack, "off": list(self.off), "exceptions": list(self.exceptions)}


@dataclass(frozen=True, slots=True)
class Explanation:
    """`words` tell it to a reader who knows no rule; `paths` are the trace."""

    agent: str
    tool: str
    at: datetime
    epoch: int
    decision: str
    code: str
    reason: str
    paths: tuple[Path, ...]
    remedies: tuple[Remedy, ...]
    on_behalf_of: str
    labels: tuple[str, ...]
    source_ip: str
    detection: Detection
    words: tuple[str, ...]

    @property
    def valid_until(self) -> datetime | None:
        """When the clock alone could make it another."""
        return next((path.valid_until for path in self.paths if path.decides), None)

    @property
    def depends_on_arguments(self) -> bool:
        """Not a yes as long as a rule or data scope waits for arguments that nobody gave."""
        if self.decision == "deny":
            return False
        return any(path.waits_for_arguments for path in self.paths if path.effect == self.decision)

    def as_json(self) -> dict[str, Any]:
        return {
            "agent": self.agent,
            "tool": self.tool,
            "at": self.at.isoformat(),
            "epoch": self.epoch,
            "decision": self.decision,
            "code": self.code,
            "reason": self.reason,
            "paths": [path.as_json() for path in self.paths],
            "remedies": [remedy.as_json() for remedy in self.remedies],
            "on_behalf_of": self.on_behalf_of,
            "labels": list(self.labels),
            "source_ip": self.source_ip,
            "detection": self.detection.as_json(),
            "words": list(self.words),
            "depends_on_arguments": self.depends_on_arguments,
            "valid_until": _moment(self.valid_until),
        }


def _moment(at: datetime | None) -> str | None:
    return at.isoformat() if at else None
