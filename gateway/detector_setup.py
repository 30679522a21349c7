"""Setting up detectors of somebody else's: what fits together, and whether one answers."""

import asyncio
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from django.conf import settings
from django.views.decorators.debug import sensitive_variables

from connectors.detectors import DETECTOR_KINDS
from gateway.detectors import Answered, Detectors
from governance.destinations import SENT_ELSEWHERE
from governance.facts import Fact
from governance.models import ExternalDetector, Secret, SecretVersion
from governance.snapshot_rows.containment import detector_of
from governance.snapshot_rows.upstreams import secrets
from governance.snapshot_values import OutsideDetector, SealedSecret
from governance.vault import keyring

SAMPLE: Final = (
    "Gatehouse tries this detector. Ana Lima, ana.lima@example.com, SSN 078-05-1120, card 4111 1111 1111 1111.\n"
)
"""Nobody's: all that a test of the connection sends."""


class NoSuchKind(ValueError):
    """This release cannot ask there."""


@dataclass(frozen=True, slots=True)
class Trial:
    detector: str
    answered: Answered

    @property
    def labels(self) -> list[str]:
        return sorted({hit.label for hit in self.answered.hits})

    def as_fact(self) -> Fact:
        told = {"outcome": self.answered.outcome, "count": len(self.answered.hits)}
        return Fact("detector.tested", f"detector:{self.detector}", told)


def check_detector(
    kind: str, entered: Mapping[str, Any], *, most_bytes: int, has_secret: bool, secret_kind: str = ""
) -> None:
    """Raises ValueError whose message begins with the field's name."""
    found = DETECTOR_KINDS.get(kind)
    if found is None:
        raise NoSuchKind(f"kind: {kind} is not known; there are {', '.join(sorted(DETECTOR_KINDS))}")
    if found.needs and not found.may_lack_it and not has_secret:
        raise ValueError(f"secret: {found.needs} is needed, from the vault")
    if has_secret and not found.needs:
        raise ValueError(f"secret: {found.label} takes none")
    if secret_kind and secret_kind not in found.secret_kinds:
        raise ValueError(f"secret: {found.label} takes one of kind {' or '.join(found.secret_kinds)}")
    if most_bytes > found.most_bytes:
        raise ValueError(f"most_bytes: {found.label} takes at most {found.most_bytes:,} at once")
    try:
        found.check(entered)
    except ValueError as error:
        raise ValueError(f"settings.{error}") from None
    found.check_here(entered, settings.MODEL_FOLDERS)


def detector_faults(
    kind: str,
    entered: Mapping[str, Any],
    secret: Secret | None,
    *,
    most_bytes: int,
    before: ExternalDetector | None,
    may_show: Callable[[Secret], bool],
) -> Iterator[tuple[str, str]]:
    """(field, what is wrong with it); a setting is `settings.url`. `may_show` is asked when the secret would be shown
    where it was not shown `before`: any of the settings may say where to."""
    if secret is not None and is_used_elsewhere(secret):
        yield "secret", "It is shown to another system. Make one of its own for this."
    elif secret is not None and _shows_anew(secret, entered, before) and not may_show(secret):
        yield "secret", SENT_ELSEWHERE
    try:
        kind_of_secret = secret.kind if secret is not None else ""
        has_secret = secret is not None
        check_detector(kind, entered, most_bytes=most_bytes, has_secret=has_secret, secret_kind=kind_of_secret)
    except ValueError as error:
        name, _, text = str(error).partition(": ")
        yield name, text


def _shows_anew(secret: Secret, entered: Mapping[str, Any], before: ExternalDetector | None) -> bool:
    return before is None or before.secret_id != secret.pk or before.settings != entered


def is_used_elsewhere(secret: Secret) -> bool:
    """By a connector, a sink, a channel: whoever may set up detectors could have it sent to a listener of hers."""
    uses = (use for use in Secret._meta.related_objects if use.related_model not in (SecretVersion, ExternalDetector))
    return any(use.related_model._default_manager.filter(**{use.field.name: secret}).exists() for use in uses)


@sensitive_variables()
def try_detector(row: ExternalDetector) -> Trial:
    """Asks it about SAMPLE, as a gateway would. No transaction may be open: it may take its time."""
    about = detector_of(row)
    known = secrets(frozenset((about.secret_id,))) if about.secret_id else {}
    return Trial(row.name, asyncio.run(_ask(about, known.get(about.secret_id))))


async def _ask(about: OutsideDetector, secret: SealedSecret | None) -> Answered:
    detectors = Detectors(
        keyring(), allowed_networks=settings.UPSTREAM_ALLOWED_NETWORKS, model_folders=settings.MODEL_FOLDERS
    )
    try:
        return await detectors.ask(about, SAMPLE, is_answer=False, secret=secret)
    finally:
        detectors.close()
