import json
from datetime import UTC, datetime
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from gateway.explain import OUTCOMES, Considered, Explanation, NotExplainable, explain
from gateway.management.options import CHECKS
from governance import canonical

TOOL = "its exposed name, connector__tool or connector/tool; [connector/]resource:<uri> or [connector/]prompt:<name>"


class Command(BaseCommand):
    help = "Shows what would be decided for a call, with every rule that took part. No call is made."
    requires_system_checks = CHECKS

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--agent", required=True)
        parser.add_argument("--tool", required=True, help=TOOL)
        parser.add_argument("--args", default="{}", dest="arguments", metavar="JSON")
        parser.add_argument("--at", metavar="TIME", help="ISO 8601, e.g. 2026-03-01T09:30:00+01:00; default now")
        parser.add_argument("--json", action="store_true", dest="as_json")

    def handle(self, *, agent: str, tool: str, as_json: bool, **options: Any) -> None:
        try:
            found = explain(agent, tool, _arguments(options["arguments"]), at=_moment(options["at"]))
        except NotExplainable as error:
            raise CommandError(str(error)) from error
        self.stdout.write(json.dumps(found.as_json()) if as_json else _told(found))


def _arguments(text: str) -> dict[str, Any]:
    try:
        value = canonical.parse(text.encode())
    except canonical.NotCanonical as error:
        raise CommandError(f"--args: {error}") from error
    if not isinstance(value, dict):
        raise CommandError("--args must be a JSON object.")
    return value


def _moment(text: str | None) -> datetime:
    if text is None:
        return datetime.now(UTC)
    try:
        moment = datetime.fromisoformat(text)
    except ValueError as error:
        raise CommandError(f"--at: '{text}' is no ISO 8601 time.") from error
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


def _told(found: Explanation) -> str:
    lines = [f"{found.decision}: {found.reason}", f"epoch {found.epoch}"]
    for path in found.paths:
        roles = ", ".join(path.roles) or "none in its time"
        lines.append(f"  {path.connector} through bundle {path.bundle}, role {roles}: {path.effect} ({path.code})")
        lines += [_rule(rule) for rule in path.considered] or ["    no rule binds it there"]
    if found.remedies:
        lines += ["what would change it:", *(f"  {remedy.text}" for remedy in found.remedies)]
    return "\n".join(lines)


def _rule(rule: Considered) -> str:
    why = f": {rule.reason}" if rule.reason else ""
    name = f"{rule.policy} v{rule.version} rule {rule.position}"
    return f"    {rule.effect} by {name} from {rule.origin}, {OUTCOMES[rule.outcome]}{why}"
