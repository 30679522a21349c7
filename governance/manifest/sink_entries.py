"""What a manifest may say of the sinks that evidence goes to."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

from governance.manifest.common import NAME_TEXT, TITLE, Entry, Reference
from governance.manifest.fields import Choice, Flag, Text, of
from governance.manifest.rule_entries import Object
from governance.models import Sink


@dataclass(frozen=True, slots=True, kw_only=True)
class SinkEntry(Entry):
    """`settings` are those of its kind, which the gateway checks; `url` is a shorter way to write that one of them.
    `enabled` is None for one that is; in a file, left out leaves it as it is."""

    name: str = of(NAME_TEXT)
    title: str = of(TITLE, "")
    kind: str = of(Choice(tuple(sorted(Sink.KINDS))))
    url: str = of(Text(2048), "")
    settings: Mapping[str, Any] | None = of(Object(), None)
    secret: str = of(NAME_TEXT, "")
    format: str = of(Choice(tuple(Sink.Format.values)), Sink.Format.NATIVE.value)
    redaction: str = of(Choice(tuple(Sink.Redaction.values)), Sink.Redaction.AS_IS.value)
    enabled: bool | None = of(Flag(), None)

    @property
    def whole_settings(self) -> dict[str, Any]:
        return {**(self.settings or {}), **({"url": self.url} if self.url else {})}

    def references(self) -> Iterator[Reference]:
        if self.secret:
            yield Reference("secret", "secrets", self.secret)

    def over(self, before: "SinkEntry | None") -> "SinkEntry":
        """One that was switched off stays so by a file that does not say otherwise."""
        whole = replace(self, settings=self.whole_settings or None, url="")
        if before is not None and before.enabled is False and self.enabled is None:
            return replace(whole, enabled=False)
        return replace(whole, enabled=None) if self.enabled else whole

    def switched_off(self) -> tuple[str, str]:
        return ("enabled", "disabled") if self.enabled is False else ("", "")


def sink_columns(entry: SinkEntry) -> dict[str, Any]:
    """As the row keeps it, but for its secret."""
    return {
        "title": entry.title,
        "kind": entry.kind,
        "settings": entry.whole_settings,
        "format": entry.format,
        "redaction": entry.redaction,
        "is_enabled": entry.enabled is not False,
    }


def stored_sink(row: Sink) -> SinkEntry:
    return SinkEntry(
        name=row.name,
        title=row.title,
        kind=row.kind,
        settings=row.settings or None,
        secret=row.secret.name if row.secret else "",
        format=row.format,
        redaction=row.redaction,
        enabled=None if row.is_enabled else False,
    )
