"""The kinds of sinks by name. A kind is a module with `check(settings)` and `build(settings, secret, way)`, loaded on
first use: the libraries behind some are too heavy for every process."""

from collections.abc import Mapping
from dataclasses import dataclass
from importlib import import_module
from typing import Any, Final, cast

from audit.sinks.base import Build, Check, Sink, WayOut

NATIVE, OCSF, CEF = "native", "ocsf", "cef"


@dataclass(frozen=True, slots=True)
class SinkKind:
    """`needs` says in words what the vault must hold for it; empty if nothing, and `may_lack_it` if
    some destinations need nothing. A batch is sent once it is full or its oldest record waited `linger_seconds`."""

    label: str
    module: str
    needs: str = ""
    may_lack_it: bool = False
    formats: tuple[str, ...] = (NATIVE, OCSF)
    linger_seconds: float = 0

    def check(self, settings: Mapping[str, Any]) -> None:
        """Raises ValueError that names the field."""
        cast(Check, import_module(self.module).check)(settings)

    def build(self, settings: Mapping[str, Any], secret: str | None, way: WayOut) -> Sink:
        return cast(Build, import_module(self.module).build)(settings, secret, way)


SINK_KINDS: Final[Mapping[str, SinkKind]] = {
    "kafka": SinkKind("Kafka", "audit.sinks.kafka", needs="User and password for SASL", may_lack_it=True),
    "s3": SinkKind(
        "S3 or compatible",
        "audit.sinks.s3",
        needs="Access key id and secret access key",
        formats=(NATIVE, OCSF, CEF),
        linger_seconds=50,
    ),
    "webhook": SinkKind("Signed webhook", "audit.sinks.webhook", needs="Key that signs the messages"),
    "splunk": SinkKind("Splunk HTTP Event Collector", "audit.sinks.splunk", needs="Token of the collector"),
    "sentinel": SinkKind("Microsoft Sentinel", "audit.sinks.sentinel", needs="Client secret of the application"),
    "syslog": SinkKind(
        "Syslog over TLS",
        "audit.sinks.syslog",
        needs="Client certificate and its key, both in PEM",
        may_lack_it=True,
        formats=(NATIVE, OCSF, CEF),
    ),
    "otlp": SinkKind(
        "OpenTelemetry logs", "audit.sinks.otlp", needs="Value of the header that signs in", may_lack_it=True
    ),
}
