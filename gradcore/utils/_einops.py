"""einops on tensors.

einops finds out how to treat a tensor by asking the subclasses of its `AbstractBackend` in turn. Ours is made as soon
as einops is imported, be it before gradcore or after; gradcore never imports einops.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from importlib.machinery import ModuleSpec, PathFinder
from types import ModuleType
from typing import Any

import numpy as np

_MODULE = "einops._backends"


def _backend(einops: Any) -> type:
    """The backend, given the module in which einops defines its own."""
    import gradcore as torch

    class GradcoreBackend(einops.AbstractBackend):
        framework_name = "gradcore"

        def is_appropriate_type(self, tensor: Any) -> bool:
            return isinstance(tensor, torch.Tensor)

        def from_numpy(self, x: np.ndarray) -> Any:
            return torch.from_numpy(x)

        def to_numpy(self, x: Any) -> np.ndarray:
            return x.numpy(force=True)

        def arange(self, start: int, stop: int) -> Any:
            return torch.arange(start, stop)

        def reduce(self, x: Any, operation: str, axes: Sequence[int]) -> Any:
            if operation in ("any", "all", "prod"):  # these take one dimension at a time
                for axis in sorted(axes, reverse=True):
                    x = getattr(x, operation)(dim=axis)
                return x
            return getattr(x, {"min": "amin", "max": "amax"}.get(operation, operation))(dim=tuple(axes))

        def transpose(self, x: Any, axes: Sequence[int]) -> Any:
            return x.permute(*axes)

        def stack_on_zeroth_dimension(self, tensors: list) -> Any:
            return torch.stack(tensors)

        def add_axes(self, x: Any, n_axes: int, pos2len: dict[int, int]) -> Any:
            for position in pos2len:
                x = x.unsqueeze(position)
            return x.expand(*(pos2len.get(i, -1) for i in range(n_axes)))

        def concat(self, tensors: list, axis: int) -> Any:
            return torch.cat(tensors, dim=axis)

        def is_float_type(self, x: Any) -> bool:
            return x.is_floating_point()

        def einsum(self, pattern: str, *x: Any) -> Any:
            return torch.einsum(pattern, *x)

    return GradcoreBackend


# A class that nobody holds is gone, and einops does not hold it.
_made: list[type] = []


class _Finder:
    """Lets einops' own module be imported as ever, and makes the backend when that is done."""

    def find_spec(self, name: str, path: Any = None, target: ModuleType | None = None) -> ModuleSpec | None:
        if name != _MODULE:
            return None
        sys.meta_path.remove(self)
        spec = PathFinder.find_spec(name, path, target)
        if spec is not None and spec.loader is not None:
            execute = spec.loader.exec_module

            def execute_and_add(module: ModuleType) -> None:
                execute(module)
                _made.append(_backend(module))

            spec.loader.exec_module = execute_and_add  # type: ignore[method-assign]
        return spec


def install() -> None:
    """Make the backend now, if einops has been imported, or else when it is."""
    if _MODULE in sys.modules:
        _made.append(_backend(sys.modules[_MODULE]))
    else:
        sys.meta_path.insert(0, _Finder())
