"""Microsoft Sentinel by Azure Monitor's Logs Ingestion API.

Its 204 says that the rows were accepted; nothing tells when they can be searched, usually some minutes later. A row
has columns of its own for what is searched most, and the whole event in the column `Event`. The names of columns and
the search for gaps are in docs/export.md, with the data collection rule that declares them.
"""

import re
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC
from hashlib import sha256
from typing import Any, Final, NoReturn
from urllib.parse import quote, urlencode
from uuid import uuid4

import httpx
import orjson

from audit.sinks import settings as entered
from audit.sinks.answers import SECONDS, Answer, expect_good, post
from audit.sinks.base import Poisoned, Record, Refused, Sink, Unreachable, WayOut
from audit.sinks.cutting import cut
from audit.sinks.packing import Packed, in_turn, packed, requests

REQUEST_BYTES: Final = 1_000_000
"""The API counts 1 MB before and after compression, so gzip spares the line and nothing else."""
COLUMN_BYTES: Final = 64_000
"""What is longer, the service cuts without a word."""
TOKEN_SPARE_SECONDS: Final = 300.0
API_VERSION: Final = "2023-01-01"

CLOUDS: Final[Mapping[str, tuple[str, str]]] = {
    "public": ("https://login.microsoftonline.com", "https://monitor.azure.com//.default"),
    "us-government": ("https://login.microsoftonline.us", "https://monitor.azure.us//.default"),
    "china": ("https://login.chinacloudapi.cn", "https://monitor.azure.cn//.default"),
}
"""Where each cloud gives tokens, and for what. The two slashes are right: the audience ends in one."""

COLUMNS: Final[Mapping[str, str]] = {
    name: name.capitalize() for name in ("kind", "actor", "agent", "person", "connector", "tool", "decision", "outcome")
}
"""Members of an event's header that get a column of their own."""

GUID: Final = r"[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}"
TENANT: Final = rf"{GUID}|[A-Za-z0-9-]+(?:\.[A-Za-z0-9-]+)+"
TOKEN: Final = re.compile(r"[\x21-\x7e]{1,16384}")
ERROR_CODE: Final = re.compile(r"[A-Za-z]{1,64}")
OF_THE_RULE: Final = re.compile(r"stream|dcr|rule|endpoint|tenant|version|table", re.IGNORECASE)
"""Error codes that a 400 carries when no record is at fault; the documentation has no list of them."""


@dataclass(frozen=True, slots=True)
class Settings:
    """`endpoint` is the logs ingestion address of the data collection rule, or of a data collection endpoint; `dcr`
    the rule's immutable id."""

    endpoint: str
    dcr: str
    stream: str
    tenant: str
    client_id: str
    cloud: str
    compress: bool

    @staticmethod
    def of(settings: Mapping[str, Any]) -> "Settings":
        entered.only(settings, *Settings.__slots__)
        endpoint = entered.url(settings, "endpoint").rstrip("/")
        if not endpoint.startswith("https://"):
            raise ValueError("endpoint: must begin with https://")
        return Settings(
            endpoint=endpoint,
            dcr=entered.like(
                settings, "dcr", r"dcr-[0-9a-fA-F]{32}", "the rule's immutable id: dcr- and 32 hex digits"
            ),
            stream=entered.like(settings, "stream", r"Custom-\w{1,100}", "a stream of the rule: Custom-..."),
            tenant=entered.like(settings, "tenant", TENANT, "the tenant's id or domain"),
            client_id=entered.like(settings, "client_id", GUID, "the application's (client) id"),
            cloud=entered.choice(settings, "cloud", CLOUDS, default="public"),
            compress=entered.flag(settings, "compress", default=True),
        )

    def stream_url(self) -> str:
        path = f"/dataCollectionRules/{self.dcr}/streams/{quote(self.stream)}"
        return f"{self.endpoint}{path}?api-version={API_VERSION}"


def check(settings: Mapping[str, Any]) -> None:
    Settings.of(settings)


def build(settings: Mapping[str, Any], secret: str | None, way: WayOut) -> Sink:
    return Sentinel(Settings.of(settings), secret or "", way.http(timeout=SECONDS))


class Sentinel:
    """One stream of one data collection rule, and the token with which it is written to."""

    max_records = 5_000
    max_bytes = 4_000_000

    def __init__(
        self, settings: Settings, secret: str, client: httpx.Client, *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._settings = settings
        self._secret = secret
        self._client = client
        self._clock = clock
        self._token = ""
        self._token_until = float("-inf")

    def send(self, records: Sequence[Record]) -> None:
        rows = (self._row(record) for record in records)
        bounded = requests(rows, most_entries=len(records), most_bytes=REQUEST_BYTES - 1)
        in_turn((self._packed(request) for request in bounded), self._post)

    def close(self) -> None:
        self._client.close()

    def _row(self, record: Record) -> bytes:
        """Always far below a request's limit: what is too long for a column is left out, and the row says so."""
        body = cut(record.body, most_bytes=COLUMN_BYTES)
        try:
            event = orjson.loads(body)
        except orjson.JSONDecodeError:
            event = body.decode(errors="replace")
        told = _header_in(event)
        row = {
            "TimeGenerated": record.at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ"),
            "EventId": str(record.event_id),
            # A checkpoint is no leaf: its number is the size of the log, and a gap search must not count it.
            "LogSize" if record.is_checkpoint else "LeafIndex": record.index,
            "Org": record.org,
            **{column: told[name] for name, column in COLUMNS.items() if isinstance(told.get(name), str)},
            "Event": orjson.Fragment(body) if isinstance(event, dict) else event,
        }
        if body is not record.body:
            row |= {"CutFromBytes": len(record.body), "CutSha256": sha256(record.body).hexdigest()}
        return orjson.dumps(row)

    def _packed(self, rows: Sequence[bytes]) -> Packed:
        return packed(b"[%b]" % b",".join(rows), compress=self._settings.compress)

    def _post(self, content: Packed) -> None:
        body, packing = content
        answer = self._posted(body, packing)
        if answer.status == 401:
            # Once: a token can be taken back before it ends, a wrong one will not get better.
            self._token_until = float("-inf")
            answer = self._posted(body, packing)
        if answer.status != 204:
            _refuse(answer)

    def _posted(self, body: bytes, packing: Mapping[str, str]) -> Answer:
        headers = {
            "Authorization": f"Bearer {self._access_token()}",
            "Content-Type": "application/json",
            "x-ms-client-request-id": str(uuid4()),
            **packing,
        }
        return post(self._client, self._settings.stream_url(), body=body, headers=headers)

    def _access_token(self) -> str:
        """By client credentials; kept until shortly before it ends."""
        if self._clock() >= self._token_until:
            asked_at = self._clock()
            told = self._ask_for_token()
            token, seconds = told.get("access_token"), told.get("expires_in")
            if not isinstance(token, str) or not TOKEN.fullmatch(token):
                raise Unreachable("The sign-in service answered without a token.")
            lives = float(seconds) if isinstance(seconds, int | str) and str(seconds).isdecimal() else 0.0
            self._token = token
            self._token_until = asked_at + min(lives, 86_400.0) - TOKEN_SPARE_SECONDS
        return self._token

    def _ask_for_token(self) -> dict[str, Any]:
        login, scope = CLOUDS[self._settings.cloud]
        if not self._secret:
            raise Refused("The application has no secret here.")
        form = {
            "grant_type": "client_credentials",
            "client_id": self._settings.client_id,
            "client_secret": self._secret,
            "scope": scope,
        }
        answer = post(
            self._client,
            f"{login}/{quote(self._settings.tenant)}/oauth2/v2.0/token",
            body=urlencode(form).encode(),
            headers={"Content-Type": "application/x-www-form-urlencoded"},
        )
        try:
            expect_good(answer)
        except Poisoned:
            # A sign-in that is refused says nothing about any record.
            told = f"The sign-in service refuses ({answer.status}): check tenant, client_id and the secret."
            raise Refused(told) from None
        return answer.told()


def _header_in(event: Any) -> dict[str, Any]:
    """What was recorded, in either of our formats in JSON."""
    held = event.get("header", event.get("unmapped")) if isinstance(event, dict) else None
    return held if isinstance(held, dict) else {}


def _refuse(answer: Answer) -> NoReturn:
    code = _error_code(answer)
    if answer.status == 403:
        raise Refused(
            "Azure refuses (403): the application needs the role Monitoring Metrics Publisher on the data collection "
            "rule; a new assignment takes up to 30 minutes."
        )
    if answer.status == 404:
        raise Refused("Azure knows no such data collection rule or stream at this address (404).")
    if answer.status == 400 and OF_THE_RULE.search(code):
        raise Refused(f"Azure refuses (400): {code}.")
    expect_good(answer, why=code)
    raise Unreachable(f"It answered {answer.status}, where Azure Monitor answers 204.")


def _error_code(answer: Answer) -> str:
    """Letters only: an answer may hold anything, also what we sent."""
    error = answer.told().get("error")
    code = error.get("code") if isinstance(error, dict) else ""
    return code if isinstance(code, str) and ERROR_CODE.fullmatch(code) else ""
