"""How a client without a valid key learns where keys come from (RFC 9728)."""

from django.conf import settings


def resource_metadata_url(bundle: str | None) -> str:
    path = "/mcp" if bundle is None else f"/mcp/{bundle}"
    return f"{settings.PUBLIC_URL.rstrip('/')}/.well-known/oauth-protected-resource{path}"


def challenge(bundle: str | None, error: str) -> bytes:
    """The value of WWW-Authenticate; `error` starts with a space when there is one."""
    parts = [f'resource_metadata="{resource_metadata_url(bundle)}"']
    if error:
        parts.append(error.strip())
    return f"Bearer {', '.join(parts)}".encode()
