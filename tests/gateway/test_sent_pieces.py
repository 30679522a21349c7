"""A secret sent in pieces through several processes of the gateway, on the real backends."""

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from contextlib import AsyncExitStack
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from uuid import UUID

import pytest

from gateway.commit.entry import Committed, Entry, EvidenceUnavailable, SentPieces, Verdict
from gateway.commit.group import GroupCommitter
from gateway.commit.sqlite_pieces import MOST_ROWS
from gateway.database import DatabaseThread
from gateway.fragment_ring import KEPT_CHARACTERS, PRUNED_EVERY, Fragments, Piece
from gateway.models import SentPiece
from gateway.pipeline import run
from gateway.sent_pieces import SentPieces as Rows
from gateway.sent_pieces import forget_pieces, forget_pieces_of
from governance.snapshot import Rule, Snapshot
from governance.vault import Keyring
from tests import factories as make
from tests.fakes import FakePorts
from tests.fresh_database import fresh_database
from tests.gateway.test_content_rules import TOKEN, rule
from tests.gateway.test_fragments import pieces, sent
from tests.gateway.test_group_commit import backend, entry, epoch, verdicts
from tests.gateway.test_pipeline import frame

__all__ = ("fresh_database",)
pytestmark = [pytest.mark.database, pytest.mark.usefixtures("fresh_database")]

KEK, OTHER_KEK = bytes(range(32)), bytes(range(32, 64))
AGENT, PERSON, OTHER_PERSON = UUID(int=7), UUID(int=8), UUID(int=9)
PROCESS = UUID(int=10)
REFUSED = "denied_by_rule"


class Process(FakePorts):
    """One gateway process: its own memory, the database of all. What is fenced is tried elsewhere."""

    def __init__(self, snapshot: Snapshot, committer: GroupCommitter, rows: Rows) -> None:
        super().__init__(snapshot)
        self.fragments = Fragments(rows)
        self.committer = committer
        self.wants_to_commit, self.may_commit = asyncio.Event(), asyncio.Event()
        self.may_commit.set()

    async def commit(self, entry: Entry) -> Committed:
        self.wants_to_commit.set()
        await self.may_commit.wait()
        await super().commit(entry)
        return await self.committer.commit(Entry(entry.event, sent=entry.sent))

    @property
    def heard(self) -> bytes:
        return b"".join(self.sent)


def world(asked: Rule) -> Snapshot:
    owner = replace(make.person(), id=PERSON.hex)
    agent = replace(make.agent(owner=owner, roles=(make.role("bundle-support"),)), id=AGENT.hex)
    bundles = (make.bundle(rules=(asked,)),)
    return make.snapshot(agents=(agent,), bundles=bundles, credentials=(make.credential(agent),))


def sending(
    *texts: str, read_to: int = 0, person: UUID = PERSON, process_id: UUID = PROCESS, is_pruning: bool = False
) -> SentPieces:
    """Sealed so that a test can read it."""
    sent = tuple(Piece("/note", text, text) for text in texts)
    return SentPieces(AGENT.hex, person.hex, process_id, read_to, sent, readably, is_pruning)


def readably(agent_id: str, pieces: Iterable[Piece]) -> bytes:
    return ",".join(piece.text for piece in pieces).encode()


def rows() -> list[tuple[UUID, str]]:
    return [(row.person_id, bytes(row.sealed).decode()) for row in SentPiece.objects.order_by("id")]


def with_processes(use: Callable[..., Awaitable[None]], *keks: bytes, effect: str = "deny", count: int = 2) -> None:
    async def use_them() -> None:
        async with AsyncExitStack() as stack:
            thread = DatabaseThread("pieces")
            stack.push_async_callback(thread.close)
            found = []
            for kek in keks or (KEK,) * count:
                committer = GroupCommitter(backend())
                stack.push_async_callback(committer.close)
                found.append(Process(world(rule(effect, "secret")), committer, Rows(thread, Keyring(kek))))
            await use(*found)

    asyncio.run(use_them())


def test_pieces_that_go_through_two_processes_in_turn_never_all_get_out() -> None:
    async def use(one: Process, two: Process) -> None:
        codes = [await sent((one, two)[number % 2], note=piece) for number, piece in enumerate(pieces(TOKEN, 10))]
        assert REFUSED in codes
        assert TOKEN[-4:].encode() not in one.heard + two.heard
        assert [entry.event.outcome for entry in two.entries][-2:] == ["not_sent", "refused"]
        assert [each["rule"] for each in two.entries[-1].event.details["findings"]] == ["github_token"]

    with_processes(use)


def test_a_process_that_begins_anew_knows_what_was_sent_before() -> None:
    told = []
    for piece in pieces(TOKEN, 3):

        async def use(only: Process, piece: str = piece) -> None:
            told.append(await sent(only, note=piece))

        with_processes(use, count=1)
    assert told == ["", "", REFUSED]


def test_of_calls_that_are_looked_at_side_by_side_the_last_one_to_commit_is_looked_at_again() -> None:
    async def use(one: Process, two: Process) -> None:
        one.may_commit, two.may_commit = asyncio.Event(), asyncio.Event()
        async with asyncio.timeout(60), asyncio.TaskGroup() as tasks:
            left = tasks.create_task(sent(one, note=TOKEN[:20]))
            right = tasks.create_task(sent(two, note=TOKEN[20:]))
            await one.wants_to_commit.wait()
            await two.wants_to_commit.wait()
            one.may_commit.set()
            await left
            two.may_commit.set()
        assert (left.result(), right.result()) == ("", REFUSED)
        assert not two.heard

    with_processes(use)


def test_of_two_commits_at_once_one_is_told_of_the_other() -> None:
    async def use(one: Process, two: Process) -> None:
        for number in range(10):
            both = (
                each.committer.commit(entry(sent=sending(read_to=2 * number, process_id=each.process_id)))
                for each in (one, two)
            )
            assert any(committed.is_behind for committed in await asyncio.gather(*both))

    with_processes(use)


def test_what_a_group_sends_for_one_person_is_one_row_in_its_order() -> None:
    group = [sending("a", "b"), None, sending("c", "a"), sending("d", person=OTHER_PERSON), sending("e")]
    assert verdicts(*(entry(sent=each) for each in group)) == [Verdict.COMMITTED] * 5
    assert rows() == [(PERSON, "a,b,c"), (OTHER_PERSON, "d"), (PERSON, "e")]


def test_of_a_group_no_more_is_kept_than_a_process_keeps() -> None:
    long = KEPT_CHARACTERS // 16
    verdicts(*(entry(sent=sending(f"{number:x}" * long)) for number in range(16)), entry(sent=sending("last")))
    ((_, kept),) = rows()
    assert kept == ",".join([*(f"{number:x}" * long for number in range(1, 16)), "last"])


def test_a_row_is_kept_if_one_of_its_calls_is() -> None:
    def stale(*texts: str) -> Entry:
        return entry(decided=epoch() + 1, read_set=frozenset(("tool:1",)), sent=sending(*texts))

    assert verdicts(stale("a"), stale("b")) == [Verdict.STALE] * 2
    assert rows() == []
    assert verdicts(stale("c"), entry(sent=sending("d"))) == [Verdict.STALE, Verdict.COMMITTED]
    ((_, kept),) = rows()
    assert kept.split(",")[-1] == "d"


def test_of_a_group_each_call_is_told_whether_it_was_looked_at_with_what_others_sent() -> None:
    verdicts(entry(sent=sending("a", process_id=UUID(int=11))))
    newest = SentPiece.objects.get().pk

    async def use(one: Process) -> None:
        group = [
            sending("b", read_to=newest),
            sending("c"),
            sending("d", read_to=newest),
            sending("e", read_to=newest - 1),
        ]
        told = await asyncio.gather(*(one.committer.commit(entry(sent=each)) for each in group))
        assert [committed.is_behind for committed in told] == [False, True, False, True]

    with_processes(use, count=1)


def test_a_piece_that_was_committed_with_another_counts_through_another_process() -> None:
    async def use(one: Process, two: Process) -> None:
        assert await asyncio.gather(sent(one, note=TOKEN[:20]), sent(one, other="nothing-2")) == ["", ""]
        assert await sent(two, note=TOKEN[20:]) == REFUSED

    with_processes(use)


def test_masked_the_last_piece_does_not_arrive() -> None:
    async def use(one: Process, two: Process) -> None:
        for number, piece in enumerate(pieces(TOKEN, 4)):
            assert await sent((one, two)[number % 2], note=piece) == ""
        assert TOKEN[-10:].encode() not in one.heard + two.heard

    with_processes(use, effect="mask")


def test_what_is_only_flagged_is_sent() -> None:
    async def use(one: Process, two: Process) -> None:
        assert [await sent(one, note=TOKEN[:20]), await sent(two, note=TOKEN[20:])] == ["", ""]
        assert [each["rule"] for entry in two.entries for each in entry.event.details.get("findings", ())] == [
            "github_token"
        ]

    with_processes(use, effect="flag")


def test_what_nobody_here_can_open_counts_as_what_the_rule_looks_for() -> None:
    async def use(one: Process, two: Process) -> None:
        assert await sent(one, note="x1") == ""
        assert await sent(two, note="y2") == REFUSED
        assert [each["rule"] for each in two.entries[-1].event.details["findings"]] == ["limit.pieces"]

    with_processes(use, KEK, OTHER_KEK)


def test_what_cannot_be_read_is_not_sent() -> None:
    async def use(one: Process, two: Process) -> None:
        async def away(agent_id: str, number: int) -> list[object]:
            raise EvidenceUnavailable("away")

        two.fragments._rows.since = away  # type: ignore[union-attr, assignment, method-assign]
        await sent(one, note="x1")
        told = await run(frame(arguments={"note": "y2"}), two)
        assert (told.status, two.heard) == (503, b"")

    with_processes(use)


def test_rows_tell_nothing_and_do_not_stay() -> None:
    async def use(one: Process, two: Process) -> None:
        await sent(one, note="correct-horse-1")
        await sent(two, note="battery-staple-2")

    with_processes(use)
    rows = list(SentPiece.objects.values())
    assert len(rows) == 2
    assert b"horse" not in b"".join(bytes(row["sealed"]) for row in rows)
    assert {(row["agent_id"], row["person_id"]) for row in rows} == {(AGENT, PERSON)}
    SentPiece.objects.filter(pk=rows[0]["id"]).update(at=datetime.now(UTC) - timedelta(minutes=31))
    forget_pieces(datetime.now(UTC))
    assert SentPiece.objects.count() == 1
    forget_pieces_of(PERSON)
    assert not SentPiece.objects.exists()


def test_of_an_agent_only_the_newest_are_kept() -> None:
    now = datetime.now(UTC)
    SentPiece.objects.bulk_create(
        SentPiece(agent_id=AGENT, person_id=PERSON, process_id=UUID(int=9), sealed=b"x" * 100, at=now)
        for _ in range(MOST_ROWS + 50)
    )

    async def use(one: Process) -> None:
        ring = one.fragments._ring(AGENT.hex)
        ring.calls, ring.read_to = PRUNED_EVERY - 1, 10**9
        assert await sent(one, note="x1") == ""

    with_processes(use, count=1)
    assert SentPiece.objects.count() == MOST_ROWS
