"""Attacks on those who decide: what is hidden from them, what they must not see, and what takes their screens away."""

from typing import Any

import pytest
from django.urls import reverse

from gateway.console.approvals.arguments import table_of
from gateway.console.approvals.sentences import sentence_of
from governance.fence.actor import governed_change
from governance.models import Agent, User
from tests.gateway.held_world import a_question, a_world
from tests.gateway.test_approval_pages import address, browser


@pytest.fixture
def world(db: None) -> dict[str, Any]:
    return a_world()


def test_no_argument_hides_behind_another_of_the_same_path() -> None:
    """Shown as one row, `to` would be another than the one that runs."""
    table = table_of({"to": {"iban": "DE1"}, "to.iban": "DE2", "a": [1], "a[0]": 2}, None, mask=lambda part: part)
    shown = {row.path: row.now.text for row in table.rows if row.now}
    assert sorted(shown.values()) == ["1", "2", "DE1", "DE2"]


@pytest.mark.timeout(20)
def test_very_many_arguments_take_no_screen_away() -> None:
    arguments = {f"a{number}": "x" for number in range(100_000)}
    told = sentence_of(who="bot", title="", tool="t", connector="c", arguments=arguments)
    assert told.more == len(arguments) - len(told.details)


@pytest.mark.timeout(20)
def test_a_long_name_above_a_long_list_is_not_written_for_each_member() -> None:
    """One megabyte would become a hundred gigabytes."""
    table = table_of({"k" * 400_000: [0] * 200_000}, None, mask=lambda part: part)
    assert table.left_out == 200_000 - len(table.rows)


def test_whoever_asks_does_not_read_what_somebody_elses_agent_sent(world: dict[str, Any]) -> None:
    """The last approved call of the tool is shown beside hers: only to who may see that one, too."""
    with governed_change(by="test"):
        other = Agent.objects.create(name="other-bot", owner=world["mallory"])
    a_question(world, {"order_id": "SECRET-OF-ANA"}, state="consumed")
    theirs = {"agent_id": other.pk, "agent": other.name, "owner_id": other.owner_id, "owner": other.owner.email}
    row = a_question(world, {"order_id": "O-1"}, **theirs)
    assert b"SECRET-OF-ANA" not in browser(world["mallory"]).get(address(row)).content
    assert b"SECRET-OF-ANA" in browser(world["lee"]).get(address(row)).content


def test_only_what_a_line_tells_whole_is_approved_with_others(world: dict[str, Any]) -> None:
    with governed_change(by="test"):
        world["tool"].risk = "low"
        world["tool"].save()
    told = [a_question(world), a_question(world)]
    hiding = a_question(world, {"a": 1, "amount": 5, "b": 2, "to": {"iban": "DE1"}})
    page = browser(world["lee"]).get(reverse("approvals")).content.decode()
    assert all(f'value="{row.key}:' in page for row in told)
    assert f'value="{hiding.key}:' not in page


def test_no_argument_passes_for_another_in_other_letters() -> None:
    arguments = {"AMOUNT": 5, "Amount": 5, "amount": 5000}
    told = sentence_of(who="bot", title="", tool="t", connector="c", arguments=arguments)
    assert [detail.name for detail in told.details] == ["AMOUNT", "Amount", "amount"]


@pytest.mark.parametrize("may_enter", [True, False])
def test_a_duty_of_somebody_who_may_not_enter_the_admin_shows_nothing(world: dict[str, Any], may_enter: bool) -> None:
    duties: dict[str, Any] = {"duties": ["auditor"], "is_staff": may_enter}
    row, eve = a_question(world), User.objects.create_user("eve@example.com", **duties)
    assert browser(eve).get(address(row)).status_code == (200 if may_enter else 404)
    listed = browser(eve).get(reverse("approvals_history")).content
    assert (row.name.encode() in listed) is may_enter
