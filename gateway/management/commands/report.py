from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db import DatabaseError

from audit.checkpoint import BadKey, installation_verifier
from gateway.actions import act
from gateway.compliance.keeping import fact_of
from gateway.compliance.making import make_report, new_folder
from gateway.compliance.packs import PACKS
from gateway.compliance.report import CannotReport, Wish
from gateway.management.options import CHECKS, actor_of, add_actor, found
from governance.models import User

PERMISSION = "gateway.add_report"


class Command(BaseCommand):
    help = "Writes an evidence report into a folder: PDF, CSV, and what proves every line of them."
    requires_system_checks = CHECKS

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("pack", choices=sorted(PACKS))
        parser.add_argument(
            "--from", required=True, dest="since", metavar="TIME", help="2026-01-01, or with a time; UTC"
        )
        parser.add_argument("--to", dest="until", metavar="TIME", help="the end, itself not included; now if left out")
        parser.add_argument("--out", required=True, type=Path, metavar="FOLDER", help="a new or empty folder")
        parser.add_argument("--person", metavar="EMAIL", help="whose data a report on one person is about")
        add_actor(parser)

    def handle(self, *, pack: str, since: str, until: str | None, out: Path, **options: Any) -> None:
        by = actor_of(options["actor"], permission=PERMISSION)
        now = datetime.now(UTC)
        wish = Wish(
            pack=PACKS[pack],
            since=_moment(since),
            until=_moment(until) if until else now,
            by=by,
            at=now,
            person=found(User, email__iexact=options["person"]) if options["person"] else None,
        )
        try:
            wish.check()
            act(lambda record, _: record(fact_of("report.asked", wish, folder=str(out))), by=by)
            made = make_report(wish, new_folder(out), verifier=installation_verifier())
            act(lambda record, _: record(fact_of("report.made", wish, lines=made.lines)), by=by)
        except (CannotReport, BadKey, OSError, DatabaseError) as error:
            raise CommandError(f"There is no report: {error}") from error
        for key in made.cut:
            self.stderr.write(f"{key}: cut after {made.lines[key]:,} lines; choose a shorter period.")
        self.stdout.write(f"{out}: {sum(made.lines.values()):,} lines, {made.events:,} events")
        self.stdout.write(f"Check it with: python3 {out / 'auditverify.py'} bundle {out} --key KEY")


def _moment(text: str) -> datetime:
    try:
        at = datetime.fromisoformat(text)
    except ValueError:
        raise CommandError(f"'{text}' is no time; write 2026-01-31 or 2026-01-31T08:00.") from None
    return at if at.tzinfo else at.replace(tzinfo=UTC)
