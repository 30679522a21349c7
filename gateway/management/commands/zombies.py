import json
from datetime import UTC, datetime
from typing import Any

from django.core.management.base import BaseCommand, CommandParser

from gateway.management.options import CHECKS, actor_of, add_actor
from gateway.zombies import end_zombies
from governance.offboarding import PERMISSION
from governance.zombies import ENDABLE, SORTS, each

VIEW = "governance.view_offboarding"
SOME_LEFT = 4


class Command(BaseCommand):
    help = "Lists rights that nobody living stands behind, or ends a sort of them. Exit 4 while there are any."
    requires_system_checks = CHECKS

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--end", choices=ENDABLE, action="append", default=[], help="end all of this sort, first")
        parser.add_argument("--json", action="store_true", dest="as_json")
        add_actor(parser)

    def handle(self, *, end: list[str], as_json: bool, actor: str | None, **_: Any) -> None:
        by = actor_of(actor, permission=PERMISSION if end else VIEW)
        ended = {name: end_zombies(name, by=by) for name in dict.fromkeys(end)}
        now = datetime.now(UTC)
        found = {name: [{"id": str(row.pk), "name": str(row)} for row in each(name, now)] for name in SORTS}
        if as_json:
            self.stdout.write(json.dumps({"ended": ended, "found": found}))
        else:
            self._tell(ended, found)
        if any(found.values()):
            raise SystemExit(SOME_LEFT)

    def _tell(self, ended: dict[str, int], found: dict[str, list[dict[str, str]]]) -> None:
        for name, count in ended.items():
            self.stdout.write(f"{count} ended: {SORTS[name].title}")
        for name, rows in found.items():
            if rows:
                self.stdout.write(f"{name}: {SORTS[name].title} ({len(rows):,})")
                self.stdout.writelines(f"  {row['name']}\n" for row in rows)
        if not any(found.values()):
            self.stdout.write("Nothing is left that should have ended.")
