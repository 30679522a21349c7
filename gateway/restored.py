"""A database that is not the one whose log was signed: a backup, a snapshot or a lagging replica in its place.

What was revoked since is live again in it, and nobody here knows what that was. So everything is frozen, on record, and
nothing is signed. To lift that very freeze is to confirm that this database counts from now on; that is for those who
change anchors, and on record, too.
"""

from datetime import datetime
from typing import Final

from audit.newest_signed import newest_signed
from gateway.actions import act
from gateway.notices.writing import evidence_in_trouble
from governance.facts import Recorder
from governance.freezes import EVIDENCE, FreezeTarget, freeze
from governance.models import Anchor, Freeze

BY: Final = EVIDENCE
NOT_THE_ONE: Final = (
    "This is not the database whose log was signed: {}. Look for the newer one; if there is none, repeat what was"
    " revoked since. To lift this freeze is to confirm that this database counts."
)
ANCHOR_KNOWS: Final = "the anchor {} keeps checkpoints of records that it never had"


def hold_if_other_database() -> bool:
    """Whether nothing may be signed: it is another one, and nobody has confirmed it."""
    newest = newest_signed()
    contradiction = newest.contradicts()
    if not contradiction:
        return False
    if _is_held(contradiction):
        return True
    newest.set_aside()
    return False


def hold_if_anchors_know_better() -> bool:
    """By what they said when they were last asked. Who has confirmed it once for an anchor is not asked again."""
    ahead = Anchor.objects.filter(is_enabled=True, ahead_size__gt=0).order_by("name").values_list("name", flat=True)
    held = [_is_held(ANCHOR_KNOWS.format(name)) for name in ahead]
    return any(held)


def _is_held(contradiction: str) -> bool:
    """False once somebody has lifted the freeze that says so; the first to notice sets it."""
    reason = NOT_THE_ONE.format(contradiction)
    ours = Freeze.objects.filter(created_by=BY, reason=reason)
    if ours.filter(lifted_at=None).exists():
        return True
    if ours.exists():
        return False

    def hold(record: Recorder, now: datetime) -> None:
        freeze(FreezeTarget(), by=BY, record=record, now=now, ends_at=None, reason=reason)
        evidence_in_trouble(f"Everything is frozen. {reason}", now=now)

    act(hold, by=BY)
    return True
