"""Whom one may trust, and as what: the one answer for the form, the API and the manifest."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from governance.jwk_sets import UnusableKeys, check_key_set
from governance.models import DirectoryUser, Secret, StaffIdentity, TrustedIssuer, User
from governance.models.issuers import ALGORITHMS

Kind = TrustedIssuer.Kind
MOST_AUDIENCES = 20
LONGEST_AUDIENCE = 500


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """An issuer as somebody would have it."""

    kind: str
    issuer: str
    jwks_url: str
    jwks: Any
    algorithms: Sequence[Any]
    audiences: Sequence[Any]
    grants_access: bool
    ends_access: bool
    directory: Any = None
    poll_url: str = ""
    poll_secret: Secret | str | None = None
    """The row, or its name where only that is known yet."""


def issuer_faults(wanted: Wanted) -> Iterator[tuple[str, str]]:
    """(field, what is wrong with it)."""
    if not is_issuer(wanted.issuer):
        yield "issuer", "write an https address without user, query and fragment"
    if wanted.jwks_url and not _is_address(wanted.jwks_url):
        yield "jwks_url", "write an https address without user and fragment"
    yield from _key_faults(wanted)
    if not wanted.algorithms or not set(wanted.algorithms) <= set(ALGORITHMS):
        yield "algorithms", f"choose of {', '.join(ALGORITHMS)}"
    if len(wanted.audiences) > MOST_AUDIENCES or not all(_is_audience(each) for each in wanted.audiences):
        yield "audiences", f"write at most {MOST_AUDIENCES}, each of 1 to {LONGEST_AUDIENCE} characters"
    for field in ("grants_access", "ends_access", "directory", "poll_url"):
        if wanted.kind != Kind.DIRECTORY and getattr(wanted, field):
            yield field, "only an identity provider speaks for people"
    yield from _event_faults(wanted)


def _event_faults(wanted: Wanted) -> Iterator[tuple[str, str]]:
    """The token goes where the address leads: it is nobody else's, and the address is no place of another's choice."""
    if wanted.poll_url and not _is_address(wanted.poll_url):
        yield "poll_url", "write an https address without user and fragment"
    if bool(wanted.poll_url) != bool(wanted.poll_secret):
        yield "poll_secret", "write the address of its events together with the token for it"
    if not isinstance(wanted.poll_secret, Secret):
        return
    if wanted.poll_secret.kind != Secret.Kind.BEARER:
        yield "poll_secret", "choose a secret of the kind bearer token"
    if wanted.poll_secret.connectors.exists():
        yield "poll_secret", "a connector shows this secret to its system; make one of its own for this"


def _key_faults(wanted: Wanted) -> Iterator[tuple[str, str]]:
    if wanted.jwks and wanted.jwks_url:
        yield "jwks", "write its keys or the address of its keys, not both"
    if wanted.jwks:
        try:
            check_key_set(wanted.jwks)
        except UnusableKeys as reason:
            yield "jwks", str(reason)


def is_issuer(text: str) -> bool:
    """Plain http is for networks that the installation allows by name, which is asked when it is fetched."""
    return _is_address(text) and not urlsplit(text).query


def _is_address(text: str) -> bool:
    try:
        parts = urlsplit(text)
        is_plain = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        return False
    is_printable = text.isascii() and all("!" <= letter <= "~" for letter in text)
    return is_plain and is_printable and "@" not in parts.netloc and "#" not in text


def _is_audience(text: Any) -> bool:
    return isinstance(text, str) and 0 < len(text) <= LONGEST_AUDIENCE and text.isprintable()


def person_of(issuer: TrustedIssuer, subject: str, *, is_active: bool = True) -> User | None:
    """Whom the issuer means: who signed in by it under this subject, or whom the directory that goes with it knows by
    it. Never by e-mail address, which changes hands. None for somebody unknown, for two at once, and unless `is_active`
    is False for somebody who is not."""
    staff = StaffIdentity.objects.filter(issuer=issuer.issuer, subject=subject, ended_at=None)
    listed = DirectoryUser.objects.filter(
        directory=issuer.directory_id, external_id=subject, deleted_at=None, directory__is_enabled=True
    )
    found = {*staff.values_list("person_id", flat=True)}
    if issuer.directory_id is not None:
        found |= {*listed.exclude(person=None).values_list("person_id", flat=True)[:2]}
    people = User.objects.filter(is_active=True) if is_active else User.objects.all()
    return people.filter(id=found.pop()).first() if len(found) == 1 else None


def knows(issuer: TrustedIssuer, person: User) -> bool:
    """Whether she ever signed in by it, or is listed by the directory that goes with it."""
    if StaffIdentity.objects.filter(issuer=issuer.issuer, person=person).exists():
        return True
    listed = DirectoryUser.objects.filter(directory=issuer.directory_id, person=person, deleted_at=None)
    return issuer.directory_id is not None and listed.exists()
