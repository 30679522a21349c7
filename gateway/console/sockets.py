"""WebSockets of the screens. What they tell is always read from the database; they only say when to look."""

from typing import Any

from django.urls import path, re_path

from gateway.console.approvals.consumers import InboxConsumer, RequestConsumer
from gateway.console.connecting.consumers import TrialConsumer
from gateway.console.home.live import HomeConsumer
from gateway.console.offboarding.consumer import ProgressConsumer

websocket_urlpatterns: list[Any] = [
    path("ws/approvals/", InboxConsumer.as_asgi()),
    path("ws/approvals/<uuid:key>/", RequestConsumer.as_asgi()),
    re_path(r"^ws/home/$", HomeConsumer.as_asgi()),
    path("ws/discoveries/<uuid:connector_id>/", TrialConsumer.as_asgi()),
    re_path(r"^ws/offboardings/(?P<offboarding_id>[0-9a-f-]{36})/$", ProgressConsumer.as_asgi()),
]
