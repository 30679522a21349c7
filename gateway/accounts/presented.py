"""An account's token at the moment it is presented: in memory only, for as long as it is good."""

from dataclasses import dataclass, field
from datetime import datetime
from functools import cached_property

from connectors.base import UpstreamAuth
from governance.inspection.masking import JoinedIndex, VaultIndex
from governance.vault import maskable_forms


@dataclass(frozen=True)
class Presented:
    """Upstream sessions belong to the account, however often its token is renewed."""

    account_id: str
    generation: int
    token: str = field(repr=False)
    expires_at: datetime | None

    @cached_property
    def auth(self) -> UpstreamAuth:
        return UpstreamAuth((("authorization", f"Bearer {self.token}"),), identity=f"account:{self.account_id}")

    @cached_property
    def forms(self) -> VaultIndex:
        """Finds the token where a result repeats it, or an agent has got hold of it."""
        return VaultIndex([("connected-account", maskable_forms("bearer", self.token))])


def guarding(vault: VaultIndex, account: Presented | None) -> VaultIndex:
    """What must not get out of one call: the vault's values, and the account's token."""
    return vault if account is None else JoinedIndex(vault, account.forms)
