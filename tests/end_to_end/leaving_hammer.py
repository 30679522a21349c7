"""What the hammer of offboardings runs in processes of its own.

    python -m ...leaving_hammer people FILE COUNT       fills an installation; writes what each of them holds
    python -m ...leaving_hammer call FILE ORIGIN        shows all of it again and again until told to stop
    python -m ...leaving_hammer offboard FILE           ends one after the other; writes when each was done

Who calls shows what belongs to the person whose turn it is, to those just before her and to the next. For each sort of
credential it keeps when the last request began that was let in. CLOCK_MONOTONIC is one for all processes.
"""

import json
import sys
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from pathlib import Path
from typing import Any

import httpx

from tests.end_to_end.wire import Caller

SORTS = ("key", "oauth token", "personal token", "page", "admin")
BEFORE, AFTER = 3, 2
BETWEEN_SECONDS = 0.15
"""So long everybody has to show what the next one holds."""
AFTERWARDS_SECONDS = 1.0
BREATH_SECONDS = 0.02


def make_people(file: Path, count: int) -> None:
    people = [_make_person(number) for number in range(count)]
    file.write_text(json.dumps(people))


def _make_person(number: int) -> dict[str, str]:
    """One key, one token of an authorization, one personal token and one browser session, as their owners have them."""
    person = models.User.objects.create_user(f"leaver{number}@example.com", is_staff=True, duties=["auditor"])
    agent = models.Agent.objects.create(name=f"leaver{number}-bot", owner=person)
    key = actions.issue_key(agent, by=BY, expires_in=None).key
    personal = actions.issue_token(person, name="script", scopes=["read"], by=BY, lifetime=timedelta(days=1)).token
    oauth = key_text.new_text(ACCESS_PREFIX)
    until = datetime.now(UTC) + timedelta(hours=3)
    resource = f"{settings.PUBLIC_URL}/mcp"
    with governed_change(by=BY):
        let_in = models.Authorization.objects.create(
            agent=agent, person=person, resource=resource, created_by=BY, expires_at=until
        )
    models.AccessToken.objects.create(
        digest=sha256(oauth.encode()).digest(), issued_at=datetime.now(UTC), expires_at=until, authorization=let_in,
        agent=agent, person=person, resource=resource,
    )  # fmt: skip
    browser = Client()
    browser.force_login(person)
    session = browser.cookies[settings.SESSION_COOKIE_NAME].value
    return {"id": str(person.id), "key": key, "oauth": oauth, "personal": personal, "session": session}


# -- callers


class Shower:
    """One process's requests, over connections of its own."""

    def __init__(self, people: list[dict[str, str]], origin: str, progress: Path) -> None:
        self._people, self._origin, self._progress = people, origin, progress
        self._web = httpx.Client(base_url=origin, timeout=30)
        self.last: dict[str, float] = {}
        self.refused: dict[str, int] = {}

    def run(self) -> None:
        while (turn := int(self._progress.read_text() or 0)) >= 0:
            for number in range(max(0, turn - BEFORE), min(len(self._people), turn + AFTER)):
                for sort in SORTS:
                    self._show(number, sort)
            time.sleep(BREATH_SECONDS)

    def _show(self, number: int, sort: str) -> None:
        began = time.monotonic()
        try:
            status = self._asks()[sort](self._people[number])
        except httpx.HTTPError:
            return
        if status == 200:
            self.last[f"{number} {sort}"] = began
        elif status in (302, 401, 403):
            self.refused[f"{number} {sort}"] = self.refused.get(f"{number} {sort}", 0) + 1

    def _asks(self) -> dict[str, Callable[[dict[str, str]], int]]:
        return {
            "key": lambda person: self._lists(person["key"]),
            "oauth token": lambda person: self._lists(person["oauth"]),
            "personal token": lambda person: (
                self._web.get(
                    "/api/v1/agents?limit=1", headers={"Authorization": f"Bearer {person['personal']}"}
                ).status_code
            ),
            "page": lambda person: self._web.get("/me/", headers=self._cookie(person)).status_code,
            "admin": lambda person: self._web.get("/admin/jsi18n/", headers=self._cookie(person)).status_code,
        }

    def _lists(self, bearer: str) -> int:
        caller = Caller(self._origin, bearer)
        try:
            return caller.ask("tools/list").status
        finally:
            caller.close()

    def _cookie(self, person: dict[str, str]) -> dict[str, str]:
        return {"Cookie": f"sessionid={person['session']}"}


def call(file: Path, origin: str) -> dict[str, Any]:
    shower = Shower(json.loads(file.read_text()), origin, file.with_suffix(".turn"))
    shower.run()
    return {"last": shower.last, "refused": shower.refused}


# -- who ends them


def offboard_all(file: Path) -> list[dict[str, Any]]:
    people, turn = json.loads(file.read_text()), file.with_suffix(".turn")
    done = []
    for number, holds in enumerate(people):
        turn.write_text(str(number))
        time.sleep(BETWEEN_SECONDS)
        person = models.User.objects.get(id=holds["id"])
        began = time.monotonic()
        row = offboardings.begin_offboarding(person, plan=Plan(), by=BY)
        withdrawn = time.monotonic()
        row = offboardings.follow_for(row.id, 30)
        done.append({"state": row.state, "withdrawn_ms": (withdrawn - began) * 1000, "done": time.monotonic()})
    time.sleep(AFTERWARDS_SECONDS)
    turn.write_text("-1")
    return done


def main(verb: str, file: str, *words: str) -> None:
    path = Path(file)
    if verb == "people":
        make_people(path, int(words[0]))
    elif verb == "call":
        print(json.dumps(call(path, words[0])))
    else:
        print(json.dumps(offboard_all(path)))


if __name__ == "__main__":
    if sys.argv[1] != "call":
        import django

        django.setup()
        from django.conf import settings
        from django.test import Client

        from gateway import actions, offboardings
        from governance import key_text, models
        from governance.fence.actor import governed_change
        from governance.oauth_tokens import ACCESS_PREFIX
        from governance.offboarding import Plan

        BY = "person:hammer@example.com"
    main(*sys.argv[1:])
