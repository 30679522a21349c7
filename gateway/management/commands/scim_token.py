import json
from typing import Any

from django.core.exceptions import ValidationError
from django.core.management.base import BaseCommand, CommandError, CommandParser

from gateway import directories
from gateway.management.options import CHECKS, actor_of, add_actor
from governance.house_rules import RuleBroken
from governance.models.base import name_validator

PERMISSION = "governance.connect_directory"
USUAL_NAME = "directory"


class Command(BaseCommand):
    help = "Makes a bearer token by which an identity provider keeps people and groups here by SCIM, and shows it once."
    requires_system_checks = CHECKS

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument(
            "--name", default=USUAL_NAME, help=f"of the directory, made if it is not there; else {USUAL_NAME}"
        )
        parser.add_argument("--json", action="store_true", dest="as_json")
        add_actor(parser)

    def handle(self, *, name: str, as_json: bool, actor: str | None, **_: Any) -> None:
        by = actor_of(actor, permission=PERMISSION)
        try:
            name_validator(name)
            issued = directories.issue_token(directories.directory_named(name, by=by), by=by)
        except ValidationError as error:
            raise CommandError(" ".join(error.messages)) from error
        except RuleBroken as error:
            raise CommandError(str(error)) from error
        if as_json:
            self.stdout.write(json.dumps({"token": issued.token, "connection": name}))
            return
        self.stdout.write(f"Token of {name} (shown only now): {issued.token}")
        self.stdout.write(f"Address: {directories.base_address()}")
