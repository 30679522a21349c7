"""Canaries as something to look for: opened in memory, looked for in every reading of a text.

Without a canary this costs a look at an empty tuple.
"""

from typing import Final

from governance.canaries import forms_of, open_value
from governance.inspection.masking import VaultIndex
from governance.snapshot_values import SealedCanary
from governance.vault import Envelope, VaultError, keyring

RULE: Final = "canary"


class CanaryIndex(VaultIndex):
    """Findings of it are called after what it is."""

    __slots__ = ()
    rule = RULE


class CanaryWatch:
    """Of one process; made anew when a canary comes or goes."""

    def __init__(self) -> None:
        self._of: tuple[SealedCanary, ...] = ()
        self._index: CanaryIndex | None = None

    def index(self, canaries: tuple[SealedCanary, ...]) -> CanaryIndex | None:
        """None while there is none."""
        if canaries is not self._of:
            self._of, self._index = canaries, _index_of(canaries) if canaries else None
        return self._index


def _index_of(canaries: tuple[SealedCanary, ...]) -> CanaryIndex:
    """One that cannot be opened is left out: its key is missing, as the check of the vault says."""
    keys, forms = keyring(), {}
    for each in canaries:
        try:
            value = open_value(each.id, Envelope(each.key_id, each.wrapped_key, each.ciphertext), keys)
        except VaultError:
            continue
        forms[each.name] = forms_of(each.kind, value)
    return CanaryIndex(forms.items())
