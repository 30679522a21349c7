"""Many connections that send the beginning of a request and nothing more, held by a process of their own: one process
may open only so many files.

    python -m tests.end_to_end.half_open PORT ADDRESSES COUNT

ADDRESSES are the last numbers of 127.0.0.x to come from, with commas. Says `opened COUNT` when all are open; from the
first line of its input on it waits until the server has dropped them all and says `dropped COUNT SECONDS`.
"""

import resource
import select
import socket
import sys
import time
from contextlib import suppress

HALF_A_HEAD = b"POST /mcp HTTP/1.1\r\nHost: gatehouse\r\nX-Filler: "
CONNECT_SECONDS = 60.0
DROP_SECONDS = 60.0
PIECE = 4_096


def opened(port: int, address: str) -> socket.socket:
    """Open, unless the server has dropped it at once."""
    made = socket.create_connection(("127.0.0.1", port), CONNECT_SECONDS, source_address=(address, 0))
    with suppress(ConnectionError):
        made.sendall(HALF_A_HEAD)
    made.setblocking(False)
    return made


def dropped(held: list[socket.socket]) -> int:
    """How many the server closes within a minute."""
    poll, by_number = select.epoll(), {made.fileno(): made for made in held}
    for number in by_number:
        poll.register(number, select.EPOLLIN)
    deadline, count = time.monotonic() + DROP_SECONDS, 0
    while by_number and time.monotonic() < deadline:
        for number, _ in poll.poll(0.2):
            if is_closed(by_number[number]):
                poll.unregister(number)
                del by_number[number]
                count += 1
    return count


def is_closed(made: socket.socket) -> bool:
    """False when it only said something first."""
    try:
        return made.recv(PIECE) == b""
    except BlockingIOError:
        return False
    except ConnectionError:
        return True


def main(port: int, numbers: list[str], count: int) -> None:
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    held = [opened(port, f"127.0.0.{numbers[each % len(numbers)]}") for each in range(count)]
    print("opened", len(held), flush=True)
    sys.stdin.readline()
    began = time.monotonic()
    print("dropped", dropped(held), f"{time.monotonic() - began:.1f}", flush=True)


if __name__ == "__main__":
    main(int(sys.argv[1]), sys.argv[2].split(","), int(sys.argv[3]))
