"""What a browser may do with a page of ours: load our own files, nothing else, run no code written into the page.

The one exception is /admin/: its skin runs on Alpine, which compiles expressions found in attributes
('unsafe-eval'), and on style attributes. Whoever got markup into an admin page could run those expressions;
therefore hostile text goes there only through `hostile_text`, and approval pages do not live there.

WebSockets need no word of their own: 'self' covers those of the same host and port.
"""

from collections.abc import Callable

from django.http import HttpRequest, HttpResponse

HEADER = "Content-Security-Policy"
COMMON = "object-src 'none'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'; img-src 'self' data:"
STRICT = f"default-src 'self'; {COMMON}"
ADMIN = f"default-src 'self'; script-src 'self' 'unsafe-eval'; style-src 'self' 'unsafe-inline'; {COMMON}"
FEATURES = ("camera", "microphone", "geolocation", "payment", "usb", "serial", "hid", "display-capture")
ALWAYS = {
    "Permissions-Policy": ", ".join(f"{feature}=()" for feature in FEATURES),
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cache-Control": "no-store",
}
"""Set unless the view said something else, as static files do about caching."""


def content_security_policy(
    get_response: Callable[[HttpRequest], HttpResponse],
) -> Callable[[HttpRequest], HttpResponse]:
    def middleware(request: HttpRequest) -> HttpResponse:
        response = get_response(request)
        response.headers.setdefault(HEADER, ADMIN if request.path.startswith("/admin/") else STRICT)
        for name, value in ALWAYS.items():
            response.headers.setdefault(name, value)
        return response

    return middleware
