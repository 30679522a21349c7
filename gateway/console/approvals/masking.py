"""The values of the vault are not shown on a screen, even where an agent got hold of one."""

import logging
from threading import Lock
from typing import Any

import orjson

from gateway.console.approvals.arguments import Mask
from gateway.wiring import open_secret
from governance.inspection.masking import ANONYMOUS, VaultIndex
from governance.snapshot import SealedSecret, Snapshot
from governance.vault import VaultError, keyring, known_forms

logger = logging.getLogger(__name__)

_building = Lock()
_kept: dict[tuple[SealedSecret, ...], VaultIndex] = {}
"""Only that of the latest secrets."""


def mask_for(values: Any, snapshot: Snapshot) -> Mask:
    """For parts of `values`. When a secret reaches across their parts, all of them are hidden."""
    index = _index_of(snapshot)
    if not index.find(orjson.dumps(values, option=orjson.OPT_SORT_KEYS)):
        return lambda part: part
    if index.mask(values)[0] == ANONYMOUS:
        return lambda part: ANONYMOUS
    return lambda part: index.mask(part)[0]


def _index_of(snapshot: Snapshot) -> VaultIndex:
    secrets = tuple(snapshot.secrets)
    with _building:
        if secrets not in _kept:
            index = VaultIndex((secret.name, _forms(secret)) for secret in secrets)
            _kept.clear()
            _kept[secrets] = index
        return _kept[secrets]


def _forms(secret: SealedSecret) -> tuple[bytes, ...]:
    """None for a secret that cannot be opened here: it cannot be presented to anything, either."""
    try:
        return known_forms(secret.kind, open_secret(secret, keyring()))
    except VaultError as error:
        logger.error("secret %s cannot be opened: %s", secret.name, error)
        return ()
