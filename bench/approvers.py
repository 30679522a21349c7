"""The measuring half of bench.approvals, in the environment of an installation whose gateway runs."""

import asyncio
import json
import os
import statistics
import sys
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import django
import httpx

django.setup()

from django.db import connection  # noqa: E402  (Django's apps must be ready first)

from gateway.approving import decide  # noqa: E402
from gateway.recorder import recorder  # noqa: E402
from governance import agent_keys  # noqa: E402
from governance.approval_rows import Authentication, approval_digest  # noqa: E402
from governance.approvals import Ballot  # noqa: E402
from governance.fence.actor import governed_change  # noqa: E402
from governance.models import Agent, ApprovalRequest, Organization, Policy, PolicyVersion, Rule, User  # noqa: E402

BY = "command:bench"
CLICKS, LATE_CLICKS = 40, 12
WAITING, OF_ONE = 1_000, 20
HEADERS = {
    "Accept": "application/json, text/event-stream",
    "MCP-Protocol-Version": "2026-07-28",
    "Mcp-Method": "tools/call",
    "Mcp-Name": "echo",
}


def ask_humans(approver: User) -> None:
    with governed_change(by=BY):
        policy = Policy.objects.create(name="humans-look-at-it")
        version = PolicyVersion.objects.create(policy=policy, number=1, created_by=BY)
        Rule.objects.create(version=version, position=1, effect="ask", approvers={"people": [approver.email]})
        Organization.objects.get().policies.add(policy)


def issued_keys() -> list[str]:
    now = datetime.now(UTC)
    record = recorder(by=BY, now=now)
    with governed_change(by=BY):
        agents = Agent.objects.order_by("name")
        return [agent_keys.issue_key(each, by=BY, record=record, now=now, expires_at=None).key for each in agents]


async def call(client: httpx.AsyncClient, key: str, text: str) -> str:
    """What the answer says, once it is whole."""
    known = {"protocolVersion": "2026-07-28", "clientInfo": {"name": "bench", "version": "1"}, "clientCapabilities": {}}
    meta = {f"io.modelcontextprotocol/{name}": value for name, value in known.items()}
    params = {"name": "echo", "arguments": {"text": text}, "_meta": meta}
    message = {"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": params}
    headers = {**HEADERS, "Authorization": f"Bearer {key}"}
    reply = await client.post("/mcp/bench", json=message, headers=headers)
    data = [line[6:] for line in reply.text.splitlines() if line.startswith("data: {")]
    answer: dict[str, Any] = json.loads(data[-1] if data else reply.text)
    return str(answer["result"]["content"][0]["text"])


def waiting() -> list[ApprovalRequest]:
    return list(ApprovalRequest.objects.filter(state="pending").order_by("number"))


async def until_waiting(count: int) -> list[ApprovalRequest]:
    while len(rows := await asyncio.to_thread(waiting)) < count:  # noqa: ASYNC110  (another process writes them)
        await asyncio.sleep(0.1)
    return rows


def approve(row: ApprovalRequest, approver: User) -> float:
    """When the click was."""
    signed_in = Authentication("password", datetime.now(UTC))
    ballot = Ballot(approver, approval_digest(row), row.revision, "web", signed_in, "Looked at it.")
    clicked = time.perf_counter()
    decide(row, ballot, approves=True)
    return clicked


async def clicks(client: httpx.AsyncClient, key: str, approver: User, *, count: int) -> list[float]:
    """Seconds from click to answer of each, one after the other."""
    taken = []
    for number in range(count):
        text = f"held {key[-6:]} {number}"
        calling = asyncio.create_task(call(client, key, text))
        (row,) = await until_waiting(1)
        await asyncio.sleep(0.05 * (number % 40))  # anywhere between two looks
        clicked = await asyncio.to_thread(approve, row, approver)
        assert await calling == text
        taken.append(time.perf_counter() - clicked)
    return sorted(taken)


def lose_letters() -> None:
    """Each is gone before anybody can read it."""
    act = "BEGIN DELETE FROM gateway_letter WHERE id = NEW.id; END"
    with connection.cursor() as cursor:
        if connection.vendor == "postgresql":
            body = "BEGIN DELETE FROM gateway_letter WHERE id = NEW.id; RETURN NULL; END"
            cursor.execute(f"CREATE FUNCTION lose_letter() RETURNS trigger LANGUAGE plpgsql AS $$ {body} $$")
            act = "EXECUTE FUNCTION lose_letter()"
        cursor.execute(f"CREATE TRIGGER lose_letter AFTER INSERT ON gateway_letter FOR EACH ROW {act}")


def told(name: str, taken: list[float]) -> None:
    p95 = taken[int(len(taken) * 0.95)]
    print(f"{name}: {len(taken)} calls, p50 {statistics.median(taken):.3f} s, p95 {p95:.3f} s, worst {taken[-1]:.3f} s")


def status_of(pid: int) -> dict[str, int]:
    """Numbers of /proc/PID/status; memory in KiB."""
    lines = (line.split() for line in Path(f"/proc/{pid}/status").read_text().splitlines())
    return {words[0].rstrip(":"): int(words[1]) for words in lines if len(words) > 1 and words[1].isdigit()}


async def hold_many(client: httpx.AsyncClient, keys: list[str], pid: int) -> None:
    before = status_of(pid)
    calls = [
        asyncio.create_task(call(client, key, f"one of many {n}"))
        for key in keys[: WAITING // OF_ONE]
        for n in range(OF_ONE)
    ]
    await until_waiting(WAITING)
    await asyncio.sleep(2)
    began, burnt = time.perf_counter(), cpu_seconds(pid)
    await asyncio.sleep(5)
    share = (cpu_seconds(pid) - burnt) / (time.perf_counter() - began)
    now = status_of(pid)
    each = (now["VmRSS"] - before["VmRSS"]) / len(calls)
    threads = f"threads {before['Threads']} -> {now['Threads']}"
    print(f"{len(calls)} calls wait: {each:.1f} KiB each, {threads}, CPU {share:.0%} of a core")
    for each_call in calls:
        each_call.cancel()


def cpu_seconds(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


async def measure(url: str, pid: int) -> None:
    approver = await asyncio.to_thread(User.objects.create_user, "lee@example.com")
    await asyncio.to_thread(ask_humans, approver)
    *many, first, second = await asyncio.to_thread(issued_keys)
    limits = httpx.Limits(max_connections=None)
    async with httpx.AsyncClient(base_url=url, timeout=120, limits=limits) as client:
        told("click to answer", await clicks(client, first, approver, count=CLICKS))
        await asyncio.to_thread(lose_letters)
        told("with every letter lost", await clicks(client, second, approver, count=LATE_CLICKS))
        await hold_many(client, many, pid)


if __name__ == "__main__":
    print(f"load average {os.getloadavg()[0]:.1f}")
    asyncio.run(measure(sys.argv[1], int(sys.argv[2])))
