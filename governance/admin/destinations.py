"""Where a stored secret may be sent: to the addresses it goes to already, unless an owner says otherwise.

Without this, whoever may edit connectors reads any secret of the vault by having it presented to a listener of hers.
"""

from collections.abc import Iterable
from urllib.parse import urlsplit

from django.db.models import Q

from governance.models import Change, Secret, SecretVersion, User

Origin = tuple[str, str, int]
DEFAULT_PORTS = {"http": 80, "https": 443}


def origin_of(address: str) -> Origin:
    parts = urlsplit(address)
    return parts.scheme, parts.hostname or "", parts.port or DEFAULT_PORTS.get(parts.scheme, 0)


def may_send(secret: Secret, addresses: Iterable[str], *, person: User) -> bool:
    """Of a secret no connector uses, only who stored the value may say where it goes: she knows it anyway.

    Else taking the secret off its connector first would be the way around.
    """
    if person.is_superuser:
        return True
    uses = list(secret.connectors.values_list("urls", flat=True))
    if not uses:
        return _knows_value(person, secret)
    known = {origin_of(address) for addresses_in_use in uses for address in addresses_in_use}
    return {origin_of(address) for address in addresses} <= known


def _knows_value(person: User, secret: Secret) -> bool:
    """The change log tells who stored it; a value older than that log counts as somebody else's."""
    live = SecretVersion.objects.filter(secret=secret, retired_at=None).only("id").first()
    if live is None:
        return True
    stored = Change.objects.filter(relation=SecretVersion._meta.db_table, operation="insert")
    is_it = Q(after__contains=str(live.pk)) | Q(after__contains=live.pk.hex)
    return stored.filter(is_it, actor=f"person:{person.email}").exists()
