"""Screens of what the gateway keeps and sends; the admin finds them here."""

from gateway.admin import operations, sinks

__all__ = ("operations", "sinks")
