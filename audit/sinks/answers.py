"""A POST to a destination, and what its status means where the destination says nothing more exact."""

import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from email.utils import parsedate_to_datetime
from typing import Any, Final

import httpx
import orjson
from django.utils import timezone

from audit.sinks.base import Poisoned, Refused, Throttled, Unreachable

SECONDS: Final = 30.0
ANSWER_SECONDS: Final = 60.0
ANSWER_BYTES: Final = 256 * 1024
LONGEST_WAIT_SECONDS: Final = 3600.0


@dataclass(frozen=True, slots=True)
class Answer:
    """`body` is what fits into a bound: destinations are not trusted to be brief."""

    status: int
    headers: httpx.Headers = field(repr=False)
    body: bytes = field(repr=False)

    @property
    def is_good(self) -> bool:
        return 200 <= self.status < 300

    def told(self) -> dict[str, Any]:
        """Its JSON object; an empty one for anything else."""
        try:
            found = orjson.loads(self.body)
        except orjson.JSONDecodeError:
            return {}
        return found if isinstance(found, dict) else {}


def post(client: httpx.Client, url: str, *, body: bytes, headers: Mapping[str, str]) -> Answer:
    """Whatever its status. Raises Unreachable."""
    ends_at = time.monotonic() + ANSWER_SECONDS
    try:
        # What comes compressed all the same is not unpacked: that would be a way around the bound.
        sent = {**headers, "Accept-Encoding": "identity"}
        with client.stream("POST", url, content=body, headers=sent) as response:
            return Answer(response.status_code, response.headers, _bounded(response, ends_at=ends_at))
    except httpx.TimeoutException:
        raise Unreachable("It did not answer in time.") from None
    except (httpx.HTTPError, httpx.InvalidURL, httpx.StreamError) as error:
        raise Unreachable(f"The connection failed ({type(error).__name__}).") from None


def expect_good(answer: Answer, *, why: str = "") -> None:
    """Raises the failure that the status stands for, unless it is a success."""
    if answer.is_good:
        return
    said = f"It answered {answer.status}: {why}." if why else f"It answered {answer.status}."
    if answer.status in (429, 503):
        raise Throttled(said, retry_after=retry_after(answer.headers))
    if answer.status in (400, 413, 422):
        raise Poisoned(said)
    if 300 <= answer.status < 400:
        raise Refused(f"{said} It redirects, which is not followed: enter the final address.")
    if answer.status in (401, 403, 404, 405, 407, 410):
        raise Refused(said)
    raise Unreachable(said)


def retry_after(headers: httpx.Headers) -> float | None:
    """Seconds or a date (RFC 9110 section 10.2.3); None for anything else."""
    asked = headers.get("retry-after", "").strip()
    if asked.isascii() and asked.isdecimal() and len(asked) < 8:
        return min(float(asked), LONGEST_WAIT_SECONDS)
    try:
        wait = (parsedate_to_datetime(asked) - timezone.now()).total_seconds()
    except (ValueError, TypeError):
        return None
    return min(max(wait, 0.0), LONGEST_WAIT_SECONDS)


def _bounded(response: httpx.Response, *, ends_at: float) -> bytes:
    found = bytearray()
    for chunk in response.iter_raw():
        found += chunk
        if len(found) >= ANSWER_BYTES:
            break
        if time.monotonic() > ends_at:
            raise Unreachable("It did not answer in time.")
    return bytes(found[:ANSWER_BYTES])
