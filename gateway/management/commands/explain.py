import json
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from gateway.explain import (
    OUTCOMES,
    SCOPE_OUTCOMES,
    Circumstances,
    Considered,
    Explanation,
    NotExplainable,
    Path,
    explain,
)
from gateway.hostile_text import visible
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
        parser.add_argument("--on-behalf-of", default="", metavar="EMAIL", help="the person for whom the agent acts")
        parser.add_argument(
            "--label", action="append", default=[], dest="labels", metavar="L", help="what the run has met; repeatable"
        )
        parser.add_argument(
            "--from", default="", dest="source_ip", metavar="IP", help="the address the call comes from"
        )
        parser.add_argument("--json", action="store_true", dest="as_json")

    def handle(self, *, agent: str, tool: str, as_json: bool, **options: Any) -> None:
        try:
            found = explain(agent, tool, _around(options), at=_moment(options["at"]))
        except NotExplainable as error:
            raise CommandError(str(error)) from error
        self.stdout.write(json.dumps(found.as_json()) if as_json else _told(found))


def _around(options: Mapping[str, Any]) -> Circumstances:
    return Circumstances(
        arguments=_arguments(options["arguments"]),
        on_behalf_of=options["on_behalf_of"],
        labels=frozenset(options["labels"]),
        source_ip=options["source_ip"],
    )


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
    lines = [f"{found.decision}: {found.reason}", f"epoch {found.epoch}", *found.words]
    for path in found.paths:
        lines += _path(path)
    if found.remedies:
        lines += ["what would change it:", *(f"  {remedy.text}" for remedy in found.remedies)]
    return visible("\n".join(lines))


def _path(path: Path) -> Iterator[str]:
    roles = ", ".join(path.roles) or "none in its time"
    staged = ", staged" if path.is_staged else ""
    yield f"  {path.connector} through bundle {path.bundle}{staged}, role {roles}: {path.effect} ({path.code})"
    for given in path.given_by:
        yield f"    given by {given.role} of the {given.whose}, {given.times}"
        for scope in given.scopes:
            yield f"      only {scope.condition}: {SCOPE_OUTCOMES[scope.outcome]}{_because(scope.why)}"
    yield from (f"    frozen: {freeze.of}{_because(freeze.reason)}" for freeze in path.freezes)
    yield from (_rule(rule) for rule in path.considered)
    if not path.considered:
        yield "    no rule binds it there"
    yield from (_rule(rule) for rule in path.passed_over)
    if more := path.passed_over_count - len(path.passed_over):
        yield f"    and {more} more rules for other tools"


def _rule(rule: Considered) -> str:
    name = f"{rule.policy} v{rule.version} rule {rule.position}"
    condition = f" when {rule.condition}" if rule.condition else ""
    told = f"{OUTCOMES[rule.outcome]}{_because(rule.why)}"
    return f"    {rule.effect} by {name} from {rule.origin}{condition}, {told}{_because(rule.reason)}"


def _because(text: str) -> str:
    return f": {text}" if text else ""
