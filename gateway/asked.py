"""A connector as it stood when its upstream was asked: meanwhile it may change, and the rights of who asked."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any

from django.views.decorators.debug import sensitive_variables

from connectors.base import UpstreamAuth, UpstreamSpec
from gateway.accounts.looking_up import account_opener
from gateway.discovery import OpenAuth, Question, spec_of
from gateway.wiring import upstream_auth
from governance.duties import still_may
from governance.models import Connector, Secret, SecretVersion
from governance.snapshot import Program
from governance.snapshot_rows.upstreams import program_of
from governance.vault import VaultError, keyring, open_secret_version

PERMISSION = "governance.discover_connector"

AT_ONCE = 8
"""Trials in all. Without sockets each holds one of the pages' turns for as long as its upstream takes; of these there
are more, so that the other screens go on."""

_running: set[str] = set()


class AlreadyRunning(Exception):
    """Somebody is trying this connector right now, or too many others are being tried."""


class Overtaken(Exception):
    """The connector was changed while its upstream was asked; nothing was kept."""


@contextmanager
def only_one(connector_id: str) -> Iterator[None]:
    """One trial per connector at a time. All of them run in the one process that serves the pages."""
    if connector_id in _running or len(_running) >= AT_ONCE:
        raise AlreadyRunning
    _running.add(connector_id)
    try:
        yield
    finally:
        _running.discard(connector_id)


@dataclass(frozen=True, slots=True)
class Asked:
    """A connector as it stood when its upstream was asked."""

    connector_id: Any
    secret_id: Any
    question: Question
    has_secret: bool


def asked(connector: Connector) -> Asked:
    """Reads the sealed secret; it is opened only when the request is made."""
    secret = connector.secret
    opener: OpenAuth = UpstreamAuth
    if connector.account:
        opener = account_opener(connector.pk)
    elif secret:
        opener = partial(_open, secret, _live(secret), program_of(connector))
    return Asked(connector.pk, connector.secret_id, Question(spec_of(connector), opener), bool(secret))


def _live(secret: Secret) -> SecretVersion | None:
    return SecretVersion.objects.filter(secret=secret, retired_at=None).first()


@sensitive_variables("value")
def _open(secret: Secret, version: SecretVersion | None, program: Program | None) -> UpstreamAuth:
    """Raises VaultError."""
    if version is None:
        raise VaultError(f"The secret {secret.name} has no value yet.")
    value = open_secret_version(version, keyring=keyring())
    return upstream_auth(program, value, kind=secret.kind, header=secret.header_name, identity=str(version.pk))


def still_asked(wanted: Asked, *, person_id: Any) -> Connector:
    """The row, locked, if the answer is still this connector's and the person still may ask. Raises Overtaken."""
    connector = Connector.objects.select_for_update().filter(pk=wanted.connector_id).first()
    is_same = connector is not None and _way(spec_of(connector)) == _way(wanted.question.spec)
    if connector is None or not is_same or connector.secret_id != wanted.secret_id:
        raise Overtaken
    if not still_may(person_id, PERMISSION):
        raise Overtaken
    return connector


def _way(spec: UpstreamSpec) -> tuple[Any, ...]:
    """What must still be the same for an answer to be this connector's."""
    return spec.kind, spec.urls, spec.child
