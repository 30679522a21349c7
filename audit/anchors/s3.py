"""Checkpoints in a bucket with Object Lock: until its time is over nobody, not its owner, changes or deletes one.

The name follows from the log and the size, and is written only where nothing is (If-None-Match): a repetition finds
itself, a fork finds the other. Reading back asks for all versions, so that neither a delete marker nor a newer object
of the same name hides one. Requests are signed by AWS Signature Version 4; the secret key itself never travels.
"""

import re
from base64 import b64encode
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from hashlib import md5
from html import unescape
from urllib.parse import quote

from botocore.auth import S3SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

from audit.anchors.base import AnchorFailed, Ask, Forked, Kept, Receipt, Reply

OK, CONFLICT, EXISTS = 200, 409, 412
SIZE_DIGITS = 20
PAGE = 1000
MOST_PAGES = 100
COMPLIANCE = "COMPLIANCE"
VERSION = re.compile(r"<Version>(.*?)</Version>", re.DOTALL)
UNSAFE_IN_NAME = re.compile(r"[^A-Za-z0-9._/-]")


@dataclass(frozen=True, slots=True)
class Version:
    """One stored object of the log; `size` is the one that its name tells."""

    key: str
    id: str
    size: int


@dataclass(frozen=True, slots=True)
class Bucket:
    """One log's place in a bucket, by path-style addresses, which every S3 server understands."""

    endpoint: str
    name: str
    region: str
    prefix: str
    retention: timedelta
    access_key: str = field(repr=False)
    secret_key: str = field(repr=False)
    ask: Ask = field(repr=False)

    def keep(self, *, log: str, size: int, note: str, now: datetime) -> Receipt:
        """Raises AnchorFailed, Forked."""
        key = self.key(log, size)
        reply = self._request("PUT", key, body=note.encode(), headers=self._lock(note, now))
        if reply.status not in (OK, CONFLICT, EXISTS):
            raise _refused("It could not be written", reply)
        self._check_kept(key, note)
        return Receipt(f"s3://{self.name}/{key}")

    def kept(self, log: str, *, after: int = -1, limit: int = PAGE * MOST_PAGES) -> Iterator[Kept]:
        """All versions of all objects whose name tells of more than `after` leaves, the smallest first."""
        for number, version in enumerate(self.versions(log, after=after)):
            if number == limit:
                return
            reply = self._request("GET", version.key, query={"versionId": version.id})
            if reply.status != OK:
                raise _refused(f"{version.key} could not be read", reply)
            yield Kept(f"s3://{self.name}/{version.key}", reply.body.decode("utf-8", "replace"))

    def versions(self, log: str, *, after: int = -1) -> Iterator[Version]:
        """Raises AnchorFailed."""
        folder = self._folder(log)
        mark = {"key-marker": self.key(log, after)} if after >= 0 else {}
        for _ in range(MOST_PAGES):
            query = {"versions": "", "prefix": folder, "max-keys": str(PAGE), **mark}
            reply = self._request("GET", "", query=query)
            if reply.status != OK:
                raise _refused("It could not be listed", reply)
            listing = reply.body.decode("utf-8", "replace")
            found = (_version(text, folder) for text in VERSION.findall(listing))
            yield from (version for version in found if version is not None and version.size > after)
            if _element(listing, "IsTruncated") != "true":
                return
            mark = {
                "key-marker": _element(listing, "NextKeyMarker"),
                "version-id-marker": _element(listing, "NextVersionIdMarker"),
            }
        raise AnchorFailed("The listing has no end.")

    def key(self, log: str, size: int) -> str:
        return f"{self._folder(log)}{size:0{SIZE_DIGITS}}.txt"

    def _folder(self, log: str) -> str:
        prefix = f"{self.prefix.strip('/')}/" if self.prefix.strip("/") else ""
        return f"{prefix}{UNSAFE_IN_NAME.sub('_', log)}/"

    def _lock(self, note: str, now: datetime) -> dict[str, str]:
        """S3 wants a digest of what is locked; it proves nothing, so any will do."""
        digest = md5(note.encode(), usedforsecurity=False).digest()
        return {
            "If-None-Match": "*",
            "Content-Type": "text/plain; charset=utf-8",
            "Content-MD5": b64encode(digest).decode(),
            "x-amz-object-lock-mode": COMPLIANCE,
            "x-amz-object-lock-retain-until-date": f"{now + self.retention:%Y-%m-%dT%H:%M:%SZ}",
        }

    def _check_kept(self, key: str, note: str) -> None:
        """Believes no answer to a write: what can be read back, under lock, is kept."""
        reply = self._request("GET", key)
        if reply.status != OK:
            raise _refused("It was written and cannot be read back", reply)
        if reply.body != note.encode():
            raise Forked(f"{key} is there already and holds another checkpoint of the same size.")
        if reply.headers.get("x-amz-object-lock-mode") != COMPLIANCE:
            raise AnchorFailed(f"{key} is kept without a lock: the bucket needs Object Lock.")

    def _request(
        self,
        method: str,
        key: str,
        *,
        query: Mapping[str, str] | None = None,
        headers: Mapping[str, str] | None = None,
        body: bytes = b"",
    ) -> Reply:
        pairs = "&".join(
            f"{quote(name, safe='')}={quote(value, safe='')}" for name, value in sorted((query or {}).items())
        )
        path = quote(f"/{self.name}/{key}" if key else f"/{self.name}", safe="/")
        url = f"{self.endpoint.rstrip('/')}{path}{f'?{pairs}' if pairs else ''}"
        request = AWSRequest(method=method, url=url, data=body, headers=dict(headers or {}))
        S3SigV4Auth(Credentials(self.access_key, self.secret_key), "s3", self.region).add_auth(request)
        return self.ask(method, url, headers=tuple(request.headers.items()), body=body)


def _version(text: str, folder: str) -> Version | None:
    """None for what is no checkpoint of the log by its name."""
    key, version_id = _element(text, "Key"), _element(text, "VersionId")
    digits = key.removeprefix(folder).removesuffix(".txt")
    is_ours = key == f"{folder}{digits}.txt" and digits.isascii() and digits.isdecimal() and len(digits) == SIZE_DIGITS
    return Version(key, version_id, int(digits)) if is_ours else None


def _element(text: str, name: str) -> str:
    """Read without an XML parser: a listing is a flat text, and it comes from somebody else."""
    found = re.search(f"<{name}>([^<]*)</{name}>", text)
    return unescape(found[1]) if found else ""


def _refused(what: str, reply: Reply) -> AnchorFailed:
    code = _element(reply.body.decode("utf-8", "replace"), "Code")
    shown = re.sub(r"[^A-Za-z0-9]", "", code)[:60]
    return AnchorFailed(f"{what}: it answered {reply.status}{f' {shown}' if shown else ''}.")
