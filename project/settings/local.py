"""One machine: `manage.py up` gives the secrets and the services, nothing is defaulted here."""

import sys

from project.settings.base import *  # noqa: F403
from project.settings.base import INSTALLED_APPS

# Daphne serves `runserver`; its import costs every other process half a second.
if "runserver" in sys.argv:
    INSTALLED_APPS.insert(0, "daphne")
