from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from gateway import actions
from gateway.management.options import CHECKS, actor_of, add_actor, duration
from governance.freezes import FreezeTarget, NoSuchTarget

PERMISSION = "governance.add_freeze"


class Command(BaseCommand):
    help = "Stops an agent, a connector, a tool or everything at once, until lifted or for a time."
    requires_system_checks = CHECKS

    def add_arguments(self, parser: CommandParser) -> None:
        add_target(parser)
        parser.add_argument("--for", metavar="DURATION", dest="lasting", help="e.g. 1h; without it until unfreeze")
        parser.add_argument("--reason", default="")
        add_actor(parser)

    def handle(self, *, lasting: str | None, reason: str, actor: str | None, **options: Any) -> None:
        target = target_of(options)
        ends_in = duration(lasting) if lasting else None
        try:
            row = actions.freeze(target, by=actor_of(actor, permission=PERMISSION), lasting=ends_in, reason=reason)
        except NoSuchTarget as error:
            raise CommandError(str(error)) from error
        until = row.ends_at.isoformat() if row.ends_at else "it is lifted (unfreeze)"
        self.stdout.write(f"Frozen: {target}, until {until}.")


def add_target(parser: CommandParser) -> None:
    target = parser.add_mutually_exclusive_group(required=True)
    target.add_argument("--agent", default="")
    target.add_argument("--connector", default="")
    target.add_argument("--tool", default="", metavar="CONNECTOR/TOOL")
    target.add_argument("--everything", action="store_true")


def target_of(options: dict[str, Any]) -> FreezeTarget:
    return FreezeTarget(agent=options["agent"], connector=options["connector"], tool=options["tool"])
