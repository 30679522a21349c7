"""A client on its way in: whom it meets, what it asks, and how its tokens stand."""

import base64
import hashlib
import secrets
from datetime import UTC, datetime
from typing import Any
from urllib.parse import parse_qs, urlencode, urlsplit

from django.conf import settings
from django.test import Client

from governance import agent_keys, key_text, oauth_clients, oauth_tokens
from governance.facts import Fact
from governance.models import (
    AccessToken,
    Agent,
    AgentCredential,
    Bundle,
    BundleVersion,
    OAuthClient,
    Role,
    User,
)
from governance.oauth_resources import resource_of
from governance.snapshot_builder import build_snapshot
from tests.gateway.signing_in import browser_of

REDIRECT = "http://127.0.0.1/callback"
USED = "http://127.0.0.1:43210/callback"
SUPPORT = resource_of("support", origin=settings.PUBLIC_URL)
UNION = resource_of(None, origin=settings.PUBLIC_URL)
FACTS: list[Fact] = []


class World:
    """Ana holds the bundles support and billing; so does her agent triage-bot. An editor asks to be let in."""

    def __init__(self) -> None:
        self.now = datetime.now(UTC)
        self.ana = User.objects.create_user("ana@example.com", name="Ana Lima")
        self.agent = Agent.objects.create(name="triage-bot", owner=self.ana)
        self.role = Role.objects.create(name="support-agent")
        for name in ("support", "billing", "secret-plans"):
            bundle = Bundle.objects.create(name=name, title=name.title())
            version = BundleVersion.objects.create(
                bundle=bundle, number=1, state="published", published_at=self.now, created_by="test"
            )
            assert version.pk
            if name != "secret-plans":
                self.role.bundles.add(bundle)
        self.role.agents.add(self.agent)
        self.role.people.add(self.ana)
        self.editor = self.client_for_people("Editor")
        self.browser = browser_of(self.ana)

    def client_for_people(self, name: str, **fields: Any) -> OAuthClient:
        said = {"redirect_uris": [REDIRECT, "https://editor.example/cb"], **fields}
        return oauth_clients.register(name=name, by="test", record=FACTS.append, now=self.now, **said).client

    def secret(self, **fields: Any) -> str:
        said = {"expires_at": None, **fields}
        issued = agent_keys.issue_key(
            self.agent,
            by="test",
            record=FACTS.append,
            now=self.now,
            kind=AgentCredential.Kind.CLIENT_SECRET,
            **said,
        )
        return issued.key


class Flow:
    """One attempt to be let in."""

    def __init__(self, world: World, **changed: Any) -> None:
        self.world = world
        self.verifier = secrets.token_urlsafe(48)
        digest = hashlib.sha256(self.verifier.encode()).digest()
        asked = {
            "response_type": "code",
            "client_id": world.editor.client_id,
            "redirect_uri": USED,
            "state": "xyz",
            "code_challenge": base64.urlsafe_b64encode(digest).rstrip(b"=").decode(),
            "code_challenge_method": "S256",
            "resource": SUPPORT,
            **changed,
        }
        self.address = f"/oauth/authorize?{urlencode({k: v for k, v in asked.items() if v is not None}, doseq=True)}"

    def look(self) -> Any:
        return self.world.browser.get(self.address)

    def answer(self, answer: str = "allow", **fields: Any) -> dict[str, str]:
        return sent_back(self.world.browser.post(self.address, {"answer": answer, **fields}))

    def code(self, **fields: Any) -> str:
        return self.answer(**fields)["code"]

    def redeem(self, code: str, **changed: Any) -> Any:
        said = {
            "grant_type": "authorization_code",
            "client_id": self.world.editor.client_id,
            "code": code,
            "redirect_uri": USED,
            "code_verifier": self.verifier,
            "resource": SUPPORT,
            **changed,
        }
        return post("token", **said)

    def tokens(self, **fields: Any) -> dict[str, Any]:
        answered = self.redeem(self.code(**fields))
        assert answered.status_code == 200, answered.content
        return dict(answered.json())


def sent_back(response: Any) -> dict[str, str]:
    assert response.status_code == 302, response.content
    return {name: values[0] for name, values in parse_qs(urlsplit(response["Location"]).query).items()}


def post(endpoint: str, headers: dict[str, str] | None = None, **said: Any) -> Any:
    body = urlencode({name: value for name, value in said.items() if value is not None}, doseq=True)
    form = "application/x-www-form-urlencoded"
    return Client().post(f"/oauth/{endpoint}", body, content_type=form, headers=headers or {})


def refresh(world: World, token: str, **changed: Any) -> Any:
    said = {"client_id": world.editor.client_id, "refresh_token": token, **changed}
    return post("token", grant_type="refresh_token", **said)


def is_live(token: str) -> bool:
    return oauth_tokens.find_live(token, now=datetime.now(UTC)) is not None


def stands(token: str) -> bool:
    """As the data path sees it."""
    row = AccessToken.objects.get(digest=key_text.digest_of(token))
    view = build_snapshot()
    ground = view.authorizations if row.authorization_id else view.proofs
    rests_on = row.authorization_id or row.credential_id
    assert rests_on is not None
    return rests_on.hex in ground and row.id.hex not in view.ended_tokens
