"""What a gateway process needs of the settings: the rooms, their database, nothing that makes pages.

The pages process and all commands run with config.settings.
"""

from config.settings import *  # noqa: F403

INSTALLED_APPS = [
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "governance",
    "audit",
    "gateway",
]
MIDDLEWARE = []
TEMPLATES = []
ROOT_URLCONF = ""
