"""Is each kept body the one that its record commits to? Opens them with the vault's keys and shows them to nobody."""

from audit.models import EventRow, Leaf, Payload
from audit.pages import Unreadable, by_id, pages
from audit.verify import Findings
from gateway.sealed_payloads import BROKEN, NOT_COMMITTED, Seals
from gateway.sealed_payloads import Unreadable as CannotBeOpened


def check_payloads(findings: Findings) -> str:
    """What was not checked, in a sentence: bodies that are not there, or whose key is gone, may have been erased."""
    seals, kept, closed = Seals(), 0, 0
    for page in pages(Payload.objects.all(), "event_id", "key_id", "sealed"):
        rows = [row for row in page if not isinstance(row, Unreadable)]
        for row in page:
            if isinstance(row, Unreadable):
                findings.add(f"the body of event {row.key} cannot be read")
        ids = [row[0] for row in rows]
        events = by_id(EventRow.objects.all(), ids, "header")
        places = dict(Leaf.objects.filter(event_id__in=ids).values_list("event_id", "index"))
        for event_id, key_id, sealed in rows:
            event = events.get(event_id)
            header = b"" if event is None or isinstance(event, Unreadable) else bytes(event[1])
            kept += 1
            try:
                seals.body(event_id, header, Payload(event_id=event_id, key_id=key_id, sealed=sealed))
            except CannotBeOpened as reason:
                if str(reason) == BROKEN or (str(reason) == NOT_COMMITTED and event is not None):
                    findings.add(
                        f"its body is not the one that was recorded (event {event_id})", leaf=places.get(event_id)
                    )
                else:
                    closed += 1
    return f"Bodies that are not kept here; of the {kept:,} that are, {closed:,} whose key is gone."
