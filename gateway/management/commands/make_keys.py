from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError

from audit.checkpoint import BadKey, installation_signer


class Command(BaseCommand):
    help = "Makes in DATA_DIR the keys that are missing there; existing ones are never replaced."
    requires_system_checks: list[str] = []

    def handle(self, **_: Any) -> None:
        try:
            signer = installation_signer()
        except (BadKey, OSError) as error:
            raise CommandError(f"AUDIT_SIGNING_KEY_FILE: {error}") from error
        self.stdout.write(f"Keys are in {settings.DATA_DIR}; keep a copy of them apart from the backups.")
        self.stdout.write(f"The log is signed as {signer.verifier}")
