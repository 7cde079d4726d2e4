"""One machine: `manage.py up` gives the secrets and the services, nothing is defaulted here."""

from project.settings.base import *  # noqa: F403
