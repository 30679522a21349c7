"""What the fence hammer runs in processes of its own: callers who commit intents, and people who take rights away.

    python -m ...hammer world GROUPS [asking]     fills a fresh installation
    python -m ...hammer call [unfenced]           all agents call, up to the intent, by the real pipeline, until the
                                                  standard input ends
    python -m ...hammer revoke GROUP SECONDS [offboard]   ends and restores rights, tells what it saw
    python -m ...hammer unsay GROUP SECONDS       the same with the word of who agrees to calls
    python -m ...hammer wait SECONDS              tells how long small changes took
    python -m ...hammer hold SECONDS              keeps a change open

Each group is a person with her agents, a tool and a role, so that revokers do not undo each other's acts. In a world
that is `asking`, a human of the group must agree to each call; callers answer for her as soon as they are told to wait.
"""

import asyncio
import hashlib
import itertools
import json
import os
import random
import sys
import time
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any
from uuid import UUID

import django

django.setup()

from django.db import connection  # noqa: E402
from django.db.models import QuerySet  # noqa: E402
from django.db.models.functions import Now  # noqa: E402

from audit.event import first_id_at  # noqa: E402
from audit.models import EventRow  # noqa: E402
from gateway import actions, approving, held, offboardings, refusals, runtime  # noqa: E402
from gateway.call import Frame  # noqa: E402
from gateway.commit.entry import Committed, Entry, EvidenceUnavailable  # noqa: E402
from gateway.commit.group import GroupCommitter  # noqa: E402
from gateway.evidence import not_sent_entry  # noqa: E402
from gateway.pipeline import admit, commit_intent  # noqa: E402
from gateway.refusals import Refusal  # noqa: E402
from gateway.wiring import GatewayPorts  # noqa: E402
from governance.approval_rows import Authentication, CannotDecide, approval_digest  # noqa: E402
from governance.approvals import Ballot  # noqa: E402
from governance.fence.actor import governed_change  # noqa: E402
from governance.freezes import FreezeTarget  # noqa: E402
from governance.models import (  # noqa: E402
    Agent,
    AgentCredential,
    ApprovalRequest,
    Bundle,
    BundleTool,
    BundleVersion,
    Connector,
    Grant,
    Organization,
    Policy,
    PolicyVersion,
    Role,
    Rule,
    Tool,
    ToolDefinition,
    User,
)
from governance.offboarding import Plan  # noqa: E402

BY = "person:hammer@example.com"
AGENTS_PER_GROUP = 4
SETTLE_SECONDS = 0.03
FEWEST_DISMISSALS = 3
PATTERNS = (None, 3, 20)
"""How often an approval of a pattern may be used."""
IS_BY_PATTERN = itertools.cycle((True, False))
"""So she agrees to every other call."""
CALLS_AGAIN_SECONDS = 20.0
"""After a word was taken back nothing more is, until there are calls again, or so long."""


@dataclass(frozen=True, slots=True)
class Trial:
    """A right taken away. `before` intents existed when the act returned, `after` a moment later: the same ones."""

    act: str
    wait_ms: float
    before: int
    after: int


def agent_name(group: int, number: int) -> str:
    return f"agent-{group}-{number}"


def token(agent: str, serial: int) -> str:
    return f"{agent}-{serial:06d}"


def approver_email(group: int | str) -> str:
    return f"approver-{group}@example.com"


def make_world(groups: int, *, is_asking: bool = False) -> None:
    with governed_change(by=BY):
        Organization.objects.get_or_create(is_only=True)
        connector = Connector.objects.create(name="nowhere", urls=["http://127.0.0.1:9/mcp"])
        for group in range(groups):
            version = _make_group(group, connector)
            if is_asking:
                _let_ask(group, version)


def _let_ask(group: int, version: BundleVersion) -> None:
    """Only where arguments are kept is a pattern approved."""
    version.recording = "full"
    version.save(update_fields=("recording",))
    approver = User.objects.create_user(approver_email(group))
    policy = Policy.objects.create(name=f"policy-{group}")
    rules = PolicyVersion.objects.create(policy=policy, number=1, created_by=BY)
    terms = {"people": [approver.email], "longest_grant": "1h"}
    Rule.objects.create(version=rules, position=1, effect="ask", approvers=terms)
    version.policies.add(policy)


def _make_group(group: int, connector: Connector) -> BundleVersion:
    tool = Tool.objects.create(connector=connector, name=f"tool-{group}")
    ToolDefinition.objects.create(tool=tool, digest="0" * 64, body=b"{}", status="pinned")
    bundle = Bundle.objects.create(name=f"bundle-{group}")
    version = BundleVersion.objects.create(bundle=bundle, number=1, recording="metadata", created_by=BY)
    BundleTool.objects.create(version=version, connector=connector, allow=[tool.name])
    role = Role.objects.create(name=f"role-{group}")
    role.bundles.add(bundle)
    owner = User.objects.create_user(f"owner-{group}@example.com")
    for number in range(AGENTS_PER_GROUP):
        agent = Agent.objects.create(name=agent_name(group, number), owner=owner)
        role.agents.add(agent)
        make_key(agent, 0)
    return version


def make_key(agent: Agent, serial: int) -> AgentCredential:
    digest = hashlib.sha256(token(agent.name, serial).encode()).digest()
    return AgentCredential.objects.create(agent=agent, digest=digest, hint="hammer", created_by=BY)


# -- callers


async def call_all() -> int:
    """Intents committed by this process until whoever started it has had enough."""
    stop = asyncio.Event()
    asyncio.get_running_loop().add_reader(sys.stdin.fileno(), stop.set)
    gateway = runtime.GatewayRuntime()
    await gateway.start()
    print("ready", flush=True)
    agents = [agent.name for agent in gateway.ports.snapshot().agents.values()]
    made = await asyncio.gather(*(_call_as(agent, gateway.ports, stop) for agent in agents))
    await gateway.stop()
    return sum(made)


async def _call_as(agent: str, ports: GatewayPorts, stop: asyncio.Event) -> int:
    serial = made = 0
    tool = f"tool-{agent.split('-')[1]}"
    while not stop.is_set():
        frame = Frame(token(agent, serial), None, f"nowhere__{tool}", {}, "2025-11-25")
        try:
            with ports.allowance() as allowance:
                intent = await admit(frame, ports, partial(commit_intent, allowance=allowance))
            await ports.commit(not_sent_entry(intent, ports))
            made += 1
        except Refusal as refusal:
            if refusal.held is not None:
                await asyncio.to_thread(agree, refusal.held.key, agent.split("-")[1])
            if refusal.reason is refusals.BAD_TOKEN and _is_known(token(agent, serial + 1), ports):
                serial += 1
            await asyncio.sleep(0.005)
        except EvidenceUnavailable:
            await asyncio.sleep(0.05)
    return made


def agree(key: UUID, group: str) -> None:
    """She agrees to this call, or to the next few as well; not while she is away, or when somebody was faster."""
    try:
        row = ApprovalRequest.objects.get(key=key)
        approver = User.objects.get(email=approver_email(group))
        signed_in = Authentication("password", datetime.now(UTC))
        ballot = Ballot(approver, approval_digest(row), row.revision, "web", signed_in)
        with suppress(CannotDecide):
            if next(IS_BY_PATTERN):
                wanted = approving.Wanted(minutes=30, kept=(), max_uses=random.choice(PATTERNS))
                approving.approve_pattern(row, ballot, wanted)
            else:
                approving.decide(row, ballot, approves=True)
    finally:
        connection.close()


def _is_known(key: str, ports: GatewayPorts) -> bool:
    return hashlib.sha256(key.encode()).digest() in ports.snapshot().credentials


class Unfenced(GroupCommitter):
    """The same group commit without the fence."""

    async def commit(self, entry: Entry) -> Committed:
        return await super().commit(replace(entry, read_set=None))


# -- people who take rights away


class Revoker:
    """One group's acts. Every act returns what undoes it; keys and the last offboarding are for good."""

    def __init__(self, group: int) -> None:
        self._group = group
        self._agents = [Agent.objects.get(name=agent_name(group, n)) for n in range(AGENTS_PER_GROUP)]
        self._serials = dict.fromkeys((agent.name for agent in self._agents), 0)
        self._role = Role.objects.get(name=f"role-{group}")
        self._tool = Tool.objects.get(name=f"tool-{group}")
        self.trials: list[Trial] = []
        self.ended: dict[str, int] = {}

    def run(self, seconds: float) -> None:
        """Each act, however long that takes, then any of them for the rest of the time."""
        acts = [self._end_key, self._end_key, self._suspend, self._remove_role, self._quarantine, self._freeze]
        until = time.monotonic() + seconds
        for act in random.sample(acts, len(acts)):
            act(random.choice(self._agents))
        while time.monotonic() < until:
            random.choice(acts)(random.choice(self._agents))

    def unsay(self, seconds: float) -> None:
        until = time.monotonic() + seconds
        while time.monotonic() < until or len(self.trials) < FEWEST_DISMISSALS:
            random.choice((self._dismiss_approver, self._revoke_grant))()
            self._await_calls()

    def _await_calls(self) -> None:
        intents = EventRow.objects.filter(kind="call.intent", tool=self._tool.name)
        before, until = intents.count(), time.monotonic() + CALLS_AGAIN_SECONDS
        while intents.count() == before and time.monotonic() < until:
            time.sleep(SETTLE_SECONDS)

    def _dismiss_approver(self) -> None:
        approver = User.objects.filter(email=approver_email(self._group))
        self._try("approver", None, lambda: self._set_active(approver, False))
        self._set_active(approver, True)

    def _revoke_grant(self) -> None:
        """Calls go on: she agrees to others."""
        with governed_change(by=BY):
            Grant.objects.filter(tool=self._tool, revoked_at=None).update(revoked_at=Now(), revoked_by=BY)

    def _set_active(self, people: QuerySet[User], is_active: bool) -> None:
        with governed_change(by=BY):
            people.update(is_active=is_active)

    def _end_key(self, agent: Agent) -> None:
        serial = self._serials[agent.name]
        credential = AgentCredential.objects.get(digest=hashlib.sha256(token(agent.name, serial).encode()).digest())
        self._try("key", agent, lambda: actions.revoke_key(credential, by=BY))
        self.ended[credential.id.hex] = intents_of(credential, agent.name)
        with governed_change(by=BY):
            make_key(agent, serial + 1)
        self._serials[agent.name] = serial + 1

    def _suspend(self, agent: Agent) -> None:
        self._try("agent", agent, lambda: self._set_status(agent, "suspended"))
        self._set_status(agent, "live")

    def _remove_role(self, agent: Agent) -> None:
        self._try("role", agent, lambda: self._role.agents.remove(agent))
        self._role.agents.add(agent)

    def _quarantine(self, agent: Agent) -> None:
        tool = Tool.objects.filter(id=self._tool.id)
        self._try("quarantine", None, lambda: tool.update(quarantined_at=Now()))
        tool.update(quarantined_at=None)

    def _freeze(self, agent: Agent) -> None:
        target = FreezeTarget(agent=agent.name)
        self._try("freeze", agent, lambda: actions.freeze(target, by=BY, lasting=None, reason=""))
        actions.unfreeze(target, by=BY)

    def _set_status(self, agent: Agent, status: str) -> None:
        with governed_change(by=BY):
            Agent.objects.filter(id=agent.id).update(status=status)

    def _try(self, act: str, agent: Agent | None, take_away: Any) -> None:
        started = time.monotonic()
        take_away()
        wait_ms = (time.monotonic() - started) * 1000
        where = {"agent": agent.name} if agent else {"tool": self._tool.name}
        intents = EventRow.objects.filter(kind="call.intent", **where)
        before = intents.count()
        time.sleep(SETTLE_SECONDS)
        self.trials.append(Trial(act, round(wait_ms, 2), before, intents.count()))

    def offboard(self) -> dict[str, Any]:
        owner = User.objects.get(email=f"owner-{self._group}@example.com")
        receipt: dict[str, Any] = json.loads(offboardings.offboard(owner, plan=Plan(), by=BY).receipt)
        return receipt


def intents_of(credential: AgentCredential, agent: str) -> int:
    since = first_id_at(credential.created_at - timedelta(seconds=1))
    headers = EventRow.objects.filter(kind="call.intent", agent=agent, id__gte=since).values_list("header", flat=True)
    return sum(json.loads(bytes(header))["details"]["credential"] == credential.id.hex for header in headers)


def hold_open(seconds: float) -> None:
    """A governed change whose transaction stays open."""
    with governed_change(by=BY):
        Organization.objects.update(name="Held")
        time.sleep(seconds)


def measure_waits(seconds: float) -> list[float]:
    """Milliseconds that each of many small governed changes took, from BEGIN to COMMIT's return.

    This process gets the CPU first where it may: the wait is for the fence, not for one of too few cores.
    """
    with suppress(PermissionError):
        os.nice(-15)
    agents = Agent.objects.filter(name=agent_name(0, 0))
    agents.get()
    waited = []
    until = time.monotonic() + seconds
    for status in itertools.cycle(("suspended", "live")):
        time.sleep(0.02)
        started = time.monotonic()
        with governed_change(by=BY):
            agents.update(status=status)
        waited.append((time.monotonic() - started) * 1000)
        if time.monotonic() > until:
            return waited
    return waited


def main(verb: str, *words: str) -> None:
    if verb == "world":
        make_world(int(words[0]), is_asking="asking" in words)
    elif verb == "wait":
        print(json.dumps(measure_waits(float(words[0]))))
    elif verb == "hold":
        hold_open(float(words[0]))
    elif verb == "unsay":
        revoker = Revoker(int(words[0]))
        revoker.unsay(float(words[1]))
        print(json.dumps([asdict(trial) for trial in revoker.trials]))
    elif verb == "call":
        held.MOST_ASKED = sys.maxsize  # type: ignore[misc]
        if "unfenced" in words:
            runtime.GroupCommitter = Unfenced  # type: ignore[misc]
        print(asyncio.run(call_all()))
    else:
        revoker = Revoker(int(words[0]))
        revoker.run(float(words[1]))
        receipt = revoker.offboard() if len(words) > 2 else None
        found = {"trials": [asdict(trial) for trial in revoker.trials], "ended": revoker.ended, "receipt": receipt}
        print(json.dumps(found, default=str))
    connection.close()


if __name__ == "__main__":
    main(*sys.argv[1:])
