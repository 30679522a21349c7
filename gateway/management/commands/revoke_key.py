from typing import Any

from django.core.management.base import BaseCommand, CommandParser

from gateway import actions
from gateway.management.options import actor_of, add_actor, found
from governance.models import AgentCredential


class Command(BaseCommand):
    help = "Revokes a key. When this returns, no gateway process can start a call with it."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("key_id")
        add_actor(parser)

    def handle(self, *, key_id: str, actor: str | None, **_: Any) -> None:
        credential = found(AgentCredential, id=key_id)
        done = actions.revoke_key(credential, by=actor_of(actor))
        self.stdout.write(
            f"Key {credential.hint}… of {credential.agent.name} {'is' if done else 'was already'} revoked."
        )
