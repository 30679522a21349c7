"""What a gateway process needs of the settings: the rooms, their database, nothing that makes pages.

So do the commands that manage.py calls quick. The pages process and all other commands run with config.settings.
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
