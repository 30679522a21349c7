"""What a held call would do, in one sentence a person reads at a glance. Pure.

Only the words around it are ours: name, title and values come from agents and upstreams. They are cut, made visible
and shown as quotations; whatever does not look like plain words is named instead of woven in.
"""

import re
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from itertools import islice
from typing import Any

import orjson

from gateway.hostile_text import visible

LONGEST_ACT = 60
LONGEST_VALUE = 48
DETAILS_SHOWN = 3
LOOKED_AT = 200
"""Arguments; agents choose how many there are."""
PLAIN_WORDS = re.compile(r"[A-Za-z][A-Za-z0-9 ,'/-]*")
_VERBS = (
    "accept add approve archive assign attach book buy cancel change charge close comment convert copy create"
    " deactivate delete deploy disable download edit enable execute export fetch find forward generate get grant import"
    " insert invite issue list look lock make mark merge modify move notify open order pay post publish pull purge push"
    " put query read refund reject release remove rename reopen replace reply request reset resolve restart restore"
    " revoke rotate run save schedule search send set share show start stop submit suspend sync tag transfer trigger"
    " unlock update upload void withdraw write"
)
VERBS = frozenset(_VERBS.split())
"""First words by which a title reads as something to do."""


@dataclass(frozen=True, slots=True)
class Detail:
    name: str
    value: str


@dataclass(frozen=True, slots=True)
class Sentence:
    """`{who} wants to {act}: {details} with {tool} on {connector}`; without an act, to use the tool. `more` counts
    the arguments that did not fit."""

    who: str
    act: str
    details: tuple[Detail, ...]
    more: int
    tool: str
    connector: str

    def __str__(self) -> str:
        said = ", ".join(f"{each.name} {each.value}" for each in self.details)
        act = f"{self.act} with {self.tool}" if self.act else f"use {self.tool}"
        return f"{self.who} wants to {act} on {self.connector}{f': {said}' if said else ''}"


def sentence_of(*, who: str, title: str, tool: str, connector: str, arguments: Mapping[str, Any]) -> Sentence:
    """`arguments` are masked already."""
    looked_at = dict(islice(arguments.items(), LOOKED_AT))
    names = _names(looked_at)
    short = [
        (not _is_number(value), Detail(names[name], shown))
        for name, value in looked_at.items()
        if not isinstance(value, dict | list) and (shown := _short(value))
    ]
    numbers_first = sorted(short, key=lambda each: each[0])  # amounts are what a human is asked for most
    details = tuple(detail for _, detail in numbers_first[:DETAILS_SHOWN])
    return Sentence(
        visible(who), act_of(title), details, len(arguments) - len(details), visible(tool), visible(connector)
    )


def _names(arguments: Iterable[str]) -> dict[str, str]:
    """In words, where no other name reads the same: `Amount` does not pass for `amount`."""
    words = {name: words_of(name) for name in arguments}
    often = Counter(words.values())
    return {name: said if often[said] == 1 else visible(name)[:LONGEST_VALUE] for name, said in words.items()}


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def act_of(title: str) -> str:
    """`refund an order` of "Refund an order"; empty when the title is no plain phrase that says what is done."""
    words = title.strip()
    if len(words) > LONGEST_ACT or not PLAIN_WORDS.fullmatch(words):
        return ""
    first, _, rest = words.partition(" ")
    return f"{first.lower()} {rest}".strip() if first.lower() in VERBS else ""


def words_of(name: str) -> str:
    """`order id` of `order_id` or `orderId`; what is no identifier stays, made visible."""
    if not re.fullmatch(r"[A-Za-z][A-Za-z0-9_-]{0,40}", name):
        return visible(name)[:LONGEST_VALUE]
    return re.sub(r"(?<=[a-z])(?=[A-Z])|[_-]+", " ", name).lower()


def _short(value: Any) -> str:
    """Empty if it is too long for a sentence."""
    shown = visible(value if isinstance(value, str) else orjson.dumps(value).decode())
    return shown if 0 < len(shown) <= LONGEST_VALUE and "\n" not in shown else ""
