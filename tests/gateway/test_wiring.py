"""The real ports, where they hold secrets."""

from uuid import uuid4

import pytest

from audit.event import uuid7
from gateway.commit.entry import Backend
from gateway.commit.group import GroupCommitter
from gateway.wiring import GatewayPorts
from governance.snapshot import SealedSecret, Snapshot
from governance.vault import Keyring, seal
from tests import factories as make

KEK, LOST_KEK = bytes(range(32)), bytes(range(32, 64))


class NoBackend(Backend):
    """Nothing is committed in these tests."""


def sealed(name: str, value: str, kek: bytes) -> SealedSecret:
    version = str(uuid4())
    envelope = seal(value.encode(), context=f"secret_version:{version}:value", keyring=Keyring(kek))
    return SealedSecret(name, version, name, "bearer", "", envelope.key_id, envelope.wrapped_key, envelope.ciphertext)


def holding(*secrets: SealedSecret) -> Snapshot:
    view = make.snapshot()
    return Snapshot(**{name: getattr(view, name) for name in view.__slots__} | {"secrets": secrets})


async def test_one_secret_that_cannot_be_opened_stops_nobody_else(caplog: pytest.LogCaptureFixture) -> None:
    ports = GatewayPorts(process_id=uuid7(), committer=GroupCommitter(NoBackend()), kinds={}, keyring=Keyring(KEK))
    index = ports.vault_index(
        holding(sealed("lost", "value-of-the-lost-one", LOST_KEK), sealed("good", "value-of-the-good-one", KEK))
    )
    assert index.find(b'{"text":"value-of-the-good-one"}')
    assert "secret lost cannot be opened" in caplog.text
    assert "value-of-the-lost-one" not in caplog.text
