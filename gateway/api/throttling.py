"""How often: counted per minute in the cache, by token and, for those who fail to show one, by address."""

import time

from django.core.cache import cache
from rest_framework.request import Request
from rest_framework.throttling import BaseThrottle

WINDOW_SECONDS = 60
REQUESTS_PER_TOKEN = 1200
FAILURES_PER_ADDRESS = 60


class TokenThrottle(BaseThrottle):  # type: ignore[misc]
    def allow_request(self, request: Request, view: object) -> bool:
        return request.auth is None or count(f"token:{request.auth.id}") <= REQUESTS_PER_TOKEN

    def wait(self) -> float:
        return seconds_left()


def count(who: str, *, by: int = 1) -> int:
    """How many of this minute, these included."""
    key = _key(who)
    cache.add(key, 0, WINDOW_SECONDS * 2)
    try:
        return int(cache.incr(key, by))
    except ValueError:  # it expired in between
        return by


def counted(who: str) -> int:
    """How many of this minute so far."""
    return int(cache.get(_key(who), 0))


def seconds_left() -> float:
    return WINDOW_SECONDS - time.time() % WINDOW_SECONDS


def _key(who: str) -> str:
    return f"api:{who}:{int(time.time() // WINDOW_SECONDS)}"
