"""How much one sender may write into the letters' table: it is read by all processes and swept only now and then."""

import time
from collections.abc import Callable

PER_SECOND = 2.0
AT_ONCE = 120.0
PAGE_BYTES = 64 * 1024
SENDERS = 10_000


class Postage:
    """A budget for each sender that fills up again; a long letter costs more than a short one."""

    def __init__(self, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._left: dict[str, tuple[float, float]] = {}

    def pay(self, sender: str, size: int) -> bool:
        """False when the sender has written too much lately."""
        now = self._clock()
        left, at = self._left.pop(sender, (AT_ONCE, now))
        left = min(AT_ONCE, left + (now - at) * PER_SECOND)
        price = 1 + size / PAGE_BYTES
        is_paid = price <= left
        self._left[sender] = (left - price if is_paid else left, now)
        if len(self._left) > SENDERS:
            del self._left[next(iter(self._left))]
        return is_paid
