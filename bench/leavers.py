"""The measuring half of bench.offboarding, in the environment of an installation."""

import hashlib
import os
import statistics
import sys
import time
from datetime import UTC, datetime, timedelta

import django

django.setup()

from audit.models import EventRow  # noqa: E402  (Django's apps must be ready first)
from gateway import offboardings  # noqa: E402
from governance.models import AccessToken, Agent, AgentCredential, Authorization, Offboarding, User  # noqa: E402
from governance.offboarding import Plan  # noqa: E402

PEOPLE, AGENTS, KEYS, TOKENS = int(os.environ.get("BENCH_PEOPLE", "5")), 200, 5000, 5000


def measure(database: str) -> None:

    User.objects.create_superuser("owner@example.com")
    heir = User.objects.create_user("heir@example.com")
    people = [somebody(f"p{number}") for number in range(PEOPLE)]
    withdrawn, finished = [], []
    for person in people:
        before = EventRow.objects.count()
        started = time.perf_counter()
        begun = offboardings.begin_offboarding(person, plan=Plan(heir.email), by="command:bench")
        withdrawn.append(time.perf_counter() - started)
        done = offboardings.follow(begun.id)
        finished.append(time.perf_counter() - started)
        assert done.state == Offboarding.State.ENFORCED, done.state
        print(f"  {EventRow.objects.count() - before} events, receipt of {len(done.receipt):,} bytes")
    for name, times in (("withdrawn", withdrawn), ("with receipt", finished)):
        best, middle, worst = min(times), statistics.median(times), max(times)
        print(f"{database} {name}: best {best:.3f} s, median {middle:.3f} s, worst {worst:.3f} s")


def somebody(name: str) -> User:
    person = User.objects.create_user(f"{name}@example.com")
    agents = Agent.objects.bulk_create([Agent(name=f"{name}-{n}", owner=person) for n in range(AGENTS)])
    AgentCredential.objects.bulk_create(
        [
            AgentCredential(
                agent=agents[n % AGENTS],
                digest=hashlib.sha256(f"{name}{n}".encode()).digest(),
                hint=f"gate_ak_{n:04d}",
                created_by="command:bench",
            )
            for n in range(KEYS)
        ]
    )
    give_tokens(person, agents)
    return person


def give_tokens(person: User, agents: list[Agent]) -> None:
    """OAuth: an authorization for each agent, and access tokens that rest on them."""
    now = datetime.now(UTC)
    until, resource = now + timedelta(hours=1), "http://127.0.0.1:8000/mcp"
    let_in = Authorization.objects.bulk_create(
        [
            Authorization(agent=agent, person=person, resource=resource, created_by="command:bench", expires_at=until)
            for agent in agents
        ]
    )
    AccessToken.objects.bulk_create(
        [
            AccessToken(
                digest=hashlib.sha256(f"{person.email} {n}".encode()).digest(),
                issued_at=now,
                expires_at=until,
                authorization=let_in[n % AGENTS],
                agent=agents[n % AGENTS],
                person=person,
                resource=resource,
            )
            for n in range(TOKENS)
        ]
    )


if __name__ == "__main__":
    measure(sys.argv[1])
