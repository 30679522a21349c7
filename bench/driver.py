"""What bench/call.lua does, in Python, where wrk is missing. Same input and output; near 10,000 calls a second it is
itself the limit.

`python -m bench.driver ORIGIN IN_FLIGHT SECONDS`
"""

import asyncio
import os
import sys
import time
from contextlib import closing
from dataclasses import dataclass, field
from statistics import quantiles
from urllib.parse import urlsplit

import orjson
import uvloop

PATH, FILLER, TOKEN = (os.environ[name] for name in ("BENCH_PATH", "BENCH_FILLER", "BENCH_TOKEN"))
AUTHORIZATION = f"Authorization: Bearer {TOKEN}\r\n" if TOKEN else ""
HEAD = (
    f"POST {PATH} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nMCP-Protocol-Version: 2025-11-25\r\n"
    f"Accept: application/json, text/event-stream\r\n{AUTHORIZATION}Content-Length: "
).encode()
ANSWER_BYTES = 1024 * 1024


@dataclass(slots=True)
class Tally:
    calls: int = 0
    latencies_ms: list[float] = field(default_factory=list)
    bad: int = 0
    first_bad: str = ""

    def fail(self, text: str) -> None:
        self.bad += 1
        self.first_bad = self.first_bad or " ".join(text.split())[:200]


async def caller(host: str, port: int, tally: Tally, *, until: float) -> None:
    while time.perf_counter() < until:
        try:
            reader, writer = await asyncio.open_connection(host, port, limit=ANSWER_BYTES)
            with closing(writer):
                while time.perf_counter() < until:
                    await call(reader, writer, tally)
        except (OSError, EOFError, ValueError) as error:
            tally.fail(repr(error))
            await asyncio.sleep(0.05)


async def call(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, tally: Tally) -> None:
    number = tally.calls = tally.calls + 1
    text = f"{FILLER}call-{number}-end"
    params = {"name": "echo", "arguments": {"text": text}}
    body = orjson.dumps({"jsonrpc": "2.0", "id": number, "method": "tools/call", "params": params})
    started = time.perf_counter()
    writer.write(b"%s%d\r\n\r\n%s" % (HEAD, len(body), body))
    head = (await reader.readuntil(b"\r\n\r\n")).lower()
    answer = await reader.readexactly(int(head.partition(b"content-length:")[2].split(maxsplit=1)[0]))
    elapsed_ms = (time.perf_counter() - started) * 1000
    if is_good(head, answer, number, text):
        tally.latencies_ms.append(elapsed_ms)
    else:
        tally.fail(f"{head[9:12].decode()} {answer.decode(errors='replace')}")


def is_good(head: bytes, answer: bytes, number: int, text: str) -> bool:
    message = orjson.loads(answer) if head[9:12] == b"200" else {}
    result = message.get("result", {})
    content = [{"type": "text", "text": text}]
    return message.get("id") == number and result.get("content") == content and not result.get("isError")


async def main(origin: str, in_flight: int, seconds: float) -> None:
    address, tally = urlsplit(origin), Tally()
    started = time.perf_counter()
    callers = [
        caller(address.hostname or "", address.port or 80, tally, until=started + seconds) for _ in range(in_flight)
    ]
    await asyncio.gather(*callers)
    elapsed, good = time.perf_counter() - started, len(tally.latencies_ms)
    cuts = quantiles(tally.latencies_ms, n=100) if good > 1 else [0.0] * 99
    print(f"BENCH {elapsed:.4f} {good} {tally.bad} {cuts[49]:.4f} {cuts[98]:.4f} {tally.first_bad}")


if __name__ == "__main__":
    uvloop.run(main(sys.argv[1], int(sys.argv[2]), float(sys.argv[3])))
