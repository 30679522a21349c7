"""What all entries of a manifest share: kinds of field, references, and what an entry is."""

import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import ClassVar, Self
from urllib.parse import urlsplit
from zoneinfo import available_timezones

from django.core.exceptions import ValidationError
from django.core.validators import validate_email

from governance.connected_accounts import OAUTH_SCOPE_PATTERN
from governance.manifest.fields import NAME, ListOf, Number, Text, nearest
from governance.manifest.reader import Node
from governance.models.secrets import HEADER_NAME_PATTERN

_UNFIT_FOR_URL = re.compile(r"[^\x21-\x7e]")


def check_email(email: str) -> None:
    try:
        validate_email(email)
    except ValidationError:
        raise ValueError(f"'{email[:64]}' is no e-mail address") from None


def check_timezone(name: str) -> None:
    known = available_timezones()
    if name not in known:
        raise ValueError(f"there is no time zone '{name[:64]}'{nearest(name, known)}")


def check_url(url: str) -> None:
    """The message never repeats the URL: a mistaken one may hold a password."""
    try:
        parts = urlsplit(url)
        is_plain = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        is_plain = False
    if not is_plain or _UNFIT_FOR_URL.search(url):
        raise ValueError("this is no http or https URL")
    if "@" in parts.netloc or parts.fragment:
        raise ValueError("a URL here has no user, password or fragment; a secret goes into the vault")


def check_header(name: str) -> None:
    if not re.match(HEADER_NAME_PATTERN, name):
        raise ValueError(f"'{name[:64]}' is no header a secret may travel in")


NAME_TEXT = Text(63, pattern=NAME, hint="use 1 to 63 of a-z, 0-9 and '-', starting with a letter or digit")
NAMES = ListOf(NAME_TEXT, is_set=True)
TITLE = Text(200)
EMAIL = Text(254, check=check_email, tidy=lambda email: email.strip().lower())
GLOBS = ListOf(Text(200))
VARIABLE = Text(100, pattern=r"[A-Za-z_][A-Za-z0-9_]*", hint="name an environment variable")
WORD = Text(4000)
OAUTH_SCOPE = Text(200, pattern=OAUTH_SCOPE_PATTERN, hint="a scope is one word without quotes")
AMOUNT = Number(1, 2**31 - 1, is_whole=True)
CLOCK = Text(5, pattern=r"([01][0-9]|2[0-3]):[0-5][0-9]", hint="write the time as HH:MM")


@dataclass(frozen=True, slots=True)
class Reference:
    """`key` of an entry names another entry, in section `kind`."""

    key: str
    kind: str
    name: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One entity as a manifest writes it; `node` is where it stands in the file, absent for what is stored."""

    KEY: ClassVar[str] = "name"
    node: Node | None = field(default=None, compare=False, repr=False)

    @property
    def key(self) -> str:
        return str(getattr(self, self.KEY))

    def references(self) -> Iterable[Reference]:
        return ()

    def over(self, before: Self | None) -> Self:
        """What shall hold after applying this over `before`: fields left out keep what they must not change."""
        return self

    def switched_off(self) -> tuple[str, str]:
        """The field that takes a stored entity out of use and the word for it; empty while it is in use."""
        return "", ""
