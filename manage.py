#!/usr/bin/env python
"""The entrance of every command; `manage.py up` starts the product."""

from __future__ import annotations

import os
import sys

from django.core.exceptions import ImproperlyConfigured
from django.core.management import execute_from_command_line
from pydantic import ValidationError

from apps.core.supervisor.errors import StartError
from apps.core.supervisor.launch import prepare_command
from project.settings.environment import Environment


def main() -> None:
    """Prepare what must be there before settings are, then run the command."""
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "project.settings.local")
    try:
        with prepare_command(sys.argv[1:], Environment()):
            execute_from_command_line(sys.argv)
    except ValidationError as error:
        reasons = "\n".join(f"{'.'.join(map(str, reason['loc']))}: {reason['msg']}" for reason in error.errors())
        sys.exit(f"These settings cannot be read:\n{reasons}")
    except (StartError, ImproperlyConfigured) as error:
        sys.exit(f"Portico does not start. {error}")
    except KeyboardInterrupt:
        sys.exit(130)


if __name__ == "__main__":
    main()
