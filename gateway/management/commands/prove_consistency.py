from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand, CommandError
from django.db import DatabaseError

from audit.consistency import prove_consistency
from audit.subset_proof import LeavesMissing
from gateway.management.options import CHECKS


class Command(BaseCommand):
    help = "Prints the proof that a checkpoint only adds to an older one: what auditverify.py takes as --consistency."
    requires_system_checks = CHECKS

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("old", type=int, help="leaves of the older checkpoint, its second line")
        parser.add_argument("new", type=int, nargs="?", help="leaves of the newer checkpoint; the newest if left out")

    def handle(self, *, old: int, new: int | None, **options: Any) -> None:
        try:
            proof = prove_consistency(old, new)
        except (DatabaseError, LeavesMissing) as error:
            raise CommandError(f"There is no proof: {error}") from error
        if proof is None:
            raise CommandError("There is no proof: no such checkpoint is here, or it is the older of the two.")
        self.stdout.write(proof.as_text(), ending="")
