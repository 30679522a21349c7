"""A new value for a secret, tried at every system that uses it, whichever door it comes through.

Whoever sends the value has said where it will go: an IT admin could have pointed a connector at a listener of hers
just before. That is compared again, under the secret's lock, when the value is stored. While the systems answer,
nothing is open in the database. The value is in no message, session or log.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from functools import partial

from django.conf import settings
from django.views.decorators.debug import sensitive_variables

from connectors.base import UpstreamAuth
from connectors.egress import Egress
from connectors.kinds import KINDS
from gateway.discovery import Question, ask_all, spec_of
from gateway.trial_checks import failed, tools
from gateway.wiring import upstream_auth
from governance.destinations import addresses_of, destinations, origins
from governance.duties import still_may
from governance.facts import Fact, Recorder
from governance.models import Connector, Epoch, Secret, User
from governance.registry import Catalogue
from governance.snapshot_rows.upstreams import program_of
from governance.vault import check_presentable, put_secret_value

PERMISSION = "governance.replace_secret"

Places = Mapping[str, list[str]]
"""Connector name -> where it presents the secret."""


class Moved(Exception):
    """The secret goes elsewhere by now, or the person may not any more; nothing was stored."""


@dataclass(frozen=True, slots=True)
class Candidate:
    """A value that is not stored yet. The rows whose addresses are compared are the rows that are asked."""

    secret: Secret
    places: Places
    connectors: tuple[Connector, ...]
    value: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class Trial:
    """What one system said to the new value."""

    connector: str
    is_accepted: bool
    text: str
    remedy: str = ""


@dataclass(frozen=True, slots=True)
class Done:
    version: int
    epoch: int
    is_verified: bool


@sensitive_variables()
def candidate(secret: Secret, value: str) -> Candidate:
    connectors = tuple(secret.connectors.order_by("name"))
    return Candidate(secret, {each.name: origins(addresses_of(each)) for each in connectors}, connectors, value)


@sensitive_variables()
def check_candidate(tried: Candidate) -> None:
    """Raises UnusableSecret."""
    check_presentable(tried.secret.kind, tried.secret.header_name, tried.value)


@sensitive_variables()
async def try_value(tried: Candidate) -> list[Trial]:
    """Presents the value to every system that uses the secret, all at once."""
    if tried.secret.kind == Secret.Kind.OAUTH_CLIENT:
        return [Trial(name, False, "This kind of secret cannot be tried beforehand.") for name in tried.places]
    egress = Egress(
        allowed_networks=settings.UPSTREAM_ALLOWED_NETWORKS, allowed_programs=settings.STDIO_ALLOWED_COMMANDS
    )
    kinds = {name: kind(egress) for name, kind in KINDS.items()}
    try:
        questions = [Question(spec_of(each), partial(_auth, tried, each)) for each in tried.connectors]
        found = await ask_all(questions, kinds)
    finally:
        for kind in kinds.values():
            await kind.close()
        egress.close()
    return [_trial(name, found[name], places) for name, places in tried.places.items()]


@sensitive_variables()
def _auth(tried: Candidate, connector: Connector) -> UpstreamAuth:
    """Raises VaultError."""
    secret, program = tried.secret, program_of(connector)
    return upstream_auth(program, tried.value, kind=secret.kind, header=secret.header_name, identity="trial")


def _trial(name: str, found: Catalogue, places: list[str]) -> Trial:
    if not found.error:
        return Trial(name, True, f"accepts it, {tools(len(found.tools))}")
    check = failed(found.error, host=", ".join(places), addresses=(), is_connected=True, is_speaking=False)
    remedy = "Is the value complete, and already valid there?" if check.key == "access" else check.remedy
    return Trial(name, False, check.text, remedy)


def is_accepted(trials: Sequence[Trial]) -> bool:
    """By every system; nothing stands against the value of a secret that none uses."""
    return all(trial.is_accepted for trial in trials)


@sensitive_variables()
def store(tried: Candidate, trials: Sequence[Trial], *, person: User, record: Recorder, now: datetime) -> Done:
    """In the caller's transaction: the new value live, the old one retired, and evidence of what was verified.

    Raises Moved.
    """
    secret = Secret.objects.select_for_update().get(pk=tried.secret.pk)
    if destinations(secret) != tried.places or _is_another_way(secret, tried.secret):
        raise Moved
    if not still_may(person.pk, PERMISSION):
        raise Moved
    version = put_secret_value(secret, value=tried.value, by=f"person:{person.email}", record=record, now=now)
    is_verified = bool(trials) and is_accepted(trials)
    accepted = [trial.connector for trial in trials if trial.is_accepted]
    told = {"version": version.number, "verified": is_verified, "accepted_by": accepted, "sent_to": tried.places}
    record(Fact("secret.replaced", f"secret:{secret.name}", told))
    return Done(version.number, Epoch.objects.values_list("number", flat=True).get(id=1), is_verified)


def _is_another_way(now: Secret, then: Secret) -> bool:
    return (now.kind, now.header_name) != (then.kind, then.header_name)
