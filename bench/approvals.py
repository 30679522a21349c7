"""How long an approved call takes from the approver's click to the agent's answer, and what a call that waits costs.

    python -m bench.approvals [sqlite|postgres]          # postgres: under `python -m tests.services --durable`

One gateway process and the thin upstream. A client waits at its POST; a person approves by the verb that pages, API and
chat share; the time ends with the last byte of the client's answer. Once as it is, once with every letter lost, so that
only the look that all waiting calls take each two seconds finds the approval. Then 1,000 calls of 50 agents wait.
"""

import os
import subprocess
import sys
import tempfile
from pathlib import Path

from bench.targets import thin_upstream
from tests.end_to_end.installation import REPOSITORY, Installation

AGENTS = 52
"""Each may put twenty questions at a time: enough for a thousand that wait, and one for each series."""


def main(database: str) -> None:
    server = os.environ.get("TEST_DATABASE_URL", "")
    with (
        thin_upstream() as upstream,
        tempfile.TemporaryDirectory() as folder,
        Installation(Path(folder), database=database, postgres_url=server) as house,
    ):
        house.configure(GATEWAY_HOLD_SECONDS="55")
        seed = ["bench.seed", f"{upstream.origin}{upstream.path}", str(AGENTS), "1"]
        subprocess.run([sys.executable, "-m", *seed], env=house.environment, cwd=REPOSITORY, check=True, stdout=-3)
        house.start_gateway()
        measuring = [sys.executable, "-m", "bench.approvers", house.url, str(house.processes[0].pid)]
        subprocess.run(measuring, env=house.environment, cwd=REPOSITORY, check=True, timeout=600)


if __name__ == "__main__":
    main(sys.argv[1] if len(sys.argv) > 1 else "sqlite")
