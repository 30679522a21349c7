"""For commands that look at nothing of the installation: keys of the moment, no database."""

import base64
import os
import secrets

from config import env

for name in ("SECRET_KEY_FILE", "GATEHOUSE_KEK_FILE"):
    os.environ.pop(name, None)
os.environ["SECRET_KEY"] = secrets.token_urlsafe(64)
os.environ["GATEHOUSE_KEK"] = base64.b64encode(secrets.token_bytes(env.KEY_BYTES)).decode()

from config.settings_gateway import *  # noqa: E402, F403

DATABASES = {}
