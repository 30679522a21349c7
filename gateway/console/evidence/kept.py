"""Checkpoints and time stamps as files, to be kept where nobody of us can change them."""

from typing import Any

from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404

from audit.models import AnchorReceipt, Checkpoint
from gateway.console.pages import ConsolePage


class CheckpointNote(ConsolePage):
    """The signed note as it is: what `--anchor` takes."""

    permission = "audit.view_checkpoint"

    def get(self, request: HttpRequest, *args: Any, size: int, **kwargs: Any) -> HttpResponse:
        checkpoint = get_object_or_404(Checkpoint, size=size)
        return _as_file(checkpoint.note.encode(), f"checkpoint-{size}.txt", "text/plain; charset=utf-8")


class AnchorStamp(ConsolePage):
    """What a timestamp authority answered: `openssl ts -verify` reads it."""

    permission = "audit.view_anchorreceipt"

    def get(self, request: HttpRequest, *args: Any, receipt_id: int, **kwargs: Any) -> HttpResponse:
        receipt = get_object_or_404(AnchorReceipt, pk=receipt_id)
        return _as_file(bytes(receipt.proof), f"checkpoint-{receipt.size}.tsr", "application/timestamp-reply")


def _as_file(content: bytes, name: str, kind: str) -> HttpResponse:
    return HttpResponse(content, content_type=kind, headers={"Content-Disposition": f'attachment; filename="{name}"'})
