from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from gateway.backup import BackupFailed, back_up
from gateway.management.options import CHECKS, actor_of, add_actor


class Command(BaseCommand):
    help = "Writes the whole database to one file, while everything serves. The keys in DATA_DIR are not in it."
    requires_system_checks = CHECKS

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("file", type=Path)
        add_actor(parser)

    def handle(self, *, file: Path, actor: str | None, **_: Any) -> None:
        try:
            manifest = back_up(file, by=actor_of(actor, permission="governance.make_backup"))
        except BackupFailed as error:
            raise CommandError(f"No backup was made: {error}") from error
        self.stdout.write(f"{file}: {manifest.leaves:,} leaves of evidence, epoch {manifest.epoch:,}")
        self.stdout.write(f"Its secrets open with the key-encryption keys {', '.join(manifest.key_ids) or '(none)'}.")
