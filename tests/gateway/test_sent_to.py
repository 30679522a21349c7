"""Where an agent sends something that it never sent anything to: noted, learned, found."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import pytest

from connectors.base import UpstreamFailure
from gateway.baselines import LEARNING, SETTLES, learn
from gateway.models import SentTo
from gateway.pipeline import run
from gateway.run_destinations import digest_of
from gateway.sent_to import (
    ANYWHERE,
    BEGUN,
    DIGEST_LENGTH,
    GRAIN,
    KEPT_FOR,
    MANY,
    MOST_OF_AGENT,
    MOST_OF_CALL,
    Notes,
    forget_sent_to,
    write,
)
from governance.fence.actor import governed_change
from governance.models import AgentBaseline
from governance.snapshot_builder import build_snapshot
from tests.fakes import FakePorts
from tests.fresh_database import fresh_database
from tests.gateway.notice_world import agent
from tests.gateway.test_baselines import NOON, USUAL, ports_with
from tests.gateway.test_content_rules import details, rule
from tests.gateway.test_pipeline import code_of, frame, text_of

__all__ = ("fresh_database",)
FLAG = rule("flag", "anomaly")
HOUR = timedelta(hours=1)


def desk(*known: str, rules: tuple[Any, ...] = (FLAG,), since: datetime | None = NOON - HOUR) -> FakePorts:
    """An agent that sends to what these keys name, usually."""
    ports = ports_with(*rules, usual=None)
    baselines = {
        each: replace(USUAL, destinations=frozenset(key if len(key) < 2 else short(each, key) for key in known),
                      destinations_from=since)
        for each in ports.snapshot().agents
    }  # fmt: skip
    ports.views = [replace(ports.snapshot(), baselines=baselines)]
    return ports


def short(agent_id: str, key: str) -> str:
    return digest_of(agent_id, key)[:DIGEST_LENGTH]


async def sends(ports: FakePorts, **arguments: Any) -> list[str]:
    """What is found in a call with these arguments."""
    before = len(ports.entries)
    await run(frame(arguments=arguments), ports)
    return [each["rule"] for each in details(ports, before).get("findings", ())]


@pytest.mark.parametrize(
    ("arguments", "known"),
    [
        ({"note": "see https://files.drop.example/x"}, "site:drop.example"),
        ({"to": "eve@drop.example"}, "site:drop.example"),
        ({"to": "eve.lee@gmail.com"}, "mail:evelee@gmail.com"),
        ({"note": "https://github.com/eve/loot"}, "at:github.com/eve"),
        ({"iban": "DE89370400440532013000"}, "iban:DE89370400440532013000"),
        ({"phone": "+41 44 668 18 00"}, "num:446681800"),
    ],
    ids=["url", "mail", "mail of a provider", "tenant", "iban", "telephone"],
)
async def test_whom_it_never_sent_anything_to_is_found(arguments: dict[str, str], known: str) -> None:
    assert await sends(desk(), **arguments) == ["new_destination"]
    assert await sends(desk(known), **arguments) == []


@pytest.mark.parametrize(
    "arguments",
    [{"order": "2026050412345"}, {"to": "lee@example.com"}, {"note": "as told in readme.md"}],
    ids=["a number of something", "one of our own", "no destination"],
)
async def test_what_reaches_nobody_else_is_not(arguments: dict[str, str]) -> None:
    assert await sends(desk(), **arguments) == []


@pytest.mark.parametrize("since", [None, NOON + HOUR], ids=["nobody looked before", "still learning"])
async def test_nothing_is_new_before_it_was_looked_at_for_long_enough(since: datetime | None) -> None:
    assert await sends(desk(since=since), to="eve@drop.example") == []


async def test_nothing_is_new_for_an_agent_that_sends_anywhere() -> None:
    assert await sends(desk(ANYWHERE), to="eve@drop.example") == []


async def test_each_is_told_with_its_place_and_never_by_name() -> None:
    ports = desk()
    await run(frame(arguments={"to": "eve@drop.example", "cc": "joe@other.example"}), ports)
    found = details(ports, 0)["findings"]
    assert sorted((each["path"], each["rule"]) for each in found) == [
        ("/arguments/cc", "new_destination"),
        ("/arguments/to", "new_destination"),
    ]
    assert "drop.example" not in str(found)


async def test_a_rule_acts_on_it_and_what_was_refused_is_not_learned() -> None:
    ports = desk(rules=(rule("deny", "anomaly"),))
    assert code_of(await run(frame(arguments={"to": "eve@drop.example"}), ports)) == "denied_by_rule"
    assert ports.sent_to.take() == {}
    assert text_of(await run(frame(), ports)) == "done"
    assert list(ports.sent_to.take().values()) == [{BEGUN}]


async def test_what_was_carried_out_is_noted() -> None:
    ports = desk()
    await run(frame(arguments={"to": "eve@drop.example"}), ports)
    (noted,) = ports.sent_to.take().items()
    assert noted == (noted[0], {BEGUN, short(noted[0], "site:drop.example")})


async def test_what_never_arrived_is_not_noted() -> None:
    ports = desk()

    def fails(_: Any) -> Any:
        raise UpstreamFailure("unreachable", "It is down.", reached=False)

    ports.upstream = fails
    await run(frame(arguments={"to": "eve@drop.example"}), ports)
    assert ports.sent_to.take() == {}


async def test_nobody_looks_where_no_rule_asks() -> None:
    ports = desk(rules=(rule("deny", "secret"),))
    assert await sends(ports, to="eve@drop.example") == []
    assert ports.sent_to.take() == {}


async def test_one_call_names_so_many_and_the_rest_counts_once() -> None:
    ports = desk()
    text = " ".join(f"https://host-{number}.drop{number}.example/" for number in range(3 * MOST_OF_CALL))
    assert set(await sends(ports, note=text)) == {"new_destination"}
    (noted,) = ports.sent_to.take().values()
    assert (len(noted), MANY in noted) == (MOST_OF_CALL + 2, True)


def test_what_is_noted_again_within_the_hour_is_not_written_again() -> None:
    notes = Notes()
    for at in (NOON, NOON + GRAIN / 2):
        notes.note("a", ["x"], at)
    assert notes.take() == {"a": {BEGUN, "x"}}
    notes.note("a", ["x"], NOON + GRAIN / 2)
    assert notes.take() == {}
    notes.note("a", ["x"], NOON + GRAIN)
    assert notes.take() == {"a": {BEGUN, "x"}}


# -- kept and learned

WHO = UUID(int=7)


def kept() -> set[str]:
    return set(SentTo.objects.filter(agent_id=WHO).values_list("digest", flat=True))


@pytest.mark.django_db
def test_of_an_agent_so_many_are_kept() -> None:
    write({WHO.hex: {BEGUN, *(f"{number:016x}" for number in range(MOST_OF_AGENT - 10))}}, NOON)
    write({WHO.hex: {BEGUN, *(f"{number:016x}" for number in range(MOST_OF_AGENT + 90))}}, NOON + HOUR)
    assert len(kept()) == MOST_OF_AGENT - 10 + 2
    assert {BEGUN, ANYWHERE} <= kept()
    assert SentTo.objects.get(digest=BEGUN).first_at == NOON
    assert SentTo.objects.get(digest=f"{1:016x}").last_at == NOON + HOUR


@pytest.mark.django_db
def test_what_nobody_sent_to_for_a_month_is_forgotten() -> None:
    write({WHO.hex: {BEGUN, "old"}}, NOON)
    write({WHO.hex: {BEGUN}}, NOON + KEPT_FOR)
    forget_sent_to(NOON + KEPT_FOR + HOUR)
    assert kept() == {BEGUN}


@contextmanager
def learned_long_ago(now: datetime) -> Iterator[UUID]:
    bot = agent()
    AgentBaseline.objects.create(agent=bot, since=now - 2 * LEARNING, learns_until=now - LEARNING)
    yield bot.pk


@pytest.mark.django_db
def test_the_worker_learns_it_from_when_somebody_looked() -> None:
    now = datetime.now(UTC)
    with learned_long_ago(now) as bot:
        learn(now)
        assert AgentBaseline.objects.get().destinations_from is None
        write({bot.hex: {BEGUN, "first"}}, now)
        learn(now + HOUR)
        usual = build_snapshot().baselines[bot.hex]
        assert (usual.destinations, usual.destinations_from) == ({"first"}, now + LEARNING)
        late = now + LEARNING + HOUR
        write({bot.hex: {BEGUN, "late"}}, late)
        learn(late + HOUR)
        assert AgentBaseline.objects.get().destinations == ["first"]
        learn(late + SETTLES + HOUR)
        assert AgentBaseline.objects.get().destinations == ["first", "late"]
        write({bot.hex: {ANYWHERE}}, late + HOUR)
        learn(late + SETTLES + 2 * HOUR)
        assert AgentBaseline.objects.get().destinations == [ANYWHERE]


@pytest.mark.django_db
def test_a_deleted_baseline_is_learned_anew_for_destinations_too() -> None:
    now = datetime.now(UTC)
    with learned_long_ago(now) as bot:
        write({bot.hex: {BEGUN, "first"}}, now)
        with governed_change(by="person:it@example.com"):
            AgentBaseline.objects.all().delete()
        learn(now + HOUR)
        assert not SentTo.objects.exists()
        assert AgentBaseline.objects.get().destinations_from is None
        write({bot.hex: {BEGUN, "second"}}, now + 2 * HOUR)
        learn(now + 3 * HOUR)
        row = AgentBaseline.objects.get()
        assert (row.destinations, row.destinations_from) == (["second"], now + 2 * HOUR + LEARNING)
