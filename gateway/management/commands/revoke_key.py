from typing import Any

from django.core.exceptions import ValidationError
from django.core.management.base import BaseCommand, CommandParser

from gateway import actions
from gateway.management.options import CHECKS, actor_of, add_actor, answering, found
from governance.models import AgentCredential, PersonalToken

PERMISSION = "governance.revoke_agentcredential"
TOKENS_OF_OTHERS = "governance.change_personaltoken"


class Command(BaseCommand):
    help = "Revokes an agent key or a personal token. When this returns, nothing can be started with it."
    requires_system_checks = CHECKS

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("key_id")
        add_actor(parser)

    def handle(self, *, key_id: str, actor: str | None, **_: Any) -> None:
        token = _token(key_id)
        if token is not None:
            is_own = (actor or "").lower() == token.person.email
            by = answering(actor) if is_own else actor_of(actor, permission=TOKENS_OF_OTHERS)
            self._say(f"Token {token.hint}… of {token.person.email}", actions.revoke_token(token, by=by))
            return
        by = actor_of(actor, permission=PERMISSION)
        credential = found(AgentCredential, id=key_id)
        self._say(f"Key {credential.hint}… of {credential.agent.name}", actions.revoke_key(credential, by=by))

    def _say(self, what: str, is_news: bool) -> None:
        self.stdout.write(f"{what} {'is' if is_news else 'was already'} revoked.")


def _token(token_id: str) -> PersonalToken | None:
    try:
        return PersonalToken.objects.filter(id=token_id).select_related("person").first()
    except ValidationError:
        return None
