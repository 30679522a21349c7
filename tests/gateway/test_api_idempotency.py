"""Idempotency-Key with real commits: a repeated write is answered again, never done again, whatever broke before."""

import threading
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest
from django.core.cache import cache
from django.db import connection, connections
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gateway.api.idempotency import DEAD_AFTER
from gateway.models import IDEMPOTENCY_LIFETIME, IdempotentAnswer
from gateway.tasks import forget_answers
from governance.fence.actor import governed_change
from governance.models import Change, Team
from tests.fresh_database import fresh_database
from tests.gateway.calling import Api, person

__all__ = ("fresh_database",)

pytestmark = [pytest.mark.database]


@pytest.fixture
def owner(fresh_database: None) -> Iterator[Api]:
    cache.clear()
    with governed_change(by="test"):
        api = Api(person("owner@example.com", owner=True))
    yield api
    connections.close_all()


def age(by: timedelta) -> None:
    row = IdempotentAnswer.objects.get()
    IdempotentAnswer.objects.update(created_at=row.created_at - by)


def test_a_repeated_request_gets_its_first_answer(owner: Api) -> None:
    first = owner.post("teams", {"name": "support"}, Idempotency_Key="k")
    again = owner.post("teams", {"name": "support"}, Idempotency_Key="k")

    assert first.status_code == again.status_code == 201
    assert (again.json(), again["ETag"], again["Location"]) == (first.json(), first["ETag"], first["Location"])
    assert ("Idempotency-Replayed" in first, again["Idempotency-Replayed"]) == (False, "true")
    assert Change.objects.filter(relation="governance_team").count() == 1


@pytest.mark.parametrize("other", [("teams", {"name": "other"}), ("roles", {"name": "support"})])
def test_a_key_belongs_to_one_request(owner: Api, other: tuple[str, dict[str, str]]) -> None:
    owner.post("teams", {"name": "support"}, Idempotency_Key="k")

    answer = owner.post(*other, Idempotency_Key="k")

    assert (answer.status_code, answer.json()["code"]) == (422, "idempotency_key_reused")


def test_two_people_may_use_the_same_key(owner: Api) -> None:
    with governed_change(by="test"):
        second = Api(person("second@example.com", owner=True))

    assert owner.post("teams", {"name": "a"}, Idempotency_Key="k").json()["name"] == "a"
    assert second.post("teams", {"name": "b"}, Idempotency_Key="k").json()["name"] == "b"


def test_what_was_refused_may_be_tried_again_with_the_same_key(owner: Api) -> None:
    refused = owner.post("people", {"email": "x@example.com", "teams": ["support"]}, Idempotency_Key="k")
    with governed_change(by="test"):
        Team.objects.create(name="support")
    again = owner.post("people", {"email": "x@example.com", "teams": ["support"]}, Idempotency_Key="k")

    assert (refused.status_code, again.status_code) == (422, 201)


def test_a_removal_is_repeated_although_nothing_is_there_any_more(owner: Api) -> None:
    team = owner.post("teams", {"name": "support"}).json()

    first = owner.delete(f"teams/{team['id']}", Idempotency_Key="k")
    again = owner.delete(f"teams/{team['id']}", Idempotency_Key="k")

    assert (first.status_code, again.status_code, again.content) == (204, 204, b"")


def test_the_act_and_its_answer_commit_together(owner: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever breaks before the commit undoes both; the key is free again."""

    def broken(*_: Any, **__: Any) -> None:
        raise RuntimeError("the process dies here")

    with monkeypatch.context() as patch:
        patch.setattr("gateway.api.idempotency.Reservation.keep", broken)
        assert owner.post("teams", {"name": "support"}, Idempotency_Key="k").status_code == 500
    assert not Team.objects.exists()
    assert owner.post("teams", {"name": "support"}, Idempotency_Key="k").status_code == 201


def test_a_reservation_left_by_the_dead_is_taken_over_in_time(owner: Api) -> None:
    leave_reserved(owner)

    running = owner.post("teams", {"name": "support"}, Idempotency_Key="k")
    age(DEAD_AFTER)
    taken_over = owner.post("teams", {"name": "support"}, Idempotency_Key="k")

    assert (running.status_code, running.json()["code"]) == (409, "in_progress")
    assert taken_over.status_code == 201


def leave_reserved(owner: Api) -> None:
    """As a process that died between its reservation and its commit."""
    owner.post("teams", {"name": "support"}, Idempotency_Key="k")
    with governed_change(by="test"):
        Team.objects.all().delete()
    IdempotentAnswer.objects.update(status=0, body=b"", headers={})


def test_somebody_whose_reservation_was_taken_over_does_nothing(owner: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    """She was only slow: her act must not happen beside that of who took over."""

    def slow(*_: Any, **__: Any) -> Any:
        IdempotentAnswer.objects.update(created_at=IdempotentAnswer.objects.get().created_at + timedelta(minutes=5))
        return original(*_, **__)

    original = Team.validate_constraints
    monkeypatch.setattr(Team, "validate_constraints", slow)

    answer = owner.post("teams", {"name": "support"}, Idempotency_Key="k")

    assert (answer.status_code, answer.json()["code"]) == (409, "in_progress")
    assert not Team.objects.exists()


def test_of_many_at_once_one_acts(owner: Api) -> None:
    answers: list[int] = []

    def ask() -> None:
        try:
            answers.append(owner.post("teams", {"name": "support"}, Idempotency_Key="k").status_code)
        finally:
            connection.close()

    threads = [threading.Thread(target=ask) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert set(answers) <= {201, 409}
    assert 201 in answers
    assert Change.objects.filter(relation="governance_team").count() == 1


def test_answers_are_forgotten_after_a_day(owner: Api) -> None:
    owner.post("teams", {"name": "support"}, Idempotency_Key="k")
    age(IDEMPOTENCY_LIFETIME + timedelta(seconds=1))

    again = owner.post("teams", {"name": "support"}, Idempotency_Key="k")
    assert again.status_code == 422  # the name is taken: it was tried anew
    owner.post("teams", {"name": "other"}, Idempotency_Key="k2")
    age(IDEMPOTENCY_LIFETIME + timedelta(seconds=1))
    forget_answers()
    assert not IdempotentAnswer.objects.exists()


@pytest.mark.parametrize("key", ["", " ", "a b", "é", "x" * 256])
def test_a_key_is_short_and_plain(owner: Api, key: str) -> None:
    answer = owner.client.post(
        "/api/v1/teams",
        b'{"name": "support"}',
        content_type="application/json",
        headers={"Authorization": f"Bearer {owner.token}", "Idempotency-Key": key},
    )

    assert (answer.status_code, answer.json()["code"]) == (400, "invalid_header")


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.tuples(st.sampled_from("abc"), st.sampled_from(["a", "b", "c"])), max_size=8))
def test_however_often_and_in_whatever_order_each_key_acts_once(owner: Api, asked: list[tuple[str, str]]) -> None:
    with governed_change(by="test"):
        Team.objects.all().delete()
    IdempotentAnswer.objects.all().delete()
    before = Change.objects.filter(relation="governance_team", operation="insert").count()
    first: dict[str, str] = {}

    for key, name in asked:
        answer = owner.post("teams", {"name": name}, Idempotency_Key=key)
        if key in first and first[key] != name:
            assert answer.status_code == 422
        elif answer.status_code == 201:
            first.setdefault(key, name)

    made = Change.objects.filter(relation="governance_team", operation="insert").count() - before
    assert made == len(first) == Team.objects.count()
