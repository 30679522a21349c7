"""The API's description of itself, and a page that shows it."""

from functools import cache

from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.views.decorators.http import require_safe
from drf_spectacular.generators import SchemaGenerator

from gateway.api.bodies import encoded

DOCS_POLICY = (
    "default-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; object-src 'none'; base-uri 'none'; "
    "form-action 'none'; frame-ancestors 'none'"
)
"""Swagger UI sets style attributes. Nothing on this page comes from agents or upstreams."""


@cache
def description() -> bytes:
    """Made once a process: it takes a second, and anybody may ask."""
    generator = SchemaGenerator()  # type: ignore[no-untyped-call]
    return encoded(generator.get_schema(request=None, public=True))  # type: ignore[no-untyped-call]


@require_safe
def schema(request: HttpRequest) -> HttpResponse:
    """Public: it holds nothing of this installation."""
    return HttpResponse(description(), content_type="application/vnd.oai.openapi+json;version=3.1")


@require_safe
def docs(request: HttpRequest) -> HttpResponse:
    response = render(request, "console/api_docs.html")
    response.headers["Content-Security-Policy"] = DOCS_POLICY
    return response
