"""A directory brings its people while the pages are killed: what was answered is there, and a repeated cycle ends."""

import threading
from contextlib import suppress

import httpx

from tests.end_to_end.directory_cycle import Provider
from tests.end_to_end.installation import Installation

NAMES = [f"p{number}@corp.test" for number in range(24)]
BEFORE_THE_KILL = 6


def test_a_cycle_killed_in_the_middle_loses_nothing(installation: Installation) -> None:
    origin = installation.start_gateway(pages=True)
    idp = Provider(origin, installation.answer("scim_token", "--json")["token"])

    def bring() -> None:
        with suppress(httpx.HTTPError):
            idp.cycle(NAMES, "everybody")

    cycle = threading.Thread(target=bring)
    cycle.start()
    while len(idp.answered) < BEFORE_THE_KILL and cycle.is_alive():
        cycle.join(0.02)
    installation.kill_pages()
    installation.start_gateway(processes=0, pages=True)
    cycle.join()
    answered = dict(idp.answered)
    assert answered.items() <= idp.everybody().items()
    idp.cycle(NAMES, "everybody")
    everybody = idp.everybody()
    assert set(everybody) == set(NAMES)
    assert answered.items() <= everybody.items()
    assert idp.members("everybody") == set(everybody.values())
    people = installation.sql("SELECT count(*) FROM governance_user WHERE email LIKE 'p%@corp.test'")
    assert people == [(len(NAMES),)]
