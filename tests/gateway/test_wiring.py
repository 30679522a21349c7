"""The real ports, where they hold secrets."""

import asyncio
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from uuid import UUID, uuid4

import pytest
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from audit.event import uuid7
from audit.record import SealedPayload
from connectors.base import SILENCE, ChildSpec, Question, RawResult, Relay, UpstreamAuth, UpstreamSpec
from connectors.resilience import Guarded
from gateway.call import Frame
from gateway.commit.entry import Backend, Committed, Entry, Verdict
from gateway.commit.group import BOOT_CLOCK, GroupCommitter
from gateway.pipeline import run
from gateway.sealers import Sealers
from gateway.wiring import GatewayPorts
from governance.payload_keys import PayloadSealer
from governance.snapshot import Freeze, Program, SealedSecret, Snapshot
from governance.vault import Keyring, seal
from tests import factories as make

KEK, LOST_KEK = bytes(range(32)), bytes(range(32, 64))


class NoBackend(Backend):
    """Nothing is committed in these tests."""


def sealed(name: str, value: str, kek: bytes) -> SealedSecret:
    version = str(uuid4())
    envelope = seal(value.encode(), context=f"secret_version:{version}:value", keyring=Keyring(kek))
    return SealedSecret(name, version, name, "bearer", "", envelope.key_id, envelope.wrapped_key, envelope.ciphertext)


def holding(*secrets: SealedSecret) -> Snapshot:
    return replace(make.snapshot(), secrets=secrets)


async def test_one_secret_that_cannot_be_opened_stops_nobody_else(caplog: pytest.LogCaptureFixture) -> None:
    ports = GatewayPorts(process_id=uuid7(), committer=GroupCommitter(NoBackend()), kinds={}, keyring=Keyring(KEK))
    index = ports.vault_index(
        holding(sealed("lost", "value-of-the-lost-one", LOST_KEK), sealed("good", "value-of-the-good-one", KEK))
    )
    assert index.find(b'{"text":"value-of-the-good-one"}')
    assert "secret lost cannot be opened" in caplog.text
    assert "value-of-the-lost-one" not in caplog.text


class Slow:
    """A kind of system that works until it is broken off."""

    def __init__(self) -> None:
        self.asked: list[tuple[UpstreamSpec, UpstreamAuth, Question]] = []
        self.began = asyncio.Event()
        self.forgotten: list[str] = []

    async def forget(self, connector_ids: Sequence[str]) -> None:
        self.forgotten += connector_ids

    async def has_begun(self) -> None:
        async with asyncio.timeout(30):
            await self.began.wait()

    async def request(
        self, spec: UpstreamSpec, auth: UpstreamAuth, question: Question, relay: Relay = SILENCE
    ) -> RawResult:
        self.asked.append((spec, auth, question))
        self.began.set()
        await asyncio.Event().wait()
        raise AssertionError


class Told(GroupCommitter):
    """Everything is committed at once."""

    def __init__(self) -> None:
        super().__init__(NoBackend())
        self.entries: list[Entry] = []

    async def commit(self, entry: Entry) -> Committed:
        self.entries.append(entry)
        return Committed(Verdict.COMMITTED, 1, time.clock_gettime_ns(BOOT_CLOCK))


def held(connector: make.Connector) -> Snapshot:
    agent = make.agent(roles=(make.role("bundle-support"),))
    bundle = make.bundle(tools=(make.tool(of=connector),))
    return make.snapshot(agents=(agent,), bundles=(bundle,), credentials=(make.credential(agent),))


async def sealed_as_it_is(plaintext: bytes, **_whose: str) -> tuple[UUID, SealedPayload, bytes]:
    return uuid7(), SealedPayload("key", plaintext), b""


def ports_with(kind: Slow, view: Snapshot) -> tuple[GatewayPorts, Told]:
    committer = Told()
    guarded = Guarded(kind)  # type: ignore[arg-type]
    kinds = {"fake": guarded, "stdio": guarded}
    ports = GatewayPorts(process_id=uuid7(), committer=committer, kinds=kinds, keyring=Keyring(KEK))
    ports.snapshot = lambda: view  # type: ignore[method-assign]
    ports.seal_payload = sealed_as_it_is  # type: ignore[method-assign]
    return ports, committer


FRAME = Frame(make.KEY, "support", "ticket_get", {"id": 7}, "2026-07-28")


SECRET = sealed("token", "value-of-the-token", KEK)
USED = make.connector(secret=SECRET)


@pytest.mark.parametrize(
    ("now", "is_forgotten"),
    [
        (USED, False),
        (replace(USED, name="renamed"), False),
        (replace(USED, revision="2"), True),
        (replace(USED, secret=replace(SECRET, version_id="2")), True),
        (replace(USED, secret=None), True),
        (replace(USED, is_enabled=False), True),
        (None, True),
    ],
)
async def test_clients_that_no_call_can_use_any_more_are_ended(now: make.Connector | None, is_forgotten: bool) -> None:
    kind = Slow()
    ports, _ = ports_with(kind, held(USED))
    task = asyncio.create_task(run(FRAME, ports))
    await kind.has_begun()
    ports.cancel(task)
    await task
    ports._on_swap(make.snapshot(epoch=2) if now is None else held(now))
    await asyncio.sleep(0)
    assert set(kind.forgotten) == ({USED.id} if is_forgotten else set())


async def test_a_caller_who_cancels_breaks_off_the_upstream_and_its_outcome_is_recorded() -> None:
    kind = Slow()
    ports, committer = ports_with(kind, held(make.connector()))
    task = asyncio.create_task(run(FRAME, ports))
    assert not ports.cancel(task)
    await kind.has_begun()
    assert ports.cancel(task)
    told = await task
    assert told.result is not None
    assert told.result["_meta"]["com.gatehouse/failure"]["code"] == "cancelled"
    assert [entry.event.outcome for entry in committer.entries] == ["", "cancelled"]
    assert (ports.in_flight, ports.open_intents, ports.cancel(task)) == ({}, {}, False)


async def test_an_intent_is_no_older_than_its_key() -> None:
    """A heartbeat meanwhile says that nothing older is open; recovery looks for nothing older."""
    kind = Slow()
    ports, committer = ports_with(kind, held(make.connector()))
    del ports.seal_payload  # type: ignore[method-assign]
    has_key = asyncio.Event()

    async def read(_work: Callable[[], PayloadSealer]) -> PayloadSealer:
        await has_key.wait()
        return PayloadSealer("1", AESGCM(bytes(32)))

    ports.sealers = Sealers(Keyring(KEK), read)
    task = asyncio.create_task(run(FRAME, ports))
    await asyncio.sleep(0.01)
    beaten = uuid7()
    await asyncio.sleep(0.01)
    has_key.set()
    await kind.has_begun()
    ports.cancel(task)
    await task
    assert committer.entries[0].event.kind == "call.intent"
    assert committer.entries[0].event.id > beaten


async def test_who_loses_the_right_while_it_runs_is_cut_off_whatever_she_wanted() -> None:
    kind = Slow()
    ports, committer = ports_with(kind, held(make.connector()))
    task = asyncio.create_task(run(FRAME, ports))
    await kind.has_begun()
    ports._on_swap(make.snapshot(epoch=2))
    assert ports.cancel(task)
    assert (await task).status == 401
    assert [entry.event.details["code"] for entry in committer.entries] == ["permitted", "withdrawn"]


async def test_a_cancellation_from_outside_is_nobodys_wish_and_goes_on() -> None:
    kind = Slow()
    ports, _ = ports_with(kind, held(make.connector()))
    task = asyncio.create_task(run(FRAME, ports))
    await kind.has_begun()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_a_local_server_gets_its_secret_as_a_variable_and_in_no_header() -> None:
    program = Program(("server",), {"MODE": "strict"}, "TOKEN", per_agent=True, memory_mb=64)
    secret = sealed("token", "value-of-the-token", KEK)
    connector = make.connector(kind="stdio", program=program, secret=secret, relays=frozenset({"roots"}), max_running=2)
    kind = Slow()
    ports, _ = ports_with(kind, replace(held(connector), secrets=(secret,)))
    task = asyncio.create_task(run(FRAME, ports))
    await kind.has_begun()
    ports.cancel(task)
    await task
    ((spec, auth, question),) = kind.asked
    assert spec.child == ChildSpec(("server",), {"MODE": "strict"}, "TOKEN", per_agent=True, memory_mb=64)
    assert (spec.relays, spec.max_running) == (frozenset({"roots"}), 2)
    assert (auth.variables, auth.headers, auth.identity) == ((("TOKEN", "value-of-the-token"),), (), secret.version_id)
    assert "value-of-the-token" not in repr(auth)
    assert (question.agent_id, dict(question.params)) == (
        "agent-triage-bot",
        {"name": b'"ticket_get"', "arguments": b'{"id":7}'},
    )


@pytest.mark.parametrize("target", ["agent", "connector", "tool", "everything"])
async def test_a_freeze_cuts_what_runs_into_it_and_says_that_it_may_have_happened(target: str) -> None:
    kind = Slow()
    view = held(make.connector())
    ports, committer = ports_with(kind, view)
    task = asyncio.create_task(run(FRAME, ports))
    await kind.has_begun()
    ports._on_swap(replace(view, freezes=(freeze_of(target, view),)))
    told = await task
    assert told.result is not None
    assert told.result["_meta"]["com.gatehouse/failure"]["code"] == "frozen"
    assert "may have had an effect" in told.result["content"][0]["text"]
    assert [entry.event.details["code"] for entry in committer.entries] == ["permitted", "frozen"]


async def test_a_freeze_of_something_else_or_that_is_over_cuts_nothing() -> None:
    kind = Slow()
    view = held(make.connector())
    ports, _ = ports_with(kind, view)
    task = asyncio.create_task(run(FRAME, ports))
    await kind.has_begun()
    over = replace(freeze_of("everything", view), ends_at=ports.now())
    others = Freeze("agent-other", None, None, "", None)
    ports._on_swap(replace(view, freezes=(over, others)))
    await asyncio.sleep(0)
    assert not task.done()
    ports.cancel(task)
    await task


def freeze_of(target: str, view: Snapshot) -> Freeze:
    ids = {"agent": "agent-triage-bot", "connector": "connector-helpdesk", "tool": next(iter(view.tools))}
    named = (ids[name] if name == target else None for name in ("agent", "connector", "tool"))
    return Freeze(*named, "", None)
