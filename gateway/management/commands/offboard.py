import json
import sys
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Any
from zoneinfo import ZoneInfo

from django.core.management.base import BaseCommand, CommandError, CommandParser

from gateway import offboardings
from gateway.enforcement import Enforcement
from gateway.management.options import CHECKS, actor_of, add_actor, found
from governance.models import Agent, Offboarding, Organization, User
from governance.offboarding import PERMISSION, CannotOffboard, Item, Plan, may_offboard
from governance.offboarding_undo import CannotUndo


class Command(BaseCommand):
    help = "Ends everything that hangs on a person. Exit 0 only when every live gateway enforces it."
    requires_system_checks = CHECKS

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("email")
        parser.add_argument("--dry-run", action="store_true", help="show what would happen, change nothing")
        parser.add_argument("--successor", metavar="EMAIL", help="who gets her agents; without one they are suspended")
        parser.add_argument(
            "--agent-successor",
            metavar="AGENT=EMAIL",
            action="append",
            default=[],
            help="who gets this one agent; an empty EMAIL suspends it (may be repeated)",
        )
        parser.add_argument("--at", metavar="TIME", help="do it then, e.g. 2031-01-31T18:00 in the organization's time")
        parser.add_argument("--reason", default="", help="why; it is in the receipt")
        parser.add_argument("--undo", action="store_true", help="bring her back, apart from what was revoked")
        parser.add_argument("--json", action="store_true", dest="as_json")
        add_actor(parser)

    def handle(self, *, email: str, as_json: bool, **options: Any) -> None:
        by = actor_of(options["actor"], permission=PERMISSION)
        person = found(User, email__iexact=email)
        _check_actor(by, person)
        if options["undo"]:
            self._undo(person, by, as_json)
            return
        plan = _plan(options["successor"], options["agent_successor"], person)
        try:
            if options["dry_run"]:
                self._show_preview(person, offboardings.preview(person, plan=plan), as_json)
            elif options["at"]:
                due_at = _moment(options["at"])
                planned = offboardings.schedule_offboarding(person, plan=plan, due_at=due_at, by=by)
                self._show_planned(planned, as_json)
            else:
                self._show_done(offboardings.offboard(person, plan=plan, by=by, reason=options["reason"]), as_json)
        except CannotOffboard as error:
            raise CommandError(str(error)) from error

    def _undo(self, person: User, by: str, as_json: bool) -> None:
        ended = Offboarding.objects.filter(person=person).exclude(withdrawn_at=None).order_by("-created_at").first()
        if ended is None:
            raise CommandError(f"{person.email} was never offboarded.")
        kind, _, email = by.partition(":")
        acting = found(User, email=email) if kind == "person" else None
        try:
            back = offboardings.undo_offboarding(ended, acting=acting, by=by)
        except CannotUndo as error:
            raise CommandError(str(error)) from error
        if as_json:
            self.stdout.write(json.dumps({"person": person.email, "offboarding": str(ended.id), **asdict(back)}))
            return
        self.stdout.write(f"{person.email} works here again, with {len(back.agents)} agents and without credentials")
        for words in back.stays:
            self.stdout.write(f"  stays: {words}")

    def _show_preview(self, person: User, items: list[Item], as_json: bool) -> None:
        if as_json:
            self.stdout.write(json.dumps({"person": person.email, "items": [item.as_json() for item in items]}))
            return
        self.stdout.write(f"Offboarding {person.email} would do this (nothing is changed now):")
        self._show_items(items)

    def _show_planned(self, planned: Offboarding, as_json: bool) -> None:
        if as_json:
            told = {"offboarding": str(planned.id), "state": planned.state, "due_at": planned.due_at.isoformat()}
            self.stdout.write(json.dumps({"person": planned.person.email, **told}))
            return
        self.stdout.write(f"{planned.person.email} will be offboarded at {planned.due_at:%Y-%m-%d %H:%M} UTC")

    def _show_done(self, done: Offboarding, as_json: bool) -> None:
        if as_json:
            self.stdout.write(done.receipt)
        else:
            self._show_receipt(done)
        if done.state != Offboarding.State.ENFORCED:
            self.stderr.write("Permission is withdrawn, but not every gateway confirmed or a call is still open.")
            sys.exit(1)

    def _show_receipt(self, done: Offboarding) -> None:
        enforcement = Enforcement.from_json(done.enforcement)
        at = f"{done.withdrawn_at:%Y-%m-%d %H:%M:%S}"
        self.stdout.write(f"Offboarded {done.person.email} by {done.created_by} at {at} UTC")
        self._show_items([Item(**item) for item in done.items])
        for call in enforcement.calls:
            self.stdout.write(f"  call {call.call_id} of {call.agent} to {call.tool}: {call.fate}")
        if enforcement.gateways:
            self.stdout.write(
                f"Enforced in {enforcement.confirmed} of {len(enforcement.gateways)} gateways, "
                f"{enforcement.milliseconds} ms, {len(enforcement.calls)} calls were running, epoch {enforcement.epoch}"
            )
        else:
            text = f"No gateway is running; nothing of hers can start a call, epoch {enforcement.epoch}"
            self.stdout.write(text)
        self.stdout.write(f"Receipt {done.id}, SHA-256 {done.receipt_digest}")

    def _show_items(self, items: list[Item]) -> None:
        for item in items:
            todo = f" (to do: {item.todo})" if item.todo else ""
            self.stdout.write(f"  {item.kind} {item.name}: {item.action}{todo}")


def _check_actor(by: str, person: User) -> None:
    kind, _, email = by.partition(":")
    if kind == "person" and not may_offboard(found(User, email=email), person):
        raise CommandError("Owners are offboarded by owners only.")


def _plan(successor: str | None, choices: list[str], person: User) -> Plan:
    agents: dict[str, str] = {}
    for choice in choices:
        name, equals, email = choice.partition("=")
        if not equals:
            raise CommandError(f"--agent-successor: '{choice}' is not AGENT=EMAIL.")
        found(Agent, name=name, owner=person)
        agents[name] = _email(email)
    return Plan(_email(successor), agents)


def _email(address: str | None) -> str:
    return found(User, email__iexact=address).email if address else ""


def _moment(text: str) -> datetime:
    """Without a zone it is the organization's."""
    try:
        at = datetime.fromisoformat(text)
    except ValueError as error:
        raise CommandError(f"--at: '{text}' is no time such as 2031-01-31T18:00.") from error
    zone = Organization.objects.values_list("timezone", flat=True).first() or "UTC"
    return (at if at.tzinfo else at.replace(tzinfo=ZoneInfo(zone))).astimezone(UTC)
