from django.apps import AppConfig

from config import checks

__all__ = ["WiringConfig", "checks"]


class WiringConfig(AppConfig):
    """Loading it registers the system checks."""

    name = "config"
    verbose_name = "Configuration"
