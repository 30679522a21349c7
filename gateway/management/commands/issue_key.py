import json
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from gateway import actions
from gateway.management.options import actor_of, add_actor, duration, found
from governance.agent_keys import NotIssuable
from governance.models import Agent


class Command(BaseCommand):
    help = "Issues a new key for an agent and shows it once."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("agent", help="the agent's name")
        parser.add_argument("--expires", metavar="DURATION", help="e.g. 30d; without it the key does not expire")
        parser.add_argument("--json", action="store_true", dest="as_json")
        add_actor(parser)

    def handle(self, *, agent: str, expires: str | None, as_json: bool, actor: str | None, **_: Any) -> None:
        lasting = duration(expires) if expires else None
        try:
            issued = actions.issue_key(found(Agent, name=agent), by=actor_of(actor), expires_in=lasting)
        except NotIssuable as error:
            raise CommandError(str(error)) from error
        credential = issued.credential
        ends = credential.expires_at.isoformat() if credential.expires_at else None
        if as_json:
            shown = {"agent": agent, "key": issued.key, "key_id": str(credential.id), "expires_at": ends}
            self.stdout.write(json.dumps(shown))
            return
        self.stdout.write(f"Key of {agent} (shown only now): {issued.key}")
        self.stdout.write(f"Key id for revoke_key: {credential.id}; expires: {ends or 'never'}")
