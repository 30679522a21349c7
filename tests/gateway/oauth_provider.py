"""A strict authorization server and the system it protects, on loopback: what RFC 6749, 7009, 7591, 7636, 8414, 8707,
9207 and 9728 say a server must check, it checks; refresh tokens rotate, and one that comes twice ends its family."""

import base64
import json
import secrets
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from hashlib import sha256
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qsl, unquote, urlsplit

SERVER = {"name": "files", "version": "1"}


@dataclass
class Family:
    """All that rests on one authorization."""

    client_id: str
    resource: str
    scope: str
    access: set[str] = field(default_factory=set)
    refresh: str = ""
    spent: set[str] = field(default_factory=set)
    is_over: bool = False


class Provider:
    """`faults` are names of what it does wrong; `barrier`, if set, is waited for by each renewal."""

    def __init__(self) -> None:
        self.origin = ""
        self.faults: set[str] = set()
        self.metadata: dict[str, Any] = {}
        self.resource_metadata: dict[str, Any] = {}
        self.clients: dict[str, dict[str, Any]] = {}
        self.codes: dict[str, dict[str, str]] = {}
        self.families: list[Family] = []
        self.asked: list[str] = []
        self.revoked: list[str] = []
        self.expires_in: Any = 3600
        self.renewing = threading.Event()
        self.go_on = threading.Event()
        self.go_on.set()
        self.lock = threading.Lock()

    @property
    def issuer(self) -> str:
        return f"{self.origin}/tenant"

    @property
    def resource(self) -> str:
        return f"{self.origin}/mcp"

    # -- what people do

    def agree(self, address: str) -> dict[str, str]:
        """She signs in at the provider and agrees; what her browser brings back."""
        asked = dict(parse_qsl(urlsplit(address).query))
        client = self.clients[asked["client_id"]]
        assert asked["redirect_uri"] in client["redirect_uris"]
        assert (asked["response_type"], asked["code_challenge_method"]) == ("code", "S256")
        assert asked["resource"] == self.resource
        code = secrets.token_urlsafe(16)
        with self.lock:
            self.codes[code] = asked
        return {"state": asked["state"], "code": code, "iss": self.issuer}

    def withdraw(self) -> None:
        """She removes us in her settings there."""
        for family in self.families:
            family.is_over = True

    def knows(self, access: str) -> bool:
        return any(access in family.access and not family.is_over for family in self.families)

    def served(self, message: dict[str, Any]) -> tuple[int, dict[str, Any]]:
        """As a small MCP server of 2025-06-18."""
        results: dict[str, dict[str, Any]] = {
            "initialize": {"protocolVersion": "2025-06-18", "capabilities": {"tools": {}}, "serverInfo": SERVER},
            "tools/list": {"tools": [{"name": "read", "inputSchema": {"type": "object"}}]},
            "tools/call": {"content": [{"type": "text", "text": "done"}]},
        }
        if "id" not in message:
            return 202, {}
        if (result := results.get(message["method"])) is None:
            error = {"code": -32601, "message": "no such method"}
            return 200, {"jsonrpc": "2.0", "id": message["id"], "error": error}
        return 200, {"jsonrpc": "2.0", "id": message["id"], "result": result}

    # -- what clients do

    def documents(self, path: str) -> dict[str, Any] | None:
        if path == "/.well-known/oauth-protected-resource/mcp":
            named = {"resource": self.resource, "authorization_servers": [self.issuer], "scopes_supported": ["files"]}
            return named | self.resource_metadata
        if path == "/.well-known/oauth-authorization-server/tenant":
            return {
                "issuer": self.issuer,
                "authorization_endpoint": f"{self.issuer}/authorize",
                "token_endpoint": f"{self.issuer}/token",
                "revocation_endpoint": f"{self.issuer}/revoke",
                "registration_endpoint": f"{self.issuer}/register",
                "code_challenge_methods_supported": ["S256"],
                "authorization_response_iss_parameter_supported": True,
                **self.metadata,
            }
        return None

    def register(self, document: dict[str, Any]) -> tuple[int, dict[str, Any]]:
        client_id = f"client-{len(self.clients)}"
        self.clients[client_id] = document | {"secret": ""}
        return 201, {"client_id": client_id, **document}

    def token(self, said: dict[str, str], client_id: str) -> tuple[int, dict[str, Any]]:
        self.asked.append(said["grant_type"])
        if "unreachable" in self.faults:
            return 503, {}
        if said.get("resource") != self.resource:
            return 400, {"error": "invalid_target"}
        if said["grant_type"] == "authorization_code":
            return self._redeemed(said, client_id)
        if said["grant_type"] == "refresh_token":
            return self._renewed(said, client_id)
        family = Family(client_id, said["resource"], said.get("scope", ""))
        self.families.append(family)
        return 200, self._given(family, rotates=False)

    def _redeemed(self, said: dict[str, str], client_id: str) -> tuple[int, dict[str, Any]]:
        with self.lock:
            asked = self.codes.pop(said["code"], None)
        challenge = base64.urlsafe_b64encode(sha256(said["code_verifier"].encode()).digest()).decode().rstrip("=")
        if asked is None or asked["client_id"] != client_id or asked["code_challenge"] != challenge:
            return 400, {"error": "invalid_grant"}
        if asked["redirect_uri"] != said["redirect_uri"]:
            return 400, {"error": "invalid_grant"}
        family = Family(client_id, said["resource"], asked.get("scope", ""))
        self.families.append(family)
        return 200, self._given(family)

    def _renewed(self, said: dict[str, str], client_id: str) -> tuple[int, dict[str, Any]]:
        self.renewing.set()
        assert self.go_on.wait(20)
        with self.lock:
            shown = said["refresh_token"]
            family = next((each for each in self.families if shown in {each.refresh, *each.spent}), None)
            if family is not None and shown in family.spent:
                family.is_over = True
            if family is None or family.is_over or family.client_id != client_id:
                return 400, {"error": "invalid_grant", "error_description": "<script>hostile</script>"}
            return 200, self._given(family)

    def _given(self, family: Family, *, rotates: bool = True) -> dict[str, Any]:
        access = f"at-{secrets.token_urlsafe(24)}"
        family.access.add(access)
        given: dict[str, Any] = {"access_token": access, "token_type": "Bearer", "expires_in": self.expires_in}
        if rotates and "no refresh" not in self.faults:
            family.spent.add(family.refresh)
            family.refresh = given["refresh_token"] = f"rt-{secrets.token_urlsafe(24)}"
        return given | ({"scope": family.scope} if family.scope else {})

    def revoke(self, said: dict[str, str]) -> tuple[int, dict[str, Any]]:
        if "unreachable" in self.faults:
            return 503, {}
        if "keeps access" in self.faults and said["token_type_hint"] == "access_token":
            return 400, {"error": "unsupported_token_type"}
        self.revoked.append(said["token_type_hint"])
        if "lies" in self.faults:
            return 200, {}
        for family in self.families:
            if said["token"] in {family.refresh, *family.access}:
                family.is_over = True
        return 200, {}


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    provider: Provider

    def do_GET(self) -> None:
        found = self.provider.documents(urlsplit(self.path).path)
        if "redirects" in self.provider.faults:
            self.answer(302, {}, {"Location": "http://169.254.169.254/latest/meta-data"})
        else:
            self.answer(200 if found else 404, found or {})

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        path = urlsplit(self.path).path
        if path == "/mcp":
            self._resource(body)
        elif path == "/tenant/register":
            self.answer(*self.provider.register(json.loads(body)))
        else:
            self._as_client(path, dict(parse_qsl(body.decode(), keep_blank_values=True)))

    def _as_client(self, path: str, said: dict[str, str]) -> None:
        client_id, secret, authenticated = said.get("client_id", ""), said.get("client_secret", ""), set[str]()
        if (shown := self.headers.get("Authorization", "")).startswith("Basic "):
            client_id, secret = map(unquote, base64.b64decode(shown[6:]).decode().split(":", 1))
            authenticated = {"client_secret"}
        client = self.provider.clients.get(client_id)
        if "wants all said" in self.provider.faults and not {"client_id", "client_secret"} <= {*said, *authenticated}:
            self.answer(400, {"error": "invalid_request"})
        elif client is None or client["secret"] != secret:
            self.answer(401, {"error": "invalid_client"})
        elif path == "/tenant/token":
            self.answer(*self.provider.token(said, client_id))
        else:
            self.answer(*self.provider.revoke(said))

    def _resource(self, body: bytes) -> None:
        token = self.headers.get("Authorization", "").removeprefix("Bearer ")
        if self.provider.knows(token):
            self.answer(*self.provider.served(json.loads(body)))
        else:
            place = f"{self.provider.origin}/.well-known/oauth-protected-resource/mcp"
            challenge = f'Bearer error="invalid_token", resource_metadata="{place}"'
            self.answer(401, {}, {"WWW-Authenticate": challenge})

    def answer(self, status: int, document: dict[str, Any], headers: dict[str, str] | None = None) -> None:
        body = json.dumps(document).encode()
        self.send_response(status)
        for name, value in {"Content-Type": "application/json", **(headers or {})}.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: Any) -> None:
        return


@contextmanager
def running() -> Iterator[Provider]:
    provider = Provider()
    server = ThreadingHTTPServer(("127.0.0.1", 0), type("Bound", (Handler,), {"provider": provider}))
    server.daemon_threads = True
    provider.origin = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    try:
        yield provider
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
