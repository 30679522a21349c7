import json
from datetime import timedelta
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from gateway import actions
from gateway.management.options import CHECKS, actor_of, add_actor, answering, duration, found
from governance import agent_keys, personal_tokens
from governance.models import Agent, User
from governance.personal_tokens import DEFAULT_LIFETIME, SCOPES

PERMISSION = "governance.issue_agentcredential"
TOKENS_OF_OTHERS = "governance.make_owner"
"""A token is as good as its person within its scopes; who acts for somebody else could do everything as her."""


class Command(BaseCommand):
    help = "Issues a new key for an agent, or a personal token for the REST API, and shows it once."
    requires_system_checks = CHECKS

    def add_arguments(self, parser: CommandParser) -> None:
        whose = parser.add_mutually_exclusive_group(required=True)
        whose.add_argument("agent", nargs="?", help="the agent's name")
        whose.add_argument("--person", metavar="EMAIL", help="make a personal token for her instead")
        parser.add_argument("--on-behalf-of", metavar="EMAIL", help="of a key: what both she and the agent may")
        parser.add_argument(
            "--scope", nargs="+", action="extend", default=[], metavar="SCOPE", help=f"of a token: {', '.join(SCOPES)}"
        )
        parser.add_argument("--name", default="command line", help="of a token: what it is for")
        parser.add_argument("--expires", metavar="DURATION", help="e.g. 30d; else a key never, a token after 90 days")
        parser.add_argument("--json", action="store_true", dest="as_json")
        add_actor(parser)

    def handle(self, *, agent: str | None, person: str | None, expires: str | None, **options: Any) -> None:
        lasting = duration(expires) if expires else None
        if person and options["on_behalf_of"]:
            raise CommandError("--on-behalf-of is of an agent's key; a token is its person's own.")
        try:
            shown = self._token(person, lasting, options) if person else self._key(agent or "", lasting, options)
        except (agent_keys.NotIssuable, personal_tokens.NotIssuable) as error:
            raise CommandError(str(error)) from error
        if options["as_json"]:
            self.stdout.write(json.dumps(shown))
            return
        whose, kind = next(iter(shown.values())), "Token" if person else "Key"
        self.stdout.write(f"{kind} of {whose} (shown only now): {shown.get('key') or shown.get('token')}")
        self.stdout.write(f"{kind} id for revoke_key: {shown['key_id']}; expires: {shown['expires_at'] or 'never'}")

    def _key(self, name: str, lasting: timedelta | None, options: dict[str, Any]) -> dict[str, Any]:
        by = actor_of(options["actor"], permission=PERMISSION)
        email = options["on_behalf_of"]
        person = found(User, email__iexact=email) if email else None
        issued = actions.issue_key(found(Agent, name=name), by=by, expires_in=lasting, on_behalf_of=person)
        row = issued.credential
        ends = row.expires_at.isoformat() if row.expires_at else None
        shown = {"agent": name, "key": issued.key, "key_id": str(row.id), "expires_at": ends}
        return {**shown, **({"on_behalf_of": person.email} if person else {})}

    def _token(self, email: str, lasting: timedelta | None, options: dict[str, Any]) -> dict[str, Any]:
        person = found(User, email__iexact=email)
        is_own = str(options["actor"] or "").lower() == person.email
        by = answering(options["actor"]) if is_own else actor_of(options["actor"], permission=TOKENS_OF_OTHERS)
        issued = actions.issue_token(
            person, name=options["name"], scopes=options["scope"], by=by, lifetime=lasting or DEFAULT_LIFETIME
        )
        row = issued.row
        ends = row.expires_at.isoformat() if row.expires_at else None
        return {
            "person": person.email,
            "token": issued.token,
            "key_id": str(row.id),
            "scopes": row.scopes,
            "expires_at": ends,
        }
