"""A report on paper: control by control what the evidence shows, the first lines of each section, and how to check."""

import io

from reportlab.lib.pagesizes import A4, landscape
from reportlab.lib.units import mm
from reportlab.platypus import Flowable, PageBreak, Paragraph, SimpleDocTemplate, Spacer

from audit.checkpoint import Verifier
from audit.models import Checkpoint
from gateway.compliance.lines import moment
from gateway.compliance.packs import Control
from gateway.compliance.report import Made, Told, Wish
from gateway.compliance.sections import SECTIONS, Section
from gateway.receipts.pdf import HEADING, SMALL, TEXT, TITLE, footer, printable, table_of

WIDE = 257 * mm
LEAF_WIDTH = 24 * mm
FACT_WIDTHS = (52 * mm, WIDE - 52 * mm)
CHECK_BY = (
    "In the folder of this report: python3 auditverify.py bundle . --key KEY. It checks the checkpoint's signature,"
    " that every event which a line rests on is in the tree that the checkpoint signs, and that every line of the CSV"
    " files names such an event. KEY is the log's verifier key: ask its operator for it, do not take it from a paper."
    " Take auditverify.py from a release of Gatehouse. A line's words are made from its event: compare them with it."
)
NO_CERTIFICATE = (
    "This report certifies nothing. It says which evidence the gateway has for a control, and what that evidence does"
    " not show."
)


def report_as_pdf(wish: Wish, told: list[Told], made: Made, newest: Checkpoint, verifier: Verifier) -> bytes:
    paper = io.BytesIO()
    document = SimpleDocTemplate(
        paper,
        pagesize=landscape(A4),
        leftMargin=20 * mm,
        rightMargin=20 * mm,
        topMargin=18 * mm,
        bottomMargin=18 * mm,
        title=wish.pack.title,
        author="Gatehouse",
        invariant=1,
    )
    story: list[Flowable] = [
        Paragraph(printable(wish.pack.title), TITLE),
        Paragraph(printable(NO_CERTIFICATE), TEXT),
        Spacer(1, 8),
        table_of(_facts(wish, made), widths=FACT_WIDTHS, first_is_quiet=True),
    ]
    counts = {each.section.key: each.count for each in told}
    for control in wish.pack.controls:
        story += _control(control, counts)
    for each in told:
        story += _section(each)
    story += _proof(newest, verifier)
    document.build(story, onFirstPage=footer, onLaterPages=footer)
    return paper.getvalue()


def _facts(wish: Wish, made: Made) -> list[tuple[str, str]]:
    left_out: list[str] = [
        f"{made.unsigned:,} events that no checkpoint covers yet" if made.unsigned else "",
        f"{made.unreadable:,} events that were pruned or cannot be read" if made.unreadable else "",
        *(f"lines beyond the first {made.lines[key]:,} of: {SECTIONS[key].title}" for key in made.cut),
    ]
    facts: list[tuple[str, str]] = [
        ("Period", f"{moment(wish.since)} to {moment(wish.until)} UTC, without its last moment"),
        ("Made", f"{moment(wish.at)} UTC by {wish.by}"),
        ("Left out", "; ".join(text for text in left_out if text) or "nothing"),
    ]
    about = [("About", str(wish.person.email))] if wish.person else []
    return [*facts, *about]


def _control(control: Control, counts: dict[str, int]) -> list[Flowable]:
    sections = [
        f"{SECTIONS[key].title} ({counts[key]:,} lines)" if key in counts else f"{SECTIONS[key].title} (not asked for)"
        for key in control.sections
    ]
    rows = [("Evidence", "; ".join(sections)), ("It shows", control.shows), ("It does not show", control.does_not)]
    return [
        Paragraph(printable(f"{control.reference}  {control.title}"), HEADING),
        table_of(rows, widths=FACT_WIDTHS, first_is_quiet=True),
    ]


def _section(told: Told) -> list[Flowable]:
    section = told.section
    story: list[Flowable] = [
        PageBreak(),
        Paragraph(printable(section.title), HEADING),
        Paragraph(printable(f"{section.says} {section.limits}"), SMALL),
        Spacer(1, 4),
    ]
    if not told.count:
        return [*story, Paragraph("Nothing of it in this period.", TEXT)]
    heads = (*section.columns, "leaf")
    lines = [(*line.cells, str(line.places[0].leaf)) for line in told.first]
    story.append(table_of([heads, *lines], widths=_widths(section), is_small=True))
    if told.count > len(told.first):
        more = f"And {told.count - len(told.first):,} more in lines/{section.key}.csv"
        story.append(
            Paragraph(printable(f"{more}{', which is cut: choose a shorter period.' if told.is_cut else '.'}"), SMALL)
        )
    return story


def _widths(section: Section) -> tuple[float, ...]:
    """The last column says most."""
    others = len(section.columns) - 1
    last = (WIDE - LEAF_WIDTH) * (0.36 if others > 4 else 0.4)
    each = (WIDE - LEAF_WIDTH - last) / others
    return (*(each,) * others, last, LEAF_WIDTH)


def _proof(newest: Checkpoint, verifier: Verifier) -> list[Flowable]:
    rows = [
        ("Checkpoint", f"{newest.size:,} leaves of {verifier.name}, signed {moment(newest.at)} UTC"),
        ("Root", bytes(newest.root).hex()),
        ("Its signed text", newest.note),
        ("How to check", CHECK_BY),
    ]
    return [
        PageBreak(),
        Paragraph("Proof", HEADING),
        table_of(rows, widths=FACT_WIDTHS, first_is_quiet=True),
    ]
