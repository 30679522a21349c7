import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from audit.checkpoint import Signer


@pytest.fixture
def signer() -> Signer:
    return Signer("gw.corp.example/audit", Ed25519PrivateKey.from_private_bytes(bytes(32)))
