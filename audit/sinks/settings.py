"""Checking what an administrator entered. Each raises ValueError that begins with the field's name."""

import re
from collections.abc import Collection, Mapping
from typing import Any
from urllib.parse import urlsplit


def only(settings: Mapping[str, Any], *known: str) -> None:
    for name in settings:
        if name not in known:
            raise ValueError(f"{name}: not known here; there are {', '.join(known)}")


def text(settings: Mapping[str, Any], name: str, *, default: str | None = None) -> str:
    """Needed unless it has a default."""
    found = settings.get(name, default)
    if not isinstance(found, str) or (default is None and not found.strip()):
        raise ValueError(f"{name}: needed, as text" if found is None or found == "" else f"{name}: must be text")
    return found.strip()


def like(settings: Mapping[str, Any], name: str, pattern: str, must_be: str, *, default: str | None = None) -> str:
    """Text that matches the pattern whole, or is its default."""
    found = text(settings, name, default=default)
    if found != default and not re.fullmatch(pattern, found):
        raise ValueError(f"{name}: {must_be}")
    return found


def url(settings: Mapping[str, Any], name: str = "url", *, default: str | None = None) -> str:
    """http or https, without a user, a query or a fragment: nothing secret belongs into an address."""
    found = text(settings, name, default=default)
    try:
        parts = urlsplit(found)
        is_plain = parts.scheme in ("http", "https") and bool(parts.hostname) and (parts.port or 1) > 0
    except ValueError:
        is_plain = False
    if found and (not is_plain or "@" in parts.netloc or parts.query or parts.fragment):
        raise ValueError(f"{name}: write a plain address, e.g. https://siem.example.com/path")
    return found


def choice(settings: Mapping[str, Any], name: str, known: Collection[str], *, default: str) -> str:
    found = text(settings, name, default=default)
    if found not in known:
        raise ValueError(f"{name}: one of {', '.join(known)}")
    return found


def whole(settings: Mapping[str, Any], name: str, *, default: int, least: int, most: int) -> int:
    found = settings.get(name, default)
    if isinstance(found, bool) or not isinstance(found, int) or not least <= found <= most:
        raise ValueError(f"{name}: a whole number from {least} to {most}")
    return found


def flag(settings: Mapping[str, Any], name: str, *, default: bool) -> bool:
    found = settings.get(name, default)
    if not isinstance(found, bool):
        raise ValueError(f"{name}: true or false")
    return found
