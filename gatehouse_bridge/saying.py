"""What the program says to the person who runs it: stderr, because stdout belongs to the protocol."""

from __future__ import annotations

import sys


def say(text: str) -> None:
    """One line, without what a terminal would act on."""
    shown = "".join(letter if letter.isprintable() else "?" for letter in text)
    try:
        sys.stderr.write(f"gatehouse-bridge: {shown}\n")
        sys.stderr.flush()
    except OSError:
        return
