"""The settings of outside detectors: what a form asks for, and the check of what was entered."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal
from urllib.parse import urlsplit

Shape = Literal["text", "url", "list", "choice"]
LONGEST: Final = 2_000


@dataclass(frozen=True, slots=True)
class Setting:
    """All are written as text. `usual` is what counts when it is left out; None if it is needed. `pattern` is what it
    must look like whole, each entry of a list, as `must_be` says."""

    name: str
    label: str
    usual: str | None = None
    text: str = ""
    shape: Shape = "text"
    choices: tuple[str, ...] = ()
    pattern: str = ""
    must_be: str = ""


def check_settings(known: tuple[Setting, ...], settings: Mapping[str, Any]) -> None:
    """Raises ValueError that begins with the setting's name."""
    names = [each.name for each in known]
    for name in settings:
        if name not in names:
            raise ValueError(f"{name}: not known here; there are {', '.join(names)}")
    for each in known:
        _check(each, settings)


def _check(about: Setting, settings: Mapping[str, Any]) -> None:
    found = value(about, settings)
    if not found and about.usual is None:
        raise ValueError(f"{about.name}: needed")
    if len(found) > LONGEST:
        raise ValueError(f"{about.name}: at most {LONGEST:,} characters")
    if about.shape == "choice" and found not in about.choices:
        raise ValueError(f"{about.name}: one of {', '.join(about.choices)}")
    if about.shape == "url" and found and not is_plain_url(found):
        raise ValueError(f"{about.name}: write a plain address, e.g. https://dlp.example.com")
    entries = listed(found) if about.shape == "list" else [found] if found else []
    if about.pattern and not all(re.fullmatch(about.pattern, entry) for entry in entries):
        raise ValueError(f"{about.name}: {about.must_be}")


def value(about: Setting, settings: Mapping[str, Any]) -> str:
    found = settings.get(about.name, about.usual)
    if not isinstance(found, str | None):
        raise ValueError(f"{about.name}: must be text")
    return (found or "").strip() or about.usual or ""


def read(known: tuple[Setting, ...], settings: Mapping[str, Any]) -> dict[str, str]:
    """All of them, by name, of settings that passed the check."""
    return {each.name: value(each, settings) for each in known}


def listed(text: str) -> list[str]:
    """Entries that are separated by commas or lines."""
    return [entry for entry in re.split(r"[,\s]+", text) if entry]


def is_plain_url(text: str) -> bool:
    """http or https, without a user, a query or a fragment: nothing secret belongs into an address."""
    try:
        parts = urlsplit(text)
        is_address = parts.scheme in ("http", "https") and bool(parts.hostname) and (parts.port or 1) > 0
    except ValueError:
        return False
    is_written = text.isascii() and text.isprintable() and " " not in text
    return is_written and is_address and not ("@" in parts.netloc or parts.query or parts.fragment)
