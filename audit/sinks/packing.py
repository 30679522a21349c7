"""Records as the content of requests, within what one of them may hold."""

import gzip
from collections.abc import Iterator, Sequence


def packed(content: bytes, *, compress: bool) -> tuple[bytes, dict[str, str]]:
    """The content as it is sent, and the header that says so."""
    if not compress:
        return content, {}
    return gzip.compress(content, compresslevel=4, mtime=0), {"Content-Encoding": "gzip"}


def requests(entries: Sequence[bytes], *, most_entries: int, most_bytes: int) -> Iterator[list[bytes]]:
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
