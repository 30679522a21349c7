from django.apps import AppConfig

from config import celery, checks

__all__ = ["WiringConfig", "celery", "checks"]


class WiringConfig(AppConfig):
    """Loading it registers the system checks, and makes the Celery application that tasks are sent by."""

    name = "config"
    verbose_name = "Configuration"
