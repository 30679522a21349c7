"""Records as the content of requests, within what one of them may hold."""

import gzip
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

Packed = tuple[bytes, dict[str, str]]
"""A request's body, and the header that says how it is packed."""

Content = TypeVar("Content")
Said = TypeVar("Said")


def packed(content: bytes, *, compress: bool) -> Packed:
    if not compress:
        return content, {}
    return gzip.compress(content, compresslevel=4, mtime=0), {"Content-Encoding": "gzip"}


def requests(entries: Iterable[bytes], *, most_entries: int, most_bytes: int) -> Iterator[list[bytes]]:
    """The entries in order, in as few requests as the limits allow; one byte is counted after each entry.

    No entry may be larger than `most_bytes`.
    """
    held: list[bytes] = []
    size = 0
    for entry in entries:
        if held and (len(held) == most_entries or size + len(entry) + 1 > most_bytes):
            yield held
            held, size = [], 0
        held.append(entry)
        size += len(entry) + 1
    if held:
        yield held


def in_turn(contents: Iterable[Content], post: Callable[[Content], Said]) -> list[Said]:
    """What each was answered, one after the other; the next is made while one is on its way.

    None is posted after one that failed.
    """
    said: list[Said] = []
    underway: Future[Said] | None = None
    with ThreadPoolExecutor(1, thread_name_prefix="post") as thread:
        for content in contents:
            if underway is not None:
                said.append(underway.result())
            underway = thread.submit(post, content)
        if underway is not None:
            said.append(underway.result())
    return said
