"""Screens of what the gateway keeps and sends; the admin finds them here."""

from gateway.admin import detectors, operations, sinks

__all__ = ("detectors", "operations", "sinks")
