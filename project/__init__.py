"""Wiring only: settings, URLs, the ASGI application and Celery. Nothing here knows a business rule."""

from project.celery import app as celery_app

__all__ = ["celery_app"]
