"""The protected resource metadata of our MCP endpoints (RFC 9728)."""

from django.conf import settings
from django.http import HttpRequest, JsonResponse
from django.views.decorators.http import require_safe


@require_safe
def protected_resource(request: HttpRequest, bundle: str = "") -> JsonResponse:
    """The same for every well-formed bundle name: it must not tell which bundles exist."""
    path = f"/mcp/{bundle}" if bundle else "/mcp"
    return JsonResponse(
        {
            "resource": settings.PUBLIC_URL.rstrip("/") + path,
            "resource_name": "Gatehouse",
            "bearer_methods_supported": ["header"],
        },
        headers={"Cache-Control": "max-age=3600", "Access-Control-Allow-Origin": "*"},
    )
