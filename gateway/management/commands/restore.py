from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from gateway.backup import BackupFailed, restore
from governance.fence.actor import operating_system_user


class Command(BaseCommand):
    help = "Fills an empty database from a backup and freezes everything until somebody has looked."
    requires_system_checks: list[str] = []

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("file", type=Path)

    def handle(self, *, file: Path, **_: Any) -> None:
        try:
            done = restore(file, by=f"command:{operating_system_user()}")
        except BackupFailed as error:
            raise CommandError(f"Nothing was restored: {error}") from error
        made_at = done.manifest.made_at
        self.stdout.write(f"Restored the state of {made_at}, {done.manifest.leaves:,} leaves of evidence.")
        if done.missing_key_ids:
            missing = ", ".join(done.missing_key_ids)
            self.stdout.write(f"Secrets under these keys cannot be opened; set GATEHOUSE_KEK_PREVIOUS: {missing}")
        self.stdout.write(
            f"Everything is frozen, because keys revoked after {made_at} are live again. Check the log with "
            "`verify_audit`, repeat what was revoked or offboarded since, then `unfreeze --everything`."
        )
