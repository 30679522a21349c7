"""What the tokens in a call's bodies stand for, for somebody with a reason on record."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final
from uuid import UUID

from audit.models import EventRow
from gateway.actions import act
from gateway.mask_vault import names_kept, originals_in
from gateway.sealed_payloads import Opened, opened, opening
from governance import canonical
from governance.facts import Fact, Recorder
from governance.inspection.tokens import Seen, tokens_in

MOST_TOKENS: Final = 200
"""Different ones of one call."""


@dataclass(frozen=True, slots=True)
class Token:
    """What has the form of one. `original` is None where nothing is kept that it stands for: it expired, was erased,
    or somebody only wrote what looks like one."""

    seen: Seen
    count: int
    original: str | None = field(repr=False)


@dataclass(frozen=True, slots=True)
class Side:
    """One body, and beside it its tokens. Of a body that must not be believed there are none."""

    masked: Opened
    tokens: tuple[Token, ...]
    left_out: int


def show_masks(events: Sequence[EventRow], *, call_id: UUID, reason: str, by: str, with_bodies: bool) -> list[Side]:
    """First the record of who sees which tokens and why, and, where the bodies are shown as well, that they were
    opened; then what was asked for."""
    bodies = [(body, _tokens(body)) for body in opened(events)]
    names = _first(seen for _, found in bodies for seen in found)
    session = next((event.session for event in events if event.session), None)
    kept = names_kept(session, set(names.values())) if session else []
    facts = [_showing(events[0], call_id, reason, kept)]
    if with_bodies:
        facts.append(opening(events, call_id=call_id, reason=reason))
    act(lambda record, _: _record_all(facts, record), by=by)
    originals = originals_in(session, kept) if session else {}
    return [_side(body, found, names, originals) for body, found in bodies]


def _record_all(facts: Iterable[Fact], record: Recorder) -> None:
    for fact in facts:
        record(fact)


def _showing(event: EventRow, call_id: UUID, reason: str, kept: Sequence[str]) -> Fact:
    """Names only of tokens that we gave: others may be made of anything."""
    details = {"reason": reason, "agent": event.agent, "tool": event.tool, "tokens": list(kept)}
    return Fact("masks.shown", f"call:{call_id}", details)


def _tokens(body: Opened) -> list[Seen]:
    return [] if body.problem else list(tokens_in(_content(body.body)))


def _content(body: bytes) -> Any:
    try:
        return canonical.parse(body)
    except canonical.NotCanonical:
        return body.decode(errors="replace")


def _first(seen: Iterable[Seen]) -> dict[str, str]:
    """By token, as many as are looked for: its name."""
    names: dict[str, str] = {}
    for each in seen:
        if len(names) < MOST_TOKENS:
            names.setdefault(each.text, each.name)
    return names


def _side(body: Opened, found: Iterable[Seen], names: Mapping[str, str], originals: Mapping[str, str]) -> Side:
    once: dict[str, list[Seen]] = {}
    for seen in found:
        once.setdefault(seen.text, []).append(seen)
    told = [Token(each[0], len(each), originals.get(text)) for text, each in once.items() if text in names]
    return Side(body, tuple(told), len(once) - len(told))
