"""Files that are made while they are sent, and cells that a spreadsheet shows instead of running."""

import re
from collections.abc import AsyncIterator, Iterator
from itertools import islice

from asgiref.sync import sync_to_async
from django.core.handlers.asgi import ASGIRequest
from django.http import HttpRequest, StreamingHttpResponse

CHUNK = 500
TYPES = {"csv": "text/csv; charset=utf-8", "json": "application/json"}
_FORMULA = re.compile(r"\A[\s\0]*[=+\-@]")


class Echo:
    """What csv writes to: keeps nothing, hands back."""

    def write(self, text: str) -> str:
        return text


def sent_as_read(
    request: HttpRequest, parts: Iterator[bytes], *, media_type: str, filename: str
) -> StreamingHttpResponse:
    """A file that lies in parts: no process holds it whole."""
    stream = _one_by_one(parts) if isinstance(request, ASGIRequest) else parts
    response = StreamingHttpResponse(stream, content_type=media_type)
    response["Content-Disposition"] = f'attachment; filename="{filename}"'
    return response


async def _one_by_one(parts: Iterator[bytes]) -> AsyncIterator[bytes]:
    while (part := await sync_to_async(lambda: next(parts, b""))()) != b"":
        yield part


def streamed(request: HttpRequest, parts: Iterator[str], *, filename: str) -> StreamingHttpResponse:
    """A file that is made while it is sent; its kind is told by its name."""
    stream = _in_threads(parts) if isinstance(request, ASGIRequest) else parts
    response = StreamingHttpResponse(stream, content_type=TYPES[filename.rpartition(".")[2]])
    response["Content-Disposition"] = f'attachment; filename="{filename}"'
    return response


async def _in_threads(parts: Iterator[str]) -> AsyncIterator[str]:
    """The next parts are worked out on a thread, so that the event loop goes on meanwhile."""
    while chunk := await sync_to_async(lambda: "".join(islice(parts, CHUNK)))():
        yield chunk


def harmless(text: str) -> str:
    """A cell that a spreadsheet would run as a formula is kept from it by an apostrophe (OWASP, CSV injection)."""
    return f"'{text}" if _FORMULA.match(text) else text
