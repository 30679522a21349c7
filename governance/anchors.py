"""What an anchor must say of itself."""

from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime
from typing import Any

from governance.facts import Fact, Recorder
from governance.models import Anchor, Secret
from governance.notification_channels import is_plain_address

PEM = "-----BEGIN CERTIFICATE-----"


def faults(told: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """(field, what is wrong with it)."""
    if told.get("url") and not is_plain_address(told["url"]):
        yield "url", "Write a plain address, e.g. https://s3.eu-central-1.amazonaws.com."
    if told.get("kind") == Anchor.Kind.S3:
        yield from _faults_of_bucket(told)
    elif told.get("kind") == Anchor.Kind.RFC3161:
        yield from _faults_of_authority(told)
    if told.get("secret"):
        yield from _faults_of_secret(told["secret"])


def _faults_of_secret(secret: Secret) -> Iterator[tuple[str, str]]:
    if secret.kind != Secret.Kind.BASIC:
        yield "secret", "Choose a secret of the kind “User and password”: access key id and secret key."
    elif secret.connectors.exists():
        yield "secret", "A connector shows this secret to its system. Make one of its own for this."


def ask_to_keep(anchors: Iterable[Anchor], *, record: Recorder, now: datetime) -> int:
    """The worker keeps the newest checkpoint there next; how many are asked."""
    asked = list(anchors)
    Anchor.objects.filter(pk__in=[anchor.pk for anchor in asked]).update(wanted_at=now)
    for anchor in asked:
        record(Fact("anchor.asked", f"anchor:{anchor.name}", {}))
    return len(asked)


def _faults_of_bucket(told: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    if not told.get("bucket"):
        yield "bucket", "Which bucket: it must have been made with Object Lock."
    if not told.get("region"):
        yield "region", "Requests are signed for a region, e.g. eu-central-1."
    if not told.get("secret"):
        yield "secret", "Choose the secret with access key id and secret key."


def _faults_of_authority(told: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    if PEM not in (told.get("trust") or ""):
        yield "trust", "Paste the authority's certificates as PEM: only these are believed."
    if told.get("secret"):
        yield "secret", "A timestamp authority is shown no secret."
