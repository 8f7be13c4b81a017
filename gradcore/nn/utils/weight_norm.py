"""Weight norm as a hook before `forward`; `parametrizations.weight_norm` takes its place in new code."""

from __future__ import annotations

import warnings
from typing import Any

from ..modules.module import Module
from ..parameter import Parameter
from .parametrizations import norm_except_dim


class WeightNorm:
    """Computes a weight from the parameters `NAME_g` and `NAME_v` before each call of its module."""

    def __init__(self, name: str, dim: int | None):
        self.name, self.dim = name, -1 if dim is None else dim

    def compute_weight(self, module: Any) -> Any:
        """`g * v / norm(v)`."""
        g, v = getattr(module, f"{self.name}_g"), getattr(module, f"{self.name}_v")
        return v * (g / norm_except_dim(v, self.dim))

    def __call__(self, module: Any, inputs: Any) -> None:
        setattr(module, self.name, self.compute_weight(module))


def _hooks(module: Module, name: str) -> dict[int, WeightNorm]:
    functions = {k: hook.function for k, hook in module._forward_pre_hooks.items()}
    return {k: f for k, f in functions.items() if isinstance(f, WeightNorm) and f.name == name}


def weight_norm(module: Any, name: str = "weight", dim: int | None = 0) -> Any:
    """Have a weight be `g * v / norm(v)`, of parameters `NAME_g` and `NAME_v` (Salimans & Kingma, NeurIPS 2016).

    Deprecated in favour of `parametrizations.weight_norm`.

    Args:
        dim: g has a number for each index of this dimension; one number if it is None.

    Raises:
        RuntimeError: the parameter has a weight norm already.
    """
    warnings.warn(
        "`nn.utils.weight_norm` is deprecated in favor of `nn.utils.parametrizations.weight_norm`.",
        FutureWarning,
        stacklevel=2,
    )
    if _hooks(module, name):
        raise RuntimeError(f"Cannot register two weight_norm hooks on the same parameter {name}")
    weight = getattr(module, name)
    hook = WeightNorm(name, dim)
    delattr(module, name)
    module.register_parameter(f"{name}_g", Parameter(norm_except_dim(weight.detach(), hook.dim)))
    module.register_parameter(f"{name}_v", Parameter(weight.detach()))
    hook(module, None)
    module.register_forward_pre_hook(hook)
    return module


def remove_weight_norm(module: Any, name: str = "weight") -> Any:
    """Make the weight an ordinary parameter again, of the value that it has.

    Raises:
        ValueError: the parameter has no weight norm.
    """
    for key, hook in _hooks(module, name).items():
        weight = hook.compute_weight(module).detach()
        for part in (name, f"{name}_g", f"{name}_v"):
            delattr(module, part)
        module.register_parameter(name, Parameter(weight))
        del module._forward_pre_hooks[key]
        return module
    raise ValueError(f"weight_norm of '{name}' not found in {module}")
