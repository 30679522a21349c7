"""How long it takes to end a person with 200 agents, 5,000 keys, 200 authorizations and 5,000 OAuth tokens.

    python -m bench.offboarding [sqlite|postgres]        # postgres: under `python -m tests.services --durable`

Evidence of every row is included. Prints best, median and worst of several people, split into the withdrawal
(one transaction) and the receipt.
"""

import os
import subprocess
import sys
import tempfile
from pathlib import Path

from tests.end_to_end.installation import REPOSITORY, Installation


def main(database: str) -> None:
    server = os.environ.get("TEST_DATABASE_URL", "")
    with (
        tempfile.TemporaryDirectory() as folder,
        Installation(Path(folder), database=database, postgres_url=server) as house,
    ):
        command = [sys.executable, "-m", "bench.leavers", database]
        subprocess.run(command, env=house.environment, cwd=REPOSITORY, check=True, timeout=300)


if __name__ == "__main__":
    main(sys.argv[1] if len(sys.argv) > 1 else "sqlite")
