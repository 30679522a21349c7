"""What is looked at when a connector is tried, in the words of who reads it."""

from collections.abc import Mapping
from dataclasses import dataclass
from ipaddress import ip_address
from typing import Any, Final

from django.conf import settings

from connectors.egress import is_public
from gateway.hostile_text import visible

TITLES: Final[Mapping[str, str]] = {
    "address": "Address",
    "connection": "Connection",
    "protocol": "MCP",
    "access": "Access",
    "tools": "Tools",
    "kept": "Kept",
}
TITLES_OF_PROGRAMS: Final[Mapping[str, str]] = {**TITLES, "address": "Program", "connection": "Start"}
LOOPBACK: Final = "127.0.0.0/8"
LOOPBACK_6: Final = "::1/128"


@dataclass(frozen=True, slots=True)
class Check:
    """One line of the list; `state` is waiting, running, good, warn or bad."""

    key: str
    state: str
    text: str = ""
    remedy: str = ""

    def as_json(self) -> dict[str, Any]:
        return {"key": self.key, "state": self.state, "text": visible(self.text), "remedy": visible(self.remedy)}


def titled(done: Mapping[str, Check], *, is_program: bool) -> list[tuple[str, Check]]:
    """The whole list, in order; what was not looked at yet waits."""
    titles = TITLES_OF_PROGRAMS if is_program else TITLES
    return [(title, done.get(key, Check(key, "waiting"))) for key, title in titles.items()]


FAILURES: Final[Mapping[str, tuple[str, str, str]]] = {
    "bad_url": ("address", "This is no web address.", "Write it in full, e.g. https://helpdesk.example.com/mcp."),
    "redirected": (
        "protocol",
        "The system sends us on to another address, which is never followed.",
        "Enter the address it leads to. Often only https:// or a closing slash differs.",
    ),
    "upstream_auth": (
        "access",
        "The system refused us: it wants a secret, or another one.",
        "Go back one step and choose or enter the secret that it expects.",
    ),
    "bad_answer": (
        "protocol",
        "Something answers, but not as an MCP server does.",
        "Check the path: many servers listen under /mcp. The server must speak Streamable HTTP.",
    ),
    "upstream_status": (
        "protocol",
        "Something answers, but with an error.",
        "Check the path: many servers listen under /mcp. With a 5xx status, look into the system's own log.",
    ),
    "program_refused": (
        "address",
        "The installation does not allow this program.",
        "If it is meant, have Gatehouse restarted with the program named in STDIO_ALLOWED_COMMANDS.",
    ),
    "too_large": ("tools", "The list of tools is too large to be taken in.", "Ask who runs the system to split it."),
    "timeout": ("connection", "The system took too long.", "Is it busy or starting? Try again in a moment."),
    "vault": (
        "access",
        "The secret has no usable value.",
        "Give the secret a value on its own page, then come back and test again.",
    ),
}
UNFORESEEN: Final = (
    "protocol",
    "The test failed.",
    "Try again. If it goes on failing, look into the log of Gatehouse.",
)


def failed(error: str, *, host: str, addresses: tuple[str, ...], is_connected: bool, is_speaking: bool) -> Check:
    """The check that failed, from what `gateway.discovery` says went wrong."""
    code, _, message = error.partition(": ")
    if code == "address_refused":
        return Check("address", "bad", _private(host, addresses), way_out(addresses))
    if code == "connect_failed":
        return _unreachable(host, is_found=bool(addresses) or is_connected) if host else _not_running(message)
    key, text, remedy = FAILURES.get(code, UNFORESEEN)
    if code == "timeout" and is_connected:
        key = "tools" if is_speaking else "protocol"
    elif code in ("bad_answer", "upstream_status") and is_speaking:
        key = "tools"
    told = f"{text} ({message})" if code in ("bad_answer", "upstream_status", "vault") else text
    return Check(key, "bad", told, remedy)


def _private(host: str, addresses: tuple[str, ...]) -> str:
    where = f" ({', '.join(addresses[:4])})" if addresses and addresses != (host,) else ""
    return f"{host}{where} is on a private network, where connectors may go only if the installation says so."


def _unreachable(host: str, *, is_found: bool) -> Check:
    if not is_found:
        return Check("address", "bad", f"No address is known for the name {host}.", "Is the name spelled right?")
    remedy = "Is the system running, and does a firewall let Gatehouse through? Is the port right?"
    return Check("connection", "bad", f"Nothing answers at {host}.", remedy)


def _not_running(message: str) -> Check:
    """Of a local server; below the first line stands what it wrote to its standard error."""
    told, _, said = message.partition("\n")
    remedy = f"It wrote last: {visible(said)}" if said else "It wrote nothing. Are its arguments and variables right?"
    return Check("connection", "bad", visible(told), remedy)


def not_trusted(host: str) -> Check:
    return Check(
        "connection",
        "bad",
        f"{host} answers, but its certificate is not one this machine trusts, or it does not speak TLS.",
        "Write http:// if the system has no TLS; else let it have a certificate of an authority known here.",
    )


def way_out(addresses: tuple[str, ...]) -> str:
    """The exact line to start Gatehouse with, what is allowed by now included."""
    present = [str(network) for network in settings.UPSTREAM_ALLOWED_NETWORKS]
    needed = [_network(address) for address in addresses if not is_public(ip_address(address))]
    line = ",".join(dict.fromkeys([*present, *needed]))
    return (
        "If it is meant, have Gatehouse restarted with the environment variable "
        f"UPSTREAM_ALLOWED_NETWORKS={line} and test again; what you entered is kept."
    )


def _network(address: str) -> str:
    parsed = ip_address(address)
    if parsed.is_loopback:
        return LOOPBACK if parsed.version == 4 else LOOPBACK_6
    return f"{address}/{parsed.max_prefixlen}"


def tools(count: int) -> str:
    return f"{count} tool" if count == 1 else f"{count} tools"
