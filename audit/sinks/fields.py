"""The settings of each kind of sink, as a form asks for them. Its own `check` has the last word on their values."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal

Shape = Literal["text", "pem", "whole", "flag", "choice"]


@dataclass(frozen=True, slots=True)
class Setting:
    """`usual` is what counts when it is left out; None if it is needed."""

    name: str
    label: str
    usual: Any = None
    text: str = ""
    shape: Shape = "text"
    choices: tuple[str, ...] = ()
    least: int = 0
    most: int = 0


def _flag(name: str, label: str, *, usual: bool, text: str = "") -> Setting:
    return Setting(name, label, usual, text, "flag")


def _whole(name: str, label: str, usual: int, *, within: tuple[int, int], text: str = "") -> Setting:
    least, most = within
    return Setting(name, label, usual, f"{text} From {least:,} to {most:,}.".strip(), "whole", least=least, most=most)


def _choice(name: str, label: str, *choices: str, text: str = "") -> Setting:
    """The first is the usual one."""
    return Setting(name, label, choices[0], text, "choice", choices)


COMPRESS: Final = _flag("compress", "Compress", usual=True, text="With gzip, on the way.")
SYSTEMS: Final = "PEM: certificates to trust instead of the system's. Leave it empty for those."

SETTINGS: Final[Mapping[str, tuple[Setting, ...]]] = {
    "kafka": (
        Setting("brokers", "Brokers", text="host:port, several separated by commas."),
        Setting("topic", "Topic", text="It must exist. One partition keeps the order."),
        _choice("security", "Connection", "tls", "plaintext", text="Plaintext goes to private addresses only."),
        _choice("sasl", "Sign in by", "none", "PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"),
        Setting("ca", "Certificates to trust", "", SYSTEMS, "pem"),
    ),
    "otlp": (
        Setting("url", "Address", text="Of the collector, e.g. https://otel.example.com:4318."),
        Setting("service_name", "Service name", "gatehouse"),
        Setting("header", "Header that signs in", "Authorization", "It carries the secret, whole."),
        COMPRESS,
    ),
    "s3": (
        Setting("bucket", "Bucket", text="Best made with Object Lock."),
        Setting("prefix", "Folder", "gatehouse"),
        Setting("region", "Region", "us-east-1"),
        Setting("endpoint", "Address", "", "Of a service that is not Amazon's, e.g. https://minio.example.com."),
        _flag("path_style", "Bucket in the path", usual=True, text="Instead of in the host's name."),
        _choice("lock", "Object Lock", "none", "governance", "compliance", text="Nobody removes what is locked."),
        _whole("lock_days", "Days locked", 365, within=(1, 36_500)),
    ),
    "sentinel": (
        Setting("endpoint", "Ingestion address", text="Of the data collection rule or endpoint; https."),
        Setting("dcr", "Rule", text="The rule's immutable id: dcr- and 32 hex digits."),
        Setting("stream", "Stream", text="Of the rule: Custom-…"),
        Setting("tenant", "Tenant", text="Its id or domain."),
        Setting("client_id", "Application", text="Its (client) id; its secret comes from the vault."),
        _choice("cloud", "Cloud", "public", "us-government", "china"),
        COMPRESS,
    ),
    "splunk": (
        Setting("url", "Address", text="Of the collector, without a path, e.g. https://splunk.example.com:8088."),
        Setting("index", "Index", "", "Empty: the token's."),
        _flag("acknowledge", "Wait for the indexers", usual=True, text="The token needs indexer acknowledgement."),
        _whole(
            "acknowledge_seconds", "Seconds to wait", 120, within=(10, 300), text="What is unconfirmed is sent again."
        ),
        Setting("host", "Host", "gatehouse"),
        Setting("source", "Source", "gatehouse:audit"),
        Setting("sourcetype", "Source type", "gatehouse:audit"),
        COMPRESS,
    ),
    "syslog": (
        Setting("host", "Host", text="The receiver's name or address."),
        _whole("port", "Port", 6514, within=(1, 65_535)),
        Setting("ca", "Certificates to trust", "", SYSTEMS, "pem"),
        Setting("hostname", "Our name", "gatehouse", "As it stands in each message; without spaces."),
        _whole("facility", "Facility", 13, within=(0, 23), text="13 is log audit."),
        _whole("enterprise", "Enterprise number", 32_473, within=(1, 2**31), text="Of our data."),
        _flag("require_close_notify", "Wait for the end of TLS", usual=False, text="Proves that all of it was read."),
    ),
    "webhook": (Setting("url", "Address", text="Batches are sent there by POST, signed."),),
}
