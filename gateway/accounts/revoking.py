"""Accounts that have ended, revoked at their providers: refresh token first, because it makes others, then the access
token. A provider's word is not taken for it: each token is shown once more where it worked before. All of that is
evidence, and then the tokens are erased."""

import asyncio
import logging
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Final
from urllib.parse import urlsplit

from django.db.models import Q
from django.views.decorators.debug import sensitive_variables

from connectors import oauth_client
from connectors.egress import Egress
from connectors.oauth_client import Client, Given
from connectors.oauth_http import OAuthFailure
from gateway.accounts.renewing import new_egress
from gateway.actions import act
from governance import account_revocations, connected_accounts
from governance.account_tokens import Tokens, open_client, open_tokens
from governance.models import UpstreamGrant
from governance.vault import VaultError, keyring

logger = logging.getLogger(__name__)

BATCH: Final = 50
BY: Final = "system:worker"
Revocation = UpstreamGrant.Revocation
REFUSED, ACCEPTED, UNTRIED = "tried: refused", "tried: accepted", "could not be tried"
TRIED: Final = {
    REFUSED: "was tried and refused",
    ACCEPTED: "was tried and is accepted until it ends by itself",
    UNTRIED: "could not be tried",
}


@dataclass(slots=True)
class Attempt:
    """`steps` is what was done with which token; `problem` why not all was. That a provider does not revoke access
    tokens is none once it has revoked what makes them."""

    steps: list[dict[str, str]] = field(default_factory=list)
    problem: str = ""
    is_temporary: bool = False

    @property
    def note(self) -> str:
        """What is known of each token at the end."""
        tried = {step["token"]: step["result"] for step in self.steps if step["result"] in TRIED}
        said = "; ".join(f"its {token.replace('_', ' ')} {TRIED[result]}" for token, result in tried.items())
        return f"revoked at the provider; {said}" if said else "revoked at the provider"


def revoke_due() -> int:
    """What is due by now; returns how many accounts are done with. Safe to run anywhere, at any time."""
    due = list(account_revocations.due_for_revocation(datetime.now(UTC))[:BATCH])
    return sum(revoke(grant) for grant in due)


def revoke(grant: UpstreamGrant) -> bool:
    """One attempt, if no other worker is at it. True: nothing is left for machines to do."""
    if not account_revocations.take_revocation(grant, now=datetime.now(UTC)):
        return False
    endpoint = grant.client.server.metadata.get("revocation_endpoint")
    if not endpoint:
        return _leave_to_human(grant, "The provider offers no way to revoke it from here.")
    try:
        tokens, client = _opened(grant)
    except VaultError:
        logger.exception("tokens of connected account %s cannot be opened", grant.pk)
        return _leave_to_human(grant, "Its tokens cannot be opened here any more.")
    attempt = asyncio.run(_revoked_and_tried(grant, str(endpoint), client, tokens))
    if not attempt.problem:
        return _finish(grant, Revocation.DONE, attempt.note, attempt.steps)
    if attempt.is_temporary and not account_revocations.is_last_attempt(grant):
        account_revocations.note_failed_attempt(grant, attempt.problem)
        return False
    return _leave_to_human(grant, attempt.problem, attempt.steps)


@sensitive_variables()
def _opened(grant: UpstreamGrant) -> tuple[Tokens, Client]:
    """Raises VaultError."""
    client_id, client_secret = open_client(grant.client, keyring=keyring())
    return open_tokens(grant, keyring=keyring()), Client(client_id, client_secret, grant.client.auth_method)


@sensitive_variables()
async def _revoked_and_tried(grant: UpstreamGrant, endpoint: str, client: Client, tokens: Tokens) -> Attempt:
    attempt = await revoke_tokens(endpoint, client, tokens)
    if attempt.problem:
        return attempt
    egress = new_egress()
    try:
        if tokens.refresh:
            attempt.steps.append({"token": "refresh_token", "result": await _renews(egress, grant, client, tokens)})
        attempt.steps.append({"token": "access_token", "result": await _opens(egress, grant, tokens)})
    finally:
        egress.close()
    if {"token": "refresh_token", "result": ACCEPTED} in attempt.steps:
        attempt.problem = "The provider says that it is revoked, and renews it nevertheless."
    return attempt


@sensitive_variables()
async def _renews(egress: Egress, grant: UpstreamGrant, client: Client, tokens: Tokens) -> str:
    """What it gives against its own word is revoked again, and a human looks."""
    endpoint, now = str(grant.client.server.metadata["token_endpoint"]), datetime.now(UTC)
    try:
        given = await oauth_client.renew(
            egress, endpoint, client, refresh=tokens.refresh, resource=grant.resource, now=now
        )
    except OAuthFailure as failure:
        return REFUSED if failure.code == "invalid_grant" else UNTRIED
    await revoke_tokens(str(grant.client.server.metadata["revocation_endpoint"]), client, _as_tokens(given))
    return ACCEPTED


def _as_tokens(given: Given) -> Tokens:
    return Tokens(given.access, given.refresh, given.expires_at, given.oauth_scopes)


@sensitive_variables()
async def _opens(egress: Egress, grant: UpstreamGrant, tokens: Tokens) -> str:
    """Where its connector pointed when the account was connected; never where it points by now."""
    try:
        accepted = await oauth_client.is_accepted(egress, grant.resource, token=tokens.access)
    except OAuthFailure:
        return UNTRIED
    return UNTRIED if accepted is None else ACCEPTED if accepted else REFUSED


@sensitive_variables()
async def revoke_tokens(endpoint: str, client: Client, tokens: Tokens) -> Attempt:
    attempt, egress = Attempt(), new_egress()
    held = {"refresh_token": tokens.refresh, "access_token": tokens.access}
    try:
        for kind in (kind for kind, token in held.items() if token):
            await oauth_client.revoke(egress, endpoint, client, token=held[kind], kind=kind)
            attempt.steps.append({"token": kind, "result": "revoked"})
    except OAuthFailure as failure:
        ends_by_itself = bool(attempt.steps) and failure.code == "unsupported_token_type"
        attempt.steps.append({"token": kind, "result": failure.code})
        if not ends_by_itself:
            attempt.problem, attempt.is_temporary = failure.message, failure.is_temporary
    finally:
        egress.close()
    return attempt


def _leave_to_human(grant: UpstreamGrant, why: str, steps: Iterable[dict[str, str]] = ()) -> bool:
    return _finish(grant, Revocation.MANUAL, f"{why} {todo_of(grant)}", steps)


def todo_of(grant: UpstreamGrant) -> str:
    """What a human has to do there."""
    host = urlsplit(grant.client.server.issuer).hostname
    whose = f"the account settings of {grant.person.email}" if grant.person else "the settings of the shared account"
    return f"At {host}, remove Gatehouse from the connected apps in {whose}, or ask its administrator to."


def _finish(grant: UpstreamGrant, outcome: Revocation, note: str, steps: Iterable[dict[str, str]]) -> bool:
    told = list(steps)
    return act(
        lambda record, _: account_revocations.finish_revocation(grant, outcome, note, steps=told, record=record), by=BY
    )


def end_forsaken() -> int:
    """Accounts that nothing can use any more: their connector is gone or wants none, their person is not active."""
    forsaken = UpstreamGrant.objects.filter(
        Q(connector=None)
        | Q(person__is_active=False)
        | Q(person=None) & ~Q(connector__account="shared")
        | Q(person__isnull=False) & ~Q(connector__account="person")
    ).exclude(status=UpstreamGrant.Status.ENDED)
    if not forsaken.exists():
        return 0
    return act(lambda record, now: connected_accounts.end_grants(forsaken, by=BY, record=record, now=now), by=BY)
