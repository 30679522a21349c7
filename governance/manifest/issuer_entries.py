"""What a manifest may say of others whose signed word counts here."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

from governance.issuers import LONGEST_AUDIENCE, Wanted, issuer_faults
from governance.manifest.common import NAME_TEXT, TITLE, Entry, Reference
from governance.manifest.fields import Choice, Flag, ListOf, Number, Text, of
from governance.manifest.rule_entries import Object
from governance.models.issuers import ALGORITHMS, TrustedIssuer


@dataclass(frozen=True, slots=True, kw_only=True)
class IssuerEntry(Entry):
    """`enabled` is None for one that is; in a file, left out leaves it as it is. `directory` is one that is there:
    directories are no part of a manifest."""

    name: str = of(NAME_TEXT)
    title: str = of(TITLE, "")
    kind: str = of(Choice(("directory", "workload")))
    issuer: str = of(Text(500))
    jwks_url: str = of(Text(500), "")
    jwks: Mapping[str, Any] | None = of(Object(), None)
    algorithms: tuple[str, ...] = of(ListOf(Choice(ALGORITHMS), is_set=True, at_least=1), ALGORITHMS)
    audiences: tuple[str, ...] = of(ListOf(Text(LONGEST_AUDIENCE), is_set=True), ())
    longest_seconds: int = of(Number(60, 86_400, is_whole=True), 3600)
    single_use: bool = of(Flag(), True)
    grants_access: bool = of(Flag(), False)
    ends_access: bool = of(Flag(), False)
    directory: str = of(NAME_TEXT, "")
    poll_url: str = of(Text(500), "")
    poll_secret: str = of(NAME_TEXT, "")
    enabled: bool | None = of(Flag(), None)

    def references(self) -> Iterator[Reference]:
        if self.poll_secret:
            yield Reference("poll_secret", "secrets", self.poll_secret)

    def faults(self) -> Iterator[tuple[str, str]]:
        yield from issuer_faults(
            Wanted(
                kind=self.kind,
                issuer=self.issuer,
                jwks_url=self.jwks_url,
                jwks=self.jwks,
                algorithms=self.algorithms,
                audiences=self.audiences,
                grants_access=self.grants_access,
                ends_access=self.ends_access,
                directory=self.directory,
                poll_url=self.poll_url,
                poll_secret=self.poll_secret,
            )
        )

    def over(self, before: "IssuerEntry | None") -> "IssuerEntry":
        """One that was switched off gets no trust back by a file that does not say so."""
        if before is not None and before.enabled is False and self.enabled is None:
            return replace(self, enabled=False)
        return replace(self, enabled=None) if self.enabled else self

    def switched_off(self) -> tuple[str, str]:
        return ("enabled", "disabled") if self.enabled is False else ("", "")


def issuer_columns(entry: IssuerEntry) -> dict[str, Any]:
    """As the row keeps it, but for the rows it refers to."""
    return {
        "title": entry.title,
        "kind": entry.kind,
        "issuer": entry.issuer,
        "jwks_url": entry.jwks_url,
        "jwks": dict(entry.jwks or {}),
        "algorithms": list(entry.algorithms),
        "audiences": list(entry.audiences),
        "longest_seconds": entry.longest_seconds,
        "is_single_use": entry.single_use,
        "grants_access": entry.grants_access,
        "ends_access": entry.ends_access,
        "poll_url": entry.poll_url,
        "is_enabled": entry.enabled is not False,
    }


def stored_issuer(row: TrustedIssuer) -> IssuerEntry:
    return IssuerEntry(
        name=row.name,
        title=row.title,
        kind=row.kind,
        issuer=row.issuer,
        jwks_url=row.jwks_url,
        jwks=row.jwks or None,
        algorithms=tuple(sorted(row.algorithms)),
        audiences=tuple(sorted(row.audiences)),
        longest_seconds=row.longest_seconds,
        single_use=row.is_single_use,
        grants_access=row.grants_access,
        ends_access=row.ends_access,
        directory=row.directory.name if row.directory else "",
        poll_url=row.poll_url,
        poll_secret=row.poll_secret.name if row.poll_secret else "",
        enabled=None if row.is_enabled else False,
    )
