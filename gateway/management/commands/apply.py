import json
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from gateway.management.options import CHECKS, actor_of, add_actor
from gateway.manifests import StillMoving, Wish, apply_manifest, preview, read_wish
from governance import ready_policies
from governance.manifest.plan import Plan, Refused
from governance.manifest.reader import BadManifest
from governance.manifest.schema import Source
from governance.manifest.text import plan_as_json, plan_lines
from governance.vault import VaultError

BAD_FILE = 2
REFUSED = 3


PERMISSION = "governance.apply_manifest"


class Command(BaseCommand):
    help = "Makes the installation what the manifest says. Exit 0 done or nothing to do, 2 bad file, 3 refused."
    requires_system_checks = CHECKS

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument(
            "files",
            nargs="+",
            metavar="FILE",
            help=f"YAML or JSON, several count as one; or a ready policy: {', '.join(ready_policies.NAMES)}",
        )
        parser.add_argument("--dry-run", action="store_true", help="print the plan, change nothing")
        parser.add_argument(
            "--prune", action="store_true", help="end what the files do not name, of the kinds that they list"
        )
        parser.add_argument("--json", action="store_true", dest="as_json", help="one JSON object on stdout")
        add_actor(parser)

    def handle(self, *, files: list[str], as_json: bool, actor: str | None, **options: Any) -> None:
        by = actor_of(actor, permission=PERMISSION)
        try:
            wish = read_wish([_source(file) for file in files])
            plan, applied = _carry_out(wish, by=by, dry_run=options["dry_run"], prune=options["prune"])
        except BadManifest as bad:
            self._fail(bad, BAD_FILE, as_json)
        except Refused as refused:
            self._fail(refused, REFUSED, as_json)
        except VaultError as error:
            raise CommandError(str(error)) from None
        except StillMoving:
            raise CommandError("Others keep changing the configuration; nothing was applied. Try again.") from None
        else:
            self._report(plan, applied=applied, as_json=as_json)

    def _fail(self, error: BadManifest | Refused, code: int, as_json: bool) -> None:
        if as_json:
            self.stdout.write(json.dumps({"errors": [fault.as_json() for fault in error.faults]}))
        raise CommandError(str(error), returncode=code)

    def _report(self, plan: Plan, *, applied: bool, as_json: bool) -> None:
        if as_json:
            self.stdout.write(json.dumps({"applied": applied, **plan_as_json(plan)}))
            return
        for line in plan_lines(plan):
            self.stdout.write(line)
        if plan.is_empty:
            self.stdout.write("Nothing to do.")
        else:
            self.stdout.write("Applied." if applied else "Dry run: nothing was changed.")


def _carry_out(wish: Wish, *, by: str, dry_run: bool, prune: bool) -> tuple[Plan, bool]:
    if dry_run:
        return preview(wish, prune=prune), False
    plan = apply_manifest(wish, by=by, prune=prune)
    return plan, not plan.is_empty


def _source(file: str) -> Source:
    """A file, or else a policy that comes with Gatehouse."""
    if file in ready_policies.NAMES and not Path(file).exists():
        return ready_policies.source(file)
    try:
        return Source(file, Path(file).read_bytes())
    except OSError as error:
        raise CommandError(f"{file}: {error.strerror}", returncode=BAD_FILE) from None
