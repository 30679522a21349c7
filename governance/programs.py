"""Local servers: which programs may be run, and what of one decides where a secret goes.

Whoever may edit connectors must not thereby run programs of her choice on the gateway's machine: the installation names
those that may be run, by a setting that no page changes.
"""

import shlex
from collections.abc import Iterator, Mapping, Sequence

import orjson
from django.conf import settings

SETTING = "STDIO_ALLOWED_COMMANDS"
LOCAL = "local:"

MISLEADING = frozenset(
    (
        "BASH_ENV", "ENV", "GCONV_PATH", "JAVA_TOOL_OPTIONS", "NODE_OPTIONS", "PERL5LIB", "PERL5OPT", "PYTHONHOME",
        "PYTHONPATH", "PYTHONSTARTUP", "RUBYLIB", "RUBYOPT",
    )
)  # fmt: skip
"""Variables by which a program runs code that its command does not show; so does anything that begins with LD_."""


def program_faults(command: Sequence[str], environment: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    """Field and message of what must not be run here."""
    allowed = settings.STDIO_ALLOWED_COMMANDS
    if not allowed:
        yield "command", f"local servers are not allowed here; {SETTING} names the programs that may be run"
    elif command and command[0] not in allowed:
        yield "command", f"{command[0][:200]} may not be run here; {SETTING} allows {', '.join(allowed)}"
    for name in sorted(environment):
        if name in MISLEADING or name.startswith("LD_"):
            yield "environment", f"{name} would run code that the command does not show; name it in the command"


def as_address(command: Sequence[str], environment: Mapping[str, str], secret_variable: str) -> str:
    """Stands for a program where addresses are compared: another command gets the secret as another address does."""
    said = [list(command), dict(environment), secret_variable]
    return LOCAL + orjson.dumps(said, option=orjson.OPT_SORT_KEYS).decode()


def shown_program(address: str) -> str:
    """The command of such an address, as a person compares it."""
    command, *_ = orjson.loads(address.removeprefix(LOCAL))
    return shown_command(command)


def shown_command(command: Sequence[str]) -> str:
    """Quoted, so that it is seen what is one argument; nothing ever runs this line."""
    return shlex.join(command)
