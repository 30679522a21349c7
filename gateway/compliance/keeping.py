"""Reports that were asked for on a screen: rows that the worker takes up, and the files that came of them, in parts.

The rows are all there is to know: a worker that was killed is followed by another once its lease is over.
"""

import hashlib
import logging
import tempfile
import zipfile
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

from django.db.models import Q

from audit.checkpoint import BadKey, installation_verifier
from gateway.actions import act
from gateway.compliance.making import make_report
from gateway.compliance.packs import PACKS
from gateway.compliance.report import CannotReport, Made, Wish
from gateway.models import Report, ReportPart
from governance.facts import Fact, Recorder
from governance.models import User

logger = logging.getLogger(__name__)

PART_BYTES = 1024 * 1024
LEASE = timedelta(hours=1)
KEPT = timedelta(days=90)
ZIP, PDF = "report.zip", "report.pdf"
TYPES = {ZIP: "application/zip", PDF: "application/pdf"}
State = Report.State


def fact_of(kind: str, wish: Wish, **details: Any) -> Fact:
    about = {"pack": wish.pack.key, "since": wish.since.isoformat(), "until": wish.until.isoformat()}
    subject = f"person:{wish.person.email}" if wish.person else f"report:{wish.pack.key}"
    return Fact(kind, subject, {**about, **details})


def ask(wish: Wish) -> Report:
    """Raises CannotReport."""
    return act(lambda record, now: ask_within(wish, record=record, now=now), by=wish.by)


def ask_within(wish: Wish, *, record: Recorder, now: datetime) -> Report:
    """In the caller's transaction. Raises CannotReport."""
    wish.check()
    if wish.person is not None and "person" not in wish.pack.sections:
        raise CannotReport(f"{wish.pack.title} tells of nobody in particular. Choose GDPR, or leave the person out.")
    row = Report.objects.create(
        pack=wish.pack.key,
        since=wish.since,
        until=wish.until,
        person=wish.person.email if wish.person else "",
        asked_by=wish.by,
        asked_at=now,
    )
    record(fact_of("report.asked", wish, report=str(row.pk)))
    return row


def make_due() -> int:
    """Makes what waits, one after the other. Returns how many."""
    now = datetime.now(UTC)
    Report.objects.filter(asked_at__lt=now - KEPT).delete()
    forsaken = Q(state=State.MAKING, begun_at__lt=now - LEASE)
    due = Report.objects.filter(Q(state=State.WAITING) | forsaken).order_by("asked_at").values_list("pk", flat=True)
    return sum(_take_up(report_id) for report_id in list(due))


def _take_up(report_id: UUID) -> bool:
    now = datetime.now(UTC)
    free = Q(state=State.WAITING) | Q(state=State.MAKING, begun_at__lt=now - LEASE)
    if not Report.objects.filter(free, pk=report_id).update(state=State.MAKING, begun_at=now):
        return False
    row = Report.objects.get(pk=report_id)
    try:
        _make(row)
    except (CannotReport, BadKey, OSError) as reason:
        logger.warning("report %s could not be made: %s", row.pk, reason)
        Report.objects.filter(pk=row.pk).update(state=State.FAILED, problem=str(reason)[:300])
    return True


def wish_of(row: Report) -> Wish:
    person = User.objects.filter(email=row.person).first() if row.person else None
    if row.person and person is None:
        raise CannotReport(f"There is nobody of the address {row.person} any more.")
    return Wish(PACKS[row.pack], row.since, row.until, row.asked_by, row.asked_at, person)


def _make(row: Report) -> None:
    """No transaction is open while the evidence is read."""
    wish = wish_of(row)
    with tempfile.TemporaryDirectory(prefix="gatehouse-report-") as name:
        folder = Path(name) / "report"
        folder.mkdir()
        made = make_report(wish, folder, verifier=installation_verifier())
        packed = Path(name) / ZIP
        with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as file:
            for each in sorted(path for path in folder.rglob("*") if path.is_file()):
                file.write(each, each.relative_to(folder))
        row.parts.all().delete()
        digests = {each.name: _store(row, each) for each in (packed, folder / PDF)}
    _finish(row, wish, made, digests)


def _store(row: Report, path: Path) -> str:
    """Returns its SHA-256."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        number = 0
        while body := file.read(PART_BYTES):
            digest.update(body)
            ReportPart.objects.create(report=row, file=path.name, number=number, body=body)
            number += 1
    return digest.hexdigest()


def _finish(row: Report, wish: Wish, made: Made, digests: dict[str, str]) -> None:
    told = {
        "lines": made.lines,
        "cut": made.cut,
        "unsigned": made.unsigned,
        "unreadable": made.unreadable,
        "sha256": digests,
    }

    def work(record: Any, now: datetime) -> None:
        Report.objects.filter(pk=row.pk).update(state=State.DONE, made_at=now, told=told)
        record(fact_of("report.made", wish, report=str(row.pk), lines=made.lines, sha256=digests))

    act(work, by=row.asked_by)


def fact_of_taking(row: Report, file: str) -> Fact:
    """That somebody takes the file is recorded before its first byte leaves."""
    sha256 = row.told.get("sha256", {}).get(file, "")
    return Fact("report.taken", f"report:{row.pack}", {"report": str(row.pk), "file": file, "sha256": sha256})


def take_along(row: Report, file: str, *, by: str) -> None:
    act(lambda record, _: record(fact_of_taking(row, file)), by=by)


def file_name(row: Report, file: str) -> str:
    return f"gatehouse-{row.pack}-{row.since:%Y-%m-%d}-{row.until:%Y-%m-%d}.{file.rpartition('.')[2]}"


def parts_of(row: Report, file: str) -> Iterator[bytes]:
    """One at a time."""
    number = 0
    while part := row.parts.filter(file=file, number=number).values_list("body", flat=True).first():
        yield bytes(part)
        number += 1
