"""The cache in Redis, which does without while Redis is away: to end a key may not depend on a counter of requests."""

import logging
import time
from collections.abc import Callable
from typing import Any, Final

from django.core.cache.backends.locmem import LocMemCache
from django.core.cache.backends.redis import RedisCache
from redis import ConnectionError as Lost
from redis import TimeoutError as Late

REDIS_OPTIONS: Final = {"socket_timeout": 1.0, "socket_connect_timeout": 1.0}
ASKED_AGAIN_SECONDS: Final = 5.0

logger = logging.getLogger(__name__)


def _or_meanwhile(name: str) -> Callable[..., Any]:
    def act(cache: "PatientRedisCache", *arguments: Any, **options: Any) -> Any:
        if time.monotonic() >= cache.away_until:
            try:
                return getattr(RedisCache, name)(cache, *arguments, **options)
            except (Lost, Late) as failure:
                cache.go_without(failure)
        return getattr(cache.meanwhile, name)(*arguments, **options)

    return act


class PatientRedisCache(RedisCache):
    """While Redis does not answer, each process counts and remembers for itself. OPTIONS are those of a local cache."""

    def __init__(self, server: str, params: dict[str, Any]) -> None:
        super().__init__(server, {**params, "OPTIONS": REDIS_OPTIONS})
        self.meanwhile = LocMemCache("meanwhile", params)
        self.away_until = 0.0

    def go_without(self, failure: Exception) -> None:
        self.away_until = time.monotonic() + ASKED_AGAIN_SECONDS
        logger.warning("Redis does not answer (%s): this process counts for itself.", type(failure).__name__)

    add = _or_meanwhile("add")
    get = _or_meanwhile("get")
    set = _or_meanwhile("set")
    touch = _or_meanwhile("touch")
    delete = _or_meanwhile("delete")
    has_key = _or_meanwhile("has_key")
    incr = _or_meanwhile("incr")
    get_many = _or_meanwhile("get_many")
    set_many = _or_meanwhile("set_many")
    delete_many = _or_meanwhile("delete_many")
    clear = _or_meanwhile("clear")
