"""The ASGI application: MCP beside Django, in Channels' routers."""

import os

import django

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings")
django.setup(set_prefix=False)

from gateway.asgi import make_application  # noqa: E402  (Django's apps must be ready first)

application = make_application()
