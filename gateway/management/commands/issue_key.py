import json
import sys
from datetime import timedelta
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from gateway import actions
from gateway.management.options import CHECKS, actor_of, add_actor, answering, duration, found
from governance import agent_keys, personal_tokens
from governance.models import Agent, AgentCredential, TrustedIssuer, User
from governance.personal_tokens import DEFAULT_LIFETIME, SCOPES
from governance.public_keys import LONGEST_TEXT, UnusableKey, read_public_key

PERMISSION = "governance.issue_agentcredential"
TOKENS_OF_OTHERS = "governance.make_owner"
"""A token is as good as its person within its scopes; who acts for somebody else could do everything as her."""


KINDS = (AgentCredential.Kind.KEY.value, AgentCredential.Kind.CLIENT_SECRET.value)


def _content(path: str) -> bytes:
    """No more than a key could have."""
    try:
        with sys.stdin.buffer if path == "-" else Path(path).open("rb") as file:
            return file.read(LONGEST_TEXT + 1)
    except OSError as error:
        raise CommandError(f"{path}: {error.strerror}") from None


class Command(BaseCommand):
    help = "Issues a new key for an agent, or a personal token for the REST API, and shows it once."
    requires_system_checks = CHECKS

    def add_arguments(self, parser: CommandParser) -> None:
        whose = parser.add_mutually_exclusive_group(required=True)
        whose.add_argument("agent", nargs="?", help="the agent's name")
        whose.add_argument("--person", metavar="EMAIL", help="make a personal token for her instead")
        parser.add_argument("--kind", choices=KINDS, default="key", help="of an agent: key (default) or client_secret")
        parser.add_argument("--public-key", metavar="FILE", help="register this public key (JWK or PEM; - is stdin)")
        parser.add_argument("--workload", metavar="ISSUER", help="no key: this trusted platform vouches for the agent")
        parser.add_argument(
            "--claim",
            action="append",
            default=[],
            metavar="NAME=VALUE",
            help="what its tokens must say, for each claim",
        )
        parser.add_argument("--label", default="", help="of an agent's: where it is used")
        parser.add_argument("--rotates", metavar="KEY_ID", help="of an agent's: it takes the place of this one")
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
        except (agent_keys.NotIssuable, personal_tokens.NotIssuable, UnusableKey) as error:
            raise CommandError(str(error)) from error
        if options["as_json"]:
            self.stdout.write(json.dumps(shown))
            return
        whose, kind = next(iter(shown.values())), "Token" if person else "Key"
        if secret := shown.get("key") or shown.get("token"):
            self.stdout.write(f"{kind} of {whose} (shown only now): {secret}")
        self.stdout.write(f"{kind} id for revoke_key: {shown['key_id']}; expires: {shown['expires_at'] or 'never'}")

    def _key(self, name: str, lasting: timedelta | None, options: dict[str, Any]) -> dict[str, Any]:
        by = actor_of(options["actor"], permission=PERMISSION)
        email = options["on_behalf_of"]
        person = found(User, email__iexact=email) if email else None
        wish = actions.Wish(options["kind"], lasting, options["label"], person, options["rotates"])
        if options["workload"]:
            row, text = self._recognised(found(Agent, name=name), options, lasting, by), None
        else:
            row, text = self._made(found(Agent, name=name), wish, options["public_key"], by)
        ends = row.expires_at.isoformat() if row.expires_at else None
        shown = {"agent": name, "key": text, "key_id": str(row.id), "expires_at": ends, "kind": str(row.kind)}
        return {**shown, **({"on_behalf_of": person.email} if person else {})}

    def _made(self, agent: Agent, wish: actions.Wish, public_key: str, by: str) -> tuple[AgentCredential, str | None]:
        if public_key:
            return actions.register_public_key(agent, read_public_key(_content(public_key)), wish, by=by), None
        issued = actions.issue(agent, wish, by=by)
        return issued.credential, issued.key

    def _recognised(self, agent: Agent, options: dict[str, Any], lasting: timedelta | None, by: str) -> AgentCredential:
        issuer = found(TrustedIssuer, name=options["workload"], kind=TrustedIssuer.Kind.WORKLOAD)
        said = [claim.partition("=") for claim in options["claim"]]
        if not all(is_there for _, is_there, _ in said):
            raise CommandError("Write --claim NAME=VALUE, e.g. --claim repository=octo/app.")
        claims = {name: value for name, _, value in said}
        return actions.register_workload(agent, issuer, claims, by=by, expires_in=lasting, label=options["label"])

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
