from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from gateway.erasing import erase_person, plan_erasure
from gateway.management.options import CHECKS, actor_of, add_actor, found
from governance.house_rules import RuleBroken
from governance.models import User

PERMISSION = "governance.erase_user"


class Command(BaseCommand):
    help = "Makes everything recorded of what agents did for a person unreadable for good, by destroying its keys."
    requires_system_checks = CHECKS

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("email", help="the person's e-mail address")
        parser.add_argument("--reason", default="", help="e.g. the request it answers; it is kept as evidence")
        parser.add_argument("--dry-run", action="store_true", help="tell what would go and what stays, and stop")
        add_actor(parser)

    def handle(self, *, email: str, reason: str, dry_run: bool, actor: str | None, **_: Any) -> None:
        by = actor_of(actor, permission=PERMISSION)
        person = found(User, email__iexact=email)
        if dry_run:
            plan = plan_erasure(person)
            self.stdout.write(f"{plan.email}: {plan.keys} keys, {plan.payloads} arguments and results would go.")
            self.stdout.write(f"{plan.records} records of calls stay, with her address; so do acts of her own.")
            if plan.held_by:
                self.stdout.write(plan.held_by)
            return
        try:
            done = erase_person(person, reason=reason, by=by)
        except RuleBroken as error:
            raise CommandError(str(error)) from error
        self.stdout.write(f"Erased: {done.keys} keys of {done.email}, {done.payloads} arguments and results.")
