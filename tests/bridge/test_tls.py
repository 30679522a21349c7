"""On the way to a gateway elsewhere: whom the bridge believes, and through which proxy it goes."""

import base64
import socket
import ssl
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from gatehouse_bridge.address import address_of
from gatehouse_bridge.gateway import Gateway
from gatehouse_bridge.http import NotSent
from gatehouse_bridge.jobs import Job
from gatehouse_bridge.keys import Key
from tests.bridge.desk import KEY, SOON_SECONDS, ScriptedGateway, scripted_gateway

PING = b'{"jsonrpc":"2.0","id":1,"method":"ping"}'


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Of localhost, signed by itself; key and certificate in one file."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "localhost")])
    now = datetime.now(UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .sign(key, hashes.SHA256())
    )
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    path = tmp_path_factory.mktemp("tls") / "localhost.pem"
    path.write_bytes(private + made.public_bytes(serialization.Encoding.PEM))
    return path


@pytest.fixture(autouse=True)
def _no_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gatehouse_bridge.gateway.WAITS", ())
    for name in ("HTTPS_PROXY", "https_proxy", "NO_PROXY", "no_proxy"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def secured(certificate: Path) -> Iterator[ScriptedGateway]:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    with scripted_gateway() as gateway:
        gateway.socket = context.wrap_socket(gateway.socket, server_side=True)
        gateway.handle_error = lambda *_: None  # type: ignore[method-assign]  (a handshake that is refused is no failure)
        gateway.scripts["ping"] = [lambda visit: visit.answer({})]
        yield gateway


def ping(gateway: ScriptedGateway, host: str = "localhost") -> int:
    asked = Gateway(address_of(f"https://{host}:{gateway.server_address[1]}/mcp"), Key(KEY))
    with closing(asked):
        exchange = asked.post(Job(), {}, PING)
        exchange.read()
        return exchange.status


def test_a_certificate_that_nobody_vouches_for_is_refused(secured: ScriptedGateway) -> None:
    with pytest.raises(NotSent, match="certificate is not trusted"):
        ping(secured)
    assert secured.seen == []


def test_one_of_the_house_is_taken_when_it_is_named(
    secured: ScriptedGateway, certificate: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
    assert ping(secured) == 200
    with pytest.raises(NotSent, match="certificate is not trusted"):
        ping(secured, host="127.0.0.1")


@contextmanager
def proxy() -> Iterator[tuple[int, list[str]]]:
    """Opens tunnels, and keeps the heads of what it was asked."""
    heads: list[str] = []
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            with suppress(OSError):
                client, _ = listener.accept()
                with client:
                    head = b""
                    while b"\r\n\r\n" not in head:
                        head += client.recv(4096)
                    heads.append(head.decode())
                    host, _, port = head.split()[1].decode().rpartition(":")
                    with socket.create_connection((host, int(port)), SOON_SECONDS) as upstream:
                        client.sendall(b"HTTP/1.1 200 Connection established\r\n\r\n")
                        other = threading.Thread(target=_pipe, args=(upstream, client), daemon=True)
                        other.start()
                        _pipe(client, upstream)
                        other.join(SOON_SECONDS)

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        yield listener.getsockname()[1], heads
    thread.join(SOON_SECONDS)


def _pipe(source: socket.socket, target: socket.socket) -> None:
    with suppress(OSError):
        while read := source.recv(65536):
            target.sendall(read)
        target.shutdown(socket.SHUT_WR)


def test_the_proxy_of_the_environment_sees_whither_and_nothing_else(
    secured: ScriptedGateway, certificate: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
    with proxy() as (port, heads):
        monkeypatch.setenv("HTTPS_PROXY", f"http://ana:p%40ss@127.0.0.1:{port}")
        assert ping(secured) == 200
    (head,) = heads
    assert head.startswith(f"CONNECT localhost:{secured.server_address[1]} ")
    assert f"Basic {base64.b64encode(b'ana:p@ss').decode()}" in head
    assert KEY not in head
