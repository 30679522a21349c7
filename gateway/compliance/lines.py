"""The lines of a report: no line without the leaf that it rests on."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import orjson

from audit.kinds import DECISIONS, OUTCOMES, kind_in_words
from gateway.compliance.reading import Place, Told

LONGEST_CELL = 1000
LEAF_COLUMNS = ("leaf_index", "leaf_hash", "event_id", "other_leaves")
"""What `auditverify.py` looks for in a CSV file; keep both alike."""
OWN_CELLS = ("subject",)


@dataclass(frozen=True, slots=True)
class Line:
    """What it says, and the events that say so: the first is the nearest to it."""

    cells: tuple[str, ...]
    places: tuple[Place, ...]

    def __post_init__(self) -> None:
        if not self.places:
            raise ValueError("a line of a report rests on at least one leaf")

    def leaf_cells(self) -> tuple[str, str, str, str]:
        first, *others = self.places
        more = " ".join(str(index) for index in sorted({place.leaf for place in others} - {first.leaf}))
        return str(first.leaf), first.hash.hex(), str(first.event_id), more


def moment(at: datetime) -> str:
    return f"{at.astimezone(UTC):%Y-%m-%d %H:%M:%S}"


def cut(text: str) -> str:
    return text if len(text) <= LONGEST_CELL else f"{text[:LONGEST_CELL]}…"


def in_words(details: dict[str, Any]) -> str:
    """The rest of what an event tells, as it tells it; the event itself lies beside the report, whole."""
    return cut("; ".join(f"{name}: {value_in_words(value)}" for name, value in _worth_telling(details)))


def value_in_words(value: Any) -> str:
    return value if isinstance(value, str) else orjson.dumps(value, default=str).decode()


def _worth_telling(details: dict[str, Any]) -> Iterator[tuple[str, Any]]:
    for name, value in details.items():
        if name not in OWN_CELLS and value not in ("", None, [], {}):
            yield name, value


ACT_COLUMNS = ("at (UTC)", "what", "by", "about", "details")


def act_line(told: Told) -> Line:
    cells = (moment(told.at), kind_in_words(told.kind), told.actor, told.subject, in_words(told.details))
    return Line(cells, (told.place,))


CALL_COLUMNS = ("at (UTC)", "what", "agent", "on behalf of", "tool", "decision", "outcome", "details")


def call_line(told: Told) -> Line:
    cells = (
        moment(told.at),
        kind_in_words(told.kind),
        told.agent,
        told.person,
        f"{told.connector}/{told.tool}" if told.connector else told.tool,
        DECISIONS.get(told.decision, told.decision),
        OUTCOMES.get(told.outcome, told.outcome),
        in_words(told.details),
    )
    return Line(cells, (told.place,))


APPROVAL_COLUMNS = ("at (UTC)", "what", "by", "asked by", "request", "tool", "digest of exactly what", "details")


def approval_line(told: Told) -> Line:
    rest = {
        name: value for name, value in told.details.items() if name not in ("request", "tool", "approval_digest", "key")
    }
    cells = (
        moment(told.at),
        kind_in_words(told.kind),
        told.actor,
        told.subject,
        *(str(told.details.get(name, "")) for name in ("request", "tool", "approval_digest")),
        in_words(rest),
    )
    return Line(cells, (told.place,))


CHANGE_COLUMNS = ("at (UTC)", "what", "by", "about", "from and to")


def change_line(told: Told) -> Line:
    """A governed row: what its columns were, and what they became."""
    details = told.details
    if told.kind != "governance.changed":
        return act_line(told)
    relation = str(details.get("relation", "")).removeprefix("governance_").replace("_", " ")
    before, after = _columns(details.get("before")), _columns(details.get("after"))
    named = after or before
    about = next((str(named[name]) for name in ("name", "email", "number", "hint") if named.get(name)), "")
    what = f"{relation}: {details.get('operation', '')}"
    return Line((moment(told.at), what, told.actor, about, _difference(before, after)), (told.place,))


def _columns(side: Any) -> dict[str, Any]:
    return side if isinstance(side, dict) else {}


def _difference(before: dict[str, Any], after: dict[str, Any]) -> str:
    names = [name for name in after or before if before.get(name) != after.get(name)]
    if not before or not after:
        told = (f"{name} {value_in_words((after or before)[name])}" for name in names)
    else:
        told = (f"{name} {value_in_words(before.get(name))} → {value_in_words(after.get(name))}" for name in names)
    return cut("; ".join(told))
