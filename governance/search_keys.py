"""Keys of the fingerprints that evidence is searched by: one for each retention class and month, sealed by the vault.

They are destroyed with the payload keys of the same class and month: what a copy of the database still holds of that
time then says nothing to anybody.
"""

from collections import defaultdict
from typing import Final

from governance.models import SubjectKey
from governance.payload_keys import Place, key_row, opened_key
from governance.vault import Keyring

SEARCH: Final = "search"
"""As a subject; no person is called so."""


def search_key(retention: str, period: str, keyring: Keyring) -> bytes:
    """Made by whoever needs it first. Raises VaultError."""
    return opened_key(key_row(Place(SEARCH, retention, period), keyring), keyring)


def search_keys(keyring: Keyring) -> dict[str, list[bytes]]:
    """All that are live, by month. Raises VaultError."""
    keys: dict[str, list[bytes]] = defaultdict(list)
    for row in SubjectKey.objects.filter(subject=SEARCH, destroyed_at=None).order_by("period", "retention"):
        keys[row.period].append(opened_key(row, keyring))
    return keys
