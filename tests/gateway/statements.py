"""Signed statements for tests: an issuer with keys of its own, as a real server on this machine where one is needed."""

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any
from uuid import uuid4

from joserfc import jws
from joserfc.jwk import ECKey, Key

from governance.models import TrustedIssuer

OURS = "https://gatehouse.example.com"
HERE = "127.0.0.0/8"


def new_key(key_id: str = "one") -> ECKey:
    return ECKey.generate_key("P-256", {"kid": key_id, "use": "sig", "alg": "ES256"})


def as_set(*keys: Key) -> dict[str, Any]:
    return {"keys": [key.as_dict(private=False) for key in keys]}


def signed(claims: Any, key: Key, **header: Any) -> str:
    """`claims` may be bytes, so that anything can be signed; a header of None is left out."""
    whole = {"alg": "ES256", "typ": "JWT", "kid": key.kid, **header}
    payload = claims if isinstance(claims, bytes) else json.dumps(claims).encode()
    shown = {name: value for name, value in whole.items() if value is not None}
    registry = jws.JWSRegistry(algorithms=[shown["alg"]], strict_check_header=False)
    return jws.serialize_compact(shown, payload, key, registry=registry)


def claims_of(issuer: str, *, now: datetime | None = None, seconds: int = 300, **said: Any) -> dict[str, Any]:
    at = int((now or datetime.now(UTC)).timestamp())
    usual = {"iss": issuer, "sub": "somebody", "aud": OURS, "iat": at, "exp": at + seconds, "jti": uuid4().hex}
    return {name: value for name, value in {**usual, **said}.items() if value is not None}


@dataclass
class FakeIssuer:
    """Publishes what `answers` say, counts what it is asked."""

    url: str = ""
    keys: list[Key] = field(default_factory=lambda: [new_key()])
    answers: dict[str, tuple[int, bytes]] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)
    polled: Callable[[bytes, str], dict[str, Any]] = lambda body, token: {"sets": {}}
    """What it answers when its events are fetched."""

    @property
    def key(self) -> Key:
        return self.keys[0]

    def publishes(self, path: str, document: Any, *, status: int = 200) -> None:
        body = document if isinstance(document, bytes) else json.dumps(document).encode()
        self.answers[path] = (status, body)

    def publishes_keys(self, *keys: Key) -> None:
        self.keys = list(keys or self.keys)
        self.publishes("/keys", as_set(*self.keys))
        self.publishes("/.well-known/openid-configuration", {"issuer": self.url, "jwks_uri": f"{self.url}/keys"})

    def says(self, *, kind: str = "JWT", seconds: int = 300, **said: Any) -> str:
        return signed(claims_of(self.url, seconds=seconds, **said), self.key, typ=kind)

    def trusted(self, **fields: Any) -> TrustedIssuer:
        usual = {"name": "idp", "kind": "directory", "issuer": self.url}
        return TrustedIssuer.objects.create(**{**usual, **fields})


@contextmanager
def serving() -> Iterator[FakeIssuer]:
    """On a free port of this machine, until the end."""
    issuer = FakeIssuer()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            issuer.asked.append(self.path)
            status, body = issuer.answers.get(self.path, (404, b"{}"))
            self.send_response(status)
            if status in (301, 302, 307):
                self.send_header("Location", body.decode())
                body = b""
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            answer = json.dumps(issuer.polled(body, self.headers["Authorization"])).encode()
            self.send_response(200)
            self.send_header("Content-Length", str(len(answer)))
            self.end_headers()
            self.wfile.write(answer)

        def log_message(self, *_: Any) -> None:
            """Quiet."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    issuer.url = f"http://127.0.0.1:{server.server_address[1]}"
    issuer.publishes_keys()
    thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield issuer
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
