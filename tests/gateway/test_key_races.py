"""Keys issued at the moment at which somebody ends them: none appears behind the end."""

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from threading import Barrier

import pytest
from django.db import connection

from gateway import actions, rotations
from gateway.offboardings import begin_offboarding
from governance.agent_keys import NotIssuable, Successor, issue_key
from governance.emergency import Target
from governance.models import Agent, AgentCredential, Team, User
from governance.offboarding import Plan
from governance.snapshot_builder import build_snapshot
from tests.fresh_database import fresh_database
from tests.gateway.rows import an_agent

__all__ = ("fresh_database",)

pytestmark = [pytest.mark.usefixtures("fresh_database"), pytest.mark.database]

BY = "person:owner@example.com"


@pytest.fixture
def agent(fresh_database: None) -> Agent:
    User.objects.create_superuser("owner@example.com")
    agent = an_agent()
    agent.owner.teams.add(Team.objects.create(name="support"))
    return agent


def at_once(acts: Sequence[Callable[[], object]]) -> list[object]:
    """Each in a thread and on a connection of its own; what it returned, or why it was refused."""
    start = Barrier(len(acts))

    def run(act: Callable[[], object]) -> object:
        try:
            start.wait()
            return act()
        except NotIssuable as reason:
            return reason
        finally:
            connection.close()

    with ThreadPoolExecutor(len(acts)) as pool:
        return list(pool.map(run, acts))


def issuing(agent: Agent) -> list[Callable[[], object]]:
    return [lambda: actions.issue_key(Agent.objects.get(pk=agent.pk), by=BY, expires_in=None) for _ in range(4)]


def live() -> int:
    return AgentCredential.objects.filter(revoked_at=None).count()


def test_no_key_appears_behind_an_emergency_rotation(agent: Agent) -> None:
    at_once([*issuing(agent), lambda: rotations.in_emergency(Target(team="support"), reason="leaked", by=BY)])
    assert live() == 0
    assert not build_snapshot().credentials


def test_no_key_appears_behind_an_offboarding(agent: Agent) -> None:
    at_once([*issuing(agent), lambda: begin_offboarding(agent.owner, plan=Plan(), by=BY)])
    assert live() == 0


def test_of_two_who_replace_a_key_at_once_one_does(agent: Agent) -> None:
    old = actions.issue_key(agent, by=BY, expires_in=None).credential

    def replace() -> object:
        return actions.act(
            lambda record, now: issue_key(
                agent, by=BY, record=record, now=now, expires_at=None, follows=Successor(old, timedelta(hours=1))
            ),
            by=BY,
        )

    results = at_once([replace, replace, replace])
    assert sum(isinstance(result, NotIssuable) for result in results) == 2
    assert old.successors.count() == 1
