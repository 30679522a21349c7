"""Where the gateway is, and what may not be sent there in clear."""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass
from urllib.parse import urlsplit


class BadSetting(Exception):
    """What was told to the program cannot be; the text is for whoever told it and holds no secret."""


@dataclass(frozen=True)
class Address:
    scheme: str
    host: str
    port: int
    path: str

    @property
    def is_secure(self) -> bool:
        return self.scheme == "https"

    @property
    def origin(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{self.scheme}://{host}:{self.port}"


def address_of(url: str) -> Address:
    """Raises BadSetting."""
    if not re.fullmatch(r"[\x21-\x7e]{1,2000}", url):
        raise BadSetting("The address must be one word of plain ASCII, as in https://gatehouse.example.com/mcp")
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        raise BadSetting("The address is not a URL.") from None
    if parts.scheme not in ("https", "http") or not parts.hostname:
        raise BadSetting("The address must begin with https:// and name a host.")
    if parts.username is not None or parts.query or parts.fragment:
        raise BadSetting("The address must not hold a key, a question or a fragment; the key belongs into a file.")
    if parts.scheme == "http" and not is_loopback(parts.hostname):
        raise BadSetting("Your key would travel readable for others: use https:// for a gateway on another machine.")
    return Address(parts.scheme, parts.hostname, port or (443 if parts.scheme == "https" else 80), parts.path or "/")


def is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
