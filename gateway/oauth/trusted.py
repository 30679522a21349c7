"""From a signed statement to the issuer that made it: which issuer, with which keys, believed as what.

The network comes first (keys of others), so none of this runs inside a transaction; to take a statement for something
is a second step, in the transaction of that (`spent.py`).
"""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any, Final

from django.conf import settings

from gateway.jwks import find_keys, source_of
from gateway.oauth.assertions import Expected, NotBelieved, Statement, Unproven, believe, read
from governance.jwk_sets import PublicKey
from governance.models import TrustedIssuer

TOKEN_PATH: Final = "/oauth/token"  # noqa: S105  (a path)


@dataclass(frozen=True, slots=True)
class Vouched:
    issuer: TrustedIssuer
    statement: Statement


def our_issuer() -> str:
    return str(settings.PUBLIC_URL)


def our_names() -> tuple[str, ...]:
    """As what others address us: the issuer, or its token endpoint."""
    origin = our_issuer()
    return (origin, f"{origin}{TOKEN_PATH}", f"{origin}{TOKEN_PATH}/")


def vouched(text: str, expected: Expected, *, now: datetime, **of_issuer: Any) -> Vouched:
    """`of_issuer` are columns that an issuer must have, e.g. `kind`; it fills what of `expected` is its own to say.
    Raises NotBelieved, KeysAway."""
    unproven = read(text)
    issuer = TrustedIssuer.objects.filter(issuer=unproven.issuer, is_enabled=True, **of_issuer).first()
    if issuer is None:
        raise NotBelieved("issuer", "Its issuer is not trusted for this.")
    longest = min(expected.longest, timedelta(seconds=issuer.longest_seconds)) if expected.expires else expected.longest
    wanted = replace(
        expected,
        issuer=issuer.issuer,
        algorithms=tuple(issuer.algorithms),
        audiences=(*expected.audiences, *issuer.audiences),
        longest=longest,
    )

    def keys(asked: Unproven) -> Iterable[PublicKey]:
        return find_keys(source_of(issuer), algorithm=asked.algorithm, key_id=asked.key_id, now=now)

    return Vouched(issuer, believe(unproven, wanted, keys, now=now))


def still_trusted(issuer: TrustedIssuer) -> bool:
    """Asked in the transaction of what follows: the keys may have taken their time."""
    return TrustedIssuer.objects.filter(id=issuer.id, is_enabled=True).exists()
