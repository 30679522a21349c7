"""Counts and lists in sentences."""

from collections.abc import Iterable, Sequence

SHOWN_NAMES = 12


def counted(count: int, noun: str) -> str:
    """`1 key`, `1,200 keys`."""
    return f"{count:,} {noun}{'' if count == 1 else 's'}"


def few(names: Sequence[str]) -> str:
    """The first of them, and how many more there are."""
    more = f" and {len(names) - SHOWN_NAMES} more" if len(names) > SHOWN_NAMES else ""
    return f"{', '.join(names[:SHOWN_NAMES])}{more}"


def named(noun: str, names: Iterable[str]) -> str:
    """`the role a`, `the roles a, b`; empty if there is none."""
    listed = list(names)
    return f"{noun}{'' if len(listed) == 1 else 's'} {few(listed)}" if listed else ""
