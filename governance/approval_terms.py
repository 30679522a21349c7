"""Who must agree to a held call, and how long that takes: the `approvers` of a rule that asks. Pure."""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import MISSING, dataclass, fields
from difflib import get_close_matches
from typing import Any

from governance.conditions import Verdict, compile_condition

MOST_HUMANS = 5
MOST_NAMES = 50
LONGEST_PATTERN = 200
LONGEST_TICKET = 100
LONGEST_PENDING = 7 * 86_400
LONGEST_USE_WITHIN = 86_400
LONGEST_GRANT = 86_400
DUTIES = ("approver", "security", "it-admin")
SECONDS = {"": 1, "s": 1, "m": 60, "h": 3600, "d": 86_400}
_DURATION = re.compile(r"([0-9]{1,7})([smhd]?)")
_MATCHES = compile_condition("args.ticket.matches(args.pattern)")
"""CEL's regular expressions are RE2: no pattern takes longer than its text is long."""


class TermsError(ValueError):
    """`field` is the key of `approvers` that will not do; the message says what would."""

    def __init__(self, field: str, message: str) -> None:
        super().__init__(message)
        self.field = field


@dataclass(frozen=True, slots=True)
class Terms:
    """Durations in seconds; 0 where there is none. Naming nobody means: anybody with the duty approver.

    `teams` with their descendants, `on_call` teams whose shift it is, `people` by e-mail, whoever has one of the
    `duties`, the agent owner's `manager`, the connector's `resource_owner`: whoever is any of these may decide, `count`
    distinct humans must agree, and `denials` of them end it. `ticket` is a regular expression (RE2) that a ticket's
    number must match in full.
    """

    count: int = 1
    denials: int = 1
    teams: tuple[str, ...] = ()
    people: tuple[str, ...] = ()
    on_call: tuple[str, ...] = ()
    duties: tuple[str, ...] = ()
    manager: bool = False
    resource_owner: bool = False
    needs_reason: bool = False
    ticket: str = ""
    pending: int = 900
    use_within: int = 300
    longest_grant: int = 0
    """Of an approval of a pattern; 0: each call is asked for."""
    step_up: int = 0
    """How recently the approver must have proved who she is."""
    escalate_after: int = 0
    escalate_to: tuple[str, ...] = ()
    """Teams that may decide too from then on, and are told."""
    in_chat: bool = False

    @property
    def named_duties(self) -> tuple[str, ...]:
        names_somebody = self.teams or self.people or self.on_call or self.duties or self.manager or self.resource_owner
        return self.duties if names_somebody else ("approver",)

    def takes_ticket(self, number: str) -> bool:
        return not self.ticket or (len(number) <= LONGEST_TICKET and _matches(f"\\A(?:{self.ticket})\\z", number))


def parse_terms(approvers: Mapping[str, Any]) -> Terms:
    """Of a rule's `approvers` as a manifest writes them: {"team": "support-leads", "count": 1, ...}.

    Keys: team or teams, people, on_call, duties, manager, resource_owner, count (1-5), denials (1-5), reason
    ("optional" | "required"), ticket, pending, use_within, longest_grant, step_up (durations such as "15m" or seconds),
    escalate {"after": "5m", "to": [teams]}, in_chat. Raises TermsError.
    """
    _refuse_unknown(approvers, KEYS, within="")
    values = {field: read(approvers[key], key) for key, (field, read) in _READERS.items() if key in approvers}
    if "team" in approvers:
        values["teams"] = (*_names(approvers["team"], "team"), *values.get("teams", ()))
    terms = Terms(**values, **_escalation(approvers.get("escalate")))
    if terms.escalate_after >= terms.pending:
        raise TermsError("escalate", "It would escalate only after the question has ended: choose a shorter `after`.")
    return terms


def terms_as_json(terms: Terms) -> dict[str, Any]:
    """As `parse_terms` reads it, without what is usual."""
    shown = {key: _WRITERS.get(key, _plain)(getattr(terms, field)) for key, (field, _) in _READERS.items()}
    usual = {key: _WRITERS.get(key, _plain)(_USUAL[field]) for key, (field, _) in _READERS.items()}
    kept = {key: value for key, value in shown.items() if value != usual[key]}
    if len(terms.teams) == 1:
        kept["team"] = kept.pop("teams")[0]
    if terms.escalate_to:
        kept["escalate"] = {"after": duration(terms.escalate_after), "to": list(terms.escalate_to)}
    return kept


def duration(seconds: int) -> str:
    """As people write it: 900 is 15m."""
    unit = next(unit for unit in ("d", "h", "m", "s") if seconds % SECONDS[unit] == 0)
    return f"{seconds // SECONDS[unit]}{unit}"


def shortest(values: Iterable[int]) -> int:
    """Of several rules the strictest counts; 0 is the strictest of all."""
    return min(values, default=0)


# -- reading


def _refuse_unknown(given: Any, known: Sequence[str], *, within: str) -> None:
    if not isinstance(given, Mapping):
        raise TermsError(within, f"Write members such as {', '.join(known[:3])}.")
    for key in given:
        if key not in known:
            near = get_close_matches(str(key), known, n=1)
            hint = f" Do you mean '{near[0]}'?" if near else f" Known are {', '.join(known)}."
            raise TermsError(f"{within}.{key}".strip("."), f"There is no such member here.{hint}")


def _number(most: int) -> Any:
    def read(value: Any, key: str) -> int:
        if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= most:
            raise TermsError(key, f"Write a number from 1 to {most}.")
        return value

    return read


def _names(value: Any, key: str) -> tuple[str, ...]:
    names = [value] if isinstance(value, str) else value
    if not isinstance(names, list) or not all(isinstance(name, str) and 0 < len(name) <= 254 for name in names):
        raise TermsError(key, "Write a name, or a list of names.")
    if not 0 < len(names) <= MOST_NAMES:
        raise TermsError(key, f"Name 1 to {MOST_NAMES}; leave it out to name nobody.")
    return tuple(dict.fromkeys(names))


def _emails(value: Any, key: str) -> tuple[str, ...]:
    return tuple(name.lower() for name in _names(value, key))


def _duties(value: Any, key: str) -> tuple[str, ...]:
    duties = _names(value, key)
    if wrong := set(duties) - set(DUTIES):
        raise TermsError(key, f"There is no such duty as {min(wrong)}; name {' or '.join(DUTIES)}.")
    return duties


def _flag(value: Any, key: str) -> bool:
    if not isinstance(value, bool):
        raise TermsError(key, "Write true or false.")
    return value


def _reason(value: Any, key: str) -> bool:
    if value not in ("optional", "required"):
        raise TermsError(key, "Write optional or required.")
    return bool(value == "required")


def _pattern(value: Any, key: str) -> str:
    if not isinstance(value, str) or not 0 < len(value) <= LONGEST_PATTERN:
        raise TermsError(key, f"Write a regular expression of at most {LONGEST_PATTERN} characters, e.g. INC[0-9]+.")
    if not all(_is_pattern(text) for text in (value, f"\\A(?:{value})\\z")):
        raise TermsError(key, "This is no regular expression that RE2 knows; look-around and back references are not.")
    return value


def _seconds(most: int, *, least: int = 1) -> Any:
    def read(value: Any, key: str) -> int:
        text = str(value) if isinstance(value, int | str) and not isinstance(value, bool) else ""
        found = _DURATION.fullmatch(text)
        seconds = int(found[1]) * SECONDS[found[2]] if found else -1
        if not least <= seconds <= most:
            raise TermsError(key, f"Write a duration such as 15m, at most {duration(most)}.")
        return seconds

    return read


def _escalation(value: Any) -> dict[str, Any]:
    if value is None:
        return {}
    _refuse_unknown(value, ("after", "to"), within="escalate")
    if not {"after", "to"} <= set(value):
        raise TermsError("escalate", "Say after how long, and to which teams: {after: 5m, to: [leads]}.")
    after = _seconds(LONGEST_PENDING)(value["after"], "escalate.after")
    return {"escalate_after": after, "escalate_to": _names(value["to"], "escalate.to")}


def _plain(value: Any) -> Any:
    return list(value) if isinstance(value, tuple) else value


def _is_pattern(text: str) -> bool:
    return _evaluated(text, "") is not Verdict.UNDECIDED


def _matches(pattern: str, text: str) -> bool:
    return _evaluated(pattern, text) is Verdict.TRUE


def _evaluated(pattern: str, text: str) -> Verdict:
    return _MATCHES.evaluate({"args": {"pattern": pattern, "ticket": text}})


_READERS: dict[str, tuple[str, Any]] = {
    "teams": ("teams", _names),
    "people": ("people", _emails),
    "on_call": ("on_call", _names),
    "duties": ("duties", _duties),
    "manager": ("manager", _flag),
    "resource_owner": ("resource_owner", _flag),
    "count": ("count", _number(MOST_HUMANS)),
    "denials": ("denials", _number(MOST_HUMANS)),
    "reason": ("needs_reason", _reason),
    "ticket": ("ticket", _pattern),
    "pending": ("pending", _seconds(LONGEST_PENDING, least=30)),
    "use_within": ("use_within", _seconds(LONGEST_USE_WITHIN, least=10)),
    "longest_grant": ("longest_grant", _seconds(LONGEST_GRANT, least=0)),
    "step_up": ("step_up", _seconds(86_400, least=0)),
    "in_chat": ("in_chat", _flag),
}
"""Key in the manifest -> field, and how it is read."""
KEYS = ("team", *_READERS, "escalate")
_WRITERS: dict[str, Any] = {
    "reason": lambda needed: "required" if needed else "optional",
    **dict.fromkeys(("pending", "use_within", "longest_grant", "step_up"), duration),
}
_USUAL = {field.name: field.default for field in fields(Terms) if field.default is not MISSING}
