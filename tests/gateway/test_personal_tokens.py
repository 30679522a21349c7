"""Personal tokens: how they look, who gets which, and how they end; the page, the commands, the masking."""

import json
import re
from datetime import UTC, datetime, timedelta
from io import StringIO
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.test import Client

from config.logs import without_tokens
from gateway.console.once import new_ticket
from governance.facts import Fact
from governance.models import Change, PersonalToken, User
from governance.personal_tokens import (
    LONGEST_LIFETIME,
    MOST_LIVE,
    SCOPES,
    NotIssuable,
    find_live,
    issue_token,
    looks_like_token,
    revoke_all_tokens,
    scopes_allow,
)
from tests.gateway.calling import person
from tests.gateway.signing_in import TOO_LONG, browser_of, is_asked_again, let_time_pass

pytestmark = [pytest.mark.django_db, pytest.mark.plain_sql]

NOW = datetime.now(UTC)


def issue(whose: User, **wish: Any) -> Any:
    told: list[Fact] = []
    wish = {"name": "ci", "scopes": ["read"], "by": "test", "now": NOW, **wish}
    return issue_token(whose, record=told.append, **wish)


def test_a_token_is_known_by_its_look_and_kept_as_a_digest_only() -> None:
    issued = issue(person())

    assert looks_like_token(issued.token)
    assert issued.token.startswith("gate_pt_")
    assert not looks_like_token(issued.token[:-1] + "_")
    assert issued.token not in repr(issued)
    assert issued.token not in json.dumps([change.after for change in Change.objects.all()])
    assert without_tokens(f"GET with {issued.token}!") == "GET with <token>!"
    assert issued.row.expires_at == NOW + timedelta(days=90)


@pytest.mark.parametrize(
    ("wish", "field"),
    [
        ({"scopes": []}, "scopes"),
        ({"scopes": ["everything"]}, "scopes"),
        ({"name": " "}, "name"),
        ({"lifetime": LONGEST_LIFETIME + timedelta(seconds=1)}, "expires"),
        ({"lifetime": timedelta(0)}, "expires"),
    ],
)
def test_some_tokens_cannot_be_had(wish: dict[str, Any], field: str) -> None:
    with pytest.raises(NotIssuable) as refused:
        issue(person(), **wish)

    assert refused.value.field == field


def test_nobody_hoards_tokens() -> None:
    noor = person()
    for _ in range(MOST_LIVE):
        issue(noor)

    with pytest.raises(NotIssuable, match="revoke some"):
        issue(noor)


def test_a_token_ends_with_its_time_its_person_and_all_at_once() -> None:
    noor = person()
    issued = issue(noor)

    assert find_live(issued.token, now=NOW) is not None
    assert find_live(issued.token, now=NOW + timedelta(days=90)) is None
    assert revoke_all_tokens(noor, by="test", record=lambda fact: None, now=NOW) == 1
    assert find_live(issued.token, now=NOW) is None


def test_read_sees_and_changes_nothing() -> None:
    assert scopes_allow(["read"], "governance.view_agent")
    assert not scopes_allow(["read"], "governance.change_agent")
    assert not scopes_allow(["gone"], "governance.view_agent")
    for name, scope in SCOPES.items():
        assert scope.sees == (name == "read")


# -- the page


@pytest.fixture
def browser() -> Client:
    return browser_of(person("mia@example.com", staff=False))


WISH = {"name": "nightly export", "scopes": ["read"], "days": "30"}


def test_the_page_shows_a_token_once(browser: Client) -> None:
    shown = browser.post("/me/tokens/", {**WISH, "once": new_ticket()}).content.decode()
    (token,) = set(re.findall(r"gate_pt_[0-9A-Za-z]{49}", shown))

    again = browser.get("/me/tokens/").content.decode()

    assert looks_like_token(token)
    assert token not in again
    assert "nightly export" in again
    row = PersonalToken.objects.get()
    assert row.expires_at is not None
    assert timedelta(days=29) < row.expires_at - NOW < timedelta(days=31)
    assert Change.objects.filter(relation="governance_personaltoken").latest("id").actor == "person:mia@example.com"
    assert Client().get("/api/v1/", headers={"Authorization": f"Bearer {token}"}).json()["person"] == "mia@example.com"


def test_making_a_token_takes_a_fresh_sign_in(browser: Client) -> None:
    let_time_pass(browser, TOO_LONG)

    assert is_asked_again(browser.post("/me/tokens/", {**WISH, "once": new_ticket()}))
    assert not PersonalToken.objects.exists()


def test_the_page_offers_only_scopes_that_are_of_use(browser: Client) -> None:
    refused = browser.post("/me/tokens/", {**WISH, "once": new_ticket(), "scopes": ["people:offboard"]})

    assert refused.status_code == 400
    assert b"people:offboard" not in browser.get("/me/tokens/").content


def test_only_ones_own_tokens_are_ended(browser: Client) -> None:
    browser.post("/me/tokens/", {**WISH, "once": new_ticket()})
    mine, others = PersonalToken.objects.get(), issue(person()).row

    assert browser.post(f"/me/tokens/{others.pk}/revoke/").status_code == 404
    assert browser.post(f"/me/tokens/{mine.pk}/revoke/").status_code == 302
    assert list(PersonalToken.objects.filter(revoked_at=None)) == [others]


# -- the commands


def run(*words: str) -> str:
    out = StringIO()
    call_command(*words, stdout=out)
    return out.getvalue()


def test_a_token_from_the_command_line() -> None:
    noor = person("noor@example.com", "it-admin")

    made = json.loads(run("issue_key", "--person", noor.email, "--scope", "read", "agents:write", "--json"))

    assert made["scopes"] == ["agents:write", "read"]
    assert looks_like_token(made["token"])
    assert run("revoke_key", made["key_id"]) == f"Token {made['token'][:12]}… of {noor.email} is revoked.\n"


def test_nobody_but_an_owner_makes_a_token_for_somebody_else() -> None:
    noor, ana = person("noor@example.com", "it-admin"), person("ana@example.com")

    with pytest.raises(CommandError, match="may not"):
        run("issue_key", "--person", ana.email, "--scope", "read", "--actor", noor.email)
    run("issue_key", "--person", noor.email, "--scope", "read", "--actor", noor.email)


@pytest.mark.parametrize("words", [["--scope", "all"], []])
def test_a_token_without_good_scopes_is_refused(words: list[str]) -> None:
    person("noor@example.com")

    with pytest.raises(CommandError, match="scope"):
        run("issue_key", "--person", "noor@example.com", *words)
