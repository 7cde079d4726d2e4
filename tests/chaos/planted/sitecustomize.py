"""Plants a bug into the product that is started with this directory on PYTHONPATH: every 40th call is forgotten.

For the test that shows that the chaos checker would see such a thing.
"""

from __future__ import annotations

import importlib.abc
import importlib.util
import itertools
import sys
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any

TARGET = "apps.gateway.runtime.lines"


class ForgetfulLoader(importlib.abc.Loader):
    def __init__(self, loader: importlib.abc.Loader) -> None:
        self._loader = loader

    def create_module(self, spec: ModuleSpec) -> ModuleType | None:
        return self._loader.create_module(spec)

    def exec_module(self, module: ModuleType) -> None:
        self._loader.exec_module(module)
        take, count = module.LineReader._take, itertools.count(1)  # type: ignore[attr-defined]

        def forget(reader: Any, fields: dict[str, Any]) -> Any:
            entry = take(reader, fields)
            return None if entry is not None and next(count) % 40 == 0 else entry

        module.LineReader._take = forget  # type: ignore[attr-defined]


class Planter(importlib.abc.MetaPathFinder):
    def find_spec(self, name: str, path: Any, target: ModuleType | None = None) -> ModuleSpec | None:
        if name != TARGET:
            return None
        sys.meta_path.remove(self)
        spec = importlib.util.find_spec(name)
        assert spec is not None
        assert spec.loader is not None
        spec.loader = ForgetfulLoader(spec.loader)
        return spec


sys.meta_path.insert(0, Planter())
