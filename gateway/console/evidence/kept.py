"""Checkpoints and time stamps as files, to be kept where nobody of us can change them."""

from typing import Any

from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404

from audit.consistency import prove_consistency
from audit.models import AnchorReceipt, Checkpoint
from audit.subset_proof import LeavesMissing
from gateway.console.pages import ConsolePage


class CheckpointNote(ConsolePage):
    """The signed note as it is: what `--anchor` takes."""

    permission = "audit.view_checkpoint"

    def get(self, request: HttpRequest, *args: Any, size: int, **kwargs: Any) -> HttpResponse:
        checkpoint = get_object_or_404(Checkpoint, size=size)
        return _as_file(checkpoint.note.encode(), f"checkpoint-{size}.txt", "text/plain; charset=utf-8")


class ConsistencyFile(ConsolePage):
    """That a checkpoint only adds to an older one: what `--consistency` takes."""

    permission = "audit.view_checkpoint"

    def get(self, request: HttpRequest, *args: Any, size: int, old_size: int, **kwargs: Any) -> HttpResponse:
        try:
            proof = prove_consistency(old_size, size)
        except LeavesMissing as error:
            return HttpResponse(str(error), status=409, content_type="text/plain; charset=utf-8")
        if proof is None:
            raise Http404
        name = f"checkpoint-{old_size}-to-{size}.consistency"
        return _as_file(proof.as_text().encode(), name, "text/plain; charset=utf-8")


class AnchorStamp(ConsolePage):
    """What a timestamp authority answered: `openssl ts -verify` reads it."""

    permission = "audit.view_anchorreceipt"

    def get(self, request: HttpRequest, *args: Any, receipt_id: int, **kwargs: Any) -> HttpResponse:
        receipt = get_object_or_404(AnchorReceipt, pk=receipt_id)
        return _as_file(bytes(receipt.proof), f"checkpoint-{receipt.size}.tsr", "application/timestamp-reply")


def _as_file(content: bytes, name: str, kind: str) -> HttpResponse:
    return HttpResponse(content, content_type=kind, headers={"Content-Disposition": f'attachment; filename="{name}"'})
