"""A call that a rule asks about, humans who answer, real rows and commits; upstream and snapshot are fake."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

from django.db import connection

from gateway.call import Answer, Frame
from gateway.commit.entry import Committed, Entry
from gateway.commit.group import GroupCommitter
from gateway.held_rows import call_digest, sealed
from governance import canonical
from governance.approval_rows import approval_digest
from governance.approval_terms import Terms
from governance.models import ApprovalDecision, ApprovalRequest, Epoch
from governance.snapshot import Person, Rule, Snapshot
from tests import factories as make
from tests.fakes import FakePorts
from tests.gateway.test_group_commit import backend

ANA, LEE, EVE, AGENT = 1, 2, 3, 7
WITHIN = timedelta(minutes=5)


def uid(number: int) -> UUID:
    return UUID(int=number)


def person(number: int, email: str, **fields: Any) -> Person:
    return replace(make.person(email), id=uid(number).hex, human_id=uid(number).hex, **fields)


PEOPLE = (person(ANA, "ana@example.com"), person(LEE, "lee@example.com"), person(EVE, "eve@example.com"))


def asking(**fields: Any) -> Rule:
    terms = Terms(people=("lee@example.com", "eve@example.com"), count=fields.pop("count", 1))
    return make.rule("ask", fields.pop("when", "true"), terms=terms, reason="Leads look at this", **fields)


def world(
    *rules: Rule,
    people: tuple[Person, ...] = PEOPLE,
    status: str = "live",
    bundle_version: int = 1,
    definition: str = "digest",
    records_payload: bool = True,
    credential: dict[str, Any] | None = None,
    tool: dict[str, Any] | None = None,
    connector: dict[str, Any] | None = None,
) -> Snapshot:
    """As of the database's epoch."""
    owner = next(each for each in people if each.email == "ana@example.com")
    upstream = replace(make.connector(**(connector or {})), id=uid(11).hex)
    held = replace(make.tool(of=upstream, **(tool or {})), id=uid(12).hex, definition_digest=definition)
    agent = replace(make.agent(roles=(make.role(uid(13).hex),), status=status, owner=owner), id=uid(AGENT).hex)
    bundle = replace(
        make.bundle(tools=(held,), rules=rules or (asking(),)),
        id=uid(13).hex,
        number=bundle_version,
        records_payload=records_payload,
    )
    key = replace(make.credential(agent), id=uid(14).hex, **(credential or {}))
    epoch = Epoch.objects.get().number
    return make.snapshot(agents=(agent,), bundles=(bundle,), credentials=(key,), people=people, epoch=epoch)


def frame(**arguments: Any) -> Frame:
    return Frame(
        token=make.KEY,
        bundle="support",
        name="ticket_get",
        arguments=arguments or {"amount": 250, "order": 7},
        revision="2025-11-25",
    )


class AskingPorts(FakePorts):
    """Commits for real."""

    def __init__(self, snapshot: Snapshot, committer: GroupCommitter) -> None:
        super().__init__(snapshot, at=datetime.now(UTC))
        self.run_labels, self._committer = self.store.run_labels, committer

    async def commit(self, entry: Entry) -> Committed:
        committed = await self._committer.commit(entry)
        self.log.append(entry.event.kind if committed.verdict.value == "0" else committed.verdict.name)
        if committed.verdict.value == "0":
            self.entries.append(entry)
        return committed

    async def confirmed_snapshot(self) -> Snapshot:
        return self.views[0]


def with_ports(use: Callable[[AskingPorts], Awaitable[Any]], snapshot: Snapshot | None = None) -> Any:
    view = snapshot or world()

    async def run() -> Any:
        committer = GroupCommitter(backend())
        ports = AskingPorts(view, committer)
        await ports.store.start()
        try:
            async with asyncio.timeout(60):
                return await use(ports)
        finally:
            await ports.store.stop()
            await committer.close()

    return asyncio.run(run())


async def in_thread(work: Callable[[], Any]) -> Any:
    def alone() -> Any:
        try:
            return work()
        finally:
            connection.close()

    return await asyncio.to_thread(alone)


def request() -> ApprovalRequest:
    return ApprovalRequest.objects.order_by("-number")[0]


def approve(*, by: int = LEE, row: ApprovalRequest | None = None) -> ApprovalRequest:
    """Her yes, as the pages leave it when it was the last one needed."""
    found = row or request()
    now = datetime.now(UTC)
    _decide(found, "approve", by)
    ApprovalRequest.objects.filter(number=found.number).update(
        state="approved", use_before=now + WITHIN, revision=found.revision + 1
    )
    return found


def deny(reason: str = "Too much", *, by: int = LEE) -> ApprovalRequest:
    row = request()
    _decide(row, "deny", by, reason=reason)
    ApprovalRequest.objects.filter(number=row.number).update(
        state="denied", ended_at=datetime.now(UTC), ended_because=f"denied by lee@example.com: {reason}"
    )
    return row


def narrow(**arguments: Any) -> ApprovalRequest:
    row = request()
    body = canonical.encode(arguments)
    row.call_digest, row.arguments = call_digest(row, body), sealed(row.key, body)
    row.save(update_fields=["call_digest", "arguments"])
    return approve(row=row)


def _decide(row: ApprovalRequest, verdict: str, by: int, *, reason: str = "") -> None:
    ApprovalDecision.objects.create(
        request=row,
        human_id=uid(by),
        person_id=uid(by),
        person="lee@example.com",
        verdict=verdict,
        reason=reason,
        channel="web",
        digest=approval_digest(row),
        at=datetime.now(UTC),
    )


def code_of(told: Answer) -> str:
    assert told.result is not None
    return str(told.result.get("_meta", {}).get("com.gatehouse/decision", {}).get("code", ""))


def text_of(told: Answer) -> str:
    assert told.result is not None
    return str(told.result["content"][0]["text"])
