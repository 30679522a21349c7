"""The pack of detection rules in use: that a release brought another one is on record, with what changed."""

from collections.abc import Mapping
from datetime import datetime
from functools import cache
from typing import Any, Final

import orjson
from django.utils.module_loading import import_string

from audit.models import EventRow, FindingCursor
from gateway.actions import act
from governance.facts import Fact, Recorder
from governance.inspection.digest import pack_digest

KIND: Final = "inspection.pack_changed"
BY: Final = "system:inspection"
SHIPPED: Final = "governance.inspection.pack.shipped"
"""Loaded only where somebody looks, and never in a transaction: with it comes the engine, which takes its time."""
SHOWN: Final = 10


def shipped() -> Any:
    return import_string(SHIPPED)()


@cache
def note_pack() -> None:
    """Once a process; of several one writes. Nothing if the pack is the one that was in use."""
    if not FindingCursor.objects.filter(pack=pack_digest()).exists():
        pack = shipped()
        act(lambda record, now: _note(pack, record, now), by=BY)


def _note(pack: Any, record: Recorder, now: datetime) -> None:
    FindingCursor.objects.get_or_create(id=1)
    if not FindingCursor.objects.exclude(pack=pack.digest).update(pack=pack.digest):
        return
    before = next(iter(changes()), {})
    rules = pack.versions()
    told = {"pack": pack.digest, "was": before.get("pack", ""), "model": pack.model, "rules": rules}
    record(Fact("inspection.pack_changed", "inspection", {**told, **difference(before.get("rules", {}), rules)}))


def difference(before: Mapping[str, int], after: Mapping[str, int]) -> dict[str, list[str]]:
    """Names of rules. The first pack brings all of them, which is no change."""
    if not before:
        return {"added": [], "removed": [], "changed": []}
    return {
        "added": sorted(after.keys() - before.keys()),
        "removed": sorted(before.keys() - after.keys()),
        "changed": sorted(rule for rule in after.keys() & before.keys() if after[rule] != before[rule]),
    }


def changes() -> list[dict[str, Any]]:
    """The last ones, newest first, with their moment as `at`."""
    rows = EventRow.objects.filter(kind=KIND, call_id=None).order_by("-id").values_list("at", "header")[:SHOWN]
    return [{**orjson.loads(bytes(header))["details"], "at": at} for at, header in rows]
