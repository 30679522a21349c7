"""A signed POST of a JSON array to a program, as Standard Webhooks (standardwebhooks.com) has it.

`webhook-id` is the same however often a batch is sent: by it a receiver knows a repetition. The signature is the
HMAC-SHA256 of `id.timestamp.body`; whoever checks it also checks that the timestamp is recent.
"""

import hmac
from base64 import b64decode, b64encode
from binascii import Error as Base64Error
from collections.abc import Mapping, Sequence
from typing import Any, Final

from django.utils import timezone

from audit.sinks import settings as entered
from audit.sinks.answers import SECONDS, expect_good, post
from audit.sinks.base import Record, Refused, Sink, WayOut

KEY_MARK: Final = "whsec_"


def check(settings: Mapping[str, Any]) -> None:
    entered.only(settings, "url")
    entered.url(settings)


def build(settings: Mapping[str, Any], secret: str | None, way: WayOut) -> Sink:
    return Webhook(entered.url(settings), signing_key(secret or ""), way)


def signing_key(secret: str) -> bytes:
    """`whsec_` and base64, as others make them, or any text."""
    if not secret.startswith(KEY_MARK):
        return secret.encode()
    try:
        return b64decode(secret.removeprefix(KEY_MARK), validate=True)
    except Base64Error:
        return secret.encode()


def signed_headers(message_id: str, body: bytes, *, key: bytes, seconds: int) -> dict[str, str]:
    told = b"%b.%d.%b" % (message_id.encode(), seconds, body)
    signature = b64encode(hmac.digest(key, told, "sha256")).decode()
    return {
        "webhook-id": message_id,
        "webhook-timestamp": str(seconds),
        "webhook-signature": f"v1,{signature}",
        "Content-Type": "application/json",
    }


class Webhook:
    """A 2xx acknowledges the whole batch."""

    max_records = 1_000
    max_bytes = 1_000_000

    def __init__(self, url: str, key: bytes, way: WayOut) -> None:
        self._url = url
        self._key = key
        self._client = way.http(timeout=SECONDS)

    def send(self, records: Sequence[Record]) -> None:
        if not self._key:
            raise Refused("The secret that signs the messages has no value.")
        body = b"[%b]" % b",".join(record.body for record in records)
        message_id = f"{records[0].index}-{records[-1].index}-{records[0].event_id.hex}"
        seconds = int(timezone.now().timestamp())
        expect_good(
            post(
                self._client,
                self._url,
                body=body,
                headers=signed_headers(message_id, body, key=self._key, seconds=seconds),
            )
        )

    def close(self) -> None:
        self._client.close()
