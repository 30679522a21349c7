"""A directory's own list, page by page over SCIM, bounded in everything. Half a list counts as none."""

import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

from gateway.fetching import NotFetched, fetch, json_object
from gateway.scim.door import NUL

PAGE: Final = 100
PAGE_BYTES: Final = 8 * 1024 * 1024
PAGE_SECONDS: Final = 20.0
MOST_BYTES: Final = 256 * 1024 * 1024
MOST_RESOURCES: Final = 50_000
LONGEST_SECONDS: Final = 20 * 60.0
LONGEST_ID: Final = 200
MEDIA: Final = "application/scim+json"

Resource = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Listed:
    """What it serves, by its own ids."""

    users: dict[str, Resource]
    groups: dict[str, Resource]


def read_list(address: str, token: str) -> Listed:
    """Raises NotFetched, whose message holds nothing that the other side wrote."""
    reader = _Reader(address, token)
    return Listed(users=reader.all("Users"), groups=reader.all("Groups"))


class _Reader:
    def __init__(self, address: str, token: str) -> None:
        self._address = address
        self._headers = (("Authorization", f"Bearer {token}"), ("Accept", MEDIA))
        self._until = time.monotonic() + LONGEST_SECONDS
        self._bytes_left = MOST_BYTES

    def all(self, kind: str) -> dict[str, Resource]:
        found: dict[str, Resource] = {}
        for page, total in self._pages(kind):
            found |= page
            if total > MOST_RESOURCES:
                raise NotFetched(f"It has more than {MOST_RESOURCES} of {kind}.")
        return found

    def _pages(self, kind: str) -> Iterator[tuple[dict[str, Resource], int]]:
        """By place; where pages overlap or leave somebody out because the list changed, there is no list."""
        seen, before, total = set[str](), 0, 1
        while len(seen) < total:
            rows, total = _rows(self._page(kind, len(seen) + 1))
            page = {_id_of(row): row for row in rows}
            is_whole = len(page) == len(rows) and (bool(rows) or len(seen) >= total)
            if not is_whole or total < before or seen & page.keys():
                raise NotFetched(f"Its pages of {kind} do not add up.")
            seen |= page.keys()
            before = total
            yield page, total

    def _page(self, kind: str, start: int) -> Resource:
        if time.monotonic() > self._until:
            raise NotFetched(f"Reading it takes longer than {int(LONGEST_SECONDS / 60)} minutes.")
        url = f"{self._address}/{kind}?startIndex={start}&count={PAGE}"
        reply = fetch("GET", url, headers=self._headers, seconds=PAGE_SECONDS, at_most=PAGE_BYTES)
        self._bytes_left -= len(reply.body)
        if self._bytes_left < 0:
            raise NotFetched(f"Its list has more than {MOST_BYTES} bytes.")
        if NUL in reply.body:
            raise NotFetched("It serves texts with the character U+0000.")
        return json_object(reply)


def _rows(page: Resource) -> tuple[list[Resource], int]:
    rows, total = page.get("Resources", []), page.get("totalResults")
    is_list = isinstance(rows, list) and all(isinstance(row, dict) for row in rows)
    if not is_list or not isinstance(total, int) or isinstance(total, bool) or total < 0:
        raise NotFetched("It did not answer with a list of resources.")
    return rows, total


def _id_of(row: Resource) -> str:
    found = row.get("id")
    if not isinstance(found, str) or not 0 < len(found) <= LONGEST_ID:
        raise NotFetched("It serves resources without an id.")
    return found
