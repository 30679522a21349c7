from typing import Any

from django.core.management.base import BaseCommand, CommandParser

from gateway import actions
from gateway.management.options import CHECKS, actor_of, add_actor

PERMISSION = "governance.rewrap_secret"


class Command(BaseCommand):
    help = "Brings everything in the vault under the current key-encryption key, while the gateway serves."
    requires_system_checks = CHECKS

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--kek", action="store_true", required=True, help="rewrap the vault under GATEHOUSE_KEK")
        add_actor(parser)

    def handle(self, *, actor: str | None, **_: Any) -> None:
        count = actions.rewrap_vault(by=actor_of(actor, permission=PERMISSION))
        self.stdout.write(f"{count} sealed value(s) rewrapped." if count else "Everything is under the current key.")
