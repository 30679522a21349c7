"""A real timestamp authority: `openssl ts` behind a small HTTP server on loopback."""

import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

# Without `certs`: strict readers refuse what it adds.
CONFIG = """\
[req]
distinguished_name = name
prompt = no
[name]
CN = {name}
[ca]
basicConstraints = critical,CA:true
subjectKeyIdentifier = hash
[tsa]
basicConstraints = critical,CA:false
extendedKeyUsage = critical,timeStamping
[ts]
default_tsa = tsa_config
[tsa_config]
serial = {folder}/serial
signer_cert = {folder}/tsa.pem
signer_key = {folder}/tsa.key
signer_digest = sha256
default_policy = 1.2.3.4.1
digests = sha256
crypto_device = builtin
"""


@dataclass(slots=True)
class TimestampAuthority:
    """`broken`: it answers with an error instead."""

    url: str
    root: str
    broken: bool = False


@contextmanager
def timestamp_authority() -> Iterator[TimestampAuthority]:
    with tempfile.TemporaryDirectory(prefix="gatehouse-tsa-") as place:
        folder = Path(place)
        _make_keys(folder)
        authority = TimestampAuthority("", (folder / "ca.pem").read_text())

        class Answer(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                asked = self.rfile.read(int(self.headers["Content-Length"]))
                body = b"" if authority.broken else _reply(folder, asked)
                self.send_response(503 if authority.broken else 200)
                self.send_header("Content-Type", "application/timestamp-reply")
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: object) -> None:
                return

        server = ThreadingHTTPServer(("127.0.0.1", 0), Answer)
        authority.url = f"http://127.0.0.1:{server.server_port}/"
        Thread(target=server.serve_forever, daemon=True).start()
        try:
            yield authority
        finally:
            server.shutdown()
            server.server_close()


def _make_keys(folder: Path) -> None:
    for name in ("ca", "tsa"):
        (folder / f"{name}.cnf").write_text(CONFIG.format(name=f"test {name}", folder=folder))
    (folder / "serial").write_text("01\n")
    curve = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes")
    _openssl(
        folder,
        "req",
        "-x509",
        *curve,
        "-keyout",
        "ca.key",
        "-out",
        "ca.pem",
        "-days",
        "3650",
        "-config",
        "ca.cnf",
        "-extensions",
        "ca",
    )
    _openssl(folder, "req", *curve, "-keyout", "tsa.key", "-out", "tsa.csr", "-config", "tsa.cnf")
    signing = ("-CA", "ca.pem", "-CAkey", "ca.key", "-CAcreateserial", "-extfile", "tsa.cnf", "-extensions", "tsa")
    _openssl(folder, "x509", "-req", "-in", "tsa.csr", *signing, "-out", "tsa.pem", "-days", "3650")


def _reply(folder: Path, asked: bytes) -> bytes:
    (folder / "query").write_bytes(asked)
    _openssl(
        folder, "ts", "-reply", "-config", "tsa.cnf", "-section", "tsa_config", "-queryfile", "query", "-out", "reply"
    )
    return (folder / "reply").read_bytes()


def _openssl(folder: Path, *words: str) -> None:
    subprocess.run(["openssl", *words], cwd=folder, check=True, capture_output=True, timeout=60)
