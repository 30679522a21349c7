"""A person who decides: `python -m tests.end_to_end.approver EMAIL` reads `approve` or `deny`, waits until a request
waits for a human, decides about the oldest, and says its name. Pages, API and chat share the verb with her.

She connects each time anew: the database may have been away.
"""

import sys
import time
from datetime import UTC, datetime

import django

WAIT_SECONDS = 40.0


def main(email: str) -> None:
    django.setup()
    from django.db import connection

    from gateway.approving import decide
    from governance.approval_rows import Authentication, approval_digest
    from governance.approvals import Ballot
    from governance.models import ApprovalRequest, User

    def waiting() -> ApprovalRequest:
        deadline = time.monotonic() + WAIT_SECONDS
        while time.monotonic() < deadline:
            row = ApprovalRequest.objects.filter(state="pending").order_by("number").first()
            if row is not None:
                return row
            time.sleep(0.02)
        raise AssertionError("nobody asked")

    person = User.objects.get(email=email)
    print("ready", flush=True)
    for line in sys.stdin:
        connection.close()
        row = waiting()
        signed_in = Authentication("password", datetime.now(UTC))
        ballot = Ballot(person, approval_digest(row), row.revision, "web", signed_in, "Looked at it.")
        decide(row, ballot, approves=line.strip() == "approve")
        print(row.name, flush=True)


if __name__ == "__main__":
    main(sys.argv[1])
