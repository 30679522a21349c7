"""The organisation's networks by name: where a call comes from. Pure."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network

ADDRESSES_KEPT = 4096
Network = IPv4Network | IPv6Network


@dataclass(frozen=True, slots=True)
class Networks:
    """`ranges` is None where what is stored cannot be read: then nobody knows where anybody is."""

    ranges: tuple[tuple[str, tuple[Network, ...]], ...] | None = field(default=())

    _found: dict[str, tuple[str, ...] | None] = field(default_factory=dict, init=False, repr=False, compare=False)

    def names_of(self, address: str) -> list[str] | None:
        """Of all that hold the address, in order; None when that cannot be said."""
        try:
            found = self._found[address]
        except KeyError:
            if len(self._found) >= ADDRESSES_KEPT:
                self._found.clear()
            found = self._found[address] = self._find(address)
        return None if found is None else list(found)

    def _find(self, address: str) -> tuple[str, ...] | None:
        where = _address(address)
        if self.ranges is None or where is None:
            return None
        return tuple(name for name, ranges in self.ranges if any(where in network for network in ranges))


def parse_networks(networks: Mapping[str, Iterable[str]]) -> Networks:
    """{"office": ["192.0.2.0/24"]}. Raises ValueError."""
    named = ((name, tuple(ip_network(cidr) for cidr in cidrs)) for name, cidrs in networks.items())
    return Networks(tuple(sorted(named, key=lambda pair: pair[0])))


def _address(text: str) -> IPv4Address | IPv6Address | None:
    """An IPv4 address that came over an IPv6 socket is the IPv4 address."""
    try:
        address = ip_address(text)
    except ValueError:
        return None
    return getattr(address, "ipv4_mapped", None) or address
