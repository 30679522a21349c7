import json
from datetime import UTC, datetime
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from audit.checkpoint import BadKey
from gateway import actions, rotations, signing_key
from gateway.management.options import CHECKS, actor_of, add_actor, found
from governance import emergency
from governance.agent_keys import IssuedKey, NotIssuable
from governance.emergency import NoSuchTarget, Target
from governance.models import Agent

REWRAP, CUT = "governance.rewrap_secret", emergency.PERMISSION
REPLACE, ASK = "governance.issue_agentcredential", "governance.change_rotationtask"


class Command(BaseCommand):
    help = "Replaces what agents and connectors prove themselves by: with an overlap, or with --emergency at once."
    requires_system_checks = CHECKS

    def add_arguments(self, parser: CommandParser) -> None:
        what = parser.add_mutually_exclusive_group(required=True)
        what.add_argument("--agent", default="", metavar="NAME", help="new keys, shown once; the old ones overlap")
        what.add_argument("--team", default="", metavar="NAME", help="the owners of the team's agents are asked")
        what.add_argument("--connector", default="", metavar="NAME", help="its owner is asked for a new secret")
        what.add_argument("--everything", action="store_true", help="all agents and all secrets of connectors")
        what.add_argument("--kek", action="store_true", help="rewrap the vault under GATEHOUSE_KEK")
        what.add_argument("--signing-key", action="store_true", help="a new key for the log's checkpoints")
        parser.add_argument("--emergency", action="store_true", help="end the old ones now, without overlap")
        parser.add_argument("--dry-run", action="store_true", help="say what would end, and change nothing")
        parser.add_argument("--reason", default="", metavar="TEXT", help="goes into the evidence")
        parser.add_argument("--json", action="store_true", dest="as_json")
        add_actor(parser)

    def handle(self, *, actor: str | None, agent: str, team: str, connector: str, **options: Any) -> None:
        if options["kek"]:
            self._rewrap(actor)
            return
        if options["signing_key"]:
            self._replace_signing_key(actor)
            return
        target, in_emergency = Target(agent=agent, team=team, connector=connector), options["emergency"]
        by = actor_of(actor, permission=CUT if in_emergency else REPLACE if agent else ASK)
        try:
            if options["dry_run"]:
                shown = {**emergency.find(target, now=datetime.now(UTC)).as_json(), "dry_run": True}
            elif in_emergency:
                shown = self._cut(target, options["reason"], by)
            else:
                shown = self._planned(target, options["reason"], by)
        except (NoSuchTarget, NotIssuable) as error:
            raise CommandError(str(error)) from error
        self._show(shown, as_json=options["as_json"])

    def _rewrap(self, actor: str | None) -> None:
        count = actions.rewrap_vault(by=actor_of(actor, permission=REWRAP))
        self.stdout.write(f"{count} sealed value(s) rewrapped." if count else "Everything is under the current key.")

    def _replace_signing_key(self, actor: str | None) -> None:
        try:
            handing_over = signing_key.replace(by=actor_of(actor, permission=signing_key.PERMISSION))
        except (BadKey, OSError) as error:
            raise CommandError(f"The signing key was not replaced: {error}") from error
        self.stdout.write(f"Until now: {handing_over.old}")
        self.stdout.write(f"From the next checkpoint on, which both sign: {handing_over.new}")

    def _cut(self, target: Target, reason: str, by: str) -> dict[str, Any]:
        is_live = Agent.objects.filter(name=target.agent, status=Agent.Status.LIVE, owner__is_active=True).exists()
        cut = rotations.in_emergency(target, reason=reason, by=by, issues_key=is_live)
        new = [_shown(cut.issued)] if cut.issued else []
        return {**cut.found.as_json(), "at": cut.at.isoformat(), "issued": new}

    def _planned(self, target: Target, reason: str, by: str) -> dict[str, Any]:
        if target.agent:
            issued = rotations.replace_keys(found(Agent, name=target.agent), by=by)
            return {"target": str(target), "issued": [_shown(each) for each in issued]}
        return {"target": str(target), "asked_for": rotations.ask(target, note=reason, by=by)}

    def _show(self, shown: dict[str, Any], *, as_json: bool) -> None:
        if as_json:
            self.stdout.write(json.dumps(shown))
            return
        counts = ", ".join(f"{count} {what.replace('_', ' ')}" for what, count in shown.get("counts", {}).items())
        if "counts" in shown:
            verb = "Would end" if shown.get("dry_run") else "Ended"
            self.stdout.write(f"{verb} of {shown['target']}: {counts or 'nothing'}.")
        for name in shown.get("connectors", ()):
            self.stdout.write(f"Without a secret until there is a new value: connector {name}")
        for key in shown.get("issued", ()):
            ends = f"; {key['follows']} ends {key['follows_until']}" if key["follows"] else ""
            self.stdout.write(f"New {key['kind']} {key['key_id']} (shown only now): {key['key']}{ends}")
        if "asked_for" in shown:
            self.stdout.write(f"Asked for: {shown['asked_for']}. Owners are told.")


def _shown(issued: IssuedKey) -> dict[str, Any]:
    row, old = issued.credential, issued.credential.successor_of
    if old is not None:
        old.refresh_from_db()
    ends = (old.revoked_at or old.expires_at) if old else None
    return {
        "kind": row.kind,
        "key": issued.key,
        "key_id": str(row.pk),
        "expires_at": row.expires_at.isoformat() if row.expires_at else None,
        "follows": str(old.pk) if old else None,
        "follows_until": ends.isoformat() if ends else None,
    }
