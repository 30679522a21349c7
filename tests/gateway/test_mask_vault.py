"""What tokens stand for, in rows that every process finds and nobody else can use."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import pytest

from gateway import mask_vault
from gateway.erasing import erase_person
from gateway.mask_vault import MaskVault, Reader, Wanted, forget_masked
from gateway.models import MaskedValue
from governance.inspection.tokens import Value
from governance.models import SubjectKey, User
from governance.payload_keys import PayloadSealer, Place, destroy_keys, sealer_at
from governance.vault import keyring

pytestmark = [pytest.mark.django_db, pytest.mark.database]

MAIL = Value("EMAIL", "email", (("personal_data",),), "ana.lima@corp.example")
OTHER = Value("EMAIL", "email", (("personal_data",),), "bo@corp.example")
CARD = Value("CARD_NUMBER", "card_number", (("personal_data",),), "4111111111111111", True)
RUN = UUID(int=5)


class Inline:
    """Database work where it is asked for."""

    async def run(self, work: Callable[[], Any], /) -> Any:
        return work()

    async def opened(self, place: Place) -> PayloadSealer:
        return sealer_at(place, keyring())


@pytest.fixture
def ana() -> User:
    return User.objects.create_user("ana@example.com")


@pytest.fixture
def mine(ana: User) -> Reader:
    return Reader(UUID(int=7).hex, ana.pk.hex, RUN)


def vault() -> MaskVault:
    """Of another process each time."""
    inline: Any = Inline()
    return MaskVault(inline, inline, keyring())


def kept(reader: Reader, *values: Value, most_shown: int = 0) -> dict[Value, str]:
    return now(vault().keep(reader, [Wanted(value, most_shown) for value in values], retention="standard"))


def opened(reader: Reader, *names: str) -> dict[str, Value]:
    return now(vault().open(reader, names))


def now(work: Any) -> Any:
    """Of a coroutine that waits for nothing."""
    try:
        work.send(None)
    except StopIteration as done:
        return done.value
    raise AssertionError("it waits")


def test_another_process_gives_the_same_token_and_finds_the_value(mine: Reader) -> None:
    first = kept(mine, MAIL, CARD, OTHER)
    assert [token.partition("~")[0] for token in first.values()] == ["[EMAIL#1", "[CARD_NUMBER#1", "[EMAIL#2"]
    assert kept(mine, OTHER, MAIL) == {MAIL: first[MAIL], OTHER: first[OTHER]}
    assert opened(mine, "EMAIL#1", "CARD_NUMBER#1") == {first[MAIL]: MAIL, first[CARD]: CARD}
    assert MaskedValue.objects.count() == 3


def test_a_value_is_in_no_column(mine: Reader) -> None:
    kept(mine, MAIL, CARD, most_shown=4)
    for row in MaskedValue.objects.values():
        assert not any(MAIL.text in str(value) or "1111" in str(value) for value in row.values())
        assert MAIL.text.encode() not in bytes(row["sealed"])


def test_a_row_moved_to_another_run_or_token_does_not_open(mine: Reader) -> None:
    kept(mine, MAIL, OTHER)
    theirs = mine._replace(session=UUID(int=6))
    assert opened(theirs, "EMAIL#1") == {}
    MaskedValue.objects.filter(number=1).update(run=theirs.run)
    assert opened(theirs, "EMAIL#1") == {}
    MaskedValue.objects.filter(number=2).update(number=1)
    assert opened(mine, "EMAIL#1") == {}


@pytest.mark.parametrize("member", ["agent_id", "person_id", "session"])
def test_runs_of_others_have_tokens_of_their_own(member: str, mine: Reader) -> None:
    others: dict[str, Any] = {
        "agent_id": UUID(int=8).hex,
        "person_id": User.objects.create_user("ben@example.com").pk.hex,
        "session": UUID(int=9),
    }
    theirs = mine._replace(**{member: others[member]})
    assert kept(mine, MAIL)[MAIL] != kept(theirs, MAIL)[MAIL]
    assert list(opened(theirs, "EMAIL#1").values()) == [MAIL]


def test_a_number_that_was_forgotten_makes_no_old_token_stand_for_something_new(mine: Reader) -> None:
    before = kept(mine, MAIL)[MAIL]
    forget_masked(datetime.now(UTC) + mask_vault.KEPT_FOR + timedelta(minutes=1))
    after = kept(mine, OTHER)[OTHER]
    assert (before[:8], after[:8]) == ("[EMAIL#1", "[EMAIL#1")
    assert before != after
    assert opened(mine, "EMAIL#1") == {after: OTHER}


def test_what_is_over_is_not_opened_though_nobody_has_swept(mine: Reader) -> None:
    kept(mine, MAIL)
    MaskedValue.objects.update(keep_until=datetime.now(UTC) - timedelta(seconds=1))
    assert opened(mine, "EMAIL#1") == {}


def test_a_value_that_comes_up_again_is_kept_for_longer(mine: Reader) -> None:
    kept(mine, MAIL)
    soon = datetime.now(UTC) + timedelta(minutes=1)
    MaskedValue.objects.update(keep_until=soon)
    kept(mine, MAIL)
    assert MaskedValue.objects.get().keep_until > soon


def test_an_erasure_forgets_it(mine: Reader, ana: User) -> None:
    before = kept(mine, MAIL)[MAIL]
    erase_person(ana, reason="She asked for it.", by="person:noor@example.com")
    assert not MaskedValue.objects.exists()
    assert opened(mine, "EMAIL#1") == {}
    assert kept(mine, MAIL)[MAIL] == before


def test_with_its_key_a_value_is_gone(mine: Reader) -> None:
    kept(mine, MAIL)
    destroy_keys(SubjectKey.objects.all(), cause=SubjectKey.Cause.EXPIRED, now=datetime.now(UTC))
    assert opened(mine, "EMAIL#1") == {}
    assert list(opened(mine, *[t.partition("~")[0][1:] for t in kept(mine, MAIL).values()]).values()) == [MAIL]


def test_a_run_has_room_for_so_many(mine: Reader, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mask_vault, "MOST_PER_RUN", 2)
    assert set(kept(mine, MAIL, CARD, OTHER)) == {MAIL, CARD}
    assert set(kept(mine, OTHER, CARD)) == {CARD}
