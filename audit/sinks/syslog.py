"""Syslog: RFC 5424 messages over TLS (RFC 5425), framed by octet counting.

Syslog has no acknowledgement, so `send` takes what a stream can prove: it opens a connection for the batch, and waits
until the receiver has closed it cleanly after our own close (`confirmed.py`). "Acknowledged" here means exactly: the
process at the other end of the connection has read every byte. It does not mean that a line is on a disk; where a
balancer or a relay ends the TLS session, it is that one's process. Whatever else happens, the batch is sent again:
`event_id` tells what came twice, `idx` what is missing.
"""

import re
import socket
import ssl
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC
from hashlib import sha256
from typing import Any, Final

from audit.sinks import settings as entered
from audit.sinks.base import Record, Refused, Sink, Unreachable, WayOut
from audit.sinks.confirmed import NotProven, deliver
from audit.sinks.cutting import cut

FRAME_BYTES: Final = 8_000
"""rsyslog cuts at 8,096 bytes unless told otherwise, and takes the rest for a message of its own."""
CONNECT_SECONDS: Final = 5.0
INFORMATIONAL: Final = 6
LOG_AUDIT: Final = 13
EXAMPLE_ENTERPRISE: Final = 32473
"""The number that RFC 5612 keeps for documentation."""

HOST: Final = r"[A-Za-z0-9.-]{1,253}|[0-9A-Fa-f:.]{2,45}"
PRINTABLE: Final = r"[\x21-\x7e]{1,255}"
_ESCAPED = re.compile(r'(["\\\]])')


@dataclass(frozen=True, slots=True)
class Settings:
    """`ca` holds certificates in PEM to trust instead of the system's; `enterprise` names our structured data."""

    host: str
    port: int
    ca: str
    hostname: str
    facility: int
    enterprise: int
    require_close_notify: bool

    @staticmethod
    def of(settings: Mapping[str, Any]) -> "Settings":
        entered.only(settings, *Settings.__slots__)
        read = Settings(
            host=entered.like(settings, "host", HOST, "a host's name or address"),
            port=entered.whole(settings, "port", default=6514, least=1, most=65535),
            ca=entered.text(settings, "ca", default=""),
            hostname=entered.like(settings, "hostname", PRINTABLE, "ASCII without spaces", default="gatehouse"),
            facility=entered.whole(settings, "facility", default=LOG_AUDIT, least=0, most=23),
            enterprise=entered.whole(settings, "enterprise", default=EXAMPLE_ENTERPRISE, least=1, most=2**31),
            require_close_notify=entered.flag(settings, "require_close_notify", default=False),
        )
        if read.ca:
            _trusting(read.ca)
        return read


def check(settings: Mapping[str, Any]) -> None:
    Settings.of(settings)


def build(settings: Mapping[str, Any], secret: str | None, way: WayOut) -> Sink:
    return Syslog(Settings.of(settings), secret or "", way.addresses)


class Syslog:
    """One receiver; a connection for each batch. The secret, if any, is a client certificate and its key in PEM."""

    max_records = 2_000
    max_bytes = 4_000_000

    def __init__(self, settings: Settings, secret: str, addresses: Callable[[str, int], Sequence[str]]) -> None:
        self._settings = settings
        self._secret = secret
        self._addresses = addresses
        self._tls: ssl.SSLContext | None = None

    def send(self, records: Sequence[Record]) -> None:
        frames = b"".join(framed(record, self._settings) for record in records)
        tls = self._tls = self._tls or self._context()
        with self._connected() as plain:
            try:
                deliver(frames, plain, tls, host=self._settings.host, signed_end=self._settings.require_close_notify)
            except ssl.SSLCertVerificationError as error:
                raise Refused(f"Its certificate is not accepted: {error.verify_message}.") from None
            except NotProven as failure:
                raise Unreachable(str(failure)) from None
            except TimeoutError:
                raise Unreachable("It did not take the batch, or did not close after it, in time.") from None
            except OSError as error:
                told = getattr(error, "reason", None) or type(error).__name__
                raise Unreachable(f"The connection broke ({told}).") from None

    def close(self) -> None:
        """Nothing stays open between batches."""

    def _context(self) -> ssl.SSLContext:
        context = _trusting(self._settings.ca) if self._settings.ca else ssl.create_default_context()
        if self._secret:
            _present(self._secret, context)
        return context

    def _connected(self) -> socket.socket:
        """To one of the addresses that may be reached, which are asked for anew each time."""
        for address in self._addresses(self._settings.host, self._settings.port):
            try:
                return socket.create_connection((address, self._settings.port), timeout=CONNECT_SECONDS)
            except OSError:
                continue
        raise Unreachable("It could not be connected to.")


def framed(record: Record, settings: Settings) -> bytes:
    """One message of at most FRAME_BYTES, its length before it. What had to be left out, the structured data says."""
    message = _message(record, settings, record.body, ())
    if len(message) > FRAME_BYTES:
        about = (("cut_from", str(len(record.body))), ("cut_sha256", sha256(record.body).hexdigest()))
        spare = FRAME_BYTES - len(_message(record, settings, b"", about))
        message = _message(record, settings, cut(record.body, most_bytes=spare), about)
    return b"%d %b" % (len(message), message)


def _message(record: Record, settings: Settings, body: bytes, about: Sequence[tuple[str, str]]) -> bytes:
    priority = settings.facility * 8 + INFORMATIONAL
    at = record.at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
    kind = "CHECKPOINT" if record.is_checkpoint else "EVENT"
    # A checkpoint is no leaf: its number is the size of the log, and a gap search must not count it.
    number = "size" if record.is_checkpoint else "idx"
    told = (("org", record.org), ("event_id", str(record.event_id)), (number, str(record.index)), *about)
    structured = " ".join(f'{name}="{escaped(value)}"' for name, value in told)
    head = f"<{priority}>1 {at} {settings.hostname} gatehouse - {kind} [gatehouse@{settings.enterprise} {structured}] "
    return head.encode() + body


def escaped(value: str) -> str:
    """As RFC 5424 section 6.3.3 wants it in a parameter's value."""
    return _ESCAPED.sub(r"\\\1", value)


def _trusting(ca: str) -> ssl.SSLContext:
    try:
        return ssl.create_default_context(cadata=ca)
    except (ssl.SSLError, ValueError):
        raise ValueError("ca: must be certificates in PEM") from None


def _present(secret: str, context: ssl.SSLContext) -> None:
    """The ssl module reads keys from files only; this one has no name and is gone when it is closed."""
    with tempfile.TemporaryFile() as file:
        file.write(secret.encode())
        file.flush()
        try:
            context.load_cert_chain(f"/dev/fd/{file.fileno()}", password=lambda: b"")
        except (ssl.SSLError, OSError):
            raise Refused("The secret must be a certificate and its unencrypted private key, both in PEM.") from None
