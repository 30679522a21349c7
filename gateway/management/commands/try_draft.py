import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from gateway.management.options import CHECKS, found
from gateway.manifest_trials import draft_of_manifest, plan_of
from gateway.reach.current import current_snapshot
from gateway.trying import LONGEST, Flip, Trial, begin, go_on
from gateway.versions import under
from governance.lifecycle import open_version
from governance.manifest.plan import Refused
from governance.manifest.reader import BadManifest
from governance.manifest.schema import Source
from governance.models import Bundle, Policy
from governance.snapshot import Snapshot
from governance.snapshot_builder import revised_snapshot

BAD_FILE = 2
REFUSED = 3
FLIPS = 4
MOST_DAYS = 90


class Command(BaseCommand):
    help = (
        "Replays the recorded calls of the last days under a draft, and tells what would be decided otherwise. "
        "Exit 4 when calls flip as --fail-on says. Nothing is called and nothing changes."
    )
    requires_system_checks = CHECKS

    def add_arguments(self, parser: CommandParser) -> None:
        what = parser.add_mutually_exclusive_group(required=True)
        what.add_argument("--bundle", metavar="NAME", help="its draft, or version in review or staged")
        what.add_argument("--policy", metavar="NAME", help="likewise")
        what.add_argument("--file", metavar="FILE", help="a manifest, as if it were applied")
        parser.add_argument("--days", type=int, default=7, help=f"1 to {MOST_DAYS}, default 7")
        parser.add_argument("--fail-on", choices=("widening", "any"), dest="fail_on")
        parser.add_argument("--json", action="store_true", dest="as_json")

    def handle(self, *, days: int, as_json: bool, fail_on: str | None, **options: Any) -> None:
        if not 1 <= days <= MOST_DAYS:
            raise CommandError(f"--days: 1 to {MOST_DAYS}.")
        before = current_snapshot()
        after = _after(before, options)
        trial = begin(before, now=datetime.now(UTC), days=days)
        go_on(trial, before, after, seconds=LONGEST.total_seconds())
        self.stdout.write(json.dumps(trial.as_json()) if as_json else _told(trial))
        if fail_on and (trial.widens if fail_on == "widening" else trial.flips):
            raise CommandError("Calls would be decided otherwise.", returncode=FLIPS)


def _after(before: Snapshot, options: dict[str, Any]) -> Snapshot:
    if options["file"]:
        return revised_snapshot(before, draft_of_manifest(_plan(options["file"])))
    subject: Any = found(Bundle, name=options["bundle"]) if options["bundle"] else found(Policy, name=options["policy"])
    version = open_version(subject)
    if version is None:
        raise CommandError(f"{subject.name} has no draft.")
    return under(version, before)


def _plan(file: str) -> Any:
    try:
        return plan_of(Source(file, Path(file).read_bytes()))
    except OSError as error:
        raise CommandError(f"{file}: {error.strerror}", returncode=BAD_FILE) from None
    except BadManifest as bad:
        raise CommandError(str(bad), returncode=BAD_FILE) from None
    except Refused as refused:
        raise CommandError(str(refused), returncode=REFUSED) from None


def _told(trial: Trial) -> str:
    lines = [f"{trial.looked_at:,} calls since {trial.since:%Y-%m-%d %H:%M} UTC"]
    lines += [f"  {trial.flips[flip]:>7,}  {flip.words}" for flip in Flip if trial.flips[flip]]
    lines += ["Nothing would be decided otherwise."] if not trial.flips else ["by agent and tool:"]
    for (flip, agent, tool), count in trial.groups.most_common():
        lines.append(f"  {count:>7,}  {flip.words}: {tool or 'others'} by {agent or 'others'}")
    for example in trial.examples:
        lines.append(f"  e.g. {example.at:%Y-%m-%d %H:%M} {example.tool}({example.shape}): {example.because}")
    if trial.unknown_arguments:
        lines.append(f"{trial.unknown_arguments:,} without recorded arguments: rules that read them count as matching.")
    if trial.unknown_subjects:
        lines.append(f"{trial.unknown_subjects:,} not tried: the agent or the tool is gone.")
    return "\n".join([*lines, *([trial.left_out] if trial.left_out else [])])
