"""The ASGI application of the pages process: Django, and the WebSockets of its screens."""

import os
from typing import Any

import django

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings")
django.setup(set_prefix=False)

from channels.auth import AuthMiddlewareStack  # noqa: E402  (Django's apps must be ready first)
from channels.routing import ProtocolTypeRouter, URLRouter  # noqa: E402
from django.core.asgi import get_asgi_application  # noqa: E402
from django.urls import re_path  # noqa: E402

import config.urls  # noqa: E402, F401  (the screens are loaded now, not by the first who asks for one)
from gateway.console.sockets import websocket_urlpatterns  # noqa: E402
from gateway.oauth.serving import ForPrograms  # noqa: E402
from gateway.pages import TURNS, InTurns, OurScreensOnly, refuse  # noqa: E402
from governance.fence.sqlite.kept import KEPT  # noqa: E402

KEPT.most = TURNS
pages: Any = get_asgi_application()
nowhere: Any = refuse
screens = URLRouter([*websocket_urlpatterns, re_path(r"", nowhere)])

application = ProtocolTypeRouter(
    {
        "http": InTurns(ForPrograms(pages)),
        "websocket": AuthMiddlewareStack(OurScreensOnly(screens)),
    }
)
