"""Redis emptied, killed and silent: calls do not notice, and people still end keys, within a moment and for good."""

import os
import random
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest

from gateway.readiness import wait_for_pages
from tests import cast, services
from tests.conftest import MISSING, REQUIRED
from tests.connectors.servers import ScriptedServer, Turn, scripted_server
from tests.end_to_end.conftest import MakeInstallation
from tests.end_to_end.installation import REPOSITORY, Installation
from tests.end_to_end.test_open_streams import listened
from tests.end_to_end.upstreams import in_background
from tests.end_to_end.wire import Caller

pytestmark = pytest.mark.databases("postgres")

SOAK_SECONDS = float(os.environ.get("SOAK_SECONDS", "300"))
LATEST_SECONDS = 30.0
CALLERS = 3
DONE = {"content": [{"type": "text", "text": "done"}], "resultType": "complete"}
TOKEN = """
import sys, django; django.setup()
from datetime import UTC, datetime
from governance.models import User
from governance.personal_tokens import issue_token
person = User.objects.get(email=sys.argv[1])
issued = issue_token(person, name="redis", scopes=["read", "agents:write", "keys:issue"], by="test",
                     record=lambda fact: None, now=datetime.now(UTC))
print(issued.token)
"""


class Redis:
    """A server of the test's own, which may be harmed."""

    def __init__(self, folder: Path, binary: str) -> None:
        self._address = ("127.0.0.1", services.free_port())
        self.url = f"redis://127.0.0.1:{self._address[1]}/0"
        self._argv = [
            binary,
            "--port",
            str(self._address[1]),
            "--bind",
            "127.0.0.1",
            "--save",
            "",
            "--dir",
            str(folder),
        ]
        self._process: subprocess.Popen[bytes]

    def start(self) -> None:
        self._process = subprocess.Popen(services.unprivileged(self._argv), stdout=subprocess.DEVNULL)
        deadline = time.monotonic() + LATEST_SECONDS
        while not services.answers(self._address):
            assert time.monotonic() < deadline
            time.sleep(0.02)

    def kill(self) -> None:
        self._process.kill()
        self._process.wait()

    def be_silent(self) -> None:
        """It takes connections and commands, and answers none."""
        self._process.send_signal(signal.SIGSTOP)

    def speak(self) -> None:
        self._process.send_signal(signal.SIGCONT)

    def flush(self) -> None:
        with socket.create_connection(self._address, LATEST_SECONDS) as connection:
            connection.sendall(b"FLUSHALL\r\n")
            assert connection.recv(100) == b"+OK\r\n"


FAULTS: dict[str, tuple[Callable[[Redis], None], Callable[[Redis], None]]] = {
    "emptied": (Redis.flush, Redis.flush),
    "killed": (Redis.kill, Redis.start),
    "silent": (Redis.be_silent, Redis.speak),
}
"""What strikes, and what ends it."""


@dataclass
class Desk:
    house: Installation
    upstream: ScriptedServer
    redis: Redis
    person: httpx.Client

    def issue(self) -> tuple[str, str]:
        """A new key and its address in the API."""
        [agent] = self.api("GET", "agents", params={"name": cast.TRIAGE_BOT}).json()["results"]
        issued = self.api("POST", f"agents/{agent['id']}/credentials", json={}).json()
        return issued["key"], f"credentials/{issued['key_id']}"

    def api(self, method: str, path: str, **options: Any) -> httpx.Response:
        answer = self.person.request(method, f"{self.house.url}/api/v1/{path}", **options)
        assert answer.is_success, f"{path}: {answer.status_code} {answer.text}"
        return answer

    def guess(self) -> int:
        """The status that a stranger gets; strangers are counted in the cache."""
        return httpx.get(f"{self.house.url}/api/v1/agents", headers={"Authorization": "Bearer guess"}).status_code


@pytest.fixture(scope="module")
def desk(make_installation: MakeInstallation, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Desk]:
    if (binary := shutil.which("redis-server")) is None:
        (pytest.fail if REQUIRED else pytest.skip)(f"{MISSING}no redis-server here")
    with ExitStack() as stack:
        redis = Redis(stack.enter_context(services.private_folder("gatehouse-redis-")), str(binary))
        redis.start()
        stack.callback(redis.kill)
        upstream = stack.enter_context(in_background(scripted_server()))
        upstream.be_modern(tools=[{"name": "act", "inputSchema": {"type": "object"}}])
        upstream.scripts["tools/call"] = act
        house = make_installation()
        house.configure(REDIS_URL=redis.url)
        house.apply(with_staff(cast.organisation({"upstream": upstream.url})))
        address = urlsplit(house.start_gateway(2, pages=True))
        stack.callback(house.kill9)
        assert wait_for_pages(str(address.hostname), address.port or 0)
        headers = {"Authorization": f"Bearer {token_of(house, cast.NOOR)}"}
        person = stack.enter_context(httpx.Client(headers=headers, timeout=LATEST_SECONDS))
        yield Desk(house, upstream, redis, person)
        assert "Traceback" not in house.log()


def with_staff(manifest: dict[str, Any]) -> dict[str, Any]:
    """Noor may act."""
    for person in manifest["people"]:
        person["staff"] = person["email"] == cast.NOOR
    return manifest


async def act(turn: Turn) -> None:
    await turn.result(DONE)


def token_of(house: Installation, email: str) -> str:
    command = [sys.executable, "-c", TOKEN, email]
    done = subprocess.run(
        command, env=house.environment, cwd=REPOSITORY, capture_output=True, text=True, timeout=60, check=True
    )
    return done.stdout.strip()


@dataclass
class Load:
    """Agents that call all the while."""

    desk: Desk
    key: str
    told: Counter[str] = field(default_factory=Counter)
    _stop: threading.Event = field(default_factory=threading.Event)
    _threads: list[threading.Thread] = field(default_factory=list)

    def __enter__(self) -> "Load":
        self._threads = [threading.Thread(target=self._call) for _ in range(CALLERS)]
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join()

    def _call(self) -> None:
        with closing(Caller(self.desk.house.url, self.key, path="/mcp/upstream")) as agent:
            while not self._stop.wait(0.02):
                answer = agent.call("act")
                self.told[answer.text if answer.status == 200 else str(answer.status)] += 1

    def goes_on(self) -> None:
        before, deadline = self.told.total(), time.monotonic() + LATEST_SECONDS
        while self.told.total() < before + CALLERS:
            assert time.monotonic() < deadline
            time.sleep(0.01)


def revoke_in(desk: Desk, fault: str) -> None:
    """A key is used, heard of and ended while the fault lasts."""
    strike, mend = FAULTS[fault]
    key, credential = desk.issue()
    with closing(Caller(desk.house.url, key)) as agent, closing(listened(agent)) as news:
        assert news.next()["method"] == "notifications/subscriptions/acknowledged"
        strike(desk.redis)
        try:
            assert agent.call("upstream__act").text == "done"
            desk.api("POST", f"{credential}/revoke")
            assert agent.call("upstream__act").status == 401
            assert news.next()["result"]["resultType"] == "complete"
            assert desk.guess() == 401
        finally:
            mend(desk.redis)
    desk.api("GET", "agents")


def check(desk: Desk, load: Load) -> None:
    outcomes = {event["call_id"]: event["outcome"] for event in desk.house.events("call.outcome")}
    assert set(load.told) == {"done"}
    assert sorted(outcomes) == sorted(event["call_id"] for event in desk.house.events("call.intent"))
    assert set(outcomes.values()) == {"ok"}
    assert len(outcomes) == len(desk.upstream.sent("tools/call"))


@pytest.mark.parametrize("fault", FAULTS)
def test_calls_go_on_and_keys_end(desk: Desk, fault: str) -> None:
    with Load(desk, desk.issue()[0]) as load:
        load.goes_on()
        revoke_in(desk, fault)
        load.goes_on()
    check(desk, load)


@pytest.mark.soak
def test_calls_go_on_and_keys_end_for_long(desk: Desk) -> None:
    until, faults = time.monotonic() + SOAK_SECONDS, Counter[str]()
    with Load(desk, desk.issue()[0]) as load:
        while time.monotonic() < until:
            fault = random.choice(list(FAULTS))
            revoke_in(desk, fault)
            faults[fault] += 1
    print(f"\n{desk.house.database}: {load.told.total()} calls, keys ended with Redis {dict(faults)}")
    check(desk, load)
