"""Which connections a gateway process keeps: so many of one address, so many altogether.

Who comes when all places are taken gets the place of somebody for whom nothing is at work. A flood of connections that
say nothing therefore shuts nobody out: each of them lasts only until the next one comes, and a request that is really
sent is in by then. Only what is at work is never given up, and that has bounds of its own.
"""

from collections import OrderedDict
from collections.abc import Iterator, Sequence
from functools import lru_cache
from ipaddress import IPv4Network, IPv6Network, ip_address, ip_network
from itertools import islice
from typing import Protocol

Network = IPv4Network | IPv6Network

FRESH_SHARE = 8
"""Connections that never brought a request give way first, down to this part of all; then idle ones do, too."""
LOOKED_AT = 32
"""Of those that brought a request, each time; the next time the next ones."""


class Connection(Protocol):
    @property
    def address(self) -> str:
        """Of the other end, empty where there is none."""

    @property
    def is_at_work(self) -> bool: ...

    def give_way(self) -> None:
        """Closes it."""


class Places:
    """Those of one address, or of all. Older ones stand first."""

    __slots__ = ("_fresh", "_proven", "maximum")

    def __init__(self, maximum: int) -> None:
        self.maximum = maximum
        self._fresh: OrderedDict[Connection, None] = OrderedDict()
        self._proven: OrderedDict[Connection, None] = OrderedDict()

    def __len__(self) -> int:
        return len(self._fresh) + len(self._proven)

    @property
    def is_full(self) -> bool:
        return len(self) >= self.maximum

    def add(self, connection: Connection) -> None:
        self._fresh[connection] = None

    def prove(self, connection: Connection) -> None:
        if connection in self._fresh:
            del self._fresh[connection]
            self._proven[connection] = None

    def discard(self, connection: Connection) -> None:
        self._fresh.pop(connection, None)
        self._proven.pop(connection, None)

    def dispensable(self) -> Connection | None:
        """The one that gives way to the next."""
        oldest = next(iter(self._fresh), None)
        if len(self._fresh) > self.maximum // FRESH_SHARE:
            return oldest
        return self._idle() or oldest

    def _idle(self) -> Connection | None:
        for connection in list(islice(self._proven, LOOKED_AT)):
            if not connection.is_at_work:
                return connection
            self._proven.move_to_end(connection)
        return None


class Connections:
    """Of one process. What comes from the networks in `trusted` are proxies: each speaks for many addresses."""

    def __init__(self, *, maximum: int, of_one_address: int, trusted: Sequence[Network] = ()) -> None:
        self._all = Places(maximum)
        self._of_one_address = of_one_address
        self._trusted = trusted
        self._by_address: dict[str, Places] = {}

    def __len__(self) -> int:
        return len(self._all)

    def add(self, connection: Connection) -> bool:
        """False when there is no place, and none can be made."""
        key = self._key(connection)
        of_address = self._by_address.get(key) if key else None
        for places in (of_address, self._all):
            if places is not None and places.is_full and not self._make_place(places):
                return False
        if key:
            self._by_address.setdefault(key, Places(self._of_one_address)).add(connection)
        self._all.add(connection)
        return True

    def prove(self, connection: Connection) -> None:
        """It brought the whole head of a request."""
        for places in self._places_of(connection):
            places.prove(connection)

    def discard(self, connection: Connection) -> None:
        key = self._key(connection)
        for places in self._places_of(connection):
            places.discard(connection)
        if key in self._by_address and not self._by_address[key]:
            del self._by_address[key]

    def _make_place(self, places: Places) -> bool:
        connection = places.dispensable()
        if connection is None:
            return False
        self.discard(connection)
        connection.give_way()
        return True

    def _places_of(self, connection: Connection) -> Iterator[Places]:
        yield self._all
        if (of_address := self._by_address.get(self._key(connection))) is not None:
            yield of_address

    def _key(self, connection: Connection) -> str:
        """Empty for whom only the bound of all counts."""
        return "" if is_one_of(self._trusted, connection.address) else neighbourhood(connection.address)


@lru_cache(maxsize=4096)
def is_one_of(networks: Sequence[Network], address: str) -> bool:
    try:
        parsed = ip_address(address)
    except ValueError:
        return False
    mapped = getattr(parsed, "ipv4_mapped", None)
    return any((mapped or parsed) in network for network in networks)


@lru_cache(maxsize=4096)
def neighbourhood(address: str) -> str:
    """Who shares one allowance: an address, or the network that one subscriber of IPv6 has."""
    try:
        parsed = ip_address(address)
    except ValueError:
        return address
    if parsed.version == 4:
        return address
    if parsed.ipv4_mapped is not None:
        return str(parsed.ipv4_mapped)
    return str(ip_network((int(parsed), 64), strict=False))
