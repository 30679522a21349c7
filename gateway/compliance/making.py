"""A report as files: CSV with every line, PDF with the first ones, and beside them what proves each line.

`events.log` holds the events that lines rest on, byte for byte as they were hashed, and `proof.bin` one proof that all
of them are in the tree of the one checkpoint that the report was made under. The verifier that checks it lies beside.
"""

import csv
from array import array
from pathlib import Path
from shutil import copyfile
from typing import Any

import orjson

from audit import auditverify
from audit.bundle import VERIFIER, rotations, write_stamps
from audit.checkpoint import Verifier
from audit.models import Checkpoint, EventRow, Leaf
from audit.pages import PAGE
from audit.subset_proof import LeavesMissing, stored_leaves, subset_proof
from gateway.compliance.lines import LEAF_COLUMNS, Line
from gateway.compliance.paper import report_as_pdf
from gateway.compliance.reading import Reading
from gateway.compliance.report import CannotReport, Made, Told, Wish
from gateway.compliance.sections import Asked, Section
from gateway.hostile_text import visible
from gateway.streams import harmless

MOST_LINES = 200_000
"""Of a section. A longer one is cut, and says so."""
ON_PAPER = 200
READ_ME = """\
{title}
{since:%Y-%m-%d %H:%M} to {until:%Y-%m-%d %H:%M} UTC, made {at:%Y-%m-%d %H:%M} UTC by {by} from the log {log}, up to
its checkpoint of {size:,} leaves.

report.pdf      what each control's evidence shows and does not show, and the first lines of each section
lines/*.csv     every line of each section, with the leaf of the event that it rests on
events.log      those events, byte for byte as they were hashed
proof.bin       that they are all in the tree of checkpoint.txt

    python3 auditverify.py bundle . --key KEY [--anchor CHECKPOINT --consistency PROOF]

checks all of it but the words of report.pdf. KEY is the log's verifier key. The one in key.txt came with these files:
compare it with the one you were given when the installation was set up. auditverify.py came with them, too: take it
from a release of Gatehouse to be sure of it. It needs Python 3.9 or newer and nothing else, and it says what it did not
check. CHECKPOINT is an older one that was kept elsewhere; `manage.py prove_consistency OLD-SIZE {size}` makes the proof
that this log continues it. stamps/ holds what timestamp authorities answered, where any is set up.
"""


def make_report(wish: Wish, folder: Path, *, verifier: Verifier | None) -> Made:
    """Writes the report into an empty folder. Raises CannotReport."""
    wish.check()
    newest = Checkpoint.objects.order_by("-size").first()
    if newest is None or verifier is None:
        raise CannotReport("Nothing is under a signature yet: start the sequencer, or wait a second.")
    reading = Reading(newest.size, wish.since, wish.until)
    asked = Asked(reading, wish.person)
    places: set[int] = set()
    (folder / "lines").mkdir()
    told = [_write_lines(section, asked, folder, places) for section in wish.sections()]
    events = _write_events(folder, sorted(places), newest)
    made = Made(
        lines={each.section.key: each.count for each in told},
        cut=tuple(each.section.key for each in told if each.is_cut),
        unsigned=reading.unsigned,
        unreadable=reading.unreadable,
        events=events,
    )
    _write_about(wish, folder, newest, verifier, made)
    (folder / "report.pdf").write_bytes(report_as_pdf(wish, told, made, newest, verifier))
    return made


def new_folder(folder: Path) -> Path:
    """Raises CannotReport if it is in use."""
    folder.mkdir(mode=0o700, exist_ok=True)
    if any(folder.iterdir()):
        raise CannotReport(f"{folder} is not empty: name a new folder.")
    return folder


def _write_lines(section: Section, asked: Asked, folder: Path, places: set[int]) -> Told:
    told = Told(section)
    with (folder / "lines" / f"{section.key}.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow([*section.columns, *LEAF_COLUMNS])
        for line in section.lines(asked):
            if told.count == MOST_LINES:
                told.is_cut = True
                break
            writer.writerow(_cells(line))
            places.update(place.leaf for place in line.places)
            told.count += 1
            if told.count <= ON_PAPER:
                told.first.append(line)
    return told


def _cells(line: Line) -> list[str]:
    """Safe to open in a spreadsheet, and nothing in them deceives the eye."""
    return [*(harmless(visible(cell)) for cell in line.cells), *line.leaf_cells()]


def _write_events(folder: Path, places: list[int], newest: Checkpoint) -> int:
    """In the order of the log. Returns how many."""
    with (folder / "events.log").open("wb") as file:
        for some in (places[at : at + PAGE] for at in range(0, len(places), PAGE)):
            leaves = dict(Leaf.objects.filter(index__in=some).values_list("index", "event_id"))
            rows = EventRow.objects.filter(pk__in=leaves.values()).values_list("id", "epoch", "header")
            found = {event_id: (epoch, bytes(header)) for event_id, epoch, header in rows}
            for index in some:
                epoch, header = found[leaves[index]]
                file.write(b"%d %d %b\n" % (index, epoch, header.replace(b"\n", b" ")))
    try:
        with (folder / "proof.bin").open("wb") as file:
            for node in subset_proof(array("q", places), newest.size, stored_leaves(newest.size)):
                file.write(node)
    except LeavesMissing as reason:
        raise CannotReport(str(reason)) from None
    return len(places)


def _write_about(wish: Wish, folder: Path, newest: Checkpoint, verifier: Verifier, made: Made) -> None:
    about: dict[str, Any] = {
        "format": auditverify.FORMAT,
        "log": verifier.name,
        "at": wish.at,
        "events": made.events,
        "report": {
            "pack": wish.pack.key,
            "since": wish.since,
            "until": wish.until,
            "by": wish.by,
            "person": wish.person.email if wish.person else None,
            "lines": made.lines,
            "cut": made.cut,
            "unsigned": made.unsigned,
            "unreadable": made.unreadable,
        },
    }
    (folder / "bundle.json").write_bytes(orjson.dumps(about, option=orjson.OPT_UTC_Z) + b"\n")
    (folder / "checkpoint.txt").write_text(newest.note)
    write_stamps(folder, newest.size)
    with (folder / auditverify.ROTATIONS).open("wb") as file:
        file.writelines(rotations(newest.size))
    (folder / "key.txt").write_text(f"{verifier}\n")
    words = {"title": wish.pack.title, "since": wish.since, "until": wish.until, "at": wish.at, "by": wish.by}
    (folder / "README.txt").write_text(READ_ME.format(**words, log=verifier.name, size=newest.size))
    copyfile(VERIFIER, folder / VERIFIER.name)
