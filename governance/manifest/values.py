"""The values of secrets that a manifest points to: read where it says, compared with the vault, never shown."""

import os
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from django.views.decorators.debug import sensitive_variables

from governance.manifest.entries import SecretEntry, ValueFrom
from governance.manifest.fields import gather
from governance.manifest.plan import Step
from governance.manifest.reader import BadManifest, Fault
from governance.manifest.schema import Manifest, fault_at
from governance.models import SecretVersion
from governance.vault import Keyring, UnusableSecret, check_presentable, open_secret_version

MAX_VALUE_BYTES = 64 * 1024


@dataclass(frozen=True, slots=True)
class SecretValue:
    """Cannot be printed by accident."""

    text: str = field(repr=False)


def read_values(manifest: Manifest) -> dict[str, SecretValue]:
    """Secret name -> value, for those that say where theirs is. Raises BadManifest without any value in it."""
    secrets = (entry for entry in manifest.sections.get("secrets", ()) if isinstance(entry, SecretEntry))
    return dict(gather((entry for entry in secrets if entry.value_from), _named_value))


@sensitive_variables()
def _named_value(entry: SecretEntry) -> tuple[str, SecretValue]:
    assert entry.value_from is not None
    try:
        value = _value(entry.value_from)
        check_presentable(entry.kind, entry.header, value)
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8"
        raise BadManifest(fault_at(entry, "value_from", f"{entry.value_from.file} cannot be read: {reason}")) from None
    except (LookupError, UnusableSecret) as error:
        raise BadManifest(fault_at(entry, "value_from", str(error.args[0]))) from None
    return entry.name, SecretValue(value)


@sensitive_variables()
def _value(source: ValueFrom) -> str:
    """A file's last line break is not part of the value."""
    if source.env:
        if source.env not in os.environ:
            raise LookupError(f"the environment variable {source.env} is not set")
        return os.environ[source.env]
    with Path(source.file).open("rb") as file:
        content = file.read(MAX_VALUE_BYTES + 1)
    if len(content) > MAX_VALUE_BYTES:
        raise LookupError(f"the file is larger than {MAX_VALUE_BYTES // 1024} KB")
    return content.decode().removesuffix("\n").removesuffix("\r")


def new_values(values: Mapping[str, SecretValue], *, keyring: Keyring) -> Iterator[str]:
    """Names of the secrets whose value is not the stored one. Raises VaultError."""
    live = SecretVersion.objects.filter(retired_at=None, secret__name__in=values).select_related("secret")
    stored = {str(version.secret.name): open_secret_version(version, keyring=keyring) for version in live}
    yield from (name for name, value in values.items() if stored.get(name) != value.text)


@sensitive_variables()
def misfits(steps: Iterable[Step], *, renewed: Collection[str], keyring: Keyring) -> Iterator[Fault]:
    """Secrets that shall be presented in another way than their stored value allows. Raises VaultError."""
    for step in steps:
        entry = step.after
        if not isinstance(entry, SecretEntry) or step.key in renewed:
            continue
        for version in SecretVersion.objects.filter(retired_at=None, secret__name=step.key):
            try:
                check_presentable(entry.kind, entry.header, open_secret_version(version, keyring=keyring))
            except UnusableSecret as error:
                yield fault_at(step.entry, "kind", f"the stored value does not fit: {error}")
