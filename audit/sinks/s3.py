"""Objects of an S3-compatible store: `prefix/YYYY/MM/DD/first-last.jsonl.gz`, the same bytes under the same name
however often a batch is sent. Nothing is ever overwritten: each PUT says If-None-Match, and if another object has the
name, ours gets its own digest into its name. With Object Lock nobody can delete or change one before its time.

Requests are made and signed by boto3, but travel by the client that every sink gets: to judged addresses only.
"""

import gzip
from collections.abc import Mapping, Sequence
from datetime import UTC, timedelta
from hashlib import sha256
from typing import Any, Final

import boto3
import httpx
from botocore.awsrequest import AWSPreparedRequest, AWSResponse
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError
from django.utils import timezone

from audit.sinks import settings as entered
from audit.sinks.base import Record, Refused, Sink, SinkFailure, Throttled, Unreachable, WayOut

SECONDS: Final = 60.0
DIGEST: Final = "gatehouse-sha256"
LOCKS: Final = ("none", "governance", "compliance")
ALREADY_THERE, NOT_FOUND = 412, 404
BUSY: Final = frozenset(("SlowDown", "ServiceUnavailable", "Throttling", "RequestLimitExceeded", "TooManyRequests"))


def check(settings: Mapping[str, Any]) -> None:
    entered.only(settings, "bucket", "prefix", "region", "endpoint", "path_style", "lock", "lock_days")
    entered.text(settings, "bucket")
    entered.text(settings, "prefix", default="gatehouse")
    entered.text(settings, "region", default="us-east-1")
    entered.url(settings, "endpoint", default="")
    entered.flag(settings, "path_style", default=True)
    entered.choice(settings, "lock", LOCKS, default="none")
    entered.whole(settings, "lock_days", default=365, least=1, most=36_500)


def build(settings: Mapping[str, Any], secret: str | None, way: WayOut) -> Sink:
    return ObjectStore(settings, secret or "", way)


class ObjectStore:
    """What came within 50 s, 50,000 records or 8 MB an object, whichever comes first."""

    max_records = 50_000
    max_bytes = 8_000_000

    def __init__(self, settings: Mapping[str, Any], secret: str, way: WayOut) -> None:
        self._bucket = entered.text(settings, "bucket")
        self._prefix = entered.text(settings, "prefix", default="gatehouse").strip("/")
        self._lock = entered.choice(settings, "lock", LOCKS, default="none")
        self._keep = timedelta(days=entered.whole(settings, "lock_days", default=365, least=1, most=36_500))
        self._http = way.http(timeout=SECONDS)
        self._client = _client(settings, secret, self._http) if ":" in secret else None

    def send(self, records: Sequence[Record]) -> None:
        plain = b"".join(record.body + b"\n" for record in records)
        name, ending = self._name(records)
        digest = sha256(plain).hexdigest()
        body = gzip.compress(plain, compresslevel=6, mtime=0)
        if not self._put(f"{name}{ending}", body, digest) and self._digest_of(f"{name}{ending}") != digest:
            self._put(f"{name}-{digest[:12]}{ending}", body, digest)

    def close(self) -> None:
        self._http.close()

    def _name(self, records: Sequence[Record]) -> tuple[str, str]:
        first, last = records[0], records[-1]
        ending = ".jsonl.gz" if first.body.startswith(b"{") else ".log.gz"
        if first.is_checkpoint:
            return f"{self._prefix}/checkpoints/{first.index:020d}", ending
        day = first.at.astimezone(UTC).strftime("%Y/%m/%d")
        return f"{self._prefix}/{day}/{first.index:020d}-{last.index:020d}", ending

    def _put(self, key: str, body: bytes, digest: str) -> bool:
        """False if there is an object of that name."""
        lock: dict[str, Any] = {}
        if self._lock != "none":
            until = timezone.now() + self._keep
            lock = {"ObjectLockMode": self._lock.upper(), "ObjectLockRetainUntilDate": until}
        try:
            self._ask(
                "put_object",
                Key=key,
                Body=body,
                IfNoneMatch="*",
                ChecksumAlgorithm="SHA256",
                ContentType="application/gzip",
                Metadata={DIGEST: digest},
                **lock,
            )
        except _Exists:
            return False
        return True

    def _digest_of(self, key: str) -> str:
        told = self._ask("head_object", Key=key)
        return str(told.get("Metadata", {}).get(DIGEST, ""))

    def _ask(self, act: str, **wish: Any) -> Mapping[str, Any]:
        """Raises SinkFailure; _Exists where the store has an object of that name."""
        if self._client is None:
            raise Refused("Its secret must be an access key id and a secret access key (user and password).")
        try:
            told: Mapping[str, Any] = getattr(self._client, act)(Bucket=self._bucket, **wish)
        except ClientError as error:
            raise _meaning(error) from None
        except httpx.TimeoutException:
            raise Unreachable("It did not answer in time.") from None
        except (BotoCoreError, httpx.HTTPError) as error:
            raise Unreachable(f"The connection failed ({type(error).__name__}).") from None
        return told


class _Exists(SinkFailure):
    """An object of that name is there."""


def _meaning(error: ClientError) -> SinkFailure:
    """A store takes any bytes: what it refuses is how it was asked, never a record."""
    told = error.response.get("ResponseMetadata", {})
    status, code = int(told.get("HTTPStatusCode", 0)), str(error.response.get("Error", {}).get("Code", ""))[:60]
    said = f"It answered {status} ({code})."
    if status == ALREADY_THERE:
        return _Exists(said)
    if status in (429, 503) or code in BUSY:
        return Throttled(said)
    if status in (408, 409) or status >= 500 or code == "RequestTimeout":
        return Unreachable(said)
    return Refused(said)


def _client(settings: Mapping[str, Any], secret: str, http: httpx.Client) -> Any:
    key_id, _, key = secret.partition(":")
    style = "path" if entered.flag(settings, "path_style", default=True) else "virtual"
    client = boto3.session.Session().client(
        "s3",
        endpoint_url=entered.url(settings, "endpoint", default="") or None,
        region_name=entered.text(settings, "region", default="us-east-1"),
        aws_access_key_id=key_id,
        aws_secret_access_key=key,
        config=Config(s3={"addressing_style": style}, retries={"total_max_attempts": 1}, signature_version="s3v4"),
    )
    client.meta.events.register("before-send.s3", _By(http))
    return client


class _By:
    """Sends what botocore has signed; botocore itself opens no connection."""

    def __init__(self, http: httpx.Client) -> None:
        self._http = http

    def __call__(self, request: AWSPreparedRequest, **_: Any) -> AWSResponse:
        body = request.body
        content = bytes(body) if isinstance(body, bytes | bytearray) else body and body.read()
        headers = [(str(name), _text(value)) for name, value in request.headers.items()]
        answer = self._http.request(request.method, request.url, content=content, headers=headers)
        return AWSResponse(request.url, answer.status_code, dict(answer.headers), _Raw(answer.content))


class _Raw:
    """A body as botocore wants to read it."""

    def __init__(self, content: bytes) -> None:
        self._content = content

    def stream(self, *_: Any, **__: Any) -> list[bytes]:
        return [self._content]

    def read(self, *_: Any) -> bytes:
        content, self._content = self._content, b""
        return content


def _text(value: Any) -> str:
    return value.decode("ascii") if isinstance(value, bytes) else str(value)
