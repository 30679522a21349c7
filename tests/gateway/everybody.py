"""Somebody of every role, a row of every table, and every address that the resolver knows."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from allauth.usersessions.models import UserSession
from django.test import Client
from django.urls import URLPattern, URLResolver, get_resolver

from gateway.models import McpSession, Report, SavedSearch
from governance.fence.actor import governed_change
from governance.models import (
    AccessReview,
    AccessReviewItem,
    Agent,
    Authorization,
    Bundle,
    DetectionOff,
    OAuthClient,
    Offboarding,
    OffboardingStep,
    Policy,
    User,
)
from tests.gateway.rows import one_of_each
from tests.gateway.signing_in import PASSWORD

DUTIES = ("it-admin", "security", "approver", "auditor")
ROLES = ("owner", *DUTIES, "person", "inactive", "anonymous")
STAFF = {"owner", *DUTIES}
SPECIAL = {
    "everybody": set(ROLES),
    "signed in": {*STAFF, "person"},
    "staff": STAFF,
    "nobody": set(),
}


@pytest.fixture
def rows() -> dict[str, Any]:
    """By the name of their table; somebody else's, so that nobody meets her own, and nothing hangs on them."""
    with governed_change(by="test"):
        found = {row._meta.model_name: row for row in one_of_each()}
        more = (
            Policy.objects.create(name="unused"),
            Bundle.objects.create(name="unused"),
            Offboarding.objects.create(person=found["user"], due_at=datetime.now(UTC), created_by="test"),
            _let_in(found["agent"], found["user"]),
            McpSession.objects.create(
                digest=bytes(32), agent_id=found["agent"].pk, created_at=datetime.now(UTC), seen_at=datetime.now(UTC)
            ),
            Report.objects.create(
                pack="soc2",
                since=datetime.now(UTC),
                until=datetime.now(UTC),
                asked_by="test",
                asked_at=datetime.now(UTC),
                state="done",
            ),
            DetectionOff.objects.create(rule="card_number", reason="Noise.", set_by="test", set_at=datetime.now(UTC)),
            SavedSearch.objects.create(owner=found["user"], name="hers"),
            UserSession.objects.create(user=found["user"], ip="192.0.2.1", session_key="hers", user_agent="Firefox"),
        )
        review = AccessReview.objects.create(
            title="Q4",
            scope="all",
            reviewers="managers",
            started_by="test",
            started_at=datetime.now(UTC),
            due_at=datetime.now(UTC),
            reminded_at=datetime.now(UTC),
        )
        item = AccessReviewItem.objects.create(
            review=review,
            person_id=found["user"].pk,
            human_id=found["user"].pk,
            subject="ana@example.com",
            tools=1,
            through="role",
            through_id=found["role"].pk,
            held="role support",
        )
        left = OffboardingStep(offboarding=more[2], kind="retire_agent", name="gone-bot", next_try_at=datetime.now(UTC))
        left.save()
        return found | {row._meta.model_name: row for row in (*more, left, review, item)}


def _let_in(agent: Agent, person: User) -> Authorization:
    client = OAuthClient.objects.create(client_id="editor", name="Editor", status="approved", created_by="test")
    until = datetime.now(UTC) + timedelta(days=1)
    return Authorization.objects.create(
        client=client, agent=agent, person=person, resource="http://testserver/mcp", expires_at=until, created_by="test"
    )


@pytest.fixture
def people(rows: dict[str, Any]) -> dict[str, User | None]:
    def make(role: str) -> User:
        return User.objects.create_user(
            f"{role}@example.com",
            PASSWORD,
            is_staff=role != "person",
            is_superuser=role == "owner",
            is_active=role != "inactive",
            duties=[role] if role in DUTIES else ["it-admin"] if role == "inactive" else [],
        )

    with governed_change(by="test"):
        return {role: None if role == "anonymous" else make(role) for role in ROLES}


def browser(person: User | None) -> Client:
    """Hers, or with None that of a stranger; what fails inside is an answer."""
    client = Client(raise_request_exception=False)
    if person is not None:
        client.force_login(person)
    return client


def patterns(under: str) -> Iterator[tuple[str, URLPattern]]:
    yield from ((name, leaf) for path, name, leaf in _leaves(get_resolver().url_patterns) if path.startswith(under))


def _leaves(entries: list[Any], path: str = "", namespace: str = "") -> Iterator[tuple[str, str, URLPattern]]:
    for entry in entries:
        here = path + str(entry.pattern)
        if isinstance(entry, URLResolver):
            inside = f"{namespace}{entry.namespace}:" if entry.namespace else namespace
            yield from _leaves(entry.url_patterns, here, inside)
        else:
            entry.whole_path = here  # type: ignore[attr-defined]
            yield here, f"{namespace}{entry.name or '?'}", entry
