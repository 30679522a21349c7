import json
from argparse import ArgumentParser
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from audit.checkpoint import BadKey, BadNote, Verifier, installation_verifier
from gateway.management.options import CHECKS
from gateway.offboarding_receipts import verify_receipt

LONGEST_RECEIPT = 64 * 1024 * 1024
LONGEST_NOTE = 64 * 1024


class Command(BaseCommand):
    help = "Checks that a receipt is the one this log signed. Reads two files, no database. Exit 0 only if it is."
    requires_system_checks = CHECKS

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("receipt", help="the JSON receipt, byte for byte as it was taken")
        parser.add_argument("--signature", metavar="FILE", help="its signature; RECEIPT.sig if left out")
        parser.add_argument("--key", metavar="KEY", help="the log's verifier key; this installation's if left out")
        parser.add_argument("--json", action="store_true", dest="as_json")

    def handle(self, *, receipt: str, signature: str | None, key: str | None, as_json: bool, **options: Any) -> None:
        try:
            verifier = Verifier.parse(key) if key else installation_verifier()
            if verifier is None:
                raise CommandError("This installation has signed nothing; give the log's --key.")
            note = _text(Path(signature or f"{receipt}.sig"), LONGEST_NOTE).decode()
            told = verify_receipt(_text(Path(receipt), LONGEST_RECEIPT), note, verifier)
        except (BadKey, BadNote, OSError, UnicodeDecodeError) as error:
            raise CommandError(f"NOT SOUND: {error}") from error
        figures = {"offboarding": told["offboarding"], "edition": told["edition"], "person": told["person"]}
        if as_json:
            self.stdout.write(json.dumps({"sound": True, **figures}))
        else:
            self.stdout.write("sound: edition {edition} of the receipt {offboarding} of {person}".format(**figures))


def _text(path: Path, longest: int) -> bytes:
    if path.stat().st_size > longest:
        raise BadNote(f"{path} is too long")
    return path.read_bytes()
