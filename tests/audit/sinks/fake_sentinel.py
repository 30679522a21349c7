"""A fake of Azure's sign-in and of the Logs Ingestion API that refuses what the real ones refuse."""

import json
import re
from collections import deque
from urllib.parse import parse_qs
from uuid import UUID

import httpx

from tests.audit.sinks.records import Endless, answer, content_of

TENANT = "11111111-2222-3333-4444-555555555555"
CLIENT_ID = "aaaaaaaa-bbbb-cccc-dddd-eeeeeeeeeeee"
SECRET = "abc8Q~not.a.real-secret"
DCR = "dcr-0123456789abcdef0123456789abcdef"
STREAM = "Custom-Gatehouse_CL"
MEGABYTE = 1 << 20

# The stream's declaration in docs/export.md; tests compare the two.
COLUMNS = {
    "TimeGenerated": str, "EventId": str, "LeafIndex": int, "LogSize": int, "Org": str, "Kind": str, "Actor": str,
    "Agent": str, "Person": str, "Connector": str, "Tool": str, "Decision": str, "Outcome": str, "Event": object,
    "CutFromBytes": int, "CutSha256": str,
}  # fmt: skip
RESERVED = {"_ResourceId", "id", "_SubscriptionId", "TenantId", "Type", "UniqueId", "Title"}


class FakeSentinel:
    """`faults` are what befalls the next calls of the ingestion API, `sign_in_faults` of the sign-in."""

    def __init__(self, *, role: bool = True, token_seconds: int = 3599) -> None:
        self.role = role
        self.token_seconds = token_seconds
        self.rows: list[dict] = []
        self.signed_in = 0
        self.calls: list[httpx.Request] = []
        self.faults: deque[int | str] = deque()
        self.sign_in_faults: deque[int | str] = deque()
        self.live: set[str] = set()

    def __call__(self, request: httpx.Request) -> httpx.Response:
        assert request.method == "POST"
        if request.url.host == "login.microsoftonline.com":
            return self._sign_in(request)
        assert request.url.host == "gatehouse-abcd.westeurope-1.ingest.monitor.azure.com"
        self.calls.append(request)
        return self._ingest(request)

    def _sign_in(self, request: httpx.Request) -> httpx.Response:
        if self.sign_in_faults:
            return _fault(self.sign_in_faults.popleft(), request)
        if request.url.path != f"/{TENANT}/oauth2/v2.0/token":
            return answer(400, {"error": "invalid_request", "error_description": "AADSTS90002"})
        form = {name: values[0] for name, values in parse_qs(request.read().decode(), strict_parsing=True).items()}
        if form.get("grant_type") != "client_credentials" or form.get("client_id") != CLIENT_ID:
            return answer(400, {"error": "unauthorized_client", "error_description": "AADSTS700016"})
        if form.get("scope") != "https://monitor.azure.com//.default":
            return answer(400, {"error": "invalid_scope", "error_description": "AADSTS70011"})
        if form.get("client_secret") != SECRET:
            # The real one repeats what it was sent, too.
            return answer(401, {"error": "invalid_client", "error_description": f"AADSTS7000215 {form}"})
        self.signed_in += 1
        token = f"eyJ.{self.signed_in}.sig"
        self.live.add(token)
        return answer(200, {"token_type": "Bearer", "expires_in": self.token_seconds, "access_token": token})

    def _ingest(self, request: httpx.Request) -> httpx.Response:
        scheme, _, token = request.headers.get("Authorization", "").partition(" ")
        if scheme != "Bearer" or token not in self.live:
            return answer(401, {"error": {"code": "InvalidToken", "message": "no"}})
        if self.faults:
            return _fault(self.faults.popleft(), request)
        if wrong := self._wrong(request):
            status, code = wrong
            return answer(status, {"error": {"code": code, "message": "no"}})
        UUID(request.headers["x-ms-client-request-id"])
        content = content_of(request)
        if len(content) > MEGABYTE or len(request.read()) > MEGABYTE:
            return answer(413, {"error": {"code": "ContentLengthLimitExceeded", "message": "too big"}})
        return self._take(content)

    def _wrong(self, request: httpx.Request) -> tuple[int, str] | None:
        if not self.role:
            return 403, "OperationFailed"
        if request.url.path != f"/dataCollectionRules/{DCR}/streams/{STREAM}":
            return 404, "NotFound"
        if request.url.params.get("api-version") != "2023-01-01":
            return 400, "InvalidApiVersion"
        return None if request.headers.get("Content-Type") == "application/json" else (415, "UnsupportedMediaType")

    def _take(self, content: bytes) -> httpx.Response:
        rows = json.loads(content)
        # The real one answers 204 to anything that is no array of rows, and keeps nothing of it.
        if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
            return answer(204)
        for row in rows:
            for name, value in row.items():
                assert re.fullmatch(r"[A-Za-z]\w{0,44}", name)
                assert name not in RESERVED
                assert isinstance(value, COLUMNS[name]), name
                assert len(json.dumps(value, ensure_ascii=False).encode()) <= 64 * 1024, "cut silently"
            if "poison" in str(row):
                return answer(400, {"error": {"code": "InvalidPayload", "message": str(row)}})
        self.rows += rows
        return answer(204)


def _fault(fault: int | str, request: httpx.Request) -> httpx.Response:
    match fault:
        case 429:
            return answer(429, {"error": {"code": "TooManyRequests", "message": "x"}}, **{"Retry-After": "31"})
        case int():
            return answer(fault)
        case "reset":
            raise httpx.ReadError("reset", request=request)
        case "slow":
            raise httpx.ReadTimeout("slow", request=request)
        case "endless":
            return httpx.Response(400, stream=Endless())
        case "html":
            return answer(200, b"<h1>Sign in to the hotel's network</h1>")
        case "wrong stream":
            return answer(400, {"error": {"code": "InvalidStream", "message": "x"}})
    raise AssertionError(fault)
