"""How xdist deals tests out, as a pytest plugin (`-p tests.support.scheduling`): one by one, but some files as a whole.

`--dist loadgroup` with its marks would say the same; pytest-xdist 3.8.0 does not see the marks under pytest 9.2, and
deals the tests of a group out one by one, so that every worker starts the product.
"""

from __future__ import annotations

import pytest
from xdist.scheduler import LoadScopeScheduling

WHOLE = ("tests/e2e/",)
"""Folders whose files run on one worker each: what they set up costs more than their tests. They come first."""


class Scheduling(LoadScopeScheduling):
    """Deals out the units with the most tests first, so that the long files do not come last."""

    def _split_scope(self, nodeid: str) -> str:
        return nodeid.split("::", maxsplit=1)[0] if nodeid.startswith(WHOLE) else nodeid


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: object) -> Scheduling:
    """Take the place of xdist's own ways."""
    return Scheduling(config, log)
