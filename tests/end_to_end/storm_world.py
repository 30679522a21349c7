"""What a storm comes upon: an installation with agents' keys and an upstream, on a server that may be crashed."""

import os
import signal
import subprocess
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, TypeVar

import pytest

from tests import cast, services
from tests.conftest import MISSING
from tests.connectors.servers import ScriptedServer, scripted_server
from tests.end_to_end.histories import Evidence, read_evidence
from tests.end_to_end.storm import Key, Storm, UnluckyInstallation
from tests.end_to_end.storm_upstream import TIMEOUT_SECONDS
from tests.end_to_end.upstreams import in_background

RECOVERY_SECONDS = 40.0
RESTART_SECONDS = 180.0
KEYS = 6

House = TypeVar("House", bound=UnluckyInstallation)


class PrivateServer:
    """A PostgreSQL server of its own, which can be crashed without harm to other tests."""

    def __init__(self, folder: Path, binaries: Path) -> None:
        self.url = f"postgresql://gatehouse@/postgres?host={folder}"
        self._folder = folder
        self._one_at_a_time = threading.Lock()
        self._options = f"-k {folder} -c listen_addresses= -c max_connections=200"
        self._control = [str(binaries / "pg_ctl"), "-D", str(folder / "data"), "-l", str(folder / "log")]
        self._run(str(binaries / "initdb"), "-D", str(folder / "data"), "-U", "gatehouse", "-A", "trust",
                  "--locale=C", "-E", "UTF8")  # fmt: skip
        self._run(*self._control, "-w", "-o", self._options, "start")

    def crash(self) -> None:
        """Without a goodbye, and up again."""
        with self._one_at_a_time:
            self._run(*self._control, "-w", "-m", "immediate", "-o", self._options, "restart")

    def kill_postmaster(self) -> None:
        """kill -9. What it leaves behind notices by itself, and nothing can be started before."""
        with self._one_at_a_time:
            os.kill(int((self._folder / "data" / "postmaster.pid").read_text().split()[0]), signal.SIGKILL)
            deadline = time.monotonic() + RESTART_SECONDS
            while not self._starts():
                assert time.monotonic() < deadline, (self._folder / "log").read_text()[-2000:]
                time.sleep(0.2)

    def stop(self) -> None:
        with suppress(subprocess.CalledProcessError):
            self._run(*self._control, "-m", "immediate", "stop")

    def _starts(self) -> bool:
        try:
            self._run(*self._control, "-w", "-o", self._options, "start")
        except subprocess.CalledProcessError:
            return False
        return True

    def _run(self, *words: str) -> None:
        quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
        subprocess.run(services.unprivileged(words), check=True, cwd=self._folder, timeout=RESTART_SECONDS, **quiet)


@dataclass
class World(Generic[House]):
    house: House
    upstream: ScriptedServer
    keys: list[Key]
    server: PrivateServer | None = None

    @property
    def crash(self) -> Callable[[], None] | None:
        return self.server.crash if self.server else None

    def evidence(self) -> Evidence:
        changes = self.house.sql(
            "SELECT c.object_id, a.epoch FROM governance_change c JOIN governance_advance a ON a.txid = c.txid"
            " WHERE c.relation = 'governance_agentcredential' AND c.operation = 'update'"
        )
        revoked = {str(key_id).replace("-", ""): epoch for key_id, epoch in changes}
        return read_evidence(self.house.events("call.intent", "call.outcome"), revoked)

    def oldest_in_flight(self) -> list[Any]:
        """Of each process, as it last said."""
        return [found for (found,) in self.house.sql("SELECT oldest_in_flight FROM gateway_gatewayprocess")]

    def recovered(self) -> Evidence:
        """What evidence holds once sound processes have closed what the dead left open."""
        self.house.one_in = 0
        self.house.declare_silent()
        self.house.start_gateway()
        deadline = time.monotonic() + RECOVERY_SECONDS
        while (found := self.evidence()).open_intents() and time.monotonic() < deadline:
            time.sleep(0.2)
        return found


@contextmanager
def made(
    folder: Path,
    database: str,
    postgres_url: str,
    *,
    of: type[House],
    more: Mapping[str, Any] | None = None,
    environment: Mapping[str, str] | None = None,
    keys: int = KEYS,
) -> Iterator[World[House]]:
    """`more` of the manifest, whose secrets `environment` holds."""
    with ExitStack() as stack:
        upstream = stack.enter_context(in_background(scripted_server()))
        upstream.be_modern(tools=[{"name": "act", "inputSchema": {"type": "object"}}])
        house = stack.enter_context(of(folder, database=database, postgres_url=postgres_url))
        manifest = cast.organisation({"upstream": upstream.url}, timeout_seconds=TIMEOUT_SECONDS)
        manifest["connectors"][0]["relays"] = ["elicitation"]
        house.apply(manifest | dict(more or {}), **dict(environment or {}))
        with ThreadPoolExecutor(3) as pool:
            issued = list(pool.map(lambda _: house.issue(cast.TRIAGE_BOT), range(keys)))
        yield World(house, upstream, [Key(str(key["key_id"]).replace("-", ""), key["key"]) for key in issued])
        house.kill9()


@contextmanager
def private_server() -> Iterator[PrivateServer]:
    try:
        binaries = services.postgres_binaries()
    except services.Unavailable as missing:
        pytest.skip(f"{MISSING}{missing}")
    with services.private_folder("gatehouse-crash-") as folder:
        server = PrivateServer(folder, binaries)
        try:
            yield server
        finally:
            server.stop()


def told(storm: Storm, evidence: Evidence) -> str:
    outcomes = Counter(outcome.outcome for found in evidence.outcomes.values() for outcome in found)
    heard = Counter(telling.heard.name for telling in storm.recorder.tellings)
    struck = Counter(line.split()[-1] for line in storm.house.log().splitlines() if line.startswith("struck behind"))
    return (
        f"\n{storm.house.database}: {len(storm.recorder.requests)} histories {dict(storm.manners)},"
        f" upstream got {len(storm.recorder.received)}\n  heard {dict(heard)}\n  outcomes {dict(outcomes)}"
        f"\n  faults {dict(storm.faults)}, killed behind {dict(struck)}"
    )
