"""Names and addresses of people, on screens: letters that cannot be seen, or that turn the line around, are shown."""

import pytest
from django.test import Client
from django.urls import reverse

from governance.models import Agent, AgentCredential, Role, User
from tests.gateway.signing_in import person

pytestmark = [pytest.mark.django_db, pytest.mark.database]

TURNED, TURNED_SHOWN = "\u202egnaW eeL", "⟦U+202E⟧gnaW eeL"
UNSEEN, UNSEEN_SHOWN = "l\u200bee@example.com", "l⟦U+200B⟧ee@example.com"


@pytest.fixture
def lee() -> User:
    return User.objects.create_user(UNSEEN, name=TURNED)


@pytest.fixture
def owner() -> Client:
    client = Client()
    client.force_login(person("noor@example.com", is_staff=True, is_superuser=True))
    return client


def seen(client: Client, name: str, *args: object, **query: str) -> str:
    answer = client.get(reverse(name, args=args), query)
    assert answer.status_code == 200
    return answer.content.decode()


def test_lists_show_them(owner: Client, lee: User) -> None:
    agent = Agent.objects.create(name="triage-bot", owner=lee)
    Role.objects.create(name="support").people.add(lee)
    AgentCredential.objects.create(agent=agent, digest=b"d", hint="gate_ak_abcd", created_by=f"person:{UNSEEN}")
    for table in ("user", "agent", "role", "agentcredential"):
        page = seen(owner, f"admin:governance_{table}_changelist")
        assert UNSEEN_SHOWN in page, table
        assert "\u200b" not in page, table
    assert TURNED_SHOWN in seen(owner, "admin:governance_user_changelist")


def test_a_list_still_sorts_by_what_it_shows(owner: Client, lee: User) -> None:
    person("ana@example.com")
    page = seen(owner, "admin:governance_user_changelist", o="1")
    assert page.index("ana@example.com") < page.index(UNSEEN_SHOWN)
    page = seen(owner, "admin:governance_user_changelist", o="-1")
    assert page.index(UNSEEN_SHOWN) < page.index("ana@example.com")


def test_pages_about_a_person_show_them(owner: Client, lee: User) -> None:
    agent = Agent.objects.create(name="triage-bot", owner=lee)
    pages = {
        "offboard_person": [lee.pk],
        "make_one_time_login": [lee.pk],
        "agent_overview": [agent.pk],
        "agent_transfer": [agent.pk],
    }
    for name, args in pages.items():
        page = seen(owner, name, *args)
        assert UNSEEN_SHOWN in page or TURNED_SHOWN in page, name
        assert "\u202e" not in page.replace(f'value="{UNSEEN}"', ""), name
    assert TURNED_SHOWN in seen(owner, "offboardings", q="gnaW")
    assert UNSEEN_SHOWN in seen(owner, "search", q="triage") or UNSEEN_SHOWN in seen(owner, "search", q="example")


def test_a_form_gives_them_back_unchanged(owner: Client, lee: User) -> None:
    """A field shows what is stored: a code in it would be stored in its turn."""
    page = seen(owner, "admin:governance_user_change", lee.pk)
    assert f'value="{TURNED}"' in page
