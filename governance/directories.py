"""Connections of identity providers: their tokens, and who shows a live one from where."""

import ipaddress
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from django.db.models import QuerySet

from governance import key_text
from governance.facts import Fact, Recorder
from governance.house_rules import RuleBroken
from governance.models import Directory, DirectoryMessage, DirectoryToken

PREFIX = "gate_st_"
MOST_LIVE = 2
MOST_NETWORKS = 200
LAST_USE_GRAIN = timedelta(minutes=1)
MESSAGES_KEPT_FOR = timedelta(days=90)
"""What a message changed is evidence besides, which is kept for ever."""
FORGOTTEN_AT_ONCE = 1_000


@dataclass(frozen=True, slots=True)
class IssuedDirectoryToken:
    """The only moment at which the token itself exists."""

    row: DirectoryToken
    token: str = field(repr=False)


def issue_token(directory: Directory, *, by: str, record: Recorder, now: datetime) -> IssuedDirectoryToken:
    """A second one lets the identity provider change over without a gap. Raises RuleBroken beyond two."""
    Directory.objects.select_for_update().get(id=directory.id)
    if live_tokens().filter(directory=directory).count() >= MOST_LIVE:
        raise RuleBroken("", f"{directory.name} has two live tokens. Revoke the one that is not used any more first.")
    text = key_text.new_text(PREFIX)
    row = DirectoryToken.objects.create(
        directory=directory,
        digest=key_text.digest_of(text),
        hint=key_text.hint_of(text, prefix=PREFIX),
        created_by=by,
    )
    record(Fact("directory.token_issued", f"directory:{directory.name}", {"token_id": str(row.id)}))
    return IssuedDirectoryToken(row, text)


def revoke_token(row: DirectoryToken, *, by: str, record: Recorder, now: datetime) -> bool:
    """False if it was revoked before."""
    if not DirectoryToken.objects.filter(id=row.id, revoked_at=None).update(revoked_at=now, revoked_by=by):
        return False
    record(Fact("directory.token_revoked", f"directory:{row.directory.name}", {"token_id": str(row.id)}))
    return True


def live_tokens() -> QuerySet[DirectoryToken]:
    return DirectoryToken.objects.filter(revoked_at=None)


def find_live(text: str) -> DirectoryToken | None:
    """The live token of an enabled directory; None for everything else, without saying why."""
    if not key_text.is_well_formed(text, prefix=PREFIX):
        return None
    found = live_tokens().filter(digest=key_text.digest_of(text), directory__is_enabled=True)
    return found.select_related("directory").first()


def still_live(row: DirectoryToken) -> bool:
    """In the transaction of what it asks for: whoever revokes it, or switches the directory off, comes before or
    after, never in between; and messages of one directory come one after the other."""
    live = live_tokens().filter(id=row.id, directory__is_enabled=True)
    locked = live.select_related("directory").only("directory__is_enabled").select_for_update(of=("self", "directory"))
    return locked.first() is not None


def note_use(row: DirectoryToken, *, now: datetime) -> None:
    """To the minute: a sync of thousands of messages writes a row a minute."""
    if row.last_used_at is None or now - row.last_used_at >= LAST_USE_GRAIN:
        DirectoryToken.objects.filter(id=row.id).update(last_used_at=now)
        Directory.objects.filter(id=row.directory_id).update(last_seen_at=now)


def forget_messages(now: datetime) -> int:
    """Those that are too old, in small transactions; returns how many went."""
    old = DirectoryMessage.objects.filter(at__lt=now - MESSAGES_KEPT_FOR).order_by("id")
    total = 0
    while ids := list(old.values_list("id", flat=True)[:FORGOTTEN_AT_ONCE]):
        total += DirectoryMessage.objects.filter(id__in=ids).delete()[0]
    return total


def is_welcome_from(directory: Directory, address: str) -> bool:
    """Whether its messages may come from there; with a list, an address that cannot be read is none of it."""
    if not directory.networks:
        return True
    try:
        found = ipaddress.ip_address(address)
    except ValueError:
        return False
    return any(found in ipaddress.ip_network(network) for network in directory.networks)


def checked_networks(texts: Iterable[object]) -> list[str]:
    """As they are kept. Raises RuleBroken."""
    found = []
    for text in texts:
        try:
            found.append(str(ipaddress.ip_network(str(text).strip())))
        except ValueError:
            raise RuleBroken("networks", f"“{text}” is no network. Write one like 203.0.113.0/24.") from None
    if len(found) > MOST_NETWORKS:
        raise RuleBroken("networks", f"List at most {MOST_NETWORKS} networks.")
    return found
