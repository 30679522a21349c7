"""How a client without a valid key learns where keys come from: protected resource metadata (RFC 9728)."""

from django.conf import settings

from gateway.call import Answer
from gateway.mcp.http import Headers, Receive, Scope, Send, respond
from governance.oauth_resources import resource_of, scope_of


def resource_metadata_url(bundle: str | None) -> str:
    path = "/mcp" if bundle is None else f"/mcp/{bundle}"
    return f"{settings.PUBLIC_URL.rstrip('/')}/.well-known/oauth-protected-resource{path}"


def challenge(bundle: str | None, error: str) -> bytes:
    """The value of WWW-Authenticate; `error` starts with a space when there is one."""
    parts = [f'resource_metadata="{resource_metadata_url(bundle)}"']
    if bundle and "scope=" not in error:
        parts.append(f'scope="{scope_of(bundle)}"')
    if error:
        parts.append(error.strip())
    return f"Bearer {', '.join(parts)}".encode()


def answer_headers(bundle: str | None, answer: Answer) -> Headers:
    """What HTTP has to say of an answer as JSON."""
    headers: Headers = ()
    if answer.status == 401 or answer.challenge:
        headers += ((b"www-authenticate", challenge(bundle, answer.challenge)),)
    if answer.retry_after_seconds is not None:
        headers += ((b"retry-after", str(answer.retry_after_seconds).encode()),)
    return headers


async def protected_resource(scope: Scope, receive: Receive, send: Send) -> None:
    """The same for every well-formed bundle name: it must not tell which bundles exist."""
    if scope["method"] not in ("GET", "HEAD"):
        await respond(send, 405, None, [(b"allow", b"GET, HEAD")])
        return
    bundle = scope["url_route"]["kwargs"].get("bundle")
    metadata = {
        "resource": resource_of(bundle, origin=settings.PUBLIC_URL),
        "resource_name": "Gatehouse",
        "authorization_servers": [settings.PUBLIC_URL.rstrip("/")],
        "bearer_methods_supported": ["header"],
    }
    if bundle:
        metadata["scopes_supported"] = [scope_of(bundle)]
    await respond(send, 200, metadata, [(b"access-control-allow-origin", b"*")])
