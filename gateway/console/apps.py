from django.contrib.admin.apps import AdminConfig


class ConsoleConfig(AdminConfig):
    """Django's admin with our site in it; finds the `admin` module of every room."""

    default_site = "gateway.console.site.ConsoleSite"
