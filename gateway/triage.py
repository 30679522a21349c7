"""What humans say of what inspection found: it was there, or it was a false alarm. Each word is on record."""

from datetime import datetime
from typing import Any, Final
from uuid import UUID

from audit.models import FindingGroup, Sighting
from governance.facts import Fact, Recorder
from governance.house_rules import RuleBroken
from governance.models import Tool

PERMISSION: Final = "audit.judge_findinggroup"
NOTE_LIMIT: Final = 500
OPEN: Final = ""
VERDICTS: Final = {
    FindingGroup.TRUE: "True: it was there",
    FindingGroup.FALSE: "False alarm",
    OPEN: "Open: nobody has said",
}


def judge(finding: UUID, *, verdict: str, note: str, by: str, record: Recorder, now: datetime) -> FindingGroup:
    """Raises RuleBroken. A later word takes the place of an earlier one; the evidence keeps both."""
    if verdict not in VERDICTS:
        raise RuleBroken("verdict", "Say true, false, or leave it open.")
    note = note.strip()
    if len(note) > NOTE_LIMIT:
        raise RuleBroken("note", f"At most {NOTE_LIMIT} characters.")
    if verdict != FindingGroup.TRUE and not note:
        raise RuleBroken("note", "Say why: others rely on it.")
    row = FindingGroup.objects.select_for_update().filter(pk=finding).first()
    if row is None:
        raise RuleBroken("", "It is gone: the records that told of it were pruned or erased.")
    was, row.verdict, row.note = row.verdict, verdict, note
    row.judged_by, row.judged_at = by, now
    row.save(update_fields=["verdict", "note", "judged_by", "judged_at"])
    record(Fact("finding.judged", f"finding:{row.pk}", {**_told(row), "verdict": verdict, "was": was, "note": note}))
    return row


def pattern_of(row: FindingGroup) -> dict[str, Any]:
    """What an exception names that allows it where it was seen: its value, or the place of values that are not told
    apart. `tool` is None where it is not there any more."""
    return {
        "rule": row.rule,
        "fingerprint": row.fingerprint,
        "path": "" if row.fingerprint else _place(row),
        "tool": Tool.objects.filter(name=row.tool, connector__name=row.connector).first(),
    }


def _place(row: FindingGroup) -> str:
    newest = Sighting.objects.filter(group=row.pk).order_by("-leaf")
    return newest.values_list("path", flat=True).first() or ""


def _told(row: FindingGroup) -> dict[str, str | int]:
    names = ("rule", "version", "kind", "fingerprint", "connector", "tool")
    return {name: getattr(row, name) for name in names}
