"""The formats by name: pure functions from evidence to one line of bytes."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, Protocol

from audit.formats import cef, native, ocsf
from audit.formats.entry import Entry, Redact, SignedSize


class WriteRecord(Protocol):
    def __call__(self, entry: Entry, /, *, org: str, redact: Redact | None) -> bytes: ...


class WriteCheckpoint(Protocol):
    def __call__(self, signed: SignedSize, /, *, org: str) -> bytes: ...


@dataclass(frozen=True, slots=True)
class Format:
    """How one kind of reader wants to see evidence."""

    label: str
    record: WriteRecord
    checkpoint: WriteCheckpoint


FORMATS: Final[Mapping[str, Format]] = {
    "native": Format("Gatehouse JSON", native.record, native.checkpoint),
    "ocsf": Format("OCSF 1.8", ocsf.record, ocsf.checkpoint),
    "cef": Format("CEF", cef.record, cef.checkpoint),
}
