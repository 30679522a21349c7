import json
import sys
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from gateway import actions
from gateway.management.options import actor_of, add_actor, found
from governance import offboarding
from governance.models import User
from governance.offboarding import CannotOffboard, Item


class Command(BaseCommand):
    help = "Ends everything that hangs on a person. Exit 0 only when every live gateway enforces it."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("email")
        parser.add_argument("--dry-run", action="store_true", help="show what would happen, change nothing")
        parser.add_argument("--successor", metavar="EMAIL", help="who gets her agents; without one they are suspended")
        parser.add_argument("--json", action="store_true", dest="as_json")
        add_actor(parser)

    def handle(self, *, email: str, successor: str | None, as_json: bool, **options: Any) -> None:
        by = actor_of(options["actor"])
        person = found(User, email__iexact=email)
        heir = found(User, email__iexact=successor) if successor else None
        try:
            if options["dry_run"]:
                self._show_preview(person, offboarding.preview(person, successor=heir), as_json)
                return
            receipt = actions.offboard(person, successor=heir, by=by)
        except CannotOffboard as error:
            raise CommandError(str(error)) from error
        self._show_receipt(receipt, as_json)
        if not receipt.enforcement.is_complete:
            self.stderr.write("Permission is withdrawn, but not every gateway confirmed or a call is still open.")
            sys.exit(1)

    def _show_preview(self, person: User, items: list[Item], as_json: bool) -> None:
        if as_json:
            self.stdout.write(json.dumps({"person": person.email, "items": [item.as_json() for item in items]}))
            return
        self.stdout.write(f"Offboarding {person.email} would do this (nothing is changed now):")
        self._show_items(items)

    def _show_receipt(self, receipt: actions.Receipt, as_json: bool) -> None:
        if as_json:
            self.stdout.write(json.dumps(receipt.as_json()))
            return
        done = receipt.enforcement
        self.stdout.write(f"Offboarded {receipt.person} by {receipt.by} at {receipt.at:%Y-%m-%d %H:%M:%S} UTC")
        self._show_items(receipt.items)
        for call in done.calls:
            self.stdout.write(f"  call {call.call_id} of {call.agent} to {call.tool}: {call.fate}")
        if not done.processes:
            self.stdout.write(f"No gateway is running; nothing of hers can start a call, epoch {done.epoch}")
            return
        self.stdout.write(
            f"Enforced in {done.confirmed} of {done.processes} gateways, {done.milliseconds} ms, "
            f"{len(done.calls)} calls were running, epoch {done.epoch}"
        )

    def _show_items(self, items: list[Item]) -> None:
        for item in items:
            todo = f" (to do: {item.todo})" if item.todo else ""
            self.stdout.write(f"  {item.kind} {item.name}: {item.action}{todo}")
