"""What could not begin to be sent in time is never sent."""

import asyncio
from ipaddress import ip_network

import pytest

from connectors.base import UpstreamFailure
from connectors.egress import NOT_SENT_IN_TIME, Egress
from tests.connectors.servers import listening


async def test_nothing_is_written_after_the_deadline_and_the_connection_stays_good() -> None:
    heard: list[bytes] = []
    ended = asyncio.Event()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(65536):
            heard.append(data)
        ended.set()

    egress = Egress(allowed_networks=[ip_network("127.0.0.0/8")])

    async def read(_: object) -> None:
        raise AssertionError("nothing was asked")

    async with listening(serve) as port:
        url = f"http://127.0.0.1:{port}/mcp"
        with pytest.raises(UpstreamFailure) as failure:
            await egress.send("POST", url, headers=[], body=b"{}", timeout_seconds=5, read=read, send_before_ns=0)
        egress.close()
        await asyncio.wait_for(ended.wait(), 20)
    assert (failure.value.code, failure.value.reached) == (NOT_SENT_IN_TIME, False)
    assert heard == []
