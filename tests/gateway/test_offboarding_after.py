"""After an offboarding, as people see it: what is left, undoing, the signature, and what should have ended."""

import json
from collections import Counter
from datetime import UTC, datetime, timedelta
from urllib.parse import parse_qs, urlsplit

import pytest
from django.core.management import CommandError, call_command
from django.test import Client
from django.urls import reverse

from audit.models import EventRow
from gateway import actions, offboardings, zombies
from governance.models import (
    Agent,
    AgentCredential,
    Authorization,
    OAuthClient,
    Offboarding,
    OffboardingStep,
    PersonalToken,
    Role,
    User,
)
from governance.offboarding import Plan
from tests.gateway.calling import Api, person, problem
from tests.gateway.signing_in import browser_of

pytestmark = [pytest.mark.django_db, pytest.mark.database]

BY = "person:owner@example.com"


@pytest.fixture
def owner() -> User:
    return User.objects.create_superuser("owner@example.com")


@pytest.fixture
def ana(owner: User) -> User:
    ana = User.objects.create_user("ana@example.com", name="Ana Lima")
    actions.issue_key(Agent.objects.create(name="triage-bot", owner=ana), by=BY, expires_in=None)
    return ana


@pytest.fixture
def browser(owner: User) -> Client:
    return browser_of(owner)


def off(person: User) -> Offboarding:
    return offboardings.offboard(person, plan=Plan(), by=BY, reason="Moved on")


def test_the_page_tells_what_is_left_and_takes_word_of_it(ana: User, browser: Client) -> None:
    done = off(ana)
    offboardings.take_up_what_is_left()
    page = browser.get(reverse("offboarding", args=[done.pk])).content.decode()
    assert "Agent without an owner" in page
    assert "Moved on" in page
    step = OffboardingStep.objects.get(kind="retire_agent")
    browser.post(reverse("settle_step", args=[done.pk, step.pk]), {"words": "given to the night shift"})
    step.refresh_from_db()
    assert (step.state, step.result, step.done_by) == ("done", "given to the night shift", BY)
    offboardings.take_up_what_is_left()
    done.refresh_from_db()
    assert (done.edition, "given to the night shift" in done.receipt) == (3, True)


def test_nobody_gives_her_word_for_a_proof(ana: User, browser: Client) -> None:
    done = off(ana)
    step = OffboardingStep.objects.get(kind="prove")
    browser.post(reverse("settle_step", args=[done.pk, step.pk]), {"words": "trust me"})
    step.refresh_from_db()
    assert step.state == "waiting"


def test_a_step_of_another_offboarding_is_not_there(ana: User, browser: Client) -> None:
    done = off(ana)
    other = off(User.objects.create_user("bo@example.com"))
    step = OffboardingStep.objects.get(offboarding=done, kind="retire_agent")
    assert browser.post(reverse("settle_step", args=[other.pk, step.pk])).status_code == 404


def test_the_signature_is_handed_out(ana: User, browser: Client) -> None:
    done = off(ana)
    answer = browser.get(reverse("offboarding_signature", args=[done.pk]))
    assert answer.content.decode() == done.signature
    assert answer["Content-Disposition"].endswith('.json.sig"')


def test_undoing_shows_what_comes_back_first(ana: User, browser: Client) -> None:
    done = off(ana)
    address = reverse("undo_offboarding", args=[done.pk])
    page = browser.get(address).content.decode()
    assert "triage-bot" in page
    ana.refresh_from_db()
    assert not ana.is_active, "looking changes nothing"
    assert browser.post(address).status_code == 302
    assert User.objects.get(id=ana.id).is_active
    again = browser.post(address)
    assert (again.status_code, b"It cannot be undone" in again.content) == (409, True)
    assert "works here again" in browser.get(reverse("offboarding", args=[done.pk])).content.decode()


def test_by_command(ana: User, capsys: pytest.CaptureFixture[str]) -> None:
    call_command("offboard", ana.email, "--reason", "Contract ended")
    capsys.readouterr()
    call_command("offboard", ana.email, "--undo", "--json")
    assert json.loads(capsys.readouterr().out)["agents"] == ["triage-bot"]
    assert Offboarding.objects.get().reason == "Contract ended"


# -- what should have ended


@pytest.fixture
def dead(ana: User) -> dict[str, object]:
    """Somebody switched her off by hand, not by an offboarding."""
    actions.issue_token(ana, name="cron", scopes=["read"], by=BY, lifetime=timedelta(days=9))
    client = OAuthClient.objects.create(client_id="c1", name="Claude", status="disabled", created_by=BY)
    bo = User.objects.create_user("bo@example.com")
    Authorization.objects.create(
        client=client, agent=Agent.objects.create(name="bo-claude", owner=bo), person=bo, resource="https://x/mcp",
        created_by=BY, expires_at=datetime.now(UTC) + timedelta(days=1),
    )  # fmt: skip
    Role.objects.create(name="nobody-holds")
    held = Role.objects.create(name="bo-holds")
    bo.roles.add(held)
    User.objects.filter(id=ana.id).update(is_active=False)
    return {"tokens": 1, "keys": 1, "authorizations": 1, "accounts": 0, "agents": 1, "waiting-agents": 0, "roles": 1}


def test_a_sweep_finds_them_and_keeps_that(dead: dict[str, object]) -> None:
    assert zombies.sweep() == dead
    last = zombies.last_sweep()
    assert last is not None
    assert (last.counts, last.total) == (dead, 5)


@pytest.mark.usefixtures("dead")
def test_they_are_ended_a_sort_at_a_time(browser: Client) -> None:
    page = browser.get(reverse("zombies")).content.decode()
    assert "nobody-holds" in page
    assert "bo-holds" not in page
    assert [reverse("end_zombies", args=[sort]) in page for sort in ("tokens", "roles")] == [True, False]
    for sort in ("tokens", "keys", "authorizations", "agents", "roles"):
        assert browser.post(reverse("end_zombies", args=[sort])).status_code == 302
    assert not PersonalToken.objects.filter(revoked_at=None).exists()
    assert not AgentCredential.objects.filter(revoked_at=None).exists()
    assert not Authorization.objects.filter(revoked_at=None).exists()
    assert Agent.objects.get(name="triage-bot").status == "suspended"
    assert Role.objects.filter(name="nobody-holds").exists(), "of roles a human decides"
    assert EventRow.objects.filter(kind="zombies.ended", actor=BY).count() == 4
    left = zombies.last_sweep()
    assert left is not None
    assert {name for name, count in left.counts.items() if count} == {"waiting-agents", "roles"}


def test_what_lives_is_left_alone(ana: User, browser: Client) -> None:
    browser.post(reverse("end_zombies", args=["keys"]))
    browser.post(reverse("end_zombies", args=["agents"]))
    assert AgentCredential.objects.filter(revoked_at=None).count() == 1
    assert Agent.objects.get().status == "live"
    assert browser.post(reverse("end_zombies", args=["nothing"])).status_code == 404


@pytest.mark.usefixtures("dead")
def test_the_command_lists_them_and_ends_what_it_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    def told(*words: str) -> dict[str, dict[str, object]]:
        with pytest.raises(SystemExit) as ended:
            call_command("zombies", "--json", *words)
        assert ended.value.code == 4, "roles are left, of which a human decides"
        found: dict[str, dict[str, object]] = json.loads(capsys.readouterr().out)
        return found

    assert {name for name, rows in told()["found"].items() if rows} == {
        "tokens", "keys", "authorizations", "agents", "roles",
    }  # fmt: skip
    after = told("--end", "tokens", "--end", "keys", "--actor", "owner@example.com")
    assert after["ended"] == {"tokens": 1, "keys": 1}
    assert (after["found"]["tokens"], after["found"]["keys"]) == ([], [])
    assert EventRow.objects.filter(kind="zombies.ended", actor=BY).count() == 2


@pytest.mark.usefixtures("owner")
def test_the_command_is_quiet_when_there_are_none(capsys: pytest.CaptureFixture[str]) -> None:
    call_command("zombies")
    assert "Nothing is left" in capsys.readouterr().out
    auditor = User.objects.create_user("ira@example.com", is_staff=True, duties=["auditor"])
    call_command("zombies", "--actor", auditor.email)
    with pytest.raises(CommandError, match="may not do this"):
        call_command("zombies", "--end", "keys", "--actor", auditor.email)


def test_the_api_lists_them_by_the_page(dead: dict[str, int]) -> None:
    ira = Api(person("ira@example.com", "auditor"))
    found: list[dict[str, str]] = []
    cursor: str | None = ""
    while cursor is not None:
        page = ira.get(f"zombies?limit=2{f'&cursor={cursor}' if cursor else ''}").json()
        found += page["results"]
        cursor = parse_qs(urlsplit(page["next"]).query)["cursor"][0] if page["next"] else None
    assert Counter(line["sort"] for line in found) == Counter({name: count for name, count in dead.items() if count})
    (role,) = ira.get("zombies?sort=roles").json()["results"]
    assert (role["name"], role["can_end"]) == ("nobody-holds", False)
    problem(Api(person("mia@example.com", "approver")).get("zombies"), 403, "permission_denied")
