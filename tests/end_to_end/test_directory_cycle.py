"""A directory brings its people while the pages are killed: what was answered is there, and a repeated cycle ends."""

import threading
from contextlib import suppress

import httpx
import pytest

from tests.end_to_end.directory_cycle import Provider
from tests.end_to_end.installation import Installation

A_SAMPLE = 24


def test_a_cycle_killed_in_the_middle_loses_nothing(installation: Installation) -> None:
    _cycle_with_a_kill(installation, A_SAMPLE)


@pytest.mark.soak
def test_a_cycle_of_a_thousand_killed_in_the_middle_loses_nothing(installation: Installation) -> None:
    _cycle_with_a_kill(installation, 1_000)


def _cycle_with_a_kill(installation: Installation, people: int) -> None:
    names = [f"p{number}@corp.test" for number in range(people)]
    origin = installation.start_gateway(pages=True)
    idp = Provider(origin, installation.answer("scim_token", "--json")["token"])

    def bring() -> None:
        with suppress(httpx.HTTPError):
            idp.cycle(names, "everybody")

    cycle = threading.Thread(target=bring)
    cycle.start()
    while len(idp.answered) < people // 4 and cycle.is_alive():
        cycle.join(0.02)
    installation.kill_pages()
    installation.start_gateway(processes=0, pages=True)
    cycle.join()
    answered = dict(idp.answered)
    assert answered.items() <= idp.everybody().items()
    idp.cycle(names, "everybody")
    everybody = idp.everybody()
    assert set(everybody) == set(names)
    assert answered.items() <= everybody.items()
    assert idp.members("everybody") == set(everybody.values())
    kept = installation.sql("SELECT count(*) FROM governance_user WHERE email LIKE 'p%@corp.test'")
    assert kept == [(people,)]
