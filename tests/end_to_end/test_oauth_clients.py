"""OAuth clients nobody here wrote, against a real installation: from a bare address to a recorded call."""

import asyncio
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qs, urlsplit

import httpx
import pytest
from authlib.integrations.httpx_client import OAuth2Client
from mcp import Client
from mcp.client.auth import OAuthClientProvider
from mcp.client.auth.extensions.client_credentials import ClientCredentialsOAuthProvider
from mcp.client.streamable_http import streamable_http_client
from mcp.shared._httpx_utils import create_mcp_http_client
from mcp.shared.auth import AuthorizationCodeResult, OAuthClientInformationFull, OAuthClientMetadata, OAuthToken

from tests import cast
from tests.end_to_end.conftest import Helpdesk, MakeInstallation
from tests.end_to_end.installation import Installation
from tests.end_to_end.wire import modern_headers, modern_message

pytestmark = pytest.mark.databases("postgres")

CALLBACK = "http://127.0.0.1:43210/callback"
SET_UP = """
import json
from datetime import UTC, datetime
from gateway.actions import act
from governance import agent_keys, oauth_clients
from governance.models import Agent, AgentCredential

def work(record, now):
    client = oauth_clients.register(
        name="Editor", redirect_uris=["http://127.0.0.1/callback"], by="test", record=record, now=now
    ).client
    secret = agent_keys.issue_key(
        Agent.objects.get(name="triage-bot"), by="test", record=record, now=now, expires_at=None,
        kind=AgentCredential.Kind.CLIENT_SECRET,
    )
    return {"client_id": client.client_id, "secret": secret.key}

print(json.dumps(act(work, by="test")))
"""


class Browser:
    """Ana's, signed in by a one-time link. She lets in whoever asks, for what is named."""

    def __init__(self, link: str) -> None:
        self.http = httpx.Client(follow_redirects=False)
        self._press(link, {})

    def let_in(self, address: str, *bundles: str) -> dict[str, str]:
        """What the client hears at its callback."""
        chosen = {"answer": "allow", "oauth_scope": [f"bundle:{bundle}" for bundle in bundles]}
        gone = self._press(address, chosen).headers["location"]
        assert gone.startswith(CALLBACK), gone
        return {name: values[0] for name, values in parse_qs(urlsplit(gone).query).items()}

    def _press(self, address: str, said: dict[str, Any]) -> httpx.Response:
        page = self.http.get(address)
        found = re.search(r'name="csrfmiddlewaretoken" value="([^"]+)"', page.text)
        assert found, page.text
        form = {"csrfmiddlewaretoken": found[1], **said}
        return self.http.post(address, data=form, headers={"Referer": address})


@dataclass
class Kept:
    """Where the SDK keeps what it has."""

    client: OAuthClientInformationFull
    tokens: OAuthToken | None = None
    seen: list[OAuthToken] = field(default_factory=list)

    async def get_tokens(self) -> OAuthToken | None:
        return self.tokens

    async def set_tokens(self, tokens: OAuthToken) -> None:
        self.tokens = tokens
        self.seen.append(tokens)

    async def get_client_info(self) -> OAuthClientInformationFull | None:
        return self.client

    async def set_client_info(self, client_info: OAuthClientInformationFull) -> None:
        self.client = client_info


@dataclass
class Desk:
    house: Installation
    browser: Browser
    client_id: str
    secret: str

    def client(self, **changed: Any) -> Kept:
        said = {"client_id": self.client_id, "redirect_uris": [CALLBACK], "token_endpoint_auth_method": "none"}
        return Kept(OAuthClientInformationFull(**{**said, "issuer": self.house.url, **changed}))


@pytest.fixture(scope="module")
def desk(make_installation: MakeInstallation, helpdesk: Helpdesk) -> Iterator[Desk]:
    house = make_installation()
    manifest = cast.support_desk(helpdesk.url)
    tickets, refunds = ({"connector": "helpdesk", "allow": [names]} for names in ("ticket_*", "billing_refund"))
    manifest["bundles"] = [{"name": "support", "tools": [tickets]}, {"name": "billing", "tools": [refunds]}]
    manifest["roles"] = [{"name": "support-agent", "bundles": ["support", "billing"], "people": [cast.ANA]}]
    house.apply(manifest, HELPDESK_TOKEN=helpdesk.token)
    house.start_gateway(pages=True)
    link = re.search(r"https?://\S+/login/\S+", house.manage("create_owner", cast.ANA).stdout)
    assert link
    made = json.loads(house.manage("shell", "-c", SET_UP).stdout.splitlines()[-1])
    yield Desk(house, Browser(link[0]), made["client_id"], made["secret"])
    assert "Traceback" not in house.log()
    assert "gate_at_" not in house.log()


def sdk(desk: Desk, kept: Kept, url: str, *consents: tuple[str, ...]) -> OAuthClientProvider:
    """`consents`: what she leaves ticked, each time she is asked."""
    left = list(consents)
    came_back: list[dict[str, str]] = []

    async def redirect(address: str) -> None:
        came_back.append(await asyncio.to_thread(desk.browser.let_in, address, *left.pop(0)))

    async def callback() -> AuthorizationCodeResult:
        answer = came_back[-1]
        return AuthorizationCodeResult(code=answer["code"], state=answer["state"], iss=answer["iss"])

    metadata = OAuthClientMetadata(redirect_uris=[CALLBACK], client_name="Editor", token_endpoint_auth_method="none")
    return OAuthClientProvider(url, metadata, kept, redirect, callback)


async def call(url: str, auth: Any, tool: str, arguments: dict[str, Any]) -> Any:
    async with (
        create_mcp_http_client(auth=auth) as http,
        Client(streamable_http_client(url, http_client=http), mode="auto") as client,
    ):
        return await client.call_tool(tool, arguments)


async def test_the_sdk_finds_its_way_in_refreshes_and_is_recorded(desk: Desk) -> None:
    url = f"{desk.house.url}/mcp/support"
    kept = desk.client()
    provider = sdk(desk, kept, url, ("support",))
    result = await call(url, provider, "ticket_search", {"query": "order"})
    assert not result.is_error, result
    first = kept.tokens
    assert first is not None
    assert first.scope == "bundle:support"
    provider.context.token_expiry_time = 1.0
    again = await call(url, provider, "ticket_search", {"query": "order"})
    assert not again.is_error, again
    assert [each.access_token for each in kept.seen] == [first.access_token, kept.tokens.access_token]
    outcome = desk.house.events("call.outcome")[-1]
    assert outcome["person"] == cast.ANA
    assert outcome["agent"].startswith("ana-editor-")


async def test_the_sdk_steps_up_when_a_tool_lies_beyond_its_token(desk: Desk) -> None:
    url = f"{desk.house.url}/mcp"
    kept = desk.client()
    provider = sdk(desk, kept, url, ("support",), ("support", "billing"))
    refund = {"order_id": "ORD-1001", "amount": 10, "reason": "late"}
    assert not (await call(url, provider, "helpdesk__ticket_search", {"query": "order"})).is_error
    await call(url, provider, "helpdesk__billing_refund", refund)
    assert [each.scope for each in kept.seen] == ["bundle:support", "bundle:billing bundle:support"]


async def test_an_agent_buys_its_tokens_by_the_sdk(desk: Desk) -> None:
    url = f"{desk.house.url}/mcp/support"
    nobody = desk.client(client_id="triage-bot")
    provider = ClientCredentialsOAuthProvider(url, nobody, "triage-bot", desk.secret, issuer=desk.house.url)
    result = await call(url, provider, "ticket_search", {"query": "order"})
    assert not result.is_error, result


def test_authlib_comes_in_refreshes_and_is_ended(desk: Desk) -> None:
    told = httpx.get(f"{desk.house.url}/.well-known/oauth-authorization-server").json()
    resource = httpx.get(f"{desk.house.url}/.well-known/oauth-protected-resource/mcp/support").json()
    assert resource["authorization_servers"] == [told["issuer"]] == [desk.house.url]
    client = OAuth2Client(desk.client_id, redirect_uri=CALLBACK, code_challenge_method="S256", scope="bundle:support")
    client.token_endpoint_auth_method = "none"
    verifier = "v" * 64
    target = {"resource": resource["resource"]}
    address, state = client.create_authorization_url(told["authorization_endpoint"], code_verifier=verifier, **target)
    answer = desk.browser.let_in(address, "support")
    assert answer["state"] == state
    token = client.fetch_token(told["token_endpoint"], code=answer["code"], code_verifier=verifier, **target)
    fresh = client.refresh_token(told["token_endpoint"], refresh_token=token["refresh_token"], **target)
    asked = modern_message("tools/list", {})
    headers = modern_headers(asked) | {"Authorization": f"Bearer {fresh['access_token']}"}
    assert httpx.post(resource["resource"], json=asked, headers=headers).status_code == 200
    client.revoke_token(told["revocation_endpoint"], token=fresh["refresh_token"], body=f"client_id={desk.client_id}")
    assert httpx.post(resource["resource"], json=asked, headers=headers).status_code == 401


def test_a_stranger_is_told_where_tokens_come_from(desk: Desk) -> None:
    refused = httpx.post(f"{desk.house.url}/mcp/support", json={}, headers={"Accept": "application/json"})
    told = refused.headers["www-authenticate"]
    assert refused.status_code == 401
    assert f'resource_metadata="{desk.house.url}/.well-known/oauth-protected-resource/mcp/support"' in told
    assert 'scope="bundle:support"' in told
