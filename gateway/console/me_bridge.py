"""The stdio bridge, to download."""

from django.http import HttpRequest, HttpResponse

from gateway.bridge_file import NAME, bridge_file
from gateway.console.me import OwnPage


class Bridge(OwnPage):
    """One file of plain Python; only its browser's name for it is ours to say."""

    http_method_names = ("get", "head", "options")

    def get(self, request: HttpRequest) -> HttpResponse:
        headers = {"Content-Disposition": f'attachment; filename="{NAME}"', "X-Content-Type-Options": "nosniff"}
        return HttpResponse(bridge_file(), content_type="application/octet-stream", headers=headers)
