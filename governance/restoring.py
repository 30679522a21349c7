"""Which real values a call may bring to its tool in place of tokens. Pure.

Nothing is put back unless a rule says so. What is put back counts as found in the arguments, so rules that deny, ask or
mask for it have the last word.
"""

from collections.abc import Iterable, Mapping
from typing import Any

from governance.snapshot_values import Rule

Told = Mapping[str, Any]
"""As conditions read a finding, for each name that it has: in `part` of what `token` stands for."""


def may_go(restorable: Iterable[Told], rules: Iterable[Rule]) -> list[Told]:
    """What these rules let through of what could be put back: a value goes only with all that was found in it."""
    allowed = frozenset[str]().union(*(rule.findings for rule in rules))
    told = list(restorable)
    let_through = {(each["token"], each["part"]) for each in told if each["kind"] in allowed}
    kept_back = {each["token"] for each in told if (each["token"], each["part"]) not in let_through}
    return [each for each in told if each["token"] not in kept_back]
