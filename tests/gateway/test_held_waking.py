"""What wakes a call that waits for humans: a letter, and where letters are lost the look it takes by itself."""

import asyncio

import pytest

from gateway import held
from gateway.bus import post
from gateway.held_rows import topic_of_request
from gateway.pipeline import run
from tests.fresh_database import fresh_database
from tests.gateway.asking import AskingPorts, approve, frame, in_thread, request, with_ports

__all__ = ("fresh_database",)
pytestmark = [pytest.mark.database, pytest.mark.usefixtures("fresh_database")]

LONGER_THAN_A_TEST = 1_000.0


@pytest.mark.parametrize(
    ("look_every", "is_posted"), [(LONGER_THAN_A_TEST, True), (0.01, False)], ids=["by letter", "without one"]
)
def test_a_decision_wakes_whoever_waits(monkeypatch: pytest.MonkeyPatch, look_every: float, is_posted: bool) -> None:
    monkeypatch.setattr(held, "LOOK_EVERY_SECONDS", look_every)

    async def use(ports: AskingPorts) -> None:
        await run(frame(), ports)
        row = await in_thread(request)
        waiting = asyncio.create_task(ports.held.changed(row.key, LONGER_THAN_A_TEST))
        await asyncio.sleep(0)
        await ports.held.find(row.asked_digest, ports.now())  # behind its first look, on the one database thread
        assert not waiting.done()
        await in_thread(approve)
        if is_posted:
            await in_thread(lambda: post(topic_of_request(row.key), b""))
        await waiting

    with_ports(use)
