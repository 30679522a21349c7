"""Reading and writing bodies: JSON only, read strictly, bounded in size and depth."""

from typing import Any

import orjson
from rest_framework.parsers import BaseParser
from rest_framework.renderers import BaseRenderer
from rest_framework.request import Request

from gateway.api.problems import Problem
from governance import canonical

MOST_BYTES = 1024 * 1024
MAX_DEPTH = 32


class JsonParser(BaseParser):  # type: ignore[misc]
    """Refuses whatever two parsers could read differently (see governance.canonical)."""

    media_type = "application/json"

    def parse(self, stream: Any, media_type: Any = None, parser_context: Any = None) -> Any:
        body = stream.read(MOST_BYTES + 1)
        if len(body) > MOST_BYTES:
            raise Problem("too_large", f"Send at most {MOST_BYTES} bytes.")
        try:
            return canonical.parse(body, max_depth=MAX_DEPTH)
        except canonical.NotCanonical as reason:
            raise Problem(reason.code, reason.message) from None


class JsonRenderer(BaseRenderer):  # type: ignore[misc]
    media_type = "application/json"
    format = "json"
    charset = None

    def render(self, data: Any, accepted_media_type: Any = None, renderer_context: Any = None) -> bytes:
        return b"" if data is None else encoded(data)


class CsvAccepted(JsonRenderer):
    """Lets a client ask for a file, which the view sends itself; what goes wrong is told in JSON."""

    media_type = "text/csv"
    format = "csv"


class PdfAccepted(JsonRenderer):
    """As for CSV."""

    media_type = "application/pdf"
    format = "pdf"


class ZipAccepted(JsonRenderer):
    """As for CSV; problems are JSON all the same."""

    media_type = "application/zip"
    format = "zip"


def encoded(data: Any) -> bytes:
    """The one encoding of an answer, so that equal answers are equal bytes."""
    return orjson.dumps(data, option=orjson.OPT_SORT_KEYS | orjson.OPT_NON_STR_KEYS, default=str)


def refuse_unknown_length(request: Request) -> None:
    """Without a length Django takes a body for empty, and an act would go ahead without its arguments."""
    if "HTTP_TRANSFER_ENCODING" in request.META:
        raise Problem("length_required", "Send Content-Length instead of Transfer-Encoding.")
