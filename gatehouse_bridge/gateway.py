"""Requests to the gateway: what each carries, and trying again where nothing can have happened yet."""

from __future__ import annotations

import random
from collections.abc import Mapping

from gatehouse_bridge import VERSION
from gatehouse_bridge.address import Address
from gatehouse_bridge.http import Broken, Connections, Exchange, NotSent
from gatehouse_bridge.jobs import Job
from gatehouse_bridge.keys import Key
from gatehouse_bridge.saying import say

WAITS = (0.3, 1.0, 2.0, 4.0, 8.0)
"""Seconds before each further try; a gateway that is restarted is back within them."""
LONGEST_WAIT = 30
BUSY = (429, 503)
"""Ours say so before anything is done: a call whose outcome is not known is never answered so."""


class Gateway:
    def __init__(self, address: Address, key: Key) -> None:
        self._path = address.path
        self._connections = Connections(address)
        self._key = key

    def post(self, job: Job, headers: Mapping[str, str], line: bytes) -> Exchange:
        """Raises NotSent or Broken."""
        types = {"Content-Type": "application/json", "Accept": "application/json, text/event-stream"}
        return self._ask(job, "POST", {**types, **headers}, line)

    def get(self, job: Job, headers: Mapping[str, str]) -> Exchange:
        """Raises NotSent or Broken."""
        return self._ask(job, "GET", {"Accept": "text/event-stream", **headers}, b"")

    def delete(self, headers: Mapping[str, str], *, seconds: float) -> None:
        """A good-bye: whether it arrives is of no great matter."""
        key = self._key.at_hand()
        if not key:
            return
        exchange = Exchange(self._connections)
        try:
            exchange.send("DELETE", self._path, headers=self._signed(headers, key), silence=seconds)
        except (NotSent, Broken):
            return
        exchange.close()

    def close(self) -> None:
        self._connections.close()

    def _ask(self, job: Job, method: str, headers: Mapping[str, str], body: bytes) -> Exchange:
        """The head of an answer, of whatever status."""
        has_renewed = False
        for wait in (*WAITS, None):
            key = self._key.current()
            exchange = Exchange(self._connections)
            job.takes(exchange)
            try:
                exchange.send(method, self._path, headers=self._signed(headers, key), body=body)
            except NotSent:
                if wait is None or job.is_given_up:
                    raise
                job.pause(_spread(wait))
                continue
            if exchange.status == 401 and not has_renewed:
                has_renewed = self._key.renew(key)
                if has_renewed:
                    exchange.close()
                    continue
                say("the gateway did not take the key (HTTP 401): is it right, live, and of this gateway?")
            asked = _asked_to_wait(exchange, wait)
            if asked is None or job.is_given_up:
                return exchange
            exchange.close()
            job.pause(_spread(asked))
        raise NotSent("it is busy")

    def _signed(self, headers: Mapping[str, str], key: str) -> dict[str, str]:
        return {**headers, "Authorization": f"Bearer {key}", "User-Agent": f"gatehouse-bridge/{VERSION}"}


def _asked_to_wait(exchange: Exchange, wait: float | None) -> float | None:
    """Seconds; None where the answer stands."""
    if exchange.status not in BUSY or wait is None:
        return None
    said = exchange.header("retry-after")
    if not said.isdigit() or len(said) > 6:
        return wait
    return float(said) if int(said) <= LONGEST_WAIT else None


def _spread(seconds: float) -> float:
    """Many clients that were sent away together shall not come back together."""
    return seconds * random.uniform(1.0, 1.25)
