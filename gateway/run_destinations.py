"""Where the agents of runs could send something, and whether they knew of it from untrusted text first.

Kept as keyed digests, written like labels in the commit of an outcome, before the agent sees the result, and compared
once more in the commit of an intent. Whoever reads the table learns no address, and nothing that two agents share.
"""

from collections.abc import Iterable
from datetime import UTC, datetime
from functools import cache
from hashlib import blake2b
from typing import Final, NamedTuple
from urllib.parse import urlsplit

from django.conf import settings
from django.db import transaction
from django.db.models import Q, QuerySet
from django.utils.crypto import salted_hmac

from gateway.commit.entry import Mentions
from gateway.database import DatabaseThread
from gateway.models import RunDestination
from gateway.run_labels import KEPT_FOR, REACH, run_of
from governance.inspection.hosts import host_of, keys_of_host, keys_of_mail
from governance.snapshot import Snapshot

MORE: Final = "*"
"""Stands for what was too much to keep: anything that the run does not know otherwise may be of it."""
MOST_OF_RUN: Final = 5_000
"""As in `postgresql_destinations.sql`."""


MOST_ASKED: Final = 500
"""Singly: of more, all that the run knows is read."""


class Known(NamedTuple):
    """Of some digests, which are known, and from where first."""

    trusted: frozenset[str]
    untrusted: frozenset[str]

    def is_untrusted(self, digests: Iterable[str]) -> bool:
        """Of one destination, the narrowest digest first: the first that is known decides."""
        for digest in digests:
            if digest in self.trusted:
                return False
            if digest in self.untrusted:
                return True
        return MORE in self.untrusted

    def is_new(self, digests: Iterable[str]) -> bool:
        return self.trusted.isdisjoint(digests) or self.is_untrusted(digests)


class RunDestinations:
    """All methods run on the event loop."""

    def __init__(self, thread: DatabaseThread) -> None:
        self._thread = thread
        self._own: tuple[Snapshot, frozenset[str]] | None = None

    async def known(self, agent_id: str, session: str, digests: frozenset[str]) -> Known:
        """To this run, and from all that the agent met lately. Raises EvidenceUnavailable."""
        return await self._thread.run(lambda: known_of(agent_id, run_of(session), digests, datetime.now(UTC)))

    async def add(self, agent_id: str, session: str, mentions: Mentions) -> None:
        """For what is said before the outcome. Raises EvidenceUnavailable."""
        await self._thread.run(lambda: add_mentions(agent_id, run_of(session), mentions, datetime.now(UTC)))

    def is_own(self, keys: tuple[str, ...], snapshot: Snapshot) -> bool:
        """The organisation's own, its people, its systems, and what it says it knows."""
        if self._own is None or self._own[0] is not snapshot:
            self._own = snapshot, own_keys(snapshot)
        own = self._own[1]
        return keys[0] in own or (keys[-1] in own and not keys[0].startswith("at:"))


def digest_of(agent_id: str, key: str) -> str:
    return blake2b(f"{agent_id} {key}".encode(), key=_key(settings.SECRET_KEY), digest_size=16).hexdigest()


@cache
def _key(secret: str) -> bytes:
    return salted_hmac("gatehouse.destinations", "", secret=secret, algorithm="sha256").digest()


def own_keys(snapshot: Snapshot) -> frozenset[str]:
    urls = [settings.PUBLIC_URL, *(url for connector in snapshot.connectors.values() for url in connector.urls)]
    hosts = {host for url in urls if (host := host_of(urlsplit(url).netloc))}
    addresses = {person.email for person in snapshot.people.values() if person.email}
    own = {keys_of_host(host)[-1] for host in hosts}
    for address in addresses:
        local, _, domain = address.rpartition("@")
        own.add(keys_of_mail(local, host_of(domain))[-1])
    return frozenset(own.union(*map(_keys_of_known, settings.KNOWN_HOSTS)))


def _keys_of_known(said: str) -> frozenset[str]:
    """A host, an address of mail, or somebody's part of a host that many share."""
    if "@" in said:
        local, _, domain = said.rpartition("@")
        return frozenset(keys_of_mail(local, host_of(domain))[:1])
    host, slash, path = said.partition("/")
    return frozenset(keys_of_host(host_of(host), slash + path)[:1])


def known_of(agent_id: str, run: str, digests: frozenset[str], now: datetime) -> Known:
    asked, rows = digests | {MORE}, _in_reach(agent_id, run, now)
    if len(asked) <= MOST_ASKED:
        rows = rows.filter(digest__in=asked)
    found = {(digest, is_trusted) for digest, is_trusted in rows.values_list("digest", "is_trusted") if digest in asked}
    return Known(
        frozenset(digest for digest, is_trusted in found if is_trusted),
        frozenset(digest for digest, is_trusted in found if not is_trusted),
    )


def add_mentions(agent_id: str, run: str, mentions: Mentions, now: datetime) -> None:
    """As the group commit does it."""
    with transaction.atomic():
        others = _in_reach(agent_id, run, now).exclude(is_trusted=mentions.is_trusted)
        digests = mentions.digests - set(others.filter(digest__in=mentions.digests).values_list("digest", flat=True))
        held = RunDestination.objects.filter(agent_id=agent_id, session=run).count()
        if held + len(digests) > MOST_OF_RUN:
            digests = frozenset() if mentions.is_trusted else frozenset({MORE})
        RunDestination.objects.bulk_create(
            [
                RunDestination(agent_id=agent_id, session=run, digest=digest, is_trusted=mentions.is_trusted, at=now)
                for digest in sorted(digests)
            ],
            ignore_conflicts=True,
        )


def forget_destinations(now: datetime) -> None:
    RunDestination.objects.filter(at__lt=now - KEPT_FOR).delete()


def _in_reach(agent_id: str, run: str, now: datetime) -> QuerySet[RunDestination]:
    of_run = Q(session=run) if run else Q(pk__in=())
    return RunDestination.objects.filter(of_run | Q(at__gt=now - REACH), agent_id=agent_id)
