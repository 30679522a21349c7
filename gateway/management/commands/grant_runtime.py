from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand, CommandError
from django.db import DatabaseError, connection, transaction

from gateway.management.options import CHECKS
from gateway.runtime_role import grant_runtime


class Command(BaseCommand):
    help = (
        "Grants a PostgreSQL role what the parts need to serve: it adds evidence and cannot change it. Run it as the"
        " role that migrates, and again after each migration; with DATABASE_OWNER_URL `migrate` does it itself."
    )
    requires_system_checks = CHECKS

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("role", help="that DATABASE_URL of the parts names")

    def handle(self, *, role: str, **options: Any) -> None:
        if connection.vendor != "postgresql":
            raise CommandError("SQLite knows no roles: whoever can open the file can write it.")
        try:
            with transaction.atomic():
                grant_runtime(connection, role)
        except DatabaseError as error:
            raise CommandError(f"Nothing was granted: {error}") from error
        self.stdout.write(f"{role} adds evidence and cannot change it. Run this again after each migration.")
