"""From an anchor's row to what it takes to reach it: its secret opened, the house's own way out handed in."""

from collections.abc import Sequence
from datetime import timedelta
from typing import Final

from django.views.decorators.debug import sensitive_variables

from audit.anchors.base import AnchorFailed, Reply
from audit.anchors.s3 import Bucket
from audit.anchors.timestamp import Authority
from gateway.fetching import NotFetched, fetch
from governance.models import Anchor, SecretVersion
from governance.vault import VaultError, keyring, open_secret_version

ASK_SECONDS: Final = 20.0
ANSWER_BYTES: Final = 4 * 1024 * 1024
"""A page of a listing of a thousand versions, with room."""


def ask(method: str, url: str, *, headers: Sequence[tuple[str, str]] = (), body: bytes = b"") -> Reply:
    """By the rules of connectors: judged addresses only, no redirect, bounded in time and size. Raises AnchorFailed."""
    try:
        return fetch(method, url, headers=headers, body=body, seconds=ASK_SECONDS, at_most=ANSWER_BYTES)
    except NotFetched as error:
        raise AnchorFailed(str(error)) from None


def authority_of(anchor: Anchor) -> Authority:
    return Authority(anchor.url, anchor.trust, ask)


@sensitive_variables()
def bucket_of(anchor: Anchor) -> Bucket:
    """Raises AnchorFailed."""
    access_key, _, secret_key = _opened(anchor).partition(":")
    return Bucket(
        endpoint=anchor.url,
        name=anchor.bucket,
        region=anchor.region,
        prefix=anchor.prefix,
        retention=timedelta(days=anchor.retention_days),
        access_key=access_key,
        secret_key=secret_key,
        ask=ask,
    )


@sensitive_variables()
def _opened(anchor: Anchor) -> str:
    version = SecretVersion.objects.filter(secret=anchor.secret, retired_at=None).first()
    if version is None:
        raise AnchorFailed("Its secret has no value yet.")
    try:
        return open_secret_version(version, keyring=keyring())
    except VaultError:
        raise AnchorFailed("Its secret cannot be opened.") from None
