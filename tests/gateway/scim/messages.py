"""What identity providers send, and a directory that receives it through the real addresses."""

from dataclasses import dataclass
from typing import Any
from uuid import uuid4

import orjson
from django.test import Client

from gateway.actions import act
from governance.directories import issue_token
from governance.models import Directory, DirectoryToken

USER = "urn:ietf:params:scim:schemas:core:2.0:User"
GROUP = "urn:ietf:params:scim:schemas:core:2.0:Group"
ENTERPRISE = "urn:ietf:params:scim:schemas:extension:enterprise:2.0:User"
PATCH = "urn:ietf:params:scim:api:messages:2.0:PatchOp"


@dataclass
class Answer:
    status: int
    body: Any
    headers: Any


class Provider:
    """An identity provider at the other end of one connection."""

    def __init__(self, name: str = "okta", **settings: Any) -> None:
        self.directory, _ = Directory.objects.get_or_create(name=name, defaults=settings)
        self.issued = act(lambda record, now: issue_token(self.directory, by="test", record=record, now=now), by="test")
        self.client = Client()
        self.address = "127.0.0.1"

    @property
    def token(self) -> DirectoryToken:
        return self.issued.row

    def sends(self, method: str, path: str, body: Any = None, *, raw: bytes | None = None, **headers: str) -> Answer:
        sent = {"authorization": f"Bearer {self.issued.token}", **headers}
        response = self.client.generic(
            method,
            f"/scim/v2{path}",
            (orjson.dumps(body) if body is not None else b"") if raw is None else raw,
            content_type="application/scim+json",
            headers=sent,
            REMOTE_ADDR=self.address,
        )
        return Answer(response.status_code, orjson.loads(response.content or b"null"), response.headers)

    def gets(self, path: str) -> Answer:
        return self.sends("GET", path)

    def finds(self, kind: str, asked: str, **more: str) -> Answer:
        query = {"filter": asked, **more}
        response = self.client.get(f"/scim/v2/{kind}", query, headers={"authorization": f"Bearer {self.issued.token}"})
        return Answer(response.status_code, orjson.loads(response.content), response.headers)

    def adds(self, user_name: str = "mia.o@corp.test", **fields: Any) -> str:
        """A user; its id."""
        answer = self.sends("POST", "/Users", okta_user(user_name, **fields))
        assert answer.status == 201, answer.body
        return str(answer.body["id"])

    def adds_group(self, name: str, *members: str) -> str:
        answer = self.sends("POST", "/Groups", group(name, *members))
        assert answer.status == 201, answer.body
        return str(answer.body["id"])

    def patches(self, path: str, *operations: dict[str, Any]) -> Answer:
        return self.sends("PATCH", path, {"schemas": [PATCH], "Operations": list(operations)})


def okta_user(user_name: str = "mia.o@corp.test", **fields: Any) -> dict[str, Any]:
    return {
        "schemas": [USER],
        "userName": user_name,
        "externalId": f"00u{uuid4().hex[:8]}",
        "name": {"givenName": "Mia", "familyName": "Ode"},
        "emails": [{"primary": True, "type": "work", "value": user_name}],
        "displayName": "Mia Ode",
        "groups": [],
        "active": True,
        **fields,
    }


def group(name: str, *members: str) -> dict[str, Any]:
    return {"schemas": [GROUP], "displayName": name, "members": [{"value": each} for each in members]}
