import json
from argparse import ArgumentParser
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError
from django.db import DatabaseError

from audit.anchors.base import Kept
from audit.checkpoint import MAX_NOTE_CHARS, BadKey, Verifier, installation_verifier
from audit.verify import Report, verify
from gateway.anchoring.reading import ReadBack, read_back
from gateway.management.options import CHECKS
from gateway.payload_check import check_payloads

NOTHING_READ = ReadBack((), ())


class Command(BaseCommand):
    help = "Checks the whole evidence log. Exit 0 only if it is sound; the last line is the figure."
    requires_system_checks = CHECKS

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--json", action="store_true", help="the report as one JSON object")
        parser.add_argument("--key", default="", help="the log's verifier key, as you got it elsewhere")
        parser.add_argument(
            "--anchor", metavar="FILE", action="append", type=Path, default=[], help="a checkpoint kept elsewhere"
        )
        parser.add_argument(
            "--anchors", action="store_true", help="also what the configured anchors keep, read back from there"
        )

        parser.add_argument("--payloads", action="store_true", help="opens every kept body, too, and compares it")

    def handle(self, *, anchor: Sequence[Path], anchors: bool, payloads: bool, key: str, **options: Any) -> None:
        try:
            verifier = Verifier.parse(key) if key else installation_verifier()
            kept = [Kept(str(path), _note(path)) for path in anchor]
            elsewhere = read_back(verifier.name) if anchors and verifier else NOTHING_READ
            check = {"check_payloads": check_payloads} if payloads else {}
            report = verify(verifier, (*kept, *elsewhere.kept), **check)
        except (DatabaseError, BadKey, OSError) as error:
            raise CommandError(f"the log could not be checked: {error}") from error
        self.stdout.write(_as_json(report) if options["json"] else _as_text(report))
        if not report.is_sound:
            raise SystemExit(1)
        if elsewhere.unread:
            raise CommandError(f"nothing was read back from {'; '.join(elsewhere.unread)}")


def _note(path: Path) -> str:
    """No line end is translated: it is signed as it is."""
    with path.open("rb") as file:
        return file.read(MAX_NOTE_CHARS + 1).decode("utf-8", "replace")


def _as_json(report: Report) -> str:
    return json.dumps({"sound": report.is_sound, **asdict(report), "figure": report.figure})


def _as_text(report: Report) -> str:
    lines = [f"Not checked: {gap}" for gap in report.not_checked]
    lines += [f"Problem: {problem}" for problem in report.problems]
    if report.problem_count > len(report.problems):
        lines.append(f"... and {report.problem_count - len(report.problems):,} more problems")
    lines.append(f"{report.pending:,} events wait for their leaf, {report.open_intents:,} intents have no outcome")
    return "\n".join([*lines, report.figure])
