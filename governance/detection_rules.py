"""Switching detection rules off, for the whole organisation, and on again: who may, and what it says on record."""

from collections.abc import Collection, Mapping
from datetime import datetime
from typing import Final

from django.utils.module_loading import import_string

from governance.facts import Fact, Recorder
from governance.house_rules import RuleBroken
from governance.lifecycle import review_is_required
from governance.models import DetectionOff

REASON_LIMIT: Final = 500
SHIPPED: Final = "governance.inspection.pack.shipped"


def known_rules() -> Mapping[str, int]:
    """Name -> version. Loads the engine, so ask only where somebody looks, and never in a transaction."""
    rules: Mapping[str, int] = import_string(SHIPPED)().versions()
    return rules


def switch_off(
    rule: str, *, known: Collection[str], reason: str, is_owner: bool, by: str, record: Recorder, now: datetime
) -> DetectionOff:
    """Its findings are neither seen by rules nor told. `known` are the rules that there are. Raises RuleBroken."""
    if rule not in known:
        raise RuleBroken("rule", "There is no detection rule of this name that can be switched off.")
    if not reason.strip() or len(reason) > REASON_LIMIT:
        raise RuleBroken("reason", f"Say why, in at most {REASON_LIMIT} characters.")
    if review_is_required() and not is_owner:
        raise RuleBroken("", "Changes of rules need a second person here, so only an owner switches detection off.")
    row, is_new = DetectionOff.objects.get_or_create(
        rule=rule, defaults={"reason": reason.strip(), "set_by": by, "set_at": now}
    )
    if not is_new:
        raise RuleBroken("rule", "It is off already.")
    record(Fact("detection.switched_off", f"detection:{rule}", {"rule": rule, "reason": row.reason}))
    return row


def switch_on(rule: str, *, by: str, record: Recorder, now: datetime) -> None:
    """Raises RuleBroken."""
    if not DetectionOff.objects.filter(rule=rule).delete()[0]:
        raise RuleBroken("rule", "It is on.")
    record(Fact("detection.switched_on", f"detection:{rule}", {"rule": rule}))
