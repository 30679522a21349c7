from typing import Any

from django.core.exceptions import ValidationError
from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.core.validators import validate_email

from gateway.founding import is_untouched, make_owner
from gateway.management.options import CHECKS, actor_of, add_actor
from gateway.one_time_links import one_time_login_url
from governance.ready_policies import DEFAULT

PERMISSION = "governance.make_owner"


class Command(BaseCommand):
    help = (
        "Makes a person an owner of this installation and prints a one-time login link. "
        f"A new installation gets the policy {DEFAULT}, which binds everybody."
    )
    requires_system_checks = CHECKS

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("email")
        add_actor(parser)

    def handle(self, *, email: str, actor: str | None, **_: Any) -> None:
        try:
            validate_email(email)
        except ValidationError as error:
            raise CommandError(f"'{email}' is no e-mail address.") from error
        is_new = is_untouched()
        owner = make_owner(email, by=actor_of(actor, permission=PERMISSION))
        if is_new:
            self.stdout.write(f"The policy {DEFAULT} binds everybody; the page Ready policies tells what it does.")
        self.stdout.write(f"{owner.email} is an owner. One-time login (24 h): {one_time_login_url(owner)}")
