"""What packages import when it is first named: most programs name little of it."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from importlib import import_module
from typing import Any

_MISSING = "module {package!r} has no attribute {name!r}"


def lazily(package: str, names: Mapping[str, str], missing: str = _MISSING) -> Callable[[str], Any]:
    """A package's `__getattr__` for names by the submodules that have them, or that are called so."""

    def getattribute(name: str) -> Any:
        submodule = names.get(name)
        if submodule is None:
            raise AttributeError(missing.format(package=package, name=name))
        module = import_module(f".{submodule}", package)
        value = module if submodule == name else getattr(module, name)
        setattr(sys.modules[package], name, value)
        return value

    return getattribute
