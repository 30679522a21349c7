"""What `bench.evidence` measures, as a process of the installation.

record SECONDS PACE | export FORMAT | sink KIND RECORDS | bundle FOLDER LEAVES      the last line it prints is JSON;
`sink` reads how the destination is reached, as JSON.
"""

import asyncio
import json
import os
import sys
import time
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from threading import Event
from typing import Any
from uuid import UUID, uuid4

import django

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings")
django.setup()

import httpx  # noqa: E402
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey  # noqa: E402
from django.utils import timezone  # noqa: E402
from psycopg.conninfo import make_conninfo  # noqa: E402

from audit import auditverify, cursors  # noqa: E402
from audit.bundle import VERIFIER  # noqa: E402
from audit.checkpoint import Signer  # noqa: E402
from audit.event import AuditEvent, leaf_entry, uuid7  # noqa: E402
from audit.export import Destination, Exporter  # noqa: E402
from audit.leaves import log_size  # noqa: E402
from audit.merkle import Frontier, leaf_hash  # noqa: E402
from audit.models import SinkCursor  # noqa: E402
from audit.record import SealedPayload, commit_to  # noqa: E402
from audit.sinks import SINK_KINDS  # noqa: E402
from audit.sinks.base import Record, Sink  # noqa: E402
from gateway.commit.entry import Entry  # noqa: E402
from gateway.commit.group import GroupCommitter  # noqa: E402
from gateway.commit.postgresql import PostgresqlBackend  # noqa: E402
from gateway.database import connection_parameters  # noqa: E402
from gateway.sink_ways import way_out  # noqa: E402
from governance.payload_keys import PayloadSealer, Place, sealer_at  # noqa: E402
from governance.retention import period_of  # noqa: E402
from governance.vault import keyring  # noqa: E402

CALLERS = 256
"""Calls under way at any moment."""
BODY = b'{"query":"refund of order O-5001","limit":10,"customer":"C-4711","note":"' + b"x" * 200 + b'"}'
DETAILS: dict[str, Any] = {
    "code": "held_by_role",
    "retention": "standard",
    "method": "tools/call",
    "bundle": "support v3",
    "rules": [{"rule": "refunds-need-a-human", "effect": "permit", "from": "bundle support v3"}],
    "arguments_digest": "0" * 64,
    "definition": "1" * 64,
    "credential": "2" * 32,
    "secret_version": "3" * 32,
    "bytes": 311,
    "revision": "2025-11-25",
    "source_ip": "10.1.2.3",
}


def record(seconds: float, pace: int) -> dict[str, Any]:
    """Intent and outcome of calls; `pace` events a second, 0 for as many as there can be."""
    sealer = sealer_at(Place(f"person:{'a' * 32}", "standard", period_of(timezone.now())), keyring())
    process = uuid7()
    committer = GroupCommitter(PostgresqlBackend(make_conninfo(**connection_parameters()), process))
    count = 0

    async def call() -> None:
        nonlocal count
        call_id = uuid7()
        for kind in ("call.intent", "call.outcome"):
            await committer.commit(_entry(kind, call_id, process, sealer))
            count += 1

    async def caller(until: float, pause: float, late: float) -> None:
        await asyncio.sleep(late)
        due = time.monotonic()
        while time.monotonic() < until:
            await call()
            due += pause
            if pause and (left := due - time.monotonic()) > 0:
                await asyncio.sleep(left)

    async def run() -> tuple[float, float]:
        await call()
        began, cpu = time.monotonic(), time.process_time()
        callers = min(CALLERS, max(16, pace // 40)) if pace else CALLERS
        pause = 2 * callers / pace if pace else 0.0
        each = range(callers)
        await asyncio.gather(*(caller(began + seconds, pause, pause * number / callers) for number in each))
        took = time.monotonic() - began, time.process_time() - cpu
        await committer.close()
        return took

    took, cpu = asyncio.run(run())
    return {"events": count, "seconds": took, "cpu": cpu}


def _entry(kind: str, call_id: UUID, process: UUID, sealer: PayloadSealer) -> Entry:
    event_id = uuid7()
    commitment, blinding = commit_to(BODY)
    event = AuditEvent(
        kind=kind,
        id=event_id,
        at=datetime.now(UTC),
        actor="agent:triage-bot",
        call_id=call_id,
        agent="triage-bot",
        person="ana@example.com",
        connector="helpdesk",
        tool="ticket_search",
        decision="permit",
        outcome="ok" if kind == "call.outcome" else "",
        process_id=process,
        session=UUID(int=call_id.int >> 84),
        payload_commitment=commitment,
        details=DETAILS,
    )
    payload = SealedPayload(sealer.key_id, sealer.seal(blinding + BODY, event_id=event_id))
    return Entry(event, payload, read_set=frozenset(("agent:1", "tool:1")), valid_until=event.at + timedelta(hours=1))


class Nowhere:
    """Acknowledges everything at once."""

    max_records, max_bytes = 1_000, 1_000_000

    def __init__(self) -> None:
        self.records = self.bytes = 0

    def send(self, records: Sequence[Record]) -> None:
        self.records += len(records)
        self.bytes += sum(len(record.body) for record in records)

    def close(self) -> None: ...


class Rerouted(httpx.HTTPTransport):
    """Leads to a fake on loopback, without TLS, whatever the sink asked for."""

    def __init__(self, port: int) -> None:
        super().__init__()
        self._port = port

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        request.url = request.url.copy_with(scheme="http", host="127.0.0.1", port=self._port)
        return super().handle_request(request)


def export(name: str) -> dict[str, Any]:
    sink = Nowhere()
    return {**send_to(sink, name, first=0), "records": sink.records, "bytes": sink.bytes}


def send(kind: str, records: int, reached: dict[str, Any]) -> dict[str, Any]:
    """The newest records of the log, by a sink as it is built for a worker."""
    way = way_out()
    if port := reached.get("port"):
        way = replace(way, http=lambda **options: httpx.Client(transport=Rerouted(port), **options))
    sink = SINK_KINDS[kind].build(reached["settings"], reached["secret"], way)
    return {**send_to(sink, "native", first=log_size() - records), "records": records}


def send_to(sink: Sink, format_name: str, *, first: int) -> dict[str, Any]:
    to = Destination(uuid4(), "bench", "1", "Example Corp", format_name, "as_is")
    cursors.begin(to.id, at=first)
    lease = cursors.take(to.id, version=to.version, now=timezone.now())
    assert lease is not None
    began, cpu = time.monotonic(), time.process_time()
    Exporter(to, sink).run(lease, Event())
    took, used = time.monotonic() - began, time.process_time() - cpu
    place = SinkCursor.objects.get(sink=to.id)
    assert place.acked_index == log_size(), place.last_error
    place.delete()
    sink.close()
    return {"seconds": took, "cpu": used}


def bundle(target: Path, leaves: int) -> dict[str, Any]:
    """An export as `export_audit` writes it, of made-up events that are as long as those of calls."""
    signer = Signer("bench.example/audit", Ed25519PrivateKey.generate())
    target.mkdir()
    hashes = bytearray()
    with (target / "events.log").open("wb") as lines:
        header = _made_up_header()
        for index in range(leaves):
            told = header.replace(b"0000000000", b"%010d" % index, 1)
            hashes += leaf_hash(leaf_entry(7, told))
            lines.write(b"%d 7 %b\n" % (index, told))
    (target / "leaves.bin").write_bytes(hashes)
    every = [bytes(hashes[at : at + 32]) for at in range(0, len(hashes), 32)]
    note = signer.sign(size=leaves, root=Frontier().extend(every).root())
    (target / "checkpoint.txt").write_text(note)
    (target / "checkpoints.jsonl").write_text("")
    (target / "rotations.jsonl").write_text("")
    (target / "key.txt").write_text(f"{signer.verifier}\n")
    (target / VERIFIER.name).write_bytes(VERIFIER.read_bytes())
    (target / "bundle.json").write_text(json.dumps({"format": auditverify.FORMAT, "events": leaves}))
    return {"bytes": sum(file.stat().st_size for file in target.iterdir())}


def _made_up_header() -> bytes:
    event = AuditEvent(
        kind="call.intent",
        at=datetime.now(UTC),
        actor="agent:triage-bot",
        agent="triage-bot-0000000000",
        person="ana@example.com",
        connector="helpdesk",
        tool="ticket_search",
        decision="permit",
        payload_commitment=bytes(32),
        details=DETAILS,
    )
    return event.header()


if __name__ == "__main__":
    match sys.argv[1:]:
        case ["record", seconds, pace]:
            print(json.dumps(record(float(seconds), int(pace))))
        case ["export", name]:
            print(json.dumps(export(name)))
        case ["sink", kind, records]:
            print(json.dumps(send(kind, int(records), json.load(sys.stdin))))
        case ["bundle", target, leaves]:
            print(json.dumps(bundle(Path(target), int(leaves))))
