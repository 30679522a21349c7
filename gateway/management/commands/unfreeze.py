from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from gateway import actions
from gateway.management.commands.freeze import add_target, target_of
from gateway.management.options import CHECKS, actor_of, add_actor
from governance.freezes import EVIDENCE, KEEPS_EVIDENCE, NoSuchTarget, of_target

PERMISSION = "governance.change_freeze"


class Command(BaseCommand):
    help = "Lifts the freezes of exactly this target."
    requires_system_checks = CHECKS

    def add_arguments(self, parser: CommandParser) -> None:
        add_target(parser)
        add_actor(parser)

    def handle(self, *, actor: str | None, **options: Any) -> None:
        target = target_of(options)
        try:
            if of_target(target).filter(created_by=EVIDENCE).exists():
                actor_of(actor, permission=KEEPS_EVIDENCE)
            lifted = actions.unfreeze(target, by=actor_of(actor, permission=PERMISSION))
        except NoSuchTarget as error:
            raise CommandError(str(error)) from error
        self.stdout.write(f"Lifted {lifted} freeze(s) of {target}." if lifted else f"No freeze of {target} was set.")
