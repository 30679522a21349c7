"""Access tokens as the data path knows them: what each is for, read once, remembered while it lives.

Nothing here says that a token is good: that is the snapshot's word about what it rests on, and the fence's after it.
What a token is for never changes, so to remember it needs no freshness.
"""

import asyncio
from collections.abc import Collection
from hashlib import sha256

from gateway.database import DatabaseThread
from governance.key_text import is_well_formed
from governance.models import AccessToken
from governance.oauth_resources import bundles_of
from governance.oauth_tokens import ACCESS_PREFIX
from governance.snapshot import Credential

MOST_KEPT = 50_000
MOST_READ_AT_ONCE = 500


class AccessTokens:
    """One of each process; all methods run on the event loop."""

    def __init__(self, thread: DatabaseThread) -> None:
        self._thread = thread
        self._known: dict[bytes, Credential] = {}
        self._wanted: dict[bytes, asyncio.Future[None]] = {}
        self._reading: asyncio.Task[None] | None = None

    def known(self, digest: bytes) -> Credential | None:
        return self._known.get(digest)

    async def learn(self, token: str) -> None:
        """Reads it unless it is known; all who ask at once share one read. What was never issued stays unknown, and
        costs no read if its checksum says so. Raises EvidenceUnavailable."""
        if not is_well_formed(token, prefix=ACCESS_PREFIX):
            return
        digest = sha256(token.encode()).digest()
        if digest in self._known:
            return
        found = self._wanted.get(digest)
        if found is None:
            found = self._wanted[digest] = asyncio.get_running_loop().create_future()
        if self._reading is None:
            self._reading = asyncio.create_task(self._read(), name="access tokens")
        await asyncio.shield(found)

    async def _read(self) -> None:
        try:
            while self._wanted:
                wanted = {digest: self._wanted[digest] for digest in list(self._wanted)[:MOST_READ_AT_ONCE]}
                await self._read_these(wanted)
        finally:
            self._reading = None

    async def _read_these(self, wanted: dict[bytes, "asyncio.Future[None]"]) -> None:
        error: Exception | None = None
        try:
            for credential in await self._thread.run(lambda: read_tokens(wanted.keys())):
                self._keep(credential)
        except Exception as failure:  # noqa: BLE001  (whatever it is, those who wait must hear of it)
            error = failure
        for digest, future in wanted.items():
            del self._wanted[digest]
            if future.done():
                continue
            if error is None:
                future.set_result(None)
            else:
                future.set_exception(error)

    def _keep(self, credential: Credential) -> None:
        """The oldest go first: tokens live for minutes."""
        while len(self._known) >= MOST_KEPT:
            del self._known[next(iter(self._known))]
        self._known[credential.digest] = credential


def read_tokens(digests: Collection[bytes]) -> list[Credential]:
    rows = AccessToken.objects.filter(digest__in=list(digests))
    return [_credential(row) for row in rows]


def _credential(row: AccessToken) -> Credential:
    if row.authorization_id is not None:
        ground = f"authorization:{row.authorization_id.hex}"
    else:
        assert row.credential_id is not None, "a constraint of the table"
        ground = f"credential:{row.credential_id.hex}"
    return Credential(
        id=row.id.hex,
        agent_id=row.agent_id.hex,
        digest=bytes(row.digest),
        not_before=None,
        expires_at=row.expires_at,
        person_id=row.person_id.hex if row.person_id is not None else "",
        rests_on=ground,
        resource=row.resource,
        bundles=bundles_of(row.oauth_scopes),
    )
