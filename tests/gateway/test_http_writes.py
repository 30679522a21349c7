"""What is written in one turn of the event loop leaves together, in order, and nothing stays behind."""

import asyncio
from typing import Any, cast

from gateway.http_writes import JoinedWrites


class Wire:
    def __init__(self) -> None:
        self.sent: list[bytes] = []
        self.is_closed = False

    def write(self, data: bytes) -> None:
        assert not self.is_closed
        self.sent.append(data)

    def close(self) -> None:
        self.is_closed = True

    def is_closing(self) -> bool:
        return self.is_closed

    def get_write_buffer_size(self) -> int:
        return 0


def joined(wire: Wire) -> Any:
    return JoinedWrites(cast(asyncio.Transport, wire), asyncio.get_running_loop())


async def test_head_and_body_are_one_write() -> None:
    wire = Wire()
    writes = joined(wire)
    writes.write(b"head")
    writes.write(b"body")
    assert wire.sent == [b"headbody"]
    await asyncio.sleep(0)
    assert wire.sent == [b"headbody"]


async def test_a_head_alone_waits_no_longer_than_the_turn() -> None:
    wire = Wire()
    joined(wire).write(b"head of a stream")
    assert wire.sent == []
    await asyncio.sleep(0)
    assert wire.sent == [b"head of a stream"]


async def test_what_is_held_leaves_before_the_connection_closes() -> None:
    wire = Wire()
    writes = joined(wire)
    for piece in (b"1", b"2", b"3"):
        writes.write(piece)
    writes.close()
    await asyncio.sleep(0)
    assert (b"".join(wire.sent), wire.is_closed) == (b"123", True)


async def test_a_client_that_went_meanwhile_is_written_nothing() -> None:
    """A transport that is closed may raise."""
    wire = Wire()
    writes = joined(wire)
    writes.write(b"head")
    wire.close()
    await asyncio.sleep(0)
    writes.write(b"body")
    writes.write_now(b"end")
    assert wire.sent == []
