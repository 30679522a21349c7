"""Where a stored secret may be sent: to the addresses it goes to already, unless an owner says otherwise.

Without this, whoever may edit connectors reads any secret of the vault by having it presented to a listener of hers.
"""

from collections.abc import Iterable
from urllib.parse import urlsplit

from django.db import connection
from django.db.models import Q

from governance.models import Change, Connector, Secret, SecretVersion, User
from governance.programs import LOCAL, as_address, shown_program

Origin = tuple[str, str, int]
DEFAULT_PORTS = {"http": 80, "https": 443}
SENT_ELSEWHERE = "Only an owner may send a stored secret to another address; or store the value again as a new secret."


def addresses_of(connector: Connector) -> list[str]:
    """Where it presents its secret; of a local server that is the program as it is run."""
    if connector.command:
        return [as_address(connector.command, connector.environment, connector.secret_variable)]
    return list(connector.urls)


def origin_of(address: str) -> Origin:
    if address.startswith(LOCAL):
        return LOCAL, address, 0
    parts = urlsplit(address)
    return parts.scheme, parts.hostname or "", parts.port or DEFAULT_PORTS.get(parts.scheme, 0)


def shown_origin(address: str) -> str:
    """As a person compares it: `https://helpdesk.example.com:443`."""
    scheme, host, port = origin_of(address)
    if scheme == LOCAL:
        return f"local server: {shown_program(address)}"
    return f"{scheme}://{f'[{host}]' if ':' in host else host}:{port}"


def origins(addresses: Iterable[str]) -> list[str]:
    return list(dict.fromkeys(map(shown_origin, addresses)))


def destinations(secret: Secret) -> dict[str, list[str]]:
    """Connector name -> where it presents the secret; of disabled connectors too, as they may be enabled again."""
    users = sorted(secret.connectors.all(), key=lambda connector: connector.name)
    return {connector.name: origins(addresses_of(connector)) for connector in users}


def may_send(secret: Secret, addresses: Iterable[str], *, person: User) -> bool:
    return person.is_superuser or goes_nowhere_new(secret, addresses, person=person)


def goes_nowhere_new(secret: Secret, addresses: Iterable[str], *, person: User) -> bool:
    """Of a secret no connector uses, only who stored the value may say where it goes: she knows it anyway.

    Else taking the secret off its connector first would be the way around. Holds the secret's row until the caller's
    transaction ends, so that no value is stored between this answer and what is done with it.
    """
    _hold(secret)
    uses = [addresses_of(connector) for connector in secret.connectors.all()]
    if not uses:
        return _knows_value(person, secret)
    known = {origin_of(address) for addresses_in_use in uses for address in addresses_in_use}
    return {origin_of(address) for address in addresses} <= known


def may_present(secret: Secret, *, person: User) -> bool:
    """Whether she may have it shown where it was not shown so far, somewhere that is no connector."""
    return person.is_superuser or stored_by(secret, person=person)


def stored_by(secret: Secret, *, person: User) -> bool:
    """As `may_present`, for a token: one that leaked must not read the vault, whoever's it is."""
    _hold(secret)
    return _knows_value(person, secret)


def _hold(secret: Secret) -> None:
    """Outside a transaction there is nothing to hold it for."""
    if connection.in_atomic_block:
        Secret.objects.select_for_update().filter(pk=secret.pk).first()


def _knows_value(person: User, secret: Secret) -> bool:
    """The change log tells who stored it; a value older than that log counts as somebody else's."""
    live = SecretVersion.objects.filter(secret=secret, retired_at=None).only("id").first()
    if live is None:
        return True
    stored = Change.objects.filter(relation=SecretVersion._meta.db_table, operation="insert")
    is_it = Q(after__contains=str(live.pk)) | Q(after__contains=live.pk.hex)
    return stored.filter(is_it, actor=f"person:{person.email}").exists()
