"""Wiring. Loads the Celery application, so that a task sent by any process finds the right broker."""

from config.celery import app as celery_app

__all__ = ["celery_app"]
