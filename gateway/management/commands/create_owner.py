from typing import Any

from django.core.exceptions import ValidationError
from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.core.validators import validate_email

from gateway import actions
from gateway.management.options import CHECKS, actor_of, add_actor
from gateway.one_time_links import one_time_login_url

PERMISSION = "governance.make_owner"


class Command(BaseCommand):
    help = "Makes a person an owner of this installation and prints a one-time login link."
    requires_system_checks = CHECKS

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("email")
        add_actor(parser)

    def handle(self, *, email: str, actor: str | None, **_: Any) -> None:
        try:
            validate_email(email)
        except ValidationError as error:
            raise CommandError(f"'{email}' is no e-mail address.") from error
        owner = actions.make_owner(email, by=actor_of(actor, permission=PERMISSION))
        self.stdout.write(f"{owner.email} is an owner. One-time login (24 h): {one_time_login_url(owner)}")
