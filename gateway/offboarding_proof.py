"""That nothing of hers works any more: every ended key and token is tried, and the result is evidence."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from django.apps import apps

from audit.models import Checkpoint, Leaf
from gateway.actions import act
from gateway.live_probe import Word, ask_and_wait, subjects
from governance import offboarding as verbs
from governance.facts import Fact, Recorder
from governance.models import Offboarding, UpstreamGrant, User
from governance.offboarding_findings import ACCOUNT
from governance.snapshot_builder import build_snapshot


@dataclass(frozen=True, slots=True)
class Check:
    """A try of every dead credential; `live` must be empty. `tried` counts keys and tokens."""

    at: datetime
    by: str
    tried: int
    live: tuple[str, ...] = field(default=())
    is_active: bool = False
    gateways: tuple[Word, ...] | None = None
    """What each live gateway said when it tried them; None where they were not asked."""
    accounts: tuple[Mapping[str, str], ...] = ()
    """Each of her accounts at other systems: dead here, and what is known of it at its provider."""

    @property
    def is_clean(self) -> bool:
        """A gateway that did not answer may let anything in."""
        said = self.gateways or ()
        return not self.live and not self.is_active and all(word.tried is not None and not word.live for word in said)

    def as_json(self) -> dict[str, Any]:
        return {
            "at": self.at.isoformat(),
            "by": self.by,
            "tried": self.tried,
            "live": list(self.live),
            "active": self.is_active,
            "gateways": None if self.gateways is None else [word.as_json() for word in self.gateways],
            "accounts": [dict(account) for account in self.accounts],
            "clean": self.is_clean,
        }


def probe(offboarding: Offboarding, *, by: str, gateways: Sequence[Word] | None = None) -> Check:
    """Looks up every key and token that was ended, in the snapshot that gateways compile and in the tables; `gateways`
    is what they themselves said."""
    snapshot = build_snapshot()
    person = snapshot.people.get(offboarding.person_id.hex)
    is_active = person.is_active if person else User.objects.get(id=offboarding.person_id).is_active
    live = verbs.still_live(offboarding.items, live_key_ids=[c.id for c in snapshot.credentials.values()])
    live += _sessions_of(offboarding)
    accounts = tuple(_accounts_of(offboarding))
    live += [account["name"] for account in accounts if account["here"] != "ended"]
    tried = sum(item["kind"] in verbs.CREDENTIALS for item in offboarding.items)
    words = None if gateways is None else tuple(gateways)
    return Check(datetime.now(UTC), by, tried, tuple(live), is_active, words, accounts)


def try_everything(offboarding: Offboarding, *, by: str) -> Check:
    """As probe, and every live gateway is asked to try what it would be shown. Waits for their answers, a second or
    two, and holds no transaction meanwhile."""
    return probe(offboarding, by=by, gateways=ask_and_wait(subjects(offboarding.items), by=by))


def _sessions_of(offboarding: Offboarding) -> list[str]:
    """Of the browser sessions that were ended, those that are there again."""
    ended = [item["id"] for item in offboarding.items if item["kind"] == "web session"]
    model = apps.get_model("usersessions", "UserSession")
    there = model._default_manager.filter(pk__in=ended, user_id=offboarding.person_id).count() if ended else 0
    return [f"{there} web sessions"] if there else []


def _accounts_of(offboarding: Offboarding) -> Iterator[dict[str, str]]:
    """Its tokens are erased as soon as they are revoked: what they did then when they were tried is all that can be
    known, and is in the row."""
    names = {item["id"]: item["name"] for item in offboarding.items if item["kind"] == ACCOUNT}
    rows = {row.pk.hex: row for row in UpstreamGrant.objects.filter(pk__in=[UUID(each) for each in names])}
    for account_id, name in names.items():
        row = rows.get(account_id)
        here = row.status if row is not None else "ended"
        known = (row.revocation_note or row.get_revocation_display()) if row is not None else "nothing of it is kept"
        yield {"name": f"account at {name}", "here": here, "at_provider": known}


def check_again(offboarding: Offboarding, *, by: str) -> Check:
    """Probes once more, and keeps the result as evidence beside the receipt, which stays as it was."""
    check = try_everything(offboarding, by=by)
    act(lambda tell, _: keep_check(offboarding, check, record=tell), by=by)
    return check


def keep_check(offboarding: Offboarding, check: Check, *, record: Recorder) -> None:
    Offboarding.objects.filter(id=offboarding.id).update(checked=check.as_json())
    details = {"offboarding": str(offboarding.id), **check.as_json()}
    record(Fact("offboarding.checked", f"person:{offboarding.person.email}", details))


@dataclass(frozen=True, slots=True)
class Place:
    """Where the receipt's evidence stands in the signed log; None where the log has not got to it yet."""

    event_id: UUID
    leaf: int | None
    checkpoint: int | None


def place_in_log(offboarding: Offboarding) -> Place | None:
    if offboarding.receipt_event is None:
        return None
    leaf = Leaf.objects.filter(event_id=offboarding.receipt_event).values_list("index", flat=True).first()
    signed = None
    if leaf is not None:
        signed = Checkpoint.objects.filter(size__gt=leaf).order_by("size").values_list("size", flat=True).first()
    return Place(offboarding.receipt_event, leaf, signed)
