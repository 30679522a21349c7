"""Prompts and resources as an upstream lists them, without those whose texts try something.

Nothing of them is pinned, so each list is looked at when it is heard, once for all agents, in a thread.
"""

import asyncio
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, Final

from connectors.base import Catalog
from governance.definition_findings import Remark, inspected, is_suspicious

CPU_SECONDS: Final = 3.0
LONGEST_NAME: Final = 200
NAMES: Final = ("uri", "uriTemplate", "name")


@dataclass(frozen=True, slots=True)
class Withheld:
    """An item that no agent is shown, and the gravest thing that was found in it."""

    name: str
    rule: str

    def as_json(self) -> dict[str, str]:
        return {"item": self.name, "rule": self.rule}


@dataclass(frozen=True, slots=True)
class Kept:
    items: tuple[dict[str, Any], ...] = field(repr=False)
    withheld: tuple[Withheld, ...]
    ttl_seconds: float | None


async def looked_at(catalog: Catalog) -> Kept:
    if not catalog.items:
        return Kept((), (), catalog.ttl_seconds)
    return await asyncio.to_thread(_looked_at, catalog)


def _looked_at(catalog: Catalog) -> Kept:
    shown, withheld = [], []
    for item, remarks in zip(catalog.items, inspected(catalog.items, cpu_seconds=CPU_SECONDS), strict=True):
        if is_suspicious(remarks):
            withheld.append(Withheld(_name(item), _gravest(remarks)))
        else:
            shown.append(item)
    return Kept(tuple(shown), tuple(withheld), catalog.ttl_seconds)


def _gravest(remarks: Iterable[Remark]) -> str:
    return next(remark.rule for remark in remarks if remark.is_serious)


def _name(item: dict[str, Any]) -> str:
    return str(next((item[key] for key in NAMES if key in item), ""))[:LONGEST_NAME]
