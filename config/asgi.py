"""The ASGI application of a gateway process."""

import os

import django

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings_gateway")
django.setup(set_prefix=False)

from gateway.asgi import make_application  # noqa: E402  (Django's apps must be ready first)

application = make_application()
