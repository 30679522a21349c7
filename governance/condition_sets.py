"""Many conditions over the same call, evaluated as one program.

Most of what an evaluation costs is the way into the library and back, so conditions become the digits of one number.
What they come to is what `Condition.evaluate` says of each: wherever the number cannot tell (one digit that cannot
be evaluated takes all the others with it), they are evaluated one by one.
"""

import re
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from functools import lru_cache
from typing import Any, Final

from cel_expr_python import cel

from governance.conditions import RUN_TIME, Condition, Verdict, holds_nul, with_timestamp, without_literals

SETS_KEPT = 1_000
"""Each up to 50 kB for twenty conditions."""
FEWEST = 3
"""Fewer are as quick one by one."""
COMPILED_AT = 2
"""Evaluation: it takes as long as forty, which a call that never comes again is not worth."""
PER_PROGRAM = 31
"""Two bits each of CEL's signed 64."""
DIGITS: Final = tuple(Verdict)
"""What they stand for; each verdict at its own value."""
ALONE: Final = 3
"""The digit of a condition that must be evaluated alone."""
BRANCHING = re.compile(r"\|\||&&|\?|\bhas\b")
OPTIONAL = re.compile(
    r"(?<![\w.])(args\s*\.\s*[A-Za-z_]\w*(?!\w|\s*\()|person\s*\.\s*attributes\s*\.\s*[A-Za-z_]\w*(?!\w|\s*\()"
    r"|session\s*\.\s*labels\b|network\s*\.\s*names\b|time\s*\.\s*(?:businessHours|holiday)\b)"
)
"""What may be missing in a call."""
TESTED = re.compile(r"\bhas\s*\(([^()]*)\)")
_ERRORS = (RuntimeError, ValueError, TypeError, OverflowError)


class ConditionSet:
    """Immutable but for the programs, which it compiles by itself; safe to evaluate from any thread.

    An outcome is one number: two bits for each condition, in order, the value of its verdict.
    """

    __slots__ = ("_conditions", "_programs", "_uses", "reads")

    def __init__(self, conditions: tuple[Condition, ...]) -> None:
        self._conditions = conditions
        self._programs: tuple[_Program, ...] = ()
        self._uses = 0
        self.reads = frozenset[str]().union(*(condition.reads for condition in conditions))
        """The variables that any of them names."""

    def __bool__(self) -> bool:
        return bool(self._conditions)

    def evaluate(self, variables: Mapping[str, Any]) -> dict[str, Verdict]:
        """By source. Never raises for what a request brings, see `Condition.evaluate`."""
        return self.verdicts(self.outcome(variables))

    def verdicts(self, outcome: int) -> dict[str, Verdict]:
        """By source."""
        return {each.source: DIGITS[outcome >> 2 * n & 3] for n, each in enumerate(self._conditions)}

    def outcome(self, variables: Mapping[str, Any]) -> int:
        if not self._programs:
            self._uses += 1
            if self._uses == COMPILED_AT:
                self._programs = self._compiled()
            return self._one_by_one(variables, range(len(self._conditions)))
        found = alone = 0
        for program in self._programs:
            digits = program.digits(variables)
            found |= digits << program.shift
            alone |= (digits & digits >> 1 & program.lowest) << program.shift
        if not alone:
            return found
        positions = [n for n in range(len(self._conditions)) if alone >> 2 * n & 1]
        return found & ~(alone * ALONE) | self._one_by_one(variables, positions)

    def _one_by_one(self, variables: Mapping[str, Any], positions: Iterable[int]) -> int:
        found = 0
        for n in positions:
            found |= self._conditions[n].evaluate(variables).value << 2 * n
        return found

    def _compiled(self) -> tuple["_Program", ...]:
        """None if they would have to be evaluated alone all the same."""
        starts = range(0, len(self._conditions), PER_PROGRAM)
        programs = tuple(_Program(self._conditions[at : at + PER_PROGRAM], shift=2 * at) for at in starts)
        return programs if any(program.is_compiled for program in programs) else ()


class _Program:
    """Up to 31 conditions. `lowest` has the lower bit of each digit.

    Conditions that name the same things that a call may lack are asked for these once. Without any branch in it a
    condition is undecided where something is missing, as that is an error of all that reads it; else it may still be
    decided, and is evaluated alone, as are those that loop. The library must not hand out a null, see `conditions.py`:
    here it hands out numbers.
    """

    __slots__ = ("_all_alone", "_evaluate", "_looping", "_reads", "lowest", "shift")

    def __init__(self, conditions: Sequence[Condition], *, shift: int) -> None:
        self.shift = shift
        self.lowest = sum(1 << 2 * n for n in range(len(conditions)))
        self._all_alone = ALONE * self.lowest
        together = {n: condition for n, condition in enumerate(conditions) if not condition.is_weighed}
        self._looping = sum(ALONE << 2 * n for n in range(len(conditions)) if n not in together)
        self._reads = frozenset[str]().union(*(condition.reads for condition in together.values()))
        self._evaluate = _compiled(together)

    @property
    def is_compiled(self) -> bool:
        return self._evaluate is not None

    def digits(self, variables: Mapping[str, Any]) -> int:
        """The library converts what it gets, so it gets what is read."""
        if self._evaluate is None:
            return self._all_alone
        try:
            known = {name: variables[name] for name in self._reads if name in variables}
            if holds_nul(known):
                return self._all_alone
            found = self._evaluate.eval(data=with_timestamp(known)).plain_value()
        except _ERRORS:
            return self._all_alone
        return found | self._looping if isinstance(found, int) else self._all_alone  # an error may be a value, too


def _compiled(together: Mapping[int, Condition]) -> cel.Expression | None:
    """If there are enough, and they are not too long together."""
    if len(together) < FEWEST:
        return None
    by_guard: dict[str, dict[int, Condition]] = defaultdict(dict)
    for position, condition in together.items():
        by_guard[_guard(condition.source)][position] = condition
    with suppress(RuntimeError):
        return RUN_TIME.compile(" + ".join(_sum(guard, members) for guard, members in by_guard.items()))
    return None


def _sum(guard: str, members: Mapping[int, Condition]) -> str:
    digits = " + ".join(f"(({each.source}\n) ? {1 << 2 * n} : 0)" for n, each in members.items())
    return f"(({guard}) ? {digits} : {sum(map(_lacking, members, members.values()))})" if guard else digits


def _lacking(position: int, condition: Condition) -> int:
    return (ALONE if BRANCHING.search(condition.source) else Verdict.UNDECIDED.value) << 2 * position


@lru_cache(maxsize=SETS_KEPT)
def condition_set(conditions: tuple[Condition, ...]) -> ConditionSet:
    return ConditionSet(conditions)


def _guard(source: str) -> str:
    """Whether all is there that the condition reads without asking."""
    tested = {_compact(path) for path in TESTED.findall(source)}
    named = {_compact(path) for path in OPTIONAL.findall(without_literals(source))}
    return " && ".join(f"has({path})" for path in sorted(named - tested))


def _compact(path: str) -> str:
    return "".join(path.split())
