"""A signed statement is taken once, whoever shows it, wherever, and however many at once."""

from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta

import pytest
from django.db import connection, transaction

from gateway.models import SpentAssertion
from gateway.oauth.assertions import NotBelieved, Statement
from gateway.oauth.spent import forget_spent, spend
from tests.fresh_database import fresh_database

__all__ = ("fresh_database",)
pytestmark = [pytest.mark.database, pytest.mark.usefixtures("fresh_database")]
NOW = datetime(2026, 11, 22, 9, 0, tzinfo=UTC)


def a_statement(issuer: str = "https://idp.example.com", jti: str = "one", seconds: int = 60) -> Statement:
    return Statement(issuer, jti, {}, NOW + timedelta(seconds=seconds))


def is_taken(statement: Statement) -> bool:
    try:
        with transaction.atomic():
            spend(statement)
    except NotBelieved:
        return False
    return True


def test_the_second_is_refused_and_others_are_not() -> None:
    assert [is_taken(a_statement()), is_taken(a_statement())] == [True, False]
    assert is_taken(a_statement(jti="two"))
    assert is_taken(a_statement(issuer="https://idp.example.co", jti="mone"))


def test_what_was_not_committed_was_not_taken() -> None:
    with transaction.atomic():
        spend(a_statement())
        transaction.set_rollback(True)
    assert is_taken(a_statement())


def test_of_many_at_once_one_is_taken() -> None:
    def show(_: int) -> bool:
        try:
            return is_taken(a_statement())
        finally:
            connection.close()

    with ThreadPoolExecutor(8) as pool:
        assert sum(pool.map(show, range(16))) == 1


def test_they_are_forgotten_when_their_time_is_over() -> None:
    is_taken(a_statement(seconds=10))
    is_taken(a_statement(jti="two", seconds=100))
    assert forget_spent(NOW + timedelta(seconds=60)) == 1
    assert SpentAssertion.objects.count() == 1
