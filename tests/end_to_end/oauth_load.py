"""How long the token endpoint takes, through gateway and pages: `python -m tests.end_to_end.oauth_load [postgres]`.

On PostgreSQL, TEST_DATABASE_URL names the server (`python -m tests.services ...` starts one).
"""

import json
import os
import statistics
import sys
import tempfile
import time
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


def measure(house: Installation) -> list[float]:
    """Milliseconds of each request, one after the other."""
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
    taken = []
    with httpx.Client() as client:
        for number in range(WARM_UP + TOKENS):
            began = time.perf_counter()
            answer = client.post(f"{house.url}/oauth/token", data=asked)
            if number >= WARM_UP:
                taken.append((time.perf_counter() - began) * 1000)
            assert answer.status_code == 200, answer.text
    return sorted(taken)


def main() -> None:
    database = sys.argv[1] if len(sys.argv) > 1 else "sqlite"
    with (
        tempfile.TemporaryDirectory(prefix="gatehouse-load-") as folder,
        Installation(
            Path(folder) / "house", database=database, postgres_url=os.environ.get("TEST_DATABASE_URL", "")
        ) as house,
    ):
        taken = measure(house)
    print(f"token endpoint, {database}, {len(taken)} tokens: p50 {statistics.median(taken):.1f} ms,", end=" ")
    print(f"p99 {taken[int(len(taken) * 0.99)]:.1f} ms; load of the machine {os.getloadavg()[0]:.1f}")


if __name__ == "__main__":
    main()
