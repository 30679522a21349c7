"""Keys of others: fetched once, anew when a token names an unknown one, and never more often than the floor."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from ipaddress import ip_network
from typing import Any

import pytest

from gateway import jwks
from gateway.jwks import FLOOR, OLDEST, YOUNG, KeysAway, Source, find_keys
from gateway.models import KeySetCopy
from governance.jwk_sets import MOST_BYTES
from tests.gateway.statements import HERE, FakeIssuer, as_set, new_key, serving

pytestmark = [pytest.mark.django_db, pytest.mark.plain_sql]
NOW = datetime(2026, 11, 22, 9, 0, tzinfo=UTC)


@pytest.fixture(autouse=True)
def reachable(settings: Any) -> None:
    settings.UPSTREAM_ALLOWED_NETWORKS = [ip_network(HERE)]


@pytest.fixture
def issuer() -> Iterator[FakeIssuer]:
    with serving() as found:
        yield found


def found(issuer: FakeIssuer, key_id: str = "one", *, now: datetime = NOW, url: str = "") -> list[Any]:
    keys = find_keys(Source(issuer.url, url), algorithm="ES256", key_id=key_id, now=now)
    return [key.kid for key in keys]


def test_keys_are_found_by_the_issuers_metadata_and_fetched_once(issuer: FakeIssuer) -> None:
    assert [found(issuer), found(issuer), found(issuer, now=NOW + YOUNG)] == [["one"]] * 3
    assert issuer.asked == ["/.well-known/openid-configuration", "/keys"]


def test_keys_that_were_written_down_are_not_asked_for(issuer: FakeIssuer) -> None:
    source = Source(issuer.url, written=as_set(new_key("written")))
    assert [key.kid for key in find_keys(source, algorithm="ES256", key_id="written", now=NOW)] == ["written"]
    assert find_keys(source, algorithm="ES256", key_id="one", now=NOW) == []
    assert issuer.asked == []


def test_an_unknown_key_makes_it_ask_again_but_not_more_often_than_the_floor(issuer: FakeIssuer) -> None:
    assert found(issuer, url=f"{issuer.url}/keys") == ["one"]
    issuer.publishes_keys(new_key("two"))
    for seconds in range(int(FLOOR.total_seconds())):
        assert found(issuer, "two", url=f"{issuer.url}/keys", now=NOW + timedelta(seconds=seconds)) == []
    assert issuer.asked == ["/keys"]
    assert found(issuer, "two", url=f"{issuer.url}/keys", now=NOW + FLOOR) == ["two"]
    assert found(issuer, "one", url=f"{issuer.url}/keys", now=NOW + FLOOR) == []
    assert issuer.asked == ["/keys", "/keys"]


def test_a_copy_serves_while_the_issuer_is_away_and_no_longer_than_a_day(issuer: FakeIssuer) -> None:
    found(issuer)
    issuer.answers.clear()
    assert found(issuer, now=NOW + OLDEST) == ["one"]
    with pytest.raises(KeysAway):
        found(issuer, now=NOW + OLDEST + FLOOR * 2)
    assert "404" in KeySetCopy.objects.get().problem


def test_a_withdrawn_key_ends_with_the_next_fetch(issuer: FakeIssuer) -> None:
    found(issuer)
    issuer.publishes_keys(new_key("two"))
    assert found(issuer, now=NOW + YOUNG + FLOOR) == []


@pytest.mark.parametrize(
    ("path", "answer", "status"),
    [
        ("/keys", b"not json", 200),
        ("/keys", {"keys": {}}, 200),
        ("/keys", b'{"keys": [' + b" " * MOST_BYTES + b"]}", 200),
        ("/keys", b'{"keys":' + b"[" * 500 + b"]" * 500 + b"}", 200),
        ("/keys", as_set(new_key()), 500),
        ("/keys", b"http://127.0.0.1:9/elsewhere", 302),
        ("/.well-known/openid-configuration", {"issuer": "https://other.example.com", "jwks_uri": "/keys"}, 200),
        ("/.well-known/openid-configuration", {"jwks_uri": "https://other.example.com/keys"}, 200),
        ("/.well-known/openid-configuration", b"\0", 200),
    ],
)
def test_what_is_no_key_set_of_this_issuer_gives_no_key(
    issuer: FakeIssuer, path: str, answer: Any, status: int
) -> None:
    issuer.publishes(path, answer, status=status)
    with pytest.raises(KeysAway):
        found(issuer)


def test_an_address_inside_is_not_asked_unless_the_installation_allows_it(issuer: FakeIssuer, settings: Any) -> None:
    settings.UPSTREAM_ALLOWED_NETWORKS = []
    with pytest.raises(KeysAway):
        found(issuer)
    assert issuer.asked == []


def test_while_one_asks_nobody_else_does(issuer: FakeIssuer, monkeypatch: pytest.MonkeyPatch) -> None:
    ask = jwks.fetch

    def while_another_comes(*arguments: Any, **options: Any) -> Any:
        with pytest.raises(KeysAway):
            found(issuer)
        return ask(*arguments, **options)

    monkeypatch.setattr(jwks, "fetch", while_another_comes)
    assert found(issuer) == ["one"]
    assert len(issuer.asked) == 2
