"""A storm over all that makes, seals and exports evidence at once: gateways, sequencers, workers and the database.

house.start_parts(); storm.run(list(EVIDENCE_FAULTS), agents=12, seconds=10); house.finish()
objections(house, arrivals, anchors)        # everything that must not be, in words
"""

import asyncio
import gzip
import json
import os
import signal
import sqlite3
import subprocess
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from hashlib import sha256
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import psycopg
from confluent_kafka import OFFSET_BEGINNING, Consumer, Producer, TopicPartition

from gateway.management.commands.serve import ARGV
from tests.end_to_end.storm import Storm, UnluckyInstallation, kill, lose_the_database
from tests.end_to_end.storm_world import PrivateServer
from tests.object_store import ACCESS_KEY, SECRET_KEY, ObjectStore

PARTS = ("sequencer", "worker")
LONGEST_BREATH_SECONDS = 60.0
FINISH_SECONDS = 300.0
"""The last leaves wait a minute for an object of their own."""
BUCKET, TOPIC = "storm", "storm"
DECODER, HEADER = json.JSONDecoder(), '"header":'


class EvidenceHouse(UnluckyInstallation):
    """With several sequencers and workers, as `serve` starts them."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.parts: dict[str, list[subprocess.Popen[bytes]]] = {name: [] for name in PARTS}

    def start_parts(self, *, sequencers: int, workers: int) -> None:
        for name, many in (("sequencer", sequencers), ("worker", workers)):
            self.parts[name] += [self._start(*ARGV[name][2:]) for _ in range(many)]

    def replace_the_dead(self) -> int:
        replaced = super().replace_the_dead()
        for name, running in self.parts.items():
            for process in [found for found in running if found.poll() is not None]:
                running.remove(process)
                running.append(self._start(*ARGV[name][2:]))
                replaced += 1
        return replaced

    def kill_parts(self) -> None:
        for running in self.parts.values():
            for process in running:
                process.kill()
                process.wait()
            running.clear()

    def close(self) -> None:
        self.kill_parts()
        super().close()

    def end_leases(self) -> None:
        """As if whoever sent to the sinks had been silent for longer than a lease: who was killed gives none back."""
        self.sql("UPDATE audit_sink_cursor SET leased_until = NULL, retry_at = NULL")

    def finish(self) -> None:
        """Whatever is recorded by now is sealed, signed and sent, by parts that nobody harms any more."""
        self.kill9()
        self.end_leases()
        self.replace_the_dead()
        wait_until(lambda: not self.left(), within=FINISH_SECONDS, what=self.left)
        self.kill_parts()

    def left(self) -> str:
        """What is not sealed, signed or sent yet, in words; empty if nothing."""
        [(pending,)] = self.sql("SELECT count(*) FROM audit_pending")
        [(leaves,)] = self.sql("SELECT count(*) FROM audit_leaf")
        [(signed,)] = self.sql("SELECT coalesce(max(size), 0) FROM audit_checkpoint")
        sent = [acked for (acked,) in self.sql("SELECT acked_index FROM audit_sink_cursor ORDER BY sink")]
        is_done = not pending and signed == leaves and sent and all(acked == leaves for acked in sent)
        return "" if is_done else f"{pending} wait, {leaves} leaves, {signed} signed, {sent} sent"


def wait_until(condition: Callable[[], bool], *, within: float, what: Callable[[], object] = lambda: "") -> None:
    deadline = time.monotonic() + within
    while not condition():
        assert time.monotonic() < deadline, f"it never came true: {what()}"
        time.sleep(0.1)


# -- where evidence goes


@dataclass
class Arrivals:
    """What one destination got: the hash of each leaf, how often, and whatever cannot be."""

    name: str
    hashes: dict[int, bytes] = field(default_factory=dict)
    times: Counter[int] = field(default_factory=Counter)
    strange: list[str] = field(default_factory=list)

    def take(self, text: str) -> None:
        """Records in the native format, one after the other. Each proves itself; checkpoints have no leaf."""
        at = 0
        while (at := text.find("{", at)) >= 0:
            told, end = DECODER.raw_decode(text, at)
            if HEADER in text[at:end]:
                self._take(told, text[text.index(HEADER, at) + len(HEADER) : end - 1])
            at = end

    def _take(self, told: Mapping[str, Any], header: str) -> None:
        index, leaf = told["leaf_index"], bytes.fromhex(told["leaf_hash"])
        entry = int(told["epoch"]).to_bytes(8, "big", signed=True) + header.encode()
        if sha256(b"\x00" + entry).digest() != leaf:
            self.strange.append(f"{self.name}: leaf {index} does not hash to what it says")
        if self.hashes.setdefault(index, leaf) != leaf:
            self.strange.append(f"{self.name}: leaf {index} arrived as two different ones")
        self.times[index] += 1

    def objections(self, leaves: Mapping[int, bytes]) -> Iterator[str]:
        yield from self.strange[:10]
        for index, leaf in leaves.items():
            if self.hashes.get(index) != leaf:
                yield f"{self.name}: leaf {index} {'is another one' if index in self.hashes else 'never arrived'}"
        if beyond := self.hashes.keys() - leaves.keys():
            yield f"{self.name}: {len(beyond)} leaves that are not in the log, first {min(beyond)}"


class Hook(ThreadingHTTPServer):
    """A webhook's receiver that fails now and then, also after it has kept what came."""

    daemon_threads = True
    request_queue_size = 64

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Posts)
        self.arrivals = Arrivals("webhook")
        self.lock = threading.Lock()
        self.posts = 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}/hook"

    @contextmanager
    def serving(self) -> Iterator["Hook"]:
        with self:
            threading.Thread(target=self.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
            yield self
            self.shutdown()


class _Posts(BaseHTTPRequestHandler):
    server: Hook
    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        with self.server.lock:
            self.server.posts += 1
            is_bad = self.server.posts % 23 == 0
            self.server.arrivals.take(body.decode())
        self.send_response(503 if is_bad else 200)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_: object) -> None: ...


def kafka_arrivals(brokers: str, leaves: int) -> Arrivals:
    """All that is there, of every partition."""
    found = Arrivals("kafka")
    consumer = Consumer({"bootstrap.servers": brokers, "group.id": "reader", "log_level": 0})
    try:
        partitions = consumer.list_topics(TOPIC, timeout=30).topics[TOPIC].partitions
        consumer.assign([TopicPartition(TOPIC, number, OFFSET_BEGINNING) for number in partitions])
        quiet = time.monotonic() + 20
        while time.monotonic() < quiet and (len(found.hashes) < leaves):
            for message in consumer.consume(1000, timeout=0.5):
                quiet = time.monotonic() + 20
                if message.error() is None:
                    found.take(message.value().decode())
    finally:
        consumer.close()
    return found


@contextmanager
def kafka() -> Iterator[str]:
    """librdkafka's own cluster, on loopback inside this process. It keeps a few megabytes: for samples."""
    cluster = Producer({"bootstrap.servers": "none", "test.mock.num.brokers": 2, "log_level": 0})
    yield ",".join(f"{broker.host}:{broker.port}" for broker in cluster.list_topics(timeout=30).brokers.values())
    del cluster


def stored_arrivals(store: ObjectStore) -> Arrivals:
    """All objects of the bucket, by their names."""
    found = Arrivals("s3")
    listing = store.client.get_paginator("list_objects_v2").paginate(Bucket=BUCKET)
    for key in (each["Key"] for page in listing for each in page.get("Contents", [])):
        body = store.client.get_object(Bucket=BUCKET, Key=key)["Body"].read()
        found.take(gzip.decompress(body).decode())
    return found


def sinks(*, hook: str, brokers: str = "", store: str = "") -> tuple[dict[str, Any], dict[str, str]]:
    """What the manifest says of them, and the environment with their secrets."""
    secrets = [{"name": "hook-key", "kind": "bearer", "value_from": {"env": "HOOK_KEY"}}]
    found: list[dict[str, Any]] = [{"name": "hook", "kind": "webhook", "url": hook, "secret": "hook-key"}]
    if brokers:
        topic = {"brokers": brokers, "topic": TOPIC, "security": "plaintext"}
        found.append({"name": "stream", "kind": "kafka", "settings": topic})
    if store:
        secrets.append({"name": "store-key", "kind": "basic", "value_from": {"env": "STORE_KEY"}})
        bucket = {"bucket": BUCKET, "endpoint": store}
        found.append({"name": "store", "kind": "s3", "settings": bucket, "secret": "store-key"})
    values = {"HOOK_KEY": "a-key-of-the-tests", "STORE_KEY": f"{ACCESS_KEY}:{SECRET_KEY}"}
    return {"secrets": secrets, "sinks": found}, values


# -- what is kept outside while it lasts


class Anchors(threading.Thread):
    """Takes the newest checkpoint down, every so often, as somebody elsewhere would."""

    def __init__(self, house: EvidenceHouse, folder: Path, *, every: float) -> None:
        super().__init__(daemon=True)
        self.files: list[Path] = []
        self._house, self._folder, self._every = house, folder, every
        self._ended = threading.Event()
        folder.mkdir()

    def run(self) -> None:
        while not self._ended.wait(self._every):
            with suppress(psycopg.Error, sqlite3.Error, OSError):
                self._keep(self._house.sql("SELECT size, note FROM audit_checkpoint ORDER BY size DESC LIMIT 1"))

    def _keep(self, newest: Iterable[tuple[int, str]]) -> None:
        for size, note in newest:
            file = self._folder / f"{size}.txt"
            if file in self.files:
                assert file.read_text() == note, "a checkpoint of this size said something else"
            else:
                file.write_text(note)
                self.files.append(file)

    def end(self) -> None:
        self._ended.set()
        self.join()


# -- what comes upon them


class EvidenceStorm(Storm):
    """`server` may be killed as well, if there is one of its own."""

    house: EvidenceHouse

    def __init__(self, *arguments: Any, server: PrivateServer | None = None, **options: Any) -> None:
        super().__init__(*arguments, known=EVIDENCE_FAULTS, **options)
        self.server = server
        self._signed = 0

    async def breathe(self, until: float) -> None:
        """Until something was signed again: on a busy machine a process may take longer to start than a round lasts."""
        until = min(until, time.monotonic() + LONGEST_BREATH_SECONDS)
        before = self._signed
        while self._signed == before and time.monotonic() < until:
            await asyncio.sleep(0.5)
            self._signed = await asyncio.to_thread(self._newest_signed)

    def _newest_signed(self) -> int:
        with suppress(psycopg.Error, sqlite3.Error):
            [(size,)] = self.house.sql("SELECT coalesce(max(size), 0) FROM audit_checkpoint")
            return int(size)
        return self._signed

    def any_part(self, name: str) -> "subprocess.Popen[bytes]":
        return self.chance.choice(self.house.parts[name])


async def kill_a_sequencer(storm: EvidenceStorm) -> None:
    storm.any_part("sequencer").kill()


async def freeze_a_sequencer(storm: EvidenceStorm) -> None:
    """It may be the one that leads, in the middle of a batch; the other goes on, and then there are two."""
    process = storm.any_part("sequencer")
    process.send_signal(signal.SIGSTOP)
    await asyncio.sleep(2.0)
    process.send_signal(signal.SIGCONT)


async def kill_a_worker(storm: EvidenceStorm) -> None:
    storm.any_part("worker").kill()


async def kill_a_backend(storm: EvidenceStorm) -> None:
    """kill -9: the server ends all others as well and recovers. Where there is none of our own, one is asked to end."""
    await asyncio.to_thread(_kill_a_backend, storm)


def _kill_a_backend(storm: EvidenceStorm) -> None:
    house = storm.house
    if house.database != "postgres":
        return
    name = urlsplit(house.database_url).path[1:]
    with suppress(psycopg.Error, ProcessLookupError):
        found = house.sql("SELECT pid FROM pg_stat_activity WHERE datname = %s AND pid <> pg_backend_pid()", name)
        if found and storm.server is not None:
            os.kill(storm.chance.choice(found)[0], signal.SIGKILL)
        elif found:
            house.sql("SELECT pg_terminate_backend(%s)", storm.chance.choice(found)[0])


async def kill_the_database(storm: EvidenceStorm) -> None:
    """kill -9 of the server itself; where it is not ours, all are shut out of it for a moment."""
    if storm.server is not None:
        await asyncio.to_thread(storm.server.kill_postmaster)
    else:
        await lose_the_database(storm)


EVIDENCE_FAULTS = {
    "kill": kill,
    "kill-a-sequencer": kill_a_sequencer,
    "freeze-a-sequencer": freeze_a_sequencer,
    "kill-a-worker": kill_a_worker,
    "kill-a-backend": kill_a_backend,
    "kill-the-database": kill_the_database,
}


# -- what must hold


def leaves_of(house: EvidenceHouse) -> dict[int, bytes]:
    return {index: bytes(leaf) for index, leaf in house.sql('SELECT "index", hash FROM audit_leaf ORDER BY "index"')}


def objections(house: EvidenceHouse, leaves: Mapping[int, bytes], arrivals: Iterable[Arrivals],
               anchors: Iterable[Path]) -> list[str]:  # fmt: skip
    """Everything that must not be, once all is sealed and sent."""
    found = [f"gap before leaf {index}" for place, index in enumerate(leaves) if place != index][:1]
    for one in arrivals:
        found += one.objections(leaves)
    [(dead,)] = house.sql("SELECT count(*) FROM audit_dead_letter")
    if dead:
        found.append(f"{dead} dead letters")
    [(events,)] = house.sql("SELECT count(*) FROM audit_event")
    if events != len(leaves):
        found.append(f"{events} events, {len(leaves)} leaves")
    return [*found, *_verified(house, list(anchors))]


def _verified(house: EvidenceHouse, anchors: list[Path]) -> Iterator[str]:
    told = house.answer("verify_audit", *(word for file in anchors for word in ("--anchor", str(file))), expect=None)
    if not told["sound"] or told["pending"]:
        yield f"{told['figure']}: {told['problems']}"
    if told["anchors"] != len(anchors):
        yield f"{told['anchors']} of {len(anchors)} anchors met"
