"""Speaking to the REST API as a script would: a person, her token, JSON."""

import json
from collections.abc import Collection
from datetime import UTC, datetime
from typing import Any

import pytest
from django.test import Client

from governance.models import User
from governance.personal_tokens import SCOPES, issue_token

ROOT = "/api/v1"
COLLECTIONS = (
    "people", "teams", "personal-tokens", "agents", "credentials", "roles", "bundles", "policies", "limits",
    "connectors", "tools", "definitions", "secrets", "freezes", "events", "changes", "checkpoints", "tallies",
    "processes",
)  # fmt: skip


class Api:
    """Answers carry `.json()`; `person` is whose token it is."""

    def __init__(self, person: User, *, scopes: Collection[str] = tuple(SCOPES)) -> None:
        self.person = person
        issued = issue_token(
            person, name="test", scopes=scopes, by="test", record=lambda fact: None, now=datetime.now(UTC)
        )
        self.row, self.token = issued.row, issued.token
        self.client = Client(raise_request_exception=False)

    def get(self, path: str, **headers: str) -> Any:
        return self._ask("GET", path, None, headers)

    def post(self, path: str, body: Any = None, **headers: str) -> Any:
        return self._ask("POST", path, body, headers)

    def patch(self, path: str, body: Any, **headers: str) -> Any:
        return self._ask("PATCH", path, body, {"If-Match": "*", **headers})

    def delete(self, path: str, **headers: str) -> Any:
        return self._ask("DELETE", path, None, {"If-Match": "*", **headers})

    def _ask(self, method: str, path: str, body: Any, headers: dict[str, str]) -> Any:
        raw = body if isinstance(body, bytes) else b"" if body is None else json.dumps(body).encode()
        content_type = headers.pop("content_type", "application/json")
        headers = {name.replace("_", "-"): value for name, value in headers.items() if value}
        return self.client.generic(
            method, f"{ROOT}/{path}", raw, content_type, headers={"Authorization": f"Bearer {self.token}", **headers}
        )


def person(email: str = "noor@example.com", *duties: str, owner: bool = False, staff: bool = True) -> User:
    return User.objects.create_user(email, is_staff=staff, is_superuser=owner, duties=list(duties))


@pytest.fixture
def owner() -> Api:
    """An owner's token that may whatever she may."""
    return Api(person("owner@example.com", owner=True))


def it_admin() -> Api:
    return Api(person("noor@example.com", "it-admin"))


def security() -> Api:
    return Api(person("sam@example.com", "security"))


def problem(response: Any, status: int, code: str) -> dict[str, Any]:
    assert response.status_code == status, response.content
    assert response["Content-Type"] == "application/problem+json"
    told: dict[str, Any] = response.json()
    assert (told["code"], told["status"]) == (code, status)
    assert told["title"]
    return told


def fields_of(told: dict[str, Any]) -> set[str]:
    return {error["field"] for error in told["errors"]}
