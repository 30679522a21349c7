"""How long a directory takes to bring its people, over HTTP and the embedded default or PostgreSQL.

    python -m bench.directory [sqlite|postgres] [PEOPLE]        # postgres: under `python -m tests.services --durable`

For each person: a look, a creation, a membership. Then everybody in a group, and single changes of a large one.
"""

import os
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from bench.processes import cpu_seconds
from tests.end_to_end.directory_cycle import PATCH, Provider
from tests.end_to_end.installation import Installation

CHANGES = 20


def main(database: str, people: int) -> None:
    server = os.environ.get("TEST_DATABASE_URL", "")
    with (
        tempfile.TemporaryDirectory() as folder,
        Installation(Path(folder), database=database, postgres_url=server) as house,
    ):
        origin = house.start_gateway(pages=True)
        provider = Provider(origin, house.answer("scim_token", "--json")["token"])
        names = [f"p{number}@corp.test" for number in range(people)]
        with _timed(house, f"{database}: {people} people, each looked for, made and grouped"):
            provider.cycle(names, "everybody")
        with _timed(house, "the same again, nothing new"):
            provider.cycle(names, "everybody")
        with _timed(house, "all of them read, page by page"):
            provider.everybody()
        _large_group(provider, house)


@contextmanager
def _timed(house: Installation, what: str) -> Iterator[None]:
    """How long it took, and how much of a processor: other work on the machine changes the one, hardly the other."""
    assert house.pages is not None
    pids = (house.processes[0].pid, house.pages.pid)
    before, started = [cpu_seconds(pid) for pid in pids], time.perf_counter()
    yield
    took = time.perf_counter() - started
    gateway, pages = (cpu_seconds(pid) - was for pid, was in zip(pids, before, strict=True))
    print(
        f"{what}: {took:.1f} s; processor time {gateway:.1f} s in the gateway, {pages:.1f} s in the pages", flush=True
    )


def _large_group(provider: Provider, house: Installation) -> None:
    group = provider._made("/Groups", {"displayName": "large"})
    one = next(iter(provider.answered.values()))
    house.manage("shell", "-c", FILL.format(group=group))
    took = []
    for number in range(CHANGES):
        operation = {"op": "add", "path": "members", "value": [{"value": one}]}
        if number % 2:
            operation = {"op": "remove", "path": f'members[value eq "{one}"]'}
        started = time.perf_counter()
        provider.send("PATCH", f"/Groups/{group}", {"schemas": [PATCH], "Operations": [operation]})
        took.append((time.perf_counter() - started) * 1000)
    print(f"one membership in a group of 50,000: median {statistics.median(took):.0f} ms, worst {max(took):.0f} ms")
    started = time.perf_counter()
    provider._found("Groups", 'displayName eq "large"', excludedAttributes="members")
    print(f"that group looked for without its members: {(time.perf_counter() - started) * 1000:.0f} ms")


FILL = """
from uuid import uuid4
from governance.models import DirectoryMember
rows = (DirectoryMember(group_id="{group}", value=str(uuid4())) for _ in range(50_000))
DirectoryMember.objects.bulk_create(rows, batch_size=5_000)
"""

if __name__ == "__main__":
    main(sys.argv[1] if len(sys.argv) > 1 else "sqlite", int(sys.argv[2]) if len(sys.argv) > 2 else 1000)
