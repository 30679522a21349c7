"""What humans do with an agent besides its keys: pause, resume, hand over."""

from datetime import datetime

from governance.agent_keys import revoke_all_keys
from governance.facts import Fact, Recorder
from governance.models import Agent, User


class CannotTransfer(Exception):
    """The message says why."""


def suspend_agent(agent: Agent, *, record: Recorder) -> bool:
    """Every call is refused until it is resumed; its keys stay. False if it was not live."""
    return _turn(agent, Agent.Status.LIVE, Agent.Status.SUSPENDED, "agent.suspended", record)


def resume_agent(agent: Agent, *, record: Recorder) -> bool:
    """False if it was not suspended: a retired agent does not come back."""
    return _turn(agent, Agent.Status.SUSPENDED, Agent.Status.LIVE, "agent.resumed", record)


def transfer_agent(agent: Agent, *, to: User, ends_keys: bool, by: str, record: Recorder, now: datetime) -> int:
    """Gives the agent another answerable human; returns how many keys ended with it.

    The former owner may have kept the keys, so callers end them unless somebody decides otherwise. Raises
    CannotTransfer.
    """
    if not to.is_active:
        raise CannotTransfer(f"{to.email} is not active.")
    former = agent.owner.email
    if to.id == agent.owner_id:
        raise CannotTransfer(f"{agent.name} is {former}'s already.")
    movable = Agent.objects.filter(id=agent.id, owner_id=agent.owner_id).exclude(status=Agent.Status.RETIRED)
    if not movable.update(owner=to):
        raise CannotTransfer(f"{agent.name} is retired or was just changed by somebody else.")
    ended = revoke_all_keys(agent, by=by, record=record, now=now) if ends_keys else 0
    record(Fact("agent.transferred", f"agent:{agent.name}", {"from": former, "to": to.email, "keys_ended": ended}))
    return ended


def _turn(agent: Agent, before: str, after: str, kind: str, record: Recorder) -> bool:
    if not Agent.objects.filter(id=agent.id, status=before).update(status=after):
        return False
    record(Fact(kind, f"agent:{agent.name}"))
    return True
