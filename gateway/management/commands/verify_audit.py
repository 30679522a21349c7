import json
from argparse import ArgumentParser
from dataclasses import asdict
from typing import Any

from django.core.management.base import BaseCommand, CommandError
from django.db import DatabaseError

from audit.checkpoint import BadKey, installation_verifier
from audit.verify import Report, verify
from gateway.management.options import CHECKS


class Command(BaseCommand):
    help = "Checks the whole evidence log. Exit 0 only if it is sound; the last line is the figure."
    requires_system_checks = CHECKS

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--json", action="store_true", help="the report as one JSON object")

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            report = verify(installation_verifier())
        except (DatabaseError, BadKey, OSError) as error:
            raise CommandError(f"the log could not be checked: {error}") from error
        self.stdout.write(_as_json(report) if options["json"] else _as_text(report))
        if not report.is_sound:
            raise SystemExit(1)


def _as_json(report: Report) -> str:
    return json.dumps({"sound": report.is_sound, **asdict(report), "figure": report.figure})


def _as_text(report: Report) -> str:
    lines = [f"Not checked: {gap}" for gap in report.not_checked]
    lines += [f"Problem: {problem}" for problem in report.problems]
    if report.problem_count > len(report.problems):
        lines.append(f"... and {report.problem_count - len(report.problems):,} more problems")
    lines.append(f"{report.pending:,} events wait for their leaf, {report.open_intents:,} intents have no outcome")
    return "\n".join([*lines, report.figure])
