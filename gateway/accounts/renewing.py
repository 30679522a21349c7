"""Tokens of connected accounts, good for the moment they are wanted: read, or renewed by one process for all.

Three steps, so that nothing is open in the database while a provider takes its time: look at the row and take its
lease, ask the provider, keep what it gave. What was given is stored before it is used; providers that rotate refresh
tokens take the loss of one for theft.
"""

import asyncio
import logging
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Final
from uuid import UUID

from django.conf import settings
from django.views.decorators.debug import sensitive_variables

from connectors import oauth_client
from connectors.egress import Egress
from connectors.oauth_client import Client, Given
from connectors.oauth_http import OAuthFailure
from gateway.accounts.presented import Presented
from gateway.actions import act
from gateway.commit.entry import EvidenceUnavailable
from gateway.database import DatabaseThread
from governance import connected_accounts
from governance.account_tokens import Tokens, holds_tokens, open_client, open_tokens
from governance.models import UpstreamClient, UpstreamGrant
from governance.snapshot import Account
from governance.vault import VaultError, keyring

logger = logging.getLogger(__name__)

MARGIN: Final = timedelta(seconds=30)
"""A token that ends sooner is renewed first: the upstream's clock and the call itself take time."""
PATIENCE_SECONDS: Final = 20.0
LOOK_EVERY_SECONDS: Final = 0.2
SPARED_SECONDS: Final = 5.0
"""A provider that failed is not asked again by every call."""
RENEWED_LATELY: Final = timedelta(minutes=1)
STORE_ATTEMPTS: Final = 10
BY: Final = "system:gateway"


class AccountEnded(Exception):
    """Only a human can make it usable again."""


class AccountUnavailable(Exception):
    """Not now. `code` says why, for administrators."""

    def __init__(self, code: str) -> None:
        super().__init__(code)
        self.code = code


@dataclass(frozen=True, slots=True)
class Renewal:
    """What this worker alone may ask the provider now. Without `refresh` it is the client's own account."""

    grant: UpstreamGrant
    client: Client
    endpoint: str
    refresh: str = field(repr=False)


@sensitive_variables()
def look(account_id: str, *, worker: UUID, distrusted: int | None = None) -> Presented | Renewal | None:
    """The token if it is good, else what to ask for; None while another worker asks. A token of the generation
    `distrusted` was refused by the upstream. Raises AccountEnded, AccountUnavailable."""
    now = datetime.now(UTC)
    grant = UpstreamGrant.objects.select_related("client__server", "client__secret", "person", "connector").get(
        pk=UUID(account_id)
    )
    if grant.status != UpstreamGrant.Status.LIVE:
        raise AccountEnded
    try:
        tokens = open_tokens(grant, keyring=keyring()) if holds_tokens(grant) else None
        is_good = tokens is not None and (grant.generation != distrusted or _is_new(grant, now))
        if tokens is not None and is_good and _lasts(grant.expires_at, now):
            return _presented(grant, tokens)
        refresh = tokens.refresh if tokens is not None else ""
        if grant.person_id is not None and not refresh:
            if tokens is not None and is_good and grant.expires_at is not None and grant.expires_at > now:
                return _presented(grant, tokens)
            _need_human(grant, "It has ended, and the provider gave no way to renew it.")
        renewal = Renewal(grant, _client(grant.client), str(grant.client.server.metadata["token_endpoint"]), refresh)
    except VaultError:
        logger.exception("tokens of connected account %s cannot be opened", account_id)
        raise AccountUnavailable("vault") from None
    is_mine = connected_accounts.take_lease(grant.pk, generation=grant.generation, worker=worker, now=now)
    return renewal if is_mine else None


def _is_new(grant: UpstreamGrant, now: datetime) -> bool:
    """An upstream that refuses even a new token is not helped by yet another one."""
    return (grant.renewed_at or grant.created_at) > now - RENEWED_LATELY


def _lasts(expires_at: datetime | None, now: datetime) -> bool:
    return expires_at is None or expires_at > now + MARGIN


@sensitive_variables()
def _client(row: UpstreamClient) -> Client:
    """Raises VaultError."""
    client_id, client_secret = open_client(row, keyring=keyring())
    return Client(client_id, client_secret, row.auth_method)


@sensitive_variables()
def _presented(grant: UpstreamGrant, tokens: Tokens) -> Presented:
    return Presented(grant.pk.hex, grant.generation, tokens.access, tokens.expires_at)


@sensitive_variables()
async def ask(egress: Egress, renewal: Renewal) -> Given:
    """Raises OAuthFailure."""
    grant, now = renewal.grant, datetime.now(UTC)
    if renewal.refresh:
        return await oauth_client.renew(
            egress, renewal.endpoint, renewal.client, refresh=renewal.refresh, resource=grant.resource, now=now
        )
    return await oauth_client.own_token(
        egress,
        renewal.endpoint,
        renewal.client,
        oauth_scopes=grant.oauth_scopes,
        resource=grant.resource,
        now=now,
    )


@sensitive_variables()
def keep(renewal: Renewal, given: Given, *, worker: UUID) -> Presented:
    """Stores what the provider gave, and only then lets it be used. Raises AccountEnded: then it will be revoked."""
    grant, now = renewal.grant, datetime.now(UTC)
    tokens = Tokens(given.access, given.refresh or renewal.refresh, given.expires_at, given.oauth_scopes)
    if connected_accounts.store_renewed(grant.pk, tokens, generation=grant.generation, worker=worker, now=now):
        return Presented(grant.pk.hex, grant.generation + 1, tokens.access, tokens.expires_at)
    act(lambda _, now: connected_accounts.keep_for_revocation(grant.pk, tokens, now=now), by=BY)
    raise AccountEnded


def give_up(renewal: Renewal, failure: OAuthFailure, *, worker: UUID) -> None:
    """Always raises: AccountEnded if only the human can help, else AccountUnavailable."""
    if failure.code == "invalid_grant" and renewal.grant.person_id is not None:
        was_cut = renewal.grant.renewing_until is not None
        hint = " An earlier renewal broke off before its answer was kept." if was_cut else ""
        _need_human(renewal.grant, f"The provider does not renew it any more.{hint}")
    connected_accounts.give_lease_back(renewal.grant.pk, worker=worker)
    raise AccountUnavailable(failure.code) from None


def _need_human(grant: UpstreamGrant, problem: str) -> None:
    """Always raises AccountEnded."""
    act(
        lambda record, now: connected_accounts.need_reconnect(
            grant, problem, generation=grant.generation, record=record, now=now
        ),
        by=BY,
    )
    raise AccountEnded


class Accounts:
    """One of each gateway process; all methods run on the event loop."""

    def __init__(self, worker: UUID) -> None:
        self._worker = worker
        self._thread = DatabaseThread("accounts")
        self._kept: dict[str, Presented] = {}
        self._distrusted: dict[str, int] = {}
        self._failed: dict[str, tuple[float, str]] = {}
        self._under_way: dict[str, asyncio.Task[Presented]] = {}
        self._egress: Egress | None = None

    async def presented(self, account: Account) -> Presented:
        """Raises AccountEnded, AccountUnavailable, EvidenceUnavailable."""
        kept = self._kept.get(account.id)
        if kept is not None and _lasts(kept.expires_at, datetime.now(UTC)):
            return kept
        task = self._under_way.get(account.id)
        if task is None:
            task = self._under_way[account.id] = asyncio.create_task(self._obtain(account.id))
            task.add_done_callback(lambda done: self._done(account.id, done))
        return await asyncio.shield(task)

    def distrust(self, account: Presented) -> None:
        """The upstream refused the token, although it should be good: the next call renews it first."""
        kept = self._kept.get(account.account_id)
        if kept is not None and kept.generation == account.generation:
            del self._kept[account.account_id]
            self._distrusted[account.account_id] = account.generation

    def keep_only(self, accounts: Callable[[str], bool]) -> None:
        """Forgets tokens of accounts that have ended."""
        for gone in [account_id for account_id in self._kept if not accounts(account_id)]:
            del self._kept[gone]
            self._distrusted.pop(gone, None)

    async def stop(self) -> None:
        """What a provider has given must still be stored."""
        if self._under_way:
            with suppress(TimeoutError):
                await asyncio.wait_for(asyncio.gather(*self._under_way.values(), return_exceptions=True), 15)
        await self._thread.close()
        if self._egress is not None:
            self._egress.close()

    def _done(self, account_id: str, done: "asyncio.Task[Presented]") -> None:
        del self._under_way[account_id]
        if not done.cancelled() and done.exception() is None:
            self._kept[account_id] = done.result()
            self._distrusted.pop(account_id, None)

    async def _obtain(self, account_id: str) -> Presented:
        self._spare(account_id)
        until = time.monotonic() + PATIENCE_SECONDS
        while time.monotonic() < until:
            distrusted = self._distrusted.get(account_id)
            found = await self._thread.run(partial(look, account_id, worker=self._worker, distrusted=distrusted))
            if isinstance(found, Presented):
                return found
            if found is not None:
                return await self._renew(found)
            await asyncio.sleep(LOOK_EVERY_SECONDS)
        raise AccountUnavailable("renewal_takes_long")

    async def _renew(self, renewal: Renewal) -> Presented:
        try:
            given = await ask(self._way_out(), renewal)
        except OAuthFailure as failure:
            why = failure
            self._failed[renewal.grant.pk.hex] = (time.monotonic() + SPARED_SECONDS, failure.code)
            await self._thread.run(lambda: give_up(renewal, why, worker=self._worker))
            raise AssertionError("unreachable") from None
        return await self._store(renewal, given)

    async def _store(self, renewal: Renewal, given: Given) -> Presented:
        """A database that is away for a moment must not cost the person her account."""
        for attempt in range(STORE_ATTEMPTS):
            try:
                return await self._thread.run(lambda: keep(renewal, given, worker=self._worker))
            except EvidenceUnavailable:
                if attempt == STORE_ATTEMPTS - 1:
                    raise
                await asyncio.sleep(1)
        raise AssertionError("unreachable")

    def _spare(self, account_id: str) -> None:
        until, code = self._failed.get(account_id, (0.0, ""))
        if time.monotonic() < until:
            raise AccountUnavailable(code)
        self._failed.pop(account_id, None)

    def _way_out(self) -> Egress:
        if self._egress is None:
            self._egress = new_egress()
        return self._egress


def new_egress() -> Egress:
    return Egress(allowed_networks=settings.UPSTREAM_ALLOWED_NETWORKS)


def presented_now(account_id: str, *, worker: UUID) -> Presented:
    """As Accounts.presented, for those who are no gateway and wait: discovery, commands. Raises AccountEnded,
    AccountUnavailable."""
    for _ in range(int(PATIENCE_SECONDS / LOOK_EVERY_SECONDS)):
        found = look(account_id, worker=worker)
        if isinstance(found, Presented):
            return found
        if found is not None:
            try:
                given = asyncio.run(_asked_once(found))
            except OAuthFailure as failure:
                give_up(found, failure, worker=worker)
                raise AssertionError("unreachable") from None
            return keep(found, given, worker=worker)
        time.sleep(LOOK_EVERY_SECONDS)
    raise AccountUnavailable("renewal_takes_long")


async def _asked_once(renewal: Renewal) -> Given:
    egress = new_egress()
    try:
        return await ask(egress, renewal)
    finally:
        egress.close()
