"""CEL conditions: type-checked when saved, compiled into the snapshot, evaluated with a bound on cost.

Two environments, because JSON numbers mix what CEL's checker keeps apart. The static one knows the type of
every fixed field (and, per tool, of the arguments its schema declares); the run-time one sees maps of
anything, where comparing 150 with 100.5 simply works. Whatever cannot be evaluated (a missing field,
overflow, too much work) is UNDECIDED, which the caller treats as its strictest outcome.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from difflib import get_close_matches
from enum import Enum
from functools import lru_cache
from typing import Any

import orjson
from cel_expr_python import cel

LONGEST_SOURCE = 4096
"""Bytes."""
ITERATION_BUDGET = 10_000
"""How often the runtime runs the body of a comprehension before it gives up; its own constant."""
WORK_BUDGET = 20_000_000
"""Characters that a looping condition may read at worst; measured as 0.15 s and 50 MB."""
MEMBER_WORK = 4
SESSION = frozenset(("session",))
MOST_REMEMBERED = 256
LONGEST_REMEMBERED = 200
"""Characters of a session; agents choose what it is called."""
"""Reading a member of a container again costs as much as reading this many characters."""

_MAP = cel.Type.Map(cel.Type.STRING, cel.Type.DYN)
_OBJECTS = cel.Type.List(_MAP)
_STRINGS = cel.Type.List(cel.Type.STRING)
_NUMBER = cel.Type.AbstractType("number")
"""JSON Schema's number: an int or a double at run time, so it compares with both, calculates with neither."""

_SCALARS = {
    "string": cel.Type.STRING,
    "boolean": cel.Type.BOOL,
    "integer": cel.Type.INT,
    "number": _NUMBER,
    "object": _MAP,
}
_FIXED = {
    "agent.name": cel.Type.STRING,
    "agent.owner": cel.Type.STRING,
    "agent.title": cel.Type.STRING,
    "agent.purpose": cel.Type.STRING,
    "person.email": cel.Type.STRING,
    "person.name": cel.Type.STRING,
    "person.teams": _STRINGS,
    "person.staff": cel.Type.BOOL,
    "person.attributes": cel.Type.Map(cel.Type.STRING, _STRINGS),
    "tool.name": cel.Type.STRING,
    "tool.connector": cel.Type.STRING,
    "tool.risk": cel.Type.STRING,
    "tool.data_classes": _STRINGS,
    "tool.read_only": cel.Type.BOOL,
    "tool.environment": cel.Type.STRING,
    "tool.untrusted": cel.Type.BOOL,
    "tool.egress": cel.Type.BOOL,
    "session.id": cel.Type.STRING,
    "session.labels": _STRINGS,
    "time.now": cel.Type.TIMESTAMP,
    "time.hour": cel.Type.INT,
    "time.minute": cel.Type.INT,
    "time.weekday": cel.Type.STRING,
    "time.date": cel.Type.STRING,
    "time.businessHours": cel.Type.BOOL,
    "time.holiday": cel.Type.BOOL,
    "network.source_ip": cel.Type.STRING,
    "network.names": _STRINGS,
    "findings": _OBJECTS,
}
_AT_RUN_TIME = {
    **dict.fromkeys(("agent", "person", "args", "tool", "session", "time", "network"), _MAP),
    "findings": _OBJECTS,
    "time.now": cel.Type.TIMESTAMP,
}
RUN_TIME = cel.NewEnv(variables=_AT_RUN_TIME)
_STATIC = cel.NewEnv(variables={**_FIXED, "args": _MAP})

_ISSUE = re.compile(r"ERROR: <input>:(\d+):(\d+): (.*?)(?: \(in container ''\))?$", re.MULTILINE)
_LITERAL = re.compile(
    r"[rR]'''.*?'''|[rR]\"\"\".*?\"\"\"|[rR]'[^']*'|[rR]\"[^\"]*\""
    r"|'''(?:\\.|.)*?'''|\"\"\"(?:\\.|.)*?\"\"\"|'(?:\\.|[^'\\])*'|\"(?:\\.|[^\"\\])*\"|//[^\n]*",
    re.DOTALL,
)
_HAS = re.compile(r"\bhas\s*\([^()]*\)")
_VARIABLE = re.compile(r"\b(agent|person|tool|args|session|time|network|findings)\b")
_LOOP = re.compile(r"\.\s*(?:all|exists|exists_one|map|filter)\s*\(")
_MATCHES = re.compile(r"\bmatches\s*\(")
_WRITTEN = re.compile(r"\.\s*matches\s*\(\s*\)")
"""Nothing but a literal, which is blanked, between the brackets."""
_ARGUMENT = re.compile(r"(?<![\w.])args((?:\s*\.\s*[A-Za-z_]\w*)+)(\s*\()?")
_MISMATCH = re.compile(r"found no matching overload for '(.+)' applied to '\((.*)\)'")
_NUMERIC = frozenset({"int", "uint", "double", "number", "dyn", "list", "type", "bool", "error"})
_NUMBER_SAFE = frozenset(
    ("_<_", "_<=_", "_>_", "_>=_", "_==_", "_!=_", "@in", "_?_:_", "-_", "int", "uint", "double", "string")
)


class Verdict(Enum):
    FALSE = 0
    TRUE = 1
    UNDECIDED = 2


class ConditionError(ValueError):
    """The source is no condition. `line` and `column` count from 1; 0 when the fault has no place."""

    def __init__(self, message: str, line: int = 0, column: int = 0) -> None:
        super().__init__(f"Line {line}, column {column}: {message}" if line else message)
        self.line = line
        self.column = column


@dataclass(frozen=True, slots=True)
class Problem:
    """Why a condition cannot work for one tool: `code` is unknown_argument or type_mismatch."""

    tool: str
    code: str
    message: str


@dataclass(frozen=True, slots=True)
class Issue:
    """One complaint of the CEL compiler."""

    line: int
    column: int
    message: str


@dataclass(frozen=True, slots=True)
class Condition:
    """A compiled condition. Immutable; safe to evaluate from any thread, any number of times.

    `reads` are the variables that it names; it errs towards more: a word inside a string literal counts too.
    """

    source: str
    loops: int
    patterns: int
    """Regular expressions that are not written in it but come with the call."""
    reads: frozenset[str]
    is_open: bool
    """Only a call tells whether it is true or false at all."""
    _program: cel.Expression = field(repr=False, compare=False)
    _remembered: dict[str, Verdict] = field(default_factory=dict, init=False, repr=False, compare=False)
    """What it came to for sessions, if it reads nothing else: from call to call these are the same."""

    @property
    def is_weighed(self) -> bool:
        """What a call brings can make it costly."""
        return bool(self.loops or self.patterns)

    @property
    def reads_labels(self) -> bool:
        """Those of the run: it names the session, and more of it than the id."""
        return "session" in self.reads and re.search(r"\bsession\b(?!\s*\.\s*id\b)", self.source) is not None

    def evaluate(self, variables: Mapping[str, Any]) -> Verdict:
        """Never raises for what a request brings. A variable that is read and missing leaves it undecided;
        `variables["time"]["now"]` is an aware datetime."""
        if self.is_weighed and _work(self, variables) > WORK_BUDGET:
            return Verdict.UNDECIDED
        known = {name: variables[name] for name in self.reads & variables.keys()}  # the library converts what it gets
        if self.reads != SESSION:
            return _evaluate(self._program, with_timestamp(known))
        key = str(known)
        verdict = self._remembered.get(key)
        if verdict is None:
            verdict = _evaluate(self._program, known)
            self._remember(key, verdict)
        return verdict

    def _remember(self, key: str, verdict: Verdict) -> None:
        if len(key) > LONGEST_REMEMBERED:
            return
        if len(self._remembered) >= MOST_REMEMBERED:
            self._remembered.clear()
        self._remembered[key] = verdict


def with_timestamp(variables: Mapping[str, Any]) -> Mapping[str, Any]:
    """CEL takes a datetime as a variable of its own but not inside a map."""
    if "time" not in variables:
        return variables
    fields = dict(variables["time"])
    return {**variables, "time.now": fields.pop("now"), "time": fields}


def _evaluate(program: cel.Expression, activation: Mapping[str, Any]) -> Verdict:
    try:
        if holds_nul(activation):
            return Verdict.UNDECIDED
        value = program.eval(data=activation).value()
    except (RuntimeError, ValueError, TypeError, OverflowError):
        return Verdict.UNDECIDED
    if value is True:
        return Verdict.TRUE
    return Verdict.FALSE if value is False else Verdict.UNDECIDED


def holds_nul(activation: Mapping[str, Any]) -> bool:
    """The library takes a string, and the name of a member, up to its first NUL: `SUP\\0x` would pass for `SUP`."""
    return b"\\u0000" in orjson.dumps(activation, default=str)


def _work(condition: Condition, variables: Mapping[str, Any]) -> int:
    """Upper estimate in characters: each round of a loop may read the longest string and all members, and each state of
    a regular expression the whole string."""
    widest, members, longest = _extent([variables["args"], variables.get("findings", [])])
    rounds: int = max(widest, condition.source.count(",") + 1) ** condition.loops
    read = longest * longest if condition.patterns else longest
    return min(ITERATION_BUDGET, rounds) * (read + MEMBER_WORK * members)


def _extent(pending: list[Any]) -> tuple[int, int, int]:
    """The members of the largest container, those of all together, and the length of the longest string."""
    widest = members = longest = 0
    while pending:
        container = pending.pop()
        widest = max(widest, len(container))
        members += len(container)
        for member in container.values() if isinstance(container, Mapping) else container:
            if isinstance(member, str):
                longest = max(longest, len(member))
            elif isinstance(member, Mapping | list):
                pending.append(member)
    return widest, members, longest


@lru_cache(maxsize=4096)
def compile_condition(source: str) -> Condition:
    """Raises ConditionError with the first fault in the text."""
    _check_text(source)
    issues = _issues(_STATIC, _without_has(source)) or _issues(RUN_TIME, source)
    if issues:
        raise ConditionError(_plain(issues[0].message), issues[0].line, issues[0].column)
    program = RUN_TIME.compile(source)
    if program.return_type() not in (cel.Type.BOOL, cel.Type.DYN):
        raise ConditionError(f"A condition must be true or false; this is of type {program.return_type().name()}.")
    is_open = program.return_type() == cel.Type.DYN
    blanked = without_literals(source)
    return Condition(
        source,
        loops=len(_LOOP.findall(blanked)),
        patterns=len(_MATCHES.findall(blanked)) - len(_WRITTEN.findall(blanked)),
        reads=frozenset(_VARIABLE.findall(source)),
        is_open=is_open,
        _program=RUN_TIME.compile(_closed(source)) if is_open else program,
    )


def _closed(source: str) -> str:
    """An error where the condition is neither true nor false: the library must never hand out a null, as it takes a
    reference to None that is not its own each time, and Python dies when the last is gone."""
    return f"(({source}\n)) ? true : false"


def _check_text(source: str) -> None:
    try:
        size = len(source.encode())
    except UnicodeEncodeError:
        raise ConditionError("A condition must be valid Unicode.") from None
    if size > LONGEST_SOURCE:
        raise ConditionError(f"A condition may have at most {LONGEST_SOURCE} bytes.")


def evaluate_knowing(condition: Condition, known: Mapping[str, Any]) -> Verdict:
    """What the condition comes to whatever the other variables are; UNDECIDED when that depends on them.

    Their every read fails, and a verdict that survives that does not rest on any of them.
    """
    return _evaluate(condition._program, known)


def is_never_true(source: str) -> bool:
    """True only when the condition is false whatever a request brings, e.g. `false` or `1 > 2 && args.x`.

    Evaluated without any variable: every read fails, and a false that survives that does not depend on any.
    """
    return _evaluate(compile_condition(source)._program, {}) is Verdict.FALSE


def check_against(source: str, *, schemas: Mapping[str, Mapping[str, Any]]) -> list[Problem]:
    """What stands against this (compilable) condition, per tool name and its input schema."""
    return [problem for tool, schema in schemas.items() for problem in _problems(source, tool, schema)]


def _problems(source: str, tool: str, schema: Mapping[str, Any]) -> Iterator[Problem]:
    types: dict[str, cel.Type] = {}
    for path in dict.fromkeys(_argument_paths(source)):
        unknown = _declare(path, schema, types)
        if unknown is not None:
            yield Problem(tool, "unknown_argument", unknown)
    env = cel.NewEnv(variables={**_FIXED, "args": _MAP, **types})
    for issue in _issues(env, _without_has(source)):
        if not _is_sound_with_numbers(issue.message):
            yield Problem(tool, "type_mismatch", _plain(issue.message))


def _argument_paths(source: str) -> Iterator[tuple[str, ...]]:
    """`args.a.b` as (a, b); a method called at the end is no part of it."""
    for match in _ARGUMENT.finditer(without_literals(source)):
        names = [name.strip() for name in match[1].split(".")[1:]]
        path = tuple(names[:-1] if match[2] else names)
        if path:
            yield path


def _declare(path: tuple[str, ...], schema: Mapping[str, Any], types: dict[str, cel.Type]) -> str | None:
    """Adds the type of each step of the path to `types`; the complaint when the schema has no such step."""
    name = "args"
    for step in path:
        properties = schema.get("properties")
        if not isinstance(properties, Mapping) or (step not in properties and _is_open(schema)):
            return None
        if step not in properties:
            return f"{name} has no {step}." + _suggestion(step, list(properties))
        name, schema = f"{name}.{step}", _as_schema(properties[step])
        types[name] = _type_of(schema)
        if types[name] != _MAP:
            return None
    return None


def _suggestion(name: str, known: list[str]) -> str:
    nearest = get_close_matches(name, known, n=1)
    return f" Did you mean {nearest[0]}?" if nearest else ""


def _is_open(schema: Mapping[str, Any]) -> bool:
    """May the object have members that `properties` does not list? Left unsaid, the list is complete."""
    composed = ("patternProperties", "$ref", "allOf", "anyOf", "oneOf", "if")
    return schema.get("additionalProperties", False) is not False or any(word in schema for word in composed)


def _as_schema(schema: Any) -> Mapping[str, Any]:
    """A schema may also be just true or false."""
    return schema if isinstance(schema, Mapping) else {}


def _type_of(schema: Mapping[str, Any]) -> cel.Type:
    """The CEL type of one argument; dyn whenever the schema leaves it open."""
    kind = schema.get("type")
    if any(word in schema for word in ("$ref", "allOf", "anyOf", "oneOf")) or not isinstance(kind, str):
        return cel.Type.DYN
    if kind == "array":
        return cel.Type.List(_type_of(_as_schema(schema.get("items"))))
    return _SCALARS.get(kind, cel.Type.DYN)


def _is_sound_with_numbers(message: str) -> bool:
    """The checker keeps int and double apart; at run time they compare and convert, arithmetic fails."""
    mismatch = _MISMATCH.search(message)
    if mismatch is None:
        return False
    return mismatch[1] in _NUMBER_SAFE and set(re.findall(r"\w+", mismatch[2])) <= _NUMERIC


def _issues(env: cel.Env, source: str) -> list[Issue]:
    try:
        env.compile(source)
    except RuntimeError as error:
        text = str(error)
        found = [Issue(int(line), int(column), message) for line, column, message in _ISSUE.findall(text)]
        return found or [Issue(0, 0, text.splitlines()[0])]
    return []


def _plain(message: str) -> str:
    mismatch = _MISMATCH.search(message)
    if mismatch is not None:
        operator = mismatch[1].strip("_@")
        hint = " Convert first, e.g. double(args.amount)." if "number" in mismatch[2] else ""
        return f"{operator} cannot be applied to ({mismatch[2]}).{hint}"
    unknown = re.fullmatch(r"undeclared reference to '(.*)'", message)
    if unknown is not None:
        return f"{unknown[1]} is not known here.{_suggestion(unknown[1], [*_FIXED, 'args'])}"
    return message


def without_literals(source: str) -> str:
    """The source with every string and comment blanked, so that words in them count for nothing."""
    return _LITERAL.sub(lambda literal: " " * len(literal[0]), source)


def _without_has(source: str) -> str:
    """The source with every `has(...)` as true: over variables with dotted names the checker mistypes it."""
    return _HAS.sub(lambda macro: "true".ljust(len(macro[0])), source)
