"""Whom one may trust, and as what: the one answer for the form, the API and the manifest."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from governance.jwk_sets import UnusableKeys, check_key_set
from governance.models.issuers import ALGORITHMS, TrustedIssuer

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
    for field in ("grants_access", "ends_access"):
        if wanted.kind != Kind.DIRECTORY and getattr(wanted, field):
            yield field, "only an identity provider speaks for people"


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
