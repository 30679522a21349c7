"""What programs ask of the authorization server, served in threads that keep their connection to the database.

A page opens a connection for each request, and passes through middleware about cookies, sessions and people; a token
costs less than either. None of that takes part in these requests, which any page of any site may send.
"""

import asyncio
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from io import BytesIO
from typing import Any, Final, cast

from django.core.handlers.asgi import ASGIRequest
from django.core.handlers.exception import convert_exception_to_response
from django.db import connection
from django.http import HttpResponse, HttpResponseBadRequest
from django.middleware.clickjacking import XFrameOptionsMiddleware
from django.middleware.common import CommonMiddleware
from django.middleware.security import SecurityMiddleware

from gateway.console.csp import content_security_policy
from gateway.mcp.http import Receive, Scope, Send
from gateway.oauth.endpoints import MOST_BYTES, View
from gateway.oauth.urls import urlpatterns
from gateway.pages import App

THREADS: Final = 4
TRUSTED_SECONDS: Final = 1.0
"""So long a connection that was not used is taken to be there."""


class ForPrograms:
    """ASGI application around the pages, which get whatever is not its own."""

    def __init__(self, pages: App) -> None:
        self._pages = pages
        self._views = {f"/oauth/{each.pattern}": _guarded(each.callback) for each in urlpatterns}
        self._threads = ThreadPoolExecutor(THREADS, thread_name_prefix="oauth")
        self._last = threading.local()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        view = self._views.get(scope["path"])
        if view is None:
            await self._pages(scope, receive, send)
            return
        body = await _read(receive)
        if body is None:
            return
        loop = asyncio.get_running_loop()
        response = await loop.run_in_executor(self._threads, self._answer, view, scope, body)
        headers = [(name.lower().encode("ascii"), value.encode("latin-1")) for name, value in response.items()]
        await send({"type": "http.response.start", "status": response.status_code, "headers": headers})
        await send({"type": "http.response.body", "body": response.content})

    def _answer(self, view: View, scope: Scope, body: bytes) -> HttpResponse:
        used_at: float = getattr(self._last, "used_at", 0.0)
        is_in_doubt = connection.connection is not None and time.monotonic() - used_at > TRUSTED_SECONDS
        if is_in_doubt and not connection.is_usable():
            connection.close()
        try:
            return view(ASGIRequest(scope, BytesIO(body)))
        except UnicodeDecodeError:
            return HttpResponseBadRequest()
        finally:
            self._last.used_at = time.monotonic()
            if connection.errors_occurred or connection.in_atomic_block:
                connection.close()


def _guarded(view: View) -> View:
    """In the middleware that is about any answer: whose host, which headers, what becomes of an exception."""
    chain: Any = CommonMiddleware(convert_exception_to_response(view))
    for middleware in (XFrameOptionsMiddleware, content_security_policy, SecurityMiddleware):
        guarded: Any = convert_exception_to_response(chain)
        chain = middleware(guarded)
    outermost: Any = convert_exception_to_response(chain)
    return cast(View, outermost)


async def _read(receive: Receive) -> bytes | None:
    """None if the client left. What is too large is cut off where the endpoint, which looks at the size, sees that."""
    body = bytearray()
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            return None
        body += message.get("body", b"")[: MOST_BYTES + 1 - len(body)]
        if not message.get("more_body"):
            return bytes(body)
