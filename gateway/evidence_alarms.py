"""Something is wrong with the evidence: told once while it lasts, and once when it is over."""

from datetime import datetime, timedelta
from typing import Final

from django.db import transaction

from gateway.evidence_health import read_health, sentence_of_end
from gateway.models import EvidenceIncident
from gateway.notices.writing import evidence_in_trouble, evidence_is_well

SAME_WITHIN: Final = timedelta(minutes=15)
"""What comes back so soon is the same incident, and what stays away longer is over."""


def look(now: datetime) -> int:
    """Begins and ends incidents; how many beginnings were told. Any number of workers may look at once."""
    found = dict(read_health(now).troubles())
    EvidenceIncident.objects.filter(ended_at=None).exclude(name__in=found).update(ended_at=now)
    for incident in EvidenceIncident.objects.filter(ended_at__lt=now - SAME_WITHIN).exclude(name__in=found):
        _finish(incident, now)
    return sum(_begin(name, sentence, now) for name, sentence in found.items())


def _finish(incident: EvidenceIncident, now: datetime) -> None:
    with transaction.atomic():
        gone, _ = EvidenceIncident.objects.filter(pk=incident.pk, ended_at=incident.ended_at).delete()
        if gone:
            evidence_is_well(sentence_of_end(incident.name), now=now)


def _begin(name: str, sentence: str, now: datetime) -> bool:
    with transaction.atomic():
        incident, is_new = EvidenceIncident.objects.get_or_create(name=name, defaults={"since": now})
        if not is_new and not _is_over(incident, now):
            EvidenceIncident.objects.filter(pk=name).update(ended_at=None)
            return False
        mine = EvidenceIncident.objects.filter(pk=name, since=incident.since, ended_at=incident.ended_at)
        if not mine.update(since=now, ended_at=None):
            return False
        evidence_in_trouble(sentence, now=now)
    return True


def _is_over(incident: EvidenceIncident, now: datetime) -> bool:
    return incident.ended_at is not None and now - incident.ended_at > SAME_WITHIN
