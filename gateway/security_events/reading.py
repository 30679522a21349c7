"""What a security event says (RFC 8417, CAEP, RISC) and whom it is about (RFC 9493). Pure, and as bounded as what is
read: nothing of it is shown to anybody but as evidence.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final

CAEP: Final = "https://schemas.openid.net/secevent/caep/event-type/"
RISC: Final = "https://schemas.openid.net/secevent/risc/event-type/"
MOST_EVENTS: Final = 10
MOST_ALIASES: Final = 10
LONGEST_TEXT: Final = 500


class Effect(StrEnum):
    SESSIONS = "sessions"
    """She signs in again."""
    ACCESS = "access"
    """So does every client that acts for her."""
    LEFT = "left"
    """She is offboarded."""
    NOTED = "noted"


EFFECTS: Final[Mapping[str, Effect]] = {
    f"{CAEP}session-revoked": Effect.SESSIONS,
    f"{CAEP}credential-change": Effect.SESSIONS,
    f"{RISC}sessions-revoked": Effect.SESSIONS,
    f"{RISC}account-credential-change-required": Effect.SESSIONS,
    f"{RISC}credential-compromise": Effect.ACCESS,
    f"{RISC}account-disabled": Effect.LEFT,
    f"{RISC}account-purged": Effect.LEFT,
}
"""Everything else is noted: that a stream is alive, that a device or an assurance level changed."""


@dataclass(frozen=True, slots=True)
class Subject:
    """One way in which the issuer names a person: by its own subject, or by her address."""

    issuer: str = ""
    subject: str = ""
    email: str = ""


@dataclass(frozen=True, slots=True)
class Event:
    kind: str
    effect: Effect
    subjects: tuple[Subject, ...]

    @property
    def name(self) -> str:
        """The last part of its address, as evidence calls it."""
        return self.kind.rpartition("/")[2][:100]


class NotUnderstood(Exception):
    """It is no security event; the message says why."""


def events_of(claims: Mapping[str, Any]) -> tuple[Event, ...]:
    """Raises NotUnderstood."""
    events = claims.get("events")
    if not isinstance(events, dict) or not 0 < len(events) <= MOST_EVENTS:
        raise NotUnderstood(f"events names 1 to {MOST_EVENTS} events.")
    return tuple(_event(kind, body, claims) for kind, body in events.items())


def _event(kind: str, body: Any, claims: Mapping[str, Any]) -> Event:
    if not isinstance(body, dict) or len(kind) > LONGEST_TEXT:
        raise NotUnderstood("An event is a JSON object.")
    effect = EFFECTS.get(kind, Effect.NOTED)
    if kind == f"{CAEP}credential-change" and body.get("change_type") == "create":
        effect = Effect.NOTED  # a new passkey beside the old one is nobody's loss
    subject = claims.get("sub_id", body.get("subject"))
    subjects = tuple(subjects_of(subject)) if subject is not None else ()
    if effect != Effect.NOTED and not subjects:
        raise NotUnderstood("It does not say whom it is about, in a way that is known here.")
    return Event(kind, effect, subjects)


def subjects_of(found: Any) -> Iterator[Subject]:
    """Those formats of RFC 9493 that can name a person here; of a complex subject, its user."""
    if isinstance(found, dict):
        form = found.get("format", found.get("subject_type", "complex"))
        reader = _FORMATS.get(form) if isinstance(form, str) else None
        yield from reader(found) if reader is not None else ()


def _by_issuer(found: Mapping[str, Any]) -> Iterator[Subject]:
    issuer, subject = _text(found, "iss"), _text(found, "sub")
    if issuer and subject:
        yield Subject(issuer=issuer, subject=subject)


def _by_email(found: Mapping[str, Any]) -> Iterator[Subject]:
    if email := _text(found, "email"):
        yield Subject(email=email)


def _by_account(found: Mapping[str, Any]) -> Iterator[Subject]:
    scheme, _, email = _text(found, "uri").partition(":")
    if scheme == "acct" and email:
        yield Subject(email=email)


def _by_id(found: Mapping[str, Any]) -> Iterator[Subject]:
    if subject := _text(found, "id"):
        yield Subject(subject=subject)


def _by_aliases(found: Mapping[str, Any]) -> Iterator[Subject]:
    """Aliases of aliases are forbidden, and would have no end."""
    identifiers = found.get("identifiers")
    if isinstance(identifiers, list) and len(identifiers) <= MOST_ALIASES:
        for each in identifiers:
            if isinstance(each, dict) and each.get("format") in _SIMPLE:
                yield from subjects_of(each)


def _by_user(found: Mapping[str, Any]) -> Iterator[Subject]:
    user = found.get("user")
    if isinstance(user, dict) and user.get("format") in (*_SIMPLE, "aliases"):
        yield from subjects_of(user)


_SIMPLE: Final = {
    "iss_sub": _by_issuer,
    "iss-sub": _by_issuer,
    "email": _by_email,
    "opaque": _by_id,
    "account": _by_account,
}
_FORMATS: Final[Mapping[str, Callable[[Mapping[str, Any]], Iterator[Subject]]]] = {
    **_SIMPLE,
    "aliases": _by_aliases,
    "complex": _by_user,
}


def _text(found: Mapping[str, Any], name: str) -> str:
    value = found.get(name)
    is_text = isinstance(value, str) and 0 < len(value) <= LONGEST_TEXT and value.isprintable()
    return str(value) if is_text else ""
