"""Sinks as they are configured, made ready to send to: the row, its secret from the vault, its kind's own code."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Any

import orjson
from django.views.decorators.debug import sensitive_variables

from audit.export import Destination, Exporter, Writer
from audit.sinks import SINK_KINDS, SinkKind
from audit.sinks.base import Refused, Sink
from gateway.sink_ways import way_out
from governance.destinations import SENT_ELSEWHERE
from governance.models import Organization, Secret, SecretVersion
from governance.models import Sink as SinkRow
from governance.vault import VaultError, keyring, open_secret_version


class NoSuchKind(ValueError):
    """This release cannot send there."""


@dataclass(frozen=True, slots=True)
class Configured:
    """One sink as it is now. `destination.version` changes with the row and with the value of its secret."""

    destination: Destination
    kind: SinkKind
    settings: dict[str, Any]
    secret: SecretVersion | None
    is_enabled: bool

    @sensitive_variables()
    def open(self) -> "Open":
        """Raises Refused: what is wrong only a human can mend."""
        try:
            self.kind.check(self.settings)
            value = None if self.secret is None else open_secret_version(self.secret, keyring=keyring())
            sink = self.kind.build(self.settings, value, way_out())
        except ValueError as error:
            raise Refused(str(error)) from None
        except VaultError:
            raise Refused("Its secret cannot be opened.") from None
        return Open(self.destination.version, sink, Exporter(self.destination, sink), Writer.of(self.destination))


@dataclass(frozen=True, slots=True)
class Open:
    """A sink that may hold connections; belongs to the thread that uses it."""

    version: str
    sink: Sink = field(repr=False)
    exporter: Exporter = field(repr=False)
    writer: Writer = field(repr=False)


def kind_of(name: str) -> SinkKind:
    """Raises NoSuchKind, which names those there are."""
    if name not in SINK_KINDS:
        raise NoSuchKind(f"kind: {name} is not known; there are {', '.join(sorted(SINK_KINDS))}")
    return SINK_KINDS[name]


def check_sink(kind: str, format_name: str, settings: dict[str, Any], *, has_secret: bool) -> None:
    """Raises ValueError whose message begins with the field's name."""
    found = kind_of(kind)
    if format_name not in found.formats:
        raise ValueError(f"format: {found.label} takes {', '.join(found.formats)}")
    if found.needs and not found.may_lack_it and not has_secret:
        raise ValueError(f"secret: {found.needs} is needed, from the vault")
    if has_secret and not found.needs:
        raise ValueError(f"secret: {found.label} takes none")
    found.check(settings)


def sink_faults(
    kind: str,
    format_name: str,
    settings: dict[str, Any],
    secret: Secret | None,
    *,
    before: SinkRow | None,
    may_show: Callable[[Secret], bool],
) -> Iterator[tuple[str, str]]:
    """(field, what is wrong with it); a setting is `settings.url`. `may_show` is asked when the secret would be shown
    where it was not shown `before`: any of the settings may say where to."""
    if secret is not None and is_used_elsewhere(secret):
        yield "secret", "It is shown to another system. Make one of its own for this."
    elif secret is not None and _shows_anew(secret, settings, before) and not may_show(secret):
        yield "secret", SENT_ELSEWHERE
    try:
        check_sink(kind, format_name, settings, has_secret=secret is not None)
    except ValueError as error:
        name, _, text = str(error).partition(": ")
        yield (name if name in ("kind", "format", "secret") else f"settings.{name}"), text


def _shows_anew(secret: Secret, settings: dict[str, Any], before: SinkRow | None) -> bool:
    return before is None or before.secret_id != secret.pk or before.settings != settings


def is_used_elsewhere(secret: Secret) -> bool:
    """By a connector, a channel, a directory: whoever may set up sinks could have it sent to a listener of hers."""
    uses = (use for use in Secret._meta.related_objects if use.related_model not in (SecretVersion, SinkRow))
    return any(use.related_model._default_manager.filter(**{use.field.name: secret}).exists() for use in uses)


def configured(*, only_enabled: bool = True) -> list[Configured]:
    """All that this release can send to."""
    rows = SinkRow.objects.filter(kind__in=SINK_KINDS).order_by("name")
    found = list(rows.filter(is_enabled=True) if only_enabled else rows)
    if not found:
        return []
    org = Organization.objects.values_list("name", flat=True).first() or ""
    live = SecretVersion.objects.filter(secret__in=[row.secret_id for row in found if row.secret_id], retired_at=None)
    values = {version.secret_id: version for version in live}
    return [_configured(row, org, values.get(row.secret_id) if row.secret_id else None) for row in found]


def _configured(row: SinkRow, org: str, secret: SecretVersion | None) -> Configured:
    kind = SINK_KINDS[row.kind]
    told = [row.kind, row.format, row.redaction, row.settings, row.secret_id, secret and secret.pk, org]
    version = sha256(orjson.dumps(told, option=orjson.OPT_SORT_KEYS)).hexdigest()
    destination = Destination(row.pk, row.name, version, org, row.format, row.redaction, kind.linger_seconds)
    return Configured(destination, kind, row.settings, secret, row.is_enabled)
