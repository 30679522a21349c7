"""An OpenID provider that checks its client strictly and says whatever a test wants it to, true or forged."""

import base64
import hashlib
import hmac
import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from ipaddress import ip_network
from threading import Thread
from typing import Any
from urllib.parse import parse_qs, parse_qsl, urlsplit

import pytest
from django.http import HttpResponse
from django.test import Client
from joserfc import jwt
from joserfc.jwk import ECKey, RSAKey

from gateway.console.single_sign_on import provider

CLIENT = "gatehouse of the tests"
SECRET = "what the provider: and/we share"
CALLBACK = "http://127.0.0.1:8000/account/single-sign-on/callback/"


class ForgingIssuer:
    """`claims` and `userinfo` are what it says of whoever comes; None leaves a claim out. `algorithm`,
    `signs_with` and `headers` are how it signs."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.keys = {
            "RS256": RSAKey.generate_key(2048, {"kid": "rsa"}),
            "ES256": ECKey.generate_key("P-256", {"kid": "ec"}),
        }
        self.foreign_key = RSAKey.generate_key(2048, {"kid": "rsa"})
        self.asked: list[str] = []
        self.reset()

    def reset(self) -> None:
        self.algorithm = "RS256"
        self.signs_with: Any = None
        self.headers: dict[str, Any] = {}
        self.shared_secret = SECRET.encode()
        self.published = ["RS256", "ES256"]
        self.claims: dict[str, Any] = {}
        self.userinfo: dict[str, Any] = {"sub": "a-1", "email": "ana@example.com", "email_verified": True}
        self.userinfo_status = 200
        self.discovery: dict[str, Any] = {}
        self.parameters: dict[str, str] = {}
        self.token: str | None = None
        self.asked.clear()

    def document(self) -> dict[str, Any]:
        return {
            "issuer": self.url,
            "authorization_endpoint": f"{self.url}/authorize",
            "token_endpoint": f"{self.url}/token",
            "userinfo_endpoint": f"{self.url}/userinfo",
            "jwks_uri": f"{self.url}/keys",
            "end_session_endpoint": f"{self.url}/end",
        } | self.discovery

    def authorize(self, location: str) -> str:
        """What a browser would be sent back with; remembers what the token must answer to."""
        assert location.startswith(f"{self.url}/authorize?"), location
        self.parameters = dict(parse_qsl(urlsplit(location).query))
        assert self.parameters["response_type"] == "code"
        assert self.parameters["client_id"] == CLIENT
        assert self.parameters["redirect_uri"] == CALLBACK
        assert self.parameters["code_challenge_method"] == "S256"
        assert len(self.parameters["nonce"]) >= 32
        return self.parameters["state"]

    def id_token(self) -> str:
        now = int(time.time())
        said = {
            "iss": self.url,
            "aud": CLIENT,
            "sub": "a-1",
            "iat": now,
            "exp": now + 300,
            "auth_time": now,
            "nonce": self.parameters.get("nonce"),
            "at_hash": half_hash("access"),
        } | self.claims
        said = {name: value for name, value in said.items() if value is not None}
        if self.algorithm == "none":
            head, body = (unpadded(json.dumps(part).encode()) for part in ({"alg": "none"}, said))
            return f"{head}.{body}."
        if self.algorithm == "HS256":
            return signed_by_a_shared_secret(said, self.shared_secret)
        key = self.signs_with or self.keys[self.algorithm]
        header = {"alg": self.algorithm, "kid": key.kid or "rsa"} | self.headers
        header = {name: value for name, value in header.items() if value is not None}
        return jwt.encode(header, said, key, algorithms=[self.algorithm])

    def redeem(self, form: dict[str, list[str]], authorization: str) -> tuple[int, dict[str, Any]]:
        pair = base64.b64encode(b"gatehouse+of+the+tests:what+the+provider%3A+and%2Fwe+share").decode()
        verifier = form.get("code_verifier", [""])[0]
        challenge = unpadded(hashlib.sha256(verifier.encode()).digest())
        is_right = (
            authorization == f"Basic {pair}"
            and form.get("code") == ["the-code"]
            and form.get("redirect_uri") == [CALLBACK]
            and "client_secret" not in form
            and challenge == self.parameters.get("code_challenge")
        )
        if not is_right:
            return 400, {"error": "invalid_grant"}
        return 200, {"access_token": "access", "token_type": "Bearer", "id_token": self.token or self.id_token()}


def signed_by_a_shared_secret(said: dict[str, Any], secret: bytes) -> str:
    """By hand: the library refuses to use a public key for it, somebody else's would not."""
    head, body = (unpadded(json.dumps(part).encode()) for part in ({"alg": "HS256", "kid": "rsa"}, said))
    return f"{head}.{body}.{unpadded(hmac.digest(secret, f'{head}.{body}'.encode(), 'sha256'))}"


def half_hash(token: str) -> str:
    return unpadded(hashlib.sha256(token.encode()).digest()[:16])


def unpadded(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).decode().rstrip("=")


def handler(issuer: ForgingIssuer) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            issuer.asked.append(self.path)
            if self.path == "/.well-known/openid-configuration":
                self.answer(200, issuer.document())
            elif self.path == "/keys":
                self.answer(200, {"keys": [issuer.keys[name].as_dict(private=False) for name in issuer.published]})
            elif self.path == "/userinfo" and self.headers["Authorization"] == "Bearer access":
                said = {name: value for name, value in issuer.userinfo.items() if value is not None}
                self.answer(issuer.userinfo_status, said)
            else:
                self.answer(404, {})

        def do_POST(self) -> None:
            issuer.asked.append(self.path)
            form = parse_qs(self.rfile.read(int(self.headers["Content-Length"])).decode())
            self.answer(*issuer.redeem(form, self.headers.get("Authorization", "")))

        def answer(self, status: int, body: dict[str, Any]) -> None:
            raw = json.dumps(body).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(raw)))
            self.end_headers()
            self.wfile.write(raw)

        def log_message(self, *_: Any) -> None:
            pass

    return Handler


@contextmanager
def forging_issuer() -> Iterator[ForgingIssuer]:
    with ThreadingHTTPServer(("127.0.0.1", 0), BaseHTTPRequestHandler) as server:
        issuer = ForgingIssuer(f"http://127.0.0.1:{server.server_address[1]}")
        server.RequestHandlerClass = handler(issuer)
        thread = Thread(target=server.serve_forever, args=(0.05,), daemon=True)
        thread.start()
        try:
            yield issuer
        finally:
            server.shutdown()
            thread.join()


def come(
    client: Client, issuer: ForgingIssuer, *, by: str = "/account/single-sign-on/start/", **back: str
) -> HttpResponse:
    """To the provider and back."""
    away = client.get(by)
    assert away.status_code == 302, away.content.decode()
    state = issuer.authorize(away["Location"])
    return client.get("/account/single-sign-on/callback/", {"code": "the-code", "state": state} | back)  # type: ignore[return-value]


@pytest.fixture(scope="module")
def running() -> Iterator[ForgingIssuer]:
    with forging_issuer() as issuer:
        yield issuer


@pytest.fixture
def issuer(running: ForgingIssuer, settings: Any) -> Iterator[ForgingIssuer]:
    settings.OIDC_ISSUER, settings.OIDC_CLIENT_ID, settings.OIDC_CLIENT_SECRET = running.url, CLIENT, SECRET
    settings.UPSTREAM_ALLOWED_NETWORKS = (ip_network("127.0.0.0/8"),)
    running.reset()
    provider.forget()
    yield running
    provider.forget()
