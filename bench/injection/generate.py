# ruff: noqa: E501
"""Texts from templates, alone and inside what tools return. The same seed gives the same texts."""

import json
import random
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from bench.injection import attacks, harmless

SLOT = re.compile(r"\{(\w+)\}")
TITLES = (
    "Weekly update",
    "Printer problem",
    "Order status",
    "Trip to Oslo",
    "Release notes",
    "Question about the offer",
    "Garden plan",
    "Minutes",
    "Onboarding",
)


@dataclass(frozen=True, slots=True)
class Sample:
    text: str
    """With what stands around it in a tool's result."""
    label: int
    core: str
    group: str
    """Samples of one template are trained on, or judged, together."""


def samples(*, seed: int, attacking: int, innocent: int) -> Iterator[Sample]:
    chance = random.Random(seed)
    attack_templates = [*attacks.TEMPLATES, *attacks.TOOL_TEMPLATES, *attacks.SITUATIONS]
    for count, templates, slots, label in (
        (attacking, attack_templates, attacks.SLOTS, 1),
        (innocent, [*harmless.TEMPLATES, *harmless.SITUATIONS], harmless.SLOTS, 0),
    ):
        for number in range(count):
            template = templates[number % len(templates)]
            core = filled(template, slots, chance)
            yield Sample(wrapped(core, chance), label, core, f"{label}:{template}")


def filled(template: str, slots: Mapping[str, Sequence[str]], chance: random.Random) -> str:
    """Slots within slots, until none is left; doubled braces are braces."""
    text = template.replace("{{", "\x00").replace("}}", "\x01")
    while SLOT.search(text):
        text = SLOT.sub(lambda match: chance.choice(slots[match[1]]), text)
    return text.replace("\x00", "{").replace("\x01", "}")


def wrapped(core: str, chance: random.Random) -> str:
    return chance.choice(WRAPPERS)(core, chance)


def _fact(chance: random.Random) -> str:
    return filled(chance.choice(harmless.TEMPLATES), harmless.SLOTS, chance)


def _around(core: str, chance: random.Random) -> str:
    before = [_fact(chance) for _ in range(chance.randrange(3))]
    after = [_fact(chance) for _ in range(chance.randrange(3))]
    return chance.choice((" ", "\n", "\n\n")).join([*before, core, *after])


def _alone(core: str, chance: random.Random) -> str:
    return core


def _mail(core: str, chance: random.Random) -> str:
    name = chance.choice(harmless.SLOTS["name"])
    return f"From: {name} <{name.split()[-1].lower()}@mail.example>\nSubject: {chance.choice(TITLES)}\n\nHello,\n{_around(core, chance)}\n\nKind regards\n{name}"


def _ticket(core: str, chance: random.Random) -> str:
    ticket = {
        "id": chance.randrange(9999),
        "subject": chance.choice(TITLES),
        "status": "open",
        "body": _around(core, chance),
        "tags": ["web"],
    }
    return json.dumps(ticket, ensure_ascii=False)


def _rows(core: str, chance: random.Random) -> str:
    rows = [{"row": number, "note": _fact(chance)} for number in range(chance.randrange(1, 4))]
    rows.insert(chance.randrange(len(rows) + 1), {"row": 99, "note": core})
    return json.dumps({"items": rows}, ensure_ascii=False, indent=chance.choice((None, 1)))


def _page(core: str, chance: random.Random) -> str:
    return f"<html><body><h2>{chance.choice(TITLES)}</h2><p>{_fact(chance)}</p><p>{core}</p><footer>{_fact(chance)}</footer></body></html>"


def _markdown(core: str, chance: random.Random) -> str:
    return f"# {chance.choice(TITLES)}\n\n- {_fact(chance)}\n- {core}\n- {_fact(chance)}\n"


def _chat(core: str, chance: random.Random) -> str:
    names = chance.sample(harmless.SLOTS["name"], 3)
    return f"[09:12] {names[0]}: {_fact(chance)}\n[09:13] {names[1]}: {core}\n[09:20] {names[2]}: {_fact(chance)}"


def _csv(core: str, chance: random.Random) -> str:
    return f"date,text,amount\n2026-03-01,{_fact(chance)},12\n2026-03-02,{core},0\n"


WRAPPERS: Sequence[Callable[[str, random.Random], str]] = (
    _alone,
    _around,
    _around,
    _mail,
    _ticket,
    _rows,
    _page,
    _markdown,
    _chat,
    _csv,
)
