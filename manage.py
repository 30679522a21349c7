#!/usr/bin/env python
"""Django's command line. `up` and `make_keys` make missing keys, `inspect` needs none; every other command refuses to
start without.

Whatever it writes, the database first of all, is for its own user: sessions and sealed values stand in it.
"""

import os
import sys

from django.core.management import execute_from_command_line

from config.keys import data_dir, ensure_keys

QUICK = frozenset(
    {
        "apply",
        "bridge",
        "explain",
        "export",
        "freeze",
        "issue_key",
        "retire_agent",
        "revoke_key",
        "unfreeze",
        "verify_audit",
    }
)
"""Need the rooms and nothing that makes pages, as a gateway process does: they start in half the time."""
OFFLINE = frozenset({"inspect"})
"""Need nothing of the installation, not even its keys."""


def settings_for(command: list[str]) -> str:
    if OFFLINE.intersection(command):
        return "config.settings_offline"
    return "config.settings_gateway" if QUICK.intersection(command) else "config.settings"


def main() -> None:
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", settings_for(sys.argv[1:2]))
    os.umask(0o077)
    if sys.argv[1:2] in (["up"], ["make_keys"]):
        ensure_keys(data_dir())
    execute_from_command_line(sys.argv)


if __name__ == "__main__":
    main()
