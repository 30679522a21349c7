"""What a human may agree to beforehand, made from one call: a condition that it and calls like it meet. Pure."""

import json
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from governance.conditions import LONGEST_SOURCE, holds_nul

LONGEST_LITERAL = 300
"""Characters; a longer value cannot be kept."""
EXACT = 2**53
"""Up to here an integer and the double nearest to it are the same number."""


class NotKept(ValueError):
    """The chosen members make no condition; the message says which will."""


@dataclass(frozen=True, slots=True)
class Constraint:
    """One argument of the call that can be kept: as it is by `condition`, in CEL, or as the most of it by `most`, which
    only numbers have. Whether a number is an amount knows who chooses: it may name an order. Nothing that is at most
    something may be negative: a refund of less than nothing is a charge."""

    member: str
    value: Any
    condition: str
    most: str = ""

    def __str__(self) -> str:
        return f"{self.member} is {self.value}"


def offers(arguments: Mapping[str, Any]) -> tuple[Constraint, ...]:
    """In the order of the call; members too long to be compared are not offered, and none of what no condition
    decides."""
    return () if holds_nul(arguments) else tuple(_offered(arguments))


def condition_of(
    arguments: Mapping[str, Any], kept: Collection[str], *, at_most: Collection[str] = (), person: str = ""
) -> str:
    """True of this call, and of others only while each kept member is as here, each of `at_most` not more (kept or
    not), and there is no member that this call does not have.

    `person` is the e-mail address of her on whose behalf they are made, or else of the agent's owner: nobody agrees for
    others beforehand, who may be she herself. Raises NotKept."""
    if holds_nul(arguments):
        raise NotKept("No pattern can be made of these arguments. Approve the call alone.")
    offered = {constraint.member: constraint for constraint in offers(arguments)}
    if missing := sorted({*kept, *at_most} - offered.keys()):
        raise NotKept(f"{missing[0]} cannot be kept. Choose among {', '.join(offered) or 'nothing'}.")
    if endless := sorted(member for member in at_most if not offered[member].most):
        raise NotKept(f"{endless[0]} is no number from 0 up. Keep it as it is.")
    known = f"args.all(member, member in {_literal(sorted(arguments))})"
    hers = [f"person.email == {_literal(person)}"] if person else []
    chosen = {member: offered[member].condition for member in kept} | {
        member: offered[member].most for member in at_most
    }
    source = " && ".join([*hers, known, *(chosen[member] for member in sorted(chosen))])
    if len(source.encode()) > LONGEST_SOURCE:
        raise NotKept("These arguments are too many or too long for a pattern. Approve the call alone.")
    return source


def _offered(arguments: Mapping[str, Any]) -> Iterator[Constraint]:
    for member, value in arguments.items():
        literal = _literal(value)
        if literal is not None and len(literal) <= LONGEST_LITERAL:
            kept = f"args[{_literal(member)}]"
            most = f"{kept} >= 0 && {kept} <= {literal}" if _may_be_amount(value) else ""
            yield Constraint(member, value, f"{kept} == {literal}", most)


def _may_be_amount(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and value >= 0


def _literal(value: Any) -> str | None:
    """In CEL; None for a number that CEL might read as another one, wherever it stands."""
    if value is None or isinstance(value, bool | str):
        return json.dumps(value, ensure_ascii=False)
    if isinstance(value, int):
        return str(value) if abs(value) <= EXACT else None
    if isinstance(value, float):
        return repr(value)
    members = value.items() if isinstance(value, Mapping) else ((None, member) for member in value)
    literals = [(None if key is None else _literal(key), _literal(member)) for key, member in members]
    if any(literal is None for _, literal in literals):
        return None
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{key}: {literal}" for key, literal in literals) + "}"
    return "[" + ", ".join(str(literal) for _, literal in literals) + "]"
