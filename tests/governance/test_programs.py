"""Which programs may be run as local servers, and where their secrets may go."""

from datetime import UTC, datetime

import pytest

from governance.destinations import addresses_of, goes_nowhere_new, shown_origin
from governance.models import Connector, Secret, User
from governance.programs import MISLEADING, program_faults
from governance.vault import put_secret_value

NODE = "/usr/bin/node"


@pytest.fixture(autouse=True)
def _allowed(settings) -> None:
    settings.STDIO_ALLOWED_COMMANDS = (NODE,)


def test_only_what_the_installation_names_may_be_run(settings) -> None:
    assert list(program_faults([NODE, "server.js"], {"MODE": "fast", "PATH": "/opt"})) == []
    for command in (["/usr/bin/node2"], ["node"], ["/usr/bin/../bin/node"], ["/bin/sh", NODE]):
        [(field, message)] = program_faults(command, {})
        assert field == "command"
        assert "STDIO_ALLOWED_COMMANDS allows /usr/bin/node" in message
    settings.STDIO_ALLOWED_COMMANDS = ()
    [(field, message)] = program_faults([NODE], {})
    assert "STDIO_ALLOWED_COMMANDS" in message


@pytest.mark.parametrize("name", [*sorted(MISLEADING), "LD_PRELOAD", "LD_LIBRARY_PATH"])
def test_no_variable_makes_an_allowed_program_another_one(name: str) -> None:
    [(field, message)] = program_faults([NODE], {name: "x", "FINE": "y"})
    assert field == "environment"
    assert name in message


@pytest.mark.django_db
def test_another_command_gets_the_secret_as_little_as_another_address_does() -> None:
    stranger = User.objects.create_user("noor@example.com")
    secret = Secret.objects.create(name="token")
    row = Connector.objects.create(
        name="local", kind="stdio", command=[NODE, "server.js"], secret_variable="TOKEN", secret=secret, urls=[]
    )
    put_secret_value(secret, value="t0ken", by="person:ana@example.com", record=[].append, now=datetime.now(UTC))
    assert shown_origin(addresses_of(row)[0]) == "local server: /usr/bin/node server.js"
    assert goes_nowhere_new(secret, addresses_of(row), person=stranger)
    for change in (
        {"command": [NODE, "-e", "console.error(process.env)"]},
        {"environment": {"MODE": "tell"}},
        {"secret_variable": "NODE_DEBUG"},
    ):
        changed = Connector(**{"command": row.command, "secret_variable": "TOKEN", **change})
        assert not goes_nowhere_new(secret, addresses_of(changed), person=stranger)
    assert not goes_nowhere_new(secret, ["https://evil.example.com/"], person=stranger)
