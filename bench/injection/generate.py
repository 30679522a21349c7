# ruff: noqa: E501
"""Texts from templates, alone and inside what tools return. The same seed gives the same texts."""

import json
import random
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from bench.injection import attacks, errands, harmless

SLOT = re.compile(r"\{(\w+)\}")
SENTENCE_END = re.compile(r"[.!?] ")
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


def errand_samples(*, seed: int, asked: int, innocent: int, manuals: int) -> Iterator[Sample]:
    """Errands set into letters of others, and what people write in these."""
    chance = random.Random(seed)
    for number in range(asked):
        kind = errands.KINDS[number % len(errands.KINDS)]
        template = kind[number // len(errands.KINDS) % len(kind)]
        core = _begun(filled(template, errands.SLOTS, chance))
        is_set = chance.random() < 0.75
        text = _set_into(chance.choice(errands.LETTERS), core, chance) if is_set else wrapped(core, chance)
        yield Sample(text, 1, core, f"errand:{template}")
    for number in range(innocent):
        template = errands.ASIDES[number % len(errands.ASIDES)]
        yield Sample(_said(filled(template, errands.SLOTS, chance), chance), 0, "", f"aside:{template}")
    slots = {**errands.SLOTS, **errands.MANUAL_SLOTS}
    for number in range(manuals):
        template = errands.MANUALS[number % len(errands.MANUALS)]
        pages = [template, *chance.sample(errands.MANUALS, chance.randrange(2))]
        yield Sample("\n\n".join(filled(page, slots, chance) for page in pages), 0, "", f"manual:{template}")


def _said(core: str, chance: random.Random) -> str:
    drawn = chance.random()
    if drawn < 0.1:
        return chance.choice(errands.LETTERS)
    return _set_into(chance.choice(errands.LETTERS), core, chance) if drawn < 0.8 else wrapped(core, chance)


def _set_into(letter: str, core: str, chance: random.Random) -> str:
    """Before it, after it, on a line of its own, or between two sentences."""
    drawn = chance.random()
    if drawn < 0.2:
        return f"{core}\n{letter}"
    if drawn < 0.5:
        return f"{letter}\n{core}"
    if drawn < 0.6:
        return f"{letter} {core}"
    lines = letter.split("\n")
    if drawn < 0.8 and len(lines) > 1:
        lines.insert(chance.randrange(1, len(lines)), core)
        return "\n".join(lines)
    ends = [match.end() for match in SENTENCE_END.finditer(letter)]
    at = chance.choice(ends) if ends else len(letter)
    return f"{letter[:at]}{core} {letter[at:]}"


def _begun(core: str) -> str:
    return core[0].upper() + core[1:]


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
