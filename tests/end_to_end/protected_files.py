"""A files system that wants its people's own accounts, built with the official SDK as its makers would: its protected
MCP server, its authorization server (discovery, registration, PKCE, revocation) and its consent page.

What the SDK leaves to whoever uses it is here and strict: codes work once, refresh tokens rotate, and one that comes
twice ends its family. Runs beside a gateway that does not live in this process; tests read and set its attributes.
"""

import asyncio
import secrets
import time
from collections.abc import Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from typing import Any

from mcp.server.auth.middleware.auth_context import get_access_token
from mcp.server.auth.provider import (
    AccessToken,
    AuthorizationCode,
    AuthorizationParams,
    OAuthAuthorizationServerProvider,
    RefreshToken,
    construct_redirect_uri,
)
from mcp.server.auth.settings import AuthSettings, ClientRegistrationOptions, RevocationOptions
from mcp.server.mcpserver import MCPServer
from mcp.shared.auth import OAuthClientInformationFull, OAuthToken
from starlette.requests import Request
from starlette.responses import HTMLResponse, RedirectResponse, Response

from tests.connectors.servers import asgi_server
from tests.end_to_end.upstreams import in_background
from tests.services import free_port

SCOPE = "files"
CONSENT = "/consent"


@dataclass
class Family:
    """All that rests on one person's consent."""

    client_id: str
    person: str
    resource: str
    access: set[str] = field(default_factory=set)
    refresh: str = ""
    spent: set[str] = field(default_factory=set)
    is_over: bool = False

    @property
    def tokens(self) -> set[str]:
        return {*self.access, *self.spent, self.refresh} - {""}


class Files(OAuthAuthorizationServerProvider[AuthorizationCode, RefreshToken, AccessToken]):
    """What a code is redeemed for is said to end at once, so that its first use renews it; tokens work until their
    family is over. While `holds` is set, a renewal has rotated already and its answer waits."""

    def __init__(self, origin: str) -> None:
        self.origin = origin
        self.url = f"{origin}/mcp"
        self.holds = False
        self.clients: dict[str, OAuthClientInformationFull] = {}
        self.asking: dict[str, tuple[str, AuthorizationParams]] = {}
        self.codes: dict[str, tuple[AuthorizationCode, Family]] = {}
        self.families: list[Family] = []
        self.renewals: list[str] = []
        """Refresh tokens in the order in which they were shown."""
        self.revoked: list[str] = []
        self.served: list[str] = []
        """Whose account each tool call came with."""

    # -- people

    async def consent(self, request: Request) -> Response:
        """Whoever comes is signed in as the person she says."""
        ticket = request.query_params["ticket"]
        client_id, asked = self.asking[ticket]
        if request.method == "GET":
            name = self.clients[client_id].client_name
            return HTMLResponse(f'<form method="post">{name} wants your files<button>Allow</button></form>')
        person = str((await request.form())["person"])
        family = Family(client_id, person, asked.resource or "")
        self.families.append(family)
        code = AuthorizationCode(
            code=secrets.token_urlsafe(24), scopes=asked.scopes or [], expires_at=time.time() + 60,
            client_id=client_id, code_challenge=asked.code_challenge, redirect_uri=asked.redirect_uri,
            redirect_uri_provided_explicitly=True, resource=asked.resource, subject=person,
        )  # fmt: skip
        self.codes[code.code] = code, family
        del self.asking[ticket]
        address = construct_redirect_uri(str(asked.redirect_uri), code=code.code, state=asked.state)
        return RedirectResponse(address, status_code=302)

    # -- clients

    async def get_client(self, client_id: str) -> OAuthClientInformationFull | None:
        return self.clients.get(client_id)

    async def register_client(self, client_info: OAuthClientInformationFull) -> None:
        assert client_info.client_id is not None
        self.clients[client_info.client_id] = client_info

    # -- codes and tokens

    async def authorize(self, client: OAuthClientInformationFull, params: AuthorizationParams) -> str:
        assert client.client_id is not None
        ticket = secrets.token_urlsafe(16)
        self.asking[ticket] = client.client_id, params
        return f"{self.origin}{CONSENT}?ticket={ticket}"

    async def load_authorization_code(
        self, client: OAuthClientInformationFull, authorization_code: str
    ) -> AuthorizationCode | None:
        kept = self.codes.get(authorization_code)
        return kept[0] if kept is not None else None

    async def exchange_authorization_code(
        self, client: OAuthClientInformationFull, authorization_code: AuthorizationCode
    ) -> OAuthToken:
        _, family = self.codes.pop(authorization_code.code)
        return self._given(family, lifetime_seconds=1)

    async def load_refresh_token(self, client: OAuthClientInformationFull, refresh_token: str) -> RefreshToken | None:
        for family in self.families:
            if refresh_token in family.spent:
                family.is_over = True
            elif refresh_token == family.refresh and not family.is_over:
                return RefreshToken(token=refresh_token, client_id=family.client_id, scopes=[SCOPE])
        return None

    async def exchange_refresh_token(
        self, client: OAuthClientInformationFull, refresh_token: RefreshToken, scopes: list[str]
    ) -> OAuthToken:
        self.renewals.append(refresh_token.token)
        family = next(each for each in self.families if each.refresh == refresh_token.token)
        given = self._given(family)
        await self._let_go()
        return given

    async def _let_go(self) -> None:
        """Tests hold from another thread, so there is nothing to await."""
        while self.holds:  # noqa: ASYNC110
            await asyncio.sleep(0.01)

    def _given(self, family: Family, *, lifetime_seconds: int = 3600) -> OAuthToken:
        access = f"at-{secrets.token_urlsafe(24)}"
        family.access.add(access)
        family.spent.add(family.refresh)
        family.refresh = f"rt-{secrets.token_urlsafe(24)}"
        return OAuthToken(access_token=access, expires_in=lifetime_seconds, refresh_token=family.refresh, scope=SCOPE)

    async def load_access_token(self, token: str) -> AccessToken | None:
        for family in self.families:
            if token in family.access and not family.is_over:
                return AccessToken(
                    token=token, client_id=family.client_id, scopes=[SCOPE], resource=family.resource,
                    subject=family.person,
                )  # fmt: skip
        return None

    async def revoke_token(self, token: AccessToken | RefreshToken) -> None:
        self.revoked.append("refresh_token" if isinstance(token, RefreshToken) else "access_token")
        for family in self.families:
            if token.token in {family.refresh, *family.access}:
                family.is_over = True


def application(files: Files) -> Any:
    server = MCPServer(
        "files",
        auth_server_provider=files,
        auth=AuthSettings(
            issuer_url=files.origin,  # type: ignore[arg-type]
            resource_server_url=files.url,  # type: ignore[arg-type]
            required_scopes=[SCOPE],
            client_registration_options=ClientRegistrationOptions(enabled=True, valid_scopes=[SCOPE]),
            revocation_options=RevocationOptions(enabled=True),
            validate_token_resource=True,
        ),
    )

    @server.tool()
    def whose() -> str:
        """Tells whose files these are."""
        token = get_access_token()
        assert token is not None
        files.served.append(str(token.subject))
        return f"files of {token.subject}"

    server.custom_route(CONSENT, methods=["GET", "POST"])(files.consent)
    return server.streamable_http_app()


@contextmanager
def protected_files() -> Iterator[Files]:
    port = free_port()
    files = Files(f"http://127.0.0.1:{port}")

    @asynccontextmanager
    async def serving() -> Any:
        async with asgi_server(application(files), port=port):
            yield files
            files.holds = False

    with in_background(serving()) as served:
        yield served
