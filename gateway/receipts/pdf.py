"""The receipt on paper.

Names and titles are other people's text: markup in them is escaped, and what cannot be seen, what turns the line
around, and scripts that the font lacks or that run from right to left are shown by their code points, so that the
paper never reads differently from the record. The page and the JSON have the text itself.
"""

import io
import json
import unicodedata
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any
from xml.sax.saxutils import escape

from reportlab.lib import colors
from reportlab.lib.pagesizes import A4
from reportlab.lib.styles import ParagraphStyle
from reportlab.lib.units import mm
from reportlab.pdfbase import pdfmetrics
from reportlab.pdfbase.ttfonts import TTFont
from reportlab.platypus import Flowable, LongTable, Paragraph, SimpleDocTemplate, Spacer, TableStyle

from gateway.enforcement import Enforcement
from gateway.hostile_text import visible
from gateway.offboarding_proof import Place
from gateway.receipts.words import agent_lines, counted, fates, grouped, headline, items_of
from governance.models import Offboarding
from governance.offboarding import Item

FONT = TTFont("DejaVuSans", Path(__file__).parent / "fonts" / "DejaVuSans.ttf")
pdfmetrics.registerFont(FONT)
INK, QUIET, LINE = colors.HexColor("#1f2430"), colors.HexColor("#5b6472"), colors.HexColor("#c9ced6")
TEXT = ParagraphStyle("text", fontName="DejaVuSans", fontSize=9, leading=12.5, textColor=INK, splitLongWords=1)
SMALL = ParagraphStyle("small", parent=TEXT, fontSize=7.5, leading=10, textColor=QUIET)
HEADING = ParagraphStyle("heading", parent=TEXT, fontSize=11.5, leading=15, spaceBefore=12, spaceAfter=4)
TITLE = ParagraphStyle("title", parent=TEXT, fontSize=17, leading=22)
LONGEST_TEXT = 300
LONGEST_LIST = 300
CHECK_BY = (
    "Take the JSON receipt and its signature of the same edition from the offboarding's page, and run: manage.py"
    " verify_receipt offboarding-{id}.json --signature offboarding-{id}.json.sig --key KEY. KEY is the log's verifier"
    " key: ask its operator for it, do not take it from a paper."
)
FROM_RIGHT = ("R", "AL", "AN")


def receipt_as_pdf(offboarding: Offboarding, place: Place | None) -> bytes:
    """Lists the first few hundred of each sort; the digest binds the JSON, which lists all."""
    paper = io.BytesIO()
    receipt = json.loads(offboarding.receipt)
    document = SimpleDocTemplate(
        paper,
        pagesize=A4,
        leftMargin=20 * mm,
        rightMargin=20 * mm,
        topMargin=18 * mm,
        bottomMargin=18 * mm,
        title=f"Offboarding receipt {offboarding.pk}",
        author="Gatehouse",
        invariant=1,
    )
    document.build(_story(offboarding, receipt, place), onFirstPage=footer, onLaterPages=footer)
    return paper.getvalue()


def _story(offboarding: Offboarding, receipt: dict[str, Any], place: Place | None) -> list[Flowable]:
    items = items_of(receipt)
    story: list[Flowable] = [
        Paragraph("Offboarding receipt", TITLE),
        Paragraph(printable(headline(offboarding)), TEXT),
        Spacer(1, 8),
        table_of(_facts(offboarding, receipt), widths=(42 * mm, 128 * mm), first_is_quiet=True),
    ]
    story += _agents(items)
    for group in grouped(items):
        lines = [_cells(item, receipt["at"]) for item in group.items[:LONGEST_LIST]]
        story += _section(f"{group.title} ({group.count:,})", lines, group.count)
    story += _section("Proof", proof(offboarding, receipt, place), 0, widths=(42 * mm, 128 * mm))
    return story


def _facts(offboarding: Offboarding, receipt: dict[str, Any]) -> list[tuple[str, str]]:
    seen = Enforcement.from_json(receipt["enforcement"])
    each = [f"{g.name}: {'not confirmed' if g.milliseconds is None else f'{g.milliseconds} ms'}" for g in seen.gateways]
    return [
        ("Person", f"{receipt['name']} {receipt['person']}".strip()),
        ("Offboarded by", receipt["by"]),
        ("Withdrawn at", receipt["at"]),
        ("Edition", f"{receipt['edition']}, issued at {receipt['issued_at']}"),
        ("State", offboarding.get_state_display()),
        ("Gateways", "; ".join(each) or "none was running"),
        ("Running calls", "; ".join(fates(seen)) or "none"),
        ("Found", ", ".join(counted(number, kind) for kind, number in receipt["counts"].items())),
    ]


def proof(offboarding: Offboarding, receipt: dict[str, Any], place: Place | None) -> list[tuple[str, str]]:
    """What was tried, and how whoever holds this paper can check what it says."""
    check = receipt["check"]
    clean = "none works" if check["clean"] else f"STILL WORKING: {', '.join(check['live']) or 'the account'}"
    where = "not in the signed log yet"
    if place and place.leaf is not None:
        signed = f", signed by checkpoint {place.checkpoint}" if place.checkpoint else ", not signed yet"
        where = f"leaf {place.leaf}{signed}"
    return [
        ("Ended keys and tokens", f"{check['tried']:,} tried at {check['at']} by {check['by']}: {clean}"),
        ("Epoch", str(receipt["enforcement"]["epoch"])),
        ("SHA-256 of the JSON receipt", offboarding.receipt_digest),
        ("Replaces", receipt["replaces"] or "nothing: it is the first edition"),
        ("Signature", _signature(offboarding, receipt)),
        ("How to check", CHECK_BY.format(id=offboarding.pk)),
        ("Evidence", f"event {place.event_id}, {where}" if place else where),
    ]


def _signature(offboarding: Offboarding, receipt: dict[str, Any]) -> str:
    """Whose it says it is; whether that holds, only the check can tell."""
    if not offboarding.signature:
        return "not signed yet; take this paper again later"
    signers = [line.split()[1] for line in offboarding.signature.splitlines() if line.startswith("\u2014 ")]
    return f"by {', '.join(signers)}, over the JSON receipt of edition {receipt['edition']}"


def _agents(items: list[Item]) -> list[Flowable]:
    found = agent_lines(items)
    lines = [
        (line.item.name, f"{line.item.action}; {counted(len(line.keys), 'agent key')} ended", line.item.todo)
        for line in found[:LONGEST_LIST]
    ]
    return _section(f"Agents ({len(found):,})", lines, len(found))


def _section(
    title: str,
    lines: Sequence[tuple[str, ...]],
    count: int,
    widths: tuple[float, ...] = (60 * mm, 60 * mm, 50 * mm),
) -> list[Flowable]:
    if not lines:
        return []
    told: list[Flowable] = [Paragraph(escape(title), HEADING), table_of(lines, widths=widths)]
    if count > len(lines):
        told.append(Paragraph(f"And {count - len(lines):,} more: the JSON receipt lists all.", SMALL))
    return told


def _cells(item: Item, withdrawn_at: str) -> tuple[str, str, str]:
    """What happened with the withdrawal needs no time of its own."""
    name = item.name if item.kind in ("person", "admin rights") else f"{item.kind}: {item.name}"
    result = f": {item.result}" if item.result not in ("", "done", "told") else ""
    at = f" ({item.at})" if item.result and item.at != withdrawn_at else ""
    left = [f"{word}: {text}." for word, text in (("To do", item.todo), ("Until then", item.risk)) if text]
    return name, f"{item.action}{result}{at}", " ".join(left)


def table_of(
    lines: Iterable[tuple[str, ...]],
    *,
    widths: tuple[float, ...],
    first_is_quiet: bool = False,
    is_small: bool = False,
) -> LongTable:
    styles = [SMALL if first_is_quiet or is_small else TEXT, *[SMALL if is_small else TEXT] * (len(widths) - 1)]
    rows = [[Paragraph(printable(cell), style) for cell, style in zip(line, styles, strict=True)] for line in lines]
    table = LongTable(rows, colWidths=widths, hAlign="LEFT")
    table.setStyle(
        TableStyle(
            [
                ("VALIGN", (0, 0), (-1, -1), "TOP"),
                ("LINEBELOW", (0, 0), (-1, -1), 0.4, LINE),
                ("LEFTPADDING", (0, 0), (-1, -1), 0),
                ("TOPPADDING", (0, 0), (-1, -1), 3),
                ("BOTTOMPADDING", (0, 0), (-1, -1), 3),
            ]
        )
    )
    return table


def printable(text: str) -> str:
    """As a Paragraph takes it: escaped, on one line, in letters that the font has."""
    cut = text if len(text) <= LONGEST_TEXT else f"{text[:LONGEST_TEXT]}…"
    return escape("".join(map(_shown, visible(cut).replace("\n", " "))))


def _shown(character: str) -> str:
    is_known = ord(character) in FONT.face.charToGlyph
    if is_known and unicodedata.bidirectional(character) not in FROM_RIGHT:
        return character
    return f"[U+{ord(character):04X}]"


def footer(canvas: Any, document: Any) -> None:
    canvas.saveState()
    canvas.setFont("DejaVuSans", 7.5)
    canvas.setFillColor(QUIET)
    canvas.drawString(20 * mm, 10 * mm, document.title)
    canvas.drawRightString(document.pagesize[0] - 20 * mm, 10 * mm, f"Page {document.page}")
    canvas.restoreState()
