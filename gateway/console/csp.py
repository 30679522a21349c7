"""What a page of ours may load: our own files, nothing else, and no code written into the page.

The one exception is /admin/: its skin runs on Alpine, which compiles expressions found in attributes
('unsafe-eval'), and on style attributes. Whoever got markup into an admin page could run those expressions;
therefore hostile text goes there only through `hostile_text`, and approval pages do not live there.
"""

from collections.abc import Callable

from django.http import HttpRequest, HttpResponse

HEADER = "Content-Security-Policy"
COMMON = "object-src 'none'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'; img-src 'self' data:"
STRICT = f"default-src 'self'; {COMMON}"
ADMIN = f"default-src 'self'; script-src 'self' 'unsafe-eval'; style-src 'self' 'unsafe-inline'; {COMMON}"


def content_security_policy(
    get_response: Callable[[HttpRequest], HttpResponse],
) -> Callable[[HttpRequest], HttpResponse]:
    def middleware(request: HttpRequest) -> HttpResponse:
        response = get_response(request)
        response.headers.setdefault(HEADER, ADMIN if request.path.startswith("/admin/") else STRICT)
        return response

    return middleware
