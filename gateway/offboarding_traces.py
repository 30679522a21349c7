"""What a person leaves behind outside of people, agents and keys: found for the receipt, ended or queued."""

from collections.abc import Iterator
from datetime import datetime

import orjson
from django.db.models import Exists, OuterRef, Q, QuerySet
from django.db.models.functions import Now

from audit.models import EventRow, Mention
from governance import authorizations, connected_accounts, oauth_clients, rotation, staff_identities
from governance.facts import Recorder
from governance.models import Authorization, DirectoryToken, OAuthClient, RotationTask, Secret, UpstreamGrant, User
from governance.offboarding import Item
from governance.offboarding_findings import ACCOUNT, AUTHORIZATION, END_ACCOUNT, ROTATE_SCIM_TOKEN, ROTATE_SECRET

KNEW = ("secret.value_set", "secret.replaced")
MOST_EVENTS = 20_000


class StaffIdentities:
    """Her accounts at identity providers, by which she signed in here."""

    def find(self, person: User) -> Iterator[Item]:
        for row in staff_identities.live_of_person(person).order_by("issuer", "subject"):
            yield Item("single sign-on", str(row), "ended", id=row.pk.hex)

    def end(self, person: User, *, by: str, record: Recorder, now: datetime) -> None:
        staff_identities.end_of_person(person, by=by, record=record, now=now)


class Authorizations:
    """What she let in, and what her agents were let in for: with each end all its tokens, codes and devices."""

    def find(self, person: User) -> Iterator[Item]:
        rows = _authorizations(person).select_related("client", "agent", "person").order_by("created_at")
        for row in rows:
            yield Item(AUTHORIZATION, f"{row} at {row.resource}", "revoked with all its tokens", id=row.pk.hex)

    def end(self, person: User, *, by: str, record: Recorder, now: datetime) -> None:
        authorizations.end_all(_authorizations(person), f"person:{person.email}", by=by, record=record, now=now)


class OAuthClients:
    """Clients that she registered. One that others use as well is no matter of hers alone."""

    def find(self, person: User) -> Iterator[Item]:
        for client, is_shared in self._registered(person):
            action, todo = ("stays: others use it", "look whether it is wanted") if is_shared else ("disabled", "")
            yield Item("OAuth client", str(client), action, todo, id=client.pk.hex)

    def end(self, person: User, *, by: str, record: Recorder, now: datetime) -> None:
        for client, is_shared in self._registered(person):
            if not is_shared:
                oauth_clients.disable(client, by=by, record=record, now=now)

    def _registered(self, person: User) -> list[tuple[OAuthClient, bool]]:
        others = Authorization.objects.filter(client=OuterRef("pk"), revoked_at=None, expires_at__gt=Now())
        rows = OAuthClient.objects.filter(registered_by=person).exclude(status=OAuthClient.Status.DISABLED)
        shared = rows.annotate(is_shared=Exists(others.exclude(person=person).exclude(person=None)))
        return [(row, row.is_shared or row.origin == OAuthClient.Origin.ADMIN) for row in shared.order_by("name")]


class ConnectedAccounts:
    """Her accounts at upstreams: dead here at once, then revoked at their providers."""

    def find(self, person: User) -> Iterator[Item]:
        risk = "its tokens may be valid at the provider until they are revoked there"
        for row in connected_accounts.live_of_person(person):
            name = str(row.connector.name if row.connector else row.client.server)
            yield Item(ACCOUNT, name, "ended, revoked at the provider", id=row.pk.hex, risk=risk, step=END_ACCOUNT)

        shared = UpstreamGrant.objects.filter(person=None, created_by=f"person:{person.email}")
        for row in shared.exclude(status=UpstreamGrant.Status.ENDED).select_related("connector", "client__server"):
            name = str(row.connector.name if row.connector else row.client.server)
            todo = "connect it again as somebody who stays"
            risk = "it acts with what she may do at the provider"
            yield Item("shared account", name, "stays: others use it", todo, id=row.pk.hex, risk=risk)

    def end(self, person: User, *, by: str, record: Recorder, now: datetime) -> None:
        connected_accounts.end_of_person(person, by=by, record=record, now=now)


class RotationDuties:
    """What she was to replace, and has not."""

    def find(self, person: User) -> Iterator[Item]:
        for task in rotation.live_of_person(person).order_by("due_at"):
            name = f"{RotationTask.Subject(task.subject_kind).label.lower()} {task.subject_name}"
            yield Item("rotation", name, "goes back to the queue", "choose who sees to it", id=task.pk.hex)

    def end(self, person: User, *, by: str, record: Recorder, now: datetime) -> None:
        rotation.end_of_person(person, by=by, record=record, now=now)


class KnownSecrets:
    """Secrets of connectors whose value she typed in, at any time: nobody can make her forget them."""

    def find(self, person: User) -> Iterator[Item]:
        names = _secrets_set_by(person)
        for secret_id, name in Secret.objects.filter(name__in=names).order_by("name").values_list("id", "name"):
            risk = "she may have kept it, and it opens the system behind until it is replaced"
            yield Item("shared secret", name, "queued to be replaced", id=secret_id.hex, risk=risk, step=ROTATE_SECRET)

    def end(self, person: User, *, by: str, record: Recorder, now: datetime) -> None:
        """Nothing at once: connectors go on until there is a new value."""


class DirectoryTokens:
    """Tokens of directories that she made: with one of them anybody is the directory."""

    def find(self, person: User) -> Iterator[Item]:
        rows = DirectoryToken.objects.filter(created_by=f"person:{person.email}", revoked_at=None)
        for row in rows.select_related("directory").order_by("created_at"):
            risk = "she may have kept it, and it can change people until it is replaced"
            yield Item(
                "SCIM token she made", str(row), "stays until it is replaced", id=row.pk.hex, risk=risk,
                step=ROTATE_SCIM_TOKEN,
            )  # fmt: skip

    def end(self, person: User, *, by: str, record: Recorder, now: datetime) -> None:
        """Nothing at once: a directory without a token could not report the next who leaves."""


class Exports:
    """Lists she took along. Nobody gets them back; somebody should know."""

    def find(self, person: User) -> Iterator[Item]:
        taken = EventRow.objects.filter(actor=f"person:{person.email}", kind="list.exported", call_id=None)
        for event_id, at, header in taken.order_by("-id").values_list("id", "at", "header")[:50]:
            subject = orjson.loads(bytes(header))["details"].get("subject", "")
            name = f"{subject.removeprefix('list:')} on {at:%Y-%m-%d}"
            yield Item("export", name, "she has it", id=event_id.hex, risk="what it says is known outside")

    def end(self, person: User, *, by: str, record: Recorder, now: datetime) -> None:
        """There is nothing to end."""


ENDERS = (
    StaffIdentities(),
    Authorizations(),
    OAuthClients(),
    ConnectedAccounts(),
    RotationDuties(),
    KnownSecrets(),
    DirectoryTokens(),
    Exports(),
)


def addresses_of(person: User) -> set[str]:
    """Hers, and those that her row ever had: evidence names people by the address of the day."""
    named = Mention.objects.filter(object_id=person.pk.hex).values("event_id")
    rows = EventRow.objects.filter(pk__in=named, kind="governance.changed").values_list("header", flat=True)
    changes = (orjson.loads(header)["details"] for header in map(bytes, rows.iterator()) if b'"email"' in header)
    sides = (
        side or {}
        for change in changes
        if change["object_id"].replace("-", "") == person.pk.hex
        for side in (change["before"], change["after"])
    )
    return {person.email, *(side["email"] for side in sides if "email" in side)}


def _authorizations(person: User) -> QuerySet[Authorization]:
    return Authorization.objects.filter(Q(person=person) | Q(agent__owner=person), revoked_at=None)


def _secrets_set_by(person: User) -> set[str]:
    """Evidence knows it, whichever door she came through, and by whichever address she was known then."""
    actors = [f"person:{email}" for email in addresses_of(person)]
    events = EventRow.objects.filter(actor__in=actors, kind__in=KNEW, call_id=None).order_by("-id")
    headers = events.values_list("header", flat=True)[:MOST_EVENTS]
    subjects = (orjson.loads(bytes(header))["details"].get("subject", "") for header in headers)
    return {subject.removeprefix("secret:") for subject in subjects}
