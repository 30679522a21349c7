from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db import DatabaseError
from django.utils.timezone import now

from audit.bundle import CannotExport, export_log
from audit.checkpoint import BadKey, installation_verifier
from gateway.actions import act
from gateway.management.options import CHECKS, actor_of, add_actor
from governance.facts import Fact

PERMISSION = "governance.export_eventrow"


class Command(BaseCommand):
    help = (
        "Writes the signed evidence log into a folder that an auditor checks with the one file beside it. No payloads."
    )
    requires_system_checks = CHECKS

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("folder", type=Path)
        add_actor(parser)

    def handle(self, *, folder: Path, actor: str | None, **_: Any) -> None:
        by = actor_of(actor, permission=PERMISSION)

        try:
            act(lambda record, now: record(Fact("evidence.exported", "evidence", {"folder": str(folder)})), by=by)
            told = export_log(folder, verifier=installation_verifier(), at=now())
        except (CannotExport, BadKey, OSError, DatabaseError) as error:
            raise CommandError(f"No evidence was exported: {error}") from error
        self.stdout.write(f"{folder}: {told.events:,} events, {told.leaves:,} leaves")
        self.stdout.write(f"Check it with: python3 {folder / 'auditverify.py'} bundle {folder} --key KEY")
