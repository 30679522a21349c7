"""What the hammer of offboardings runs in processes of its own.

    python -m ...leaving_hammer people FILE COUNT       fills an installation; writes what each of them holds
    python -m ...leaving_hammer call FILE ORIGIN NAME   shows all of it again and again until told to stop
    python -m ...leaving_hammer hold FILE ORIGIN        holds a stream and a call open for each of them, before her turn
    python -m ...leaving_hammer offboard FILE NAME...   ends a few at once when all are ready; writes when each was done

Who calls shows what belongs to the people whose turn it is, to those just before them and to the next. For each sort
of credential it keeps when the last request began that was let in. CLOCK_MONOTONIC is one for all processes.
"""

import asyncio
import json
import os
import sys
import time
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx

from tests.end_to_end.wire import BOTH_KINDS, NEWEST_LEGACY, modern_headers, modern_message

SORTS = ("key", "oauth token", "personal token", "page", "admin")
AT_ONCE = 4
"""So many people leave at the same time."""
ATTEMPTS = 5
MADE_AT_ONCE = 10
"""Each transaction has every gateway look again at who may do what."""
READY_SECONDS = 90.0
SHOWN_AFTERWARDS = 2
"""The first may have been under way when the last of them left."""
BREATH_SECONDS = 0.01
SCOPES = ["bundle:upstream"]
ROLE, CALLED, HELD = "support-agent", "upstream__act", "upstream__hangs"


def make_people(file: Path, count: int) -> None:
    role = models.Role.objects.get(name=ROLE)
    people: list[dict[str, str]] = []
    while len(people) < count:
        with governed_change(by=BY):
            people += [
                _make_person(number, role) for number in range(len(people), min(count, len(people) + MADE_AT_ONCE))
            ]
    file.write_text(json.dumps(people))


def _make_person(number: int, role: Any) -> dict[str, str]:
    """One key, one token of an authorization, one personal token and one browser session, as their owners have them."""
    person = models.User.objects.create_user(f"leaver{number}@example.com", is_staff=True, duties=["auditor"])
    agent = models.Agent.objects.create(name=f"leaver{number}-bot", owner=person)
    role.agents.add(agent)
    role.people.add(person)
    key = actions.issue_key(agent, by=BY, expires_in=None).key
    personal = actions.issue_token(person, name="script", scopes=["read"], by=BY, lifetime=timedelta(days=1)).token
    oauth = key_text.new_text(ACCESS_PREFIX)
    until = datetime.now(UTC) + timedelta(hours=3)
    resource = f"{settings.PUBLIC_URL}/mcp"
    with governed_change(by=BY):
        let_in = models.Authorization.objects.create(
            agent=agent, person=person, resource=resource, created_by=BY, expires_at=until, oauth_scopes=SCOPES
        )
    models.AccessToken.objects.create(
        digest=sha256(oauth.encode()).digest(), issued_at=datetime.now(UTC), expires_at=until, authorization=let_in,
        agent=agent, person=person, resource=resource, oauth_scopes=SCOPES,
    )  # fmt: skip
    browser = Client()
    browser.force_login(person)
    session = browser.cookies[settings.SESSION_COOKIE_NAME].value
    return {"id": str(person.id), "key": key, "oauth": oauth, "personal": personal, "session": session}


class Turns:
    """Whose turn it is, told by who ends them; and how far each of the others has come."""

    def __init__(self, file: Path, count: int) -> None:
        self._file, self._count = file, count

    @property
    def now(self) -> int:
        """The first of those whose turn it is; below zero at the end."""
        return int(_read(self._file.with_suffix(".turn")) or 0)

    def begin(self, number: int) -> None:
        _write(self._file.with_suffix(".turn"), number)

    def around(self, turn: int) -> range:
        return range(max(0, turn - AT_ONCE), min(self._count, turn + 2 * AT_ONCE))

    def came_to(self, name: str, number: int) -> None:
        _write(self._file.with_suffix(f".at-{name}"), number)

    def wait_for_all(self, number: int, names: list[str]) -> None:
        """Until everybody has shown, or holds, what belongs to those before `number`."""
        ends_at = time.monotonic() + READY_SECONDS
        while any(int(_read(self._file.with_suffix(f".at-{name}")) or 0) < number for name in names):
            assert time.monotonic() < ends_at, f"not everybody is ready for {number}"
            time.sleep(BREATH_SECONDS)


def _read(path: Path) -> str:
    with suppress(FileNotFoundError):
        return path.read_text()
    return ""


def _write(path: Path, number: int) -> None:
    """Nobody reads half of it."""
    new = path.with_name(f"{path.name}.{os.getpid()}")
    new.write_text(str(number))
    new.replace(path)


# -- callers


class Shower:
    """One process's requests, each over a connection of its own, so that any gateway may get it."""

    def __init__(self, people: list[dict[str, str]], origin: str, turns: Turns, name: str) -> None:
        self._people, self._turns, self._name = people, turns, name
        self._address = urlsplit(origin).netloc
        self.last: dict[str, float] = {}
        self.refused: dict[str, int] = {}

    def run(self) -> None:
        while (turn := self._turns.now) >= 0:
            numbers = self._turns.around(turn)
            for number in numbers:
                for sort in SORTS:
                    if self._is_open(f"{number} {sort}", turn - number):
                        self._show(number, sort)
            self._turns.came_to(self._name, numbers.stop)
            time.sleep(BREATH_SECONDS)

    def _is_open(self, name: str, ago: int) -> bool:
        """Whose turn it is is asked all the time; the others until it is clear what they hold, and hold no more."""
        if ago < -AT_ONCE + 1:
            return name not in self.last
        return ago <= 0 or self.refused.get(name, 0) < 2

    def _show(self, number: int, sort: str) -> None:
        began = time.monotonic()
        try:
            status = self._asks()[sort](self._people[number])
        except (OSError, HTTPException):
            return
        if status == 200:
            self.last[f"{number} {sort}"] = began
        elif status in (302, 401, 403):
            self.refused[f"{number} {sort}"] = self.refused.get(f"{number} {sort}", 0) + 1

    def _asks(self) -> dict[str, Callable[[dict[str, str]], int]]:
        return {
            "key": lambda person: self._calls(person["key"]),
            "oauth token": lambda person: self._calls(person["oauth"]),
            "personal token": lambda person: self._gets(
                "/api/v1/agents?limit=1", Authorization=f"Bearer {person['personal']}"
            ),
            "page": lambda person: self._gets("/me/", Cookie=f"sessionid={person['session']}"),
            "admin": lambda person: self._gets("/admin/jsi18n/", Cookie=f"sessionid={person['session']}"),
        }

    def _calls(self, bearer: str) -> int:
        """A tool; what is answered without a result was not let in."""
        headers = {"Authorization": f"Bearer {bearer}", "Content-Type": "application/json", "Accept": BOTH_KINDS}
        message = {"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": {"name": CALLED, "arguments": {}}}
        status, body = self._send("POST", "/mcp", headers | {"MCP-Protocol-Version": NEWEST_LEGACY}, message)
        return status if status != 200 or is_success(json.loads(body)) else 403

    def _gets(self, path: str, **headers: str) -> int:
        return self._send("GET", path, headers)[0]

    def _send(self, method: str, path: str, headers: dict[str, str], message: Any = None) -> tuple[int, bytes]:
        connection = HTTPConnection(self._address, timeout=30)
        try:
            connection.request(method, path, json.dumps(message) if message else None, headers)
            response = connection.getresponse()
            return response.status, response.read()
        finally:
            connection.close()


def is_success(answer: dict[str, Any]) -> bool:
    return "result" in answer and not answer["result"].get("isError")


def call(file: Path, origin: str, name: str) -> dict[str, Any]:
    people = json.loads(file.read_text())
    shower = Shower(people, origin, Turns(file, len(people)), name)
    shower.run()
    return {"last": shower.last, "refused": shower.refused}


# -- what is open when they leave


class Holder:
    """For each person, before her turn: a stream of news by her key, and a call by her token that goes on for long."""

    def __init__(self, people: list[dict[str, str]], origin: str, turns: Turns) -> None:
        self._people, self._url, self._turns = people, f"{origin}/mcp", turns
        self._web = httpx.AsyncClient(timeout=None, limits=httpx.Limits(max_connections=None))
        self.ended: dict[str, float] = {}
        self.results: list[int] = []

    async def run(self) -> None:
        tasks: list[asyncio.Task[None]] = []
        began = 0
        while (turn := self._turns.now) >= 0:
            numbers = range(began, self._turns.around(turn).stop)
            stands = [asyncio.Event() for _ in (*numbers, *numbers)]
            pairs = [(number, sort) for number in numbers for sort in ("stream", "call")]
            tasks += [
                asyncio.create_task(self._hold(number, sort, event))
                for (number, sort), event in zip(pairs, stands, strict=True)
            ]
            await asyncio.gather(*(event.wait() for event in stands))
            began = numbers.stop
            self._turns.came_to("holder", began)
            await asyncio.sleep(BREATH_SECONDS)
        await asyncio.wait(tasks, timeout=30)

    async def _hold(self, number: int, sort: str, stands: asyncio.Event) -> None:
        """Whatever comes first tells that it stands; what comes last, how it ended."""
        bearer = self._people[number]["key" if sort == "stream" else "oauth"]
        last: dict[str, Any] = {}
        with suppress(httpx.HTTPError):
            async for message in self._messages(bearer, LISTEN if sort == "stream" else HANG):
                stands.set()
                last = message
        self.ended[f"{number} {sort}"] = time.monotonic()
        if sort == "call" and is_success(last):
            self.results.append(number)
        stands.set()

    async def _messages(self, bearer: str, message: dict[str, Any]) -> AsyncIterator[dict[str, Any]]:
        headers = modern_headers(message) | {"Accept": BOTH_KINDS, "Authorization": f"Bearer {bearer}"}
        async with self._web.stream("POST", self._url, json=message, headers=headers) as response:
            async for line in response.aiter_lines():
                if line.startswith(("data: ", "{")):
                    yield json.loads(line.removeprefix("data: "))


LISTEN = modern_message("subscriptions/listen", {"notifications": {"toolsListChanged": True}}, id=7)
HANG = modern_message("tools/call", {"name": HELD, "arguments": {}})
HANG["params"]["_meta"]["progressToken"] = "held"


def hold(file: Path, origin: str) -> dict[str, Any]:
    people = json.loads(file.read_text())
    holder = Holder(people, origin, Turns(file, len(people)))
    asyncio.run(holder.run())
    return {"ended": holder.ended, "results": holder.results}


# -- who ends them


def offboard_all(file: Path, others: list[str]) -> list[dict[str, Any]]:
    people = json.loads(file.read_text())
    turns = Turns(file, len(people))
    done: list[dict[str, Any]] = []
    with ThreadPoolExecutor(AT_ONCE) as threads:
        for turn in range(0, len(people), AT_ONCE):
            turns.begin(turn)
            turns.wait_for_all(turns.around(turn).stop, others)
            done += threads.map(_offboard, people[turn : turn + AT_ONCE])
    for _ in range(SHOWN_AFTERWARDS):
        for name in others:
            turns.came_to(name, 0)
        turns.wait_for_all(1, others)
    turns.begin(-1)
    return done


def _offboard(holds: dict[str, str]) -> dict[str, Any]:
    person = models.User.objects.get(id=holds["id"])
    began = time.monotonic()
    row = _begun(person)
    withdrawn = time.monotonic()
    row = offboardings.follow_for(row.id, 30)
    receipt = json.loads(row.receipt)
    return {
        "state": row.state,
        "milliseconds": (withdrawn - began) * 1000,
        "withdrawn": withdrawn,
        "done": time.monotonic(),
        "cut": [each["fate"] for each in receipt["enforcement"]["calls"]],
    }


def _begun(person: Any) -> Any:
    """Where the one writer of SQLite had no time for it nothing was done, and whoever wants it says so again."""
    for _ in range(ATTEMPTS):
        with suppress(OperationalError):
            return offboardings.begin_offboarding(person, plan=Plan(), by=BY)
    raise AssertionError("the database is busy all the time")


def main(verb: str, file: str, *words: str) -> None:
    path = Path(file)
    verbs: dict[str, Callable[[], Any]] = {
        "people": lambda: make_people(path, int(words[0])),
        "call": lambda: call(path, *words),
        "hold": lambda: hold(path, words[0]),
        "offboard": lambda: offboard_all(path, list(words)),
    }
    print(json.dumps(verbs[verb]()))


if __name__ == "__main__":
    if sys.argv[1] in ("people", "offboard"):
        import django

        django.setup()
        from django.conf import settings
        from django.db.utils import OperationalError
        from django.test import Client

        from gateway import actions, offboardings
        from governance import key_text, models
        from governance.fence.actor import governed_change
        from governance.oauth_tokens import ACCESS_PREFIX
        from governance.offboarding import Plan

        BY = "person:hammer@example.com"
    main(*sys.argv[1:])
