"""How long the token endpoint takes, through gateway and pages: `python -m tests.end_to_end.oauth_load [postgres]`.

On PostgreSQL, TEST_DATABASE_URL names the server (`python -m tests.services ...` starts one). Times are worth something
on a quiet machine; processor time of our own processes on a busy one, too.
"""

import json
import os
import statistics
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import httpx

from tests import cast
from tests.end_to_end.installation import Installation

TOKENS = 300
WARM_UP = 20
SET_UP = """
import json
from gateway.actions import act
from governance import agent_keys
from governance.models import Agent, AgentCredential

def work(record, now):
    agent = Agent.objects.get(name="triage-bot")
    return agent_keys.issue_key(
        agent, by="load", record=record, now=now, expires_at=None, kind=AgentCredential.Kind.CLIENT_SECRET
    ).key

print(json.dumps(act(work, by="load")))
"""


@dataclass(frozen=True, slots=True)
class Measured:
    """In milliseconds: of each request, and of a request in the mean."""

    taken: list[float]
    gateway: float
    pages: float


def processor_seconds(pid: int) -> float:
    """As Linux counts it, user's and system's."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def measure(house: Installation) -> Measured:
    """Requests one after the other."""
    house.apply(cast.organisation({"helpdesk": "http://127.0.0.1:9"}))
    house.start_gateway(pages=True)
    secret = json.loads(house.manage("shell", "-c", SET_UP).stdout.splitlines()[-1])
    asked = {
        "grant_type": "client_credentials",
        "client_id": cast.TRIAGE_BOT,
        "client_secret": secret,
        "resource": f"{house.url}/mcp",
        "scope": "bundle:helpdesk",
    }
    assert house.pages is not None
    pids = house.processes[0].pid, house.pages.pid
    taken: list[float] = []
    before = [0.0, 0.0]
    with httpx.Client() as client:
        for number in range(WARM_UP + TOKENS):
            if number == WARM_UP:
                before = [processor_seconds(pid) for pid in pids]
            began = time.perf_counter()
            answer = client.post(f"{house.url}/oauth/token", data=asked)
            if number >= WARM_UP:
                taken.append((time.perf_counter() - began) * 1000)
            assert answer.status_code == 200, answer.text
    spent = [(processor_seconds(pid) - was) * 1000 / TOKENS for pid, was in zip(pids, before, strict=True)]
    return Measured(sorted(taken), *spent)


def main() -> None:
    database = sys.argv[1] if len(sys.argv) > 1 else "sqlite"
    with (
        tempfile.TemporaryDirectory(prefix="gatehouse-load-") as folder,
        Installation(
            Path(folder) / "house", database=database, postgres_url=os.environ.get("TEST_DATABASE_URL", "")
        ) as house,
    ):
        measured = measure(house)
    taken, gateway, pages = measured.taken, measured.gateway, measured.pages
    print(f"token endpoint, {database}, {len(taken)} tokens: p50 {statistics.median(taken):.1f} ms,", end=" ")
    print(f"p99 {taken[int(len(taken) * 0.99)]:.1f} ms; processor time {gateway + pages:.1f} ms", end=" ")
    print(f"(gateway {gateway:.1f}, pages {pages:.1f}); load of the machine {os.getloadavg()[0]:.1f}")


if __name__ == "__main__":
    main()
