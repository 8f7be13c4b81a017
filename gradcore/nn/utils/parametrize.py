"""Parameters that are computed from others.

A parametrized tensor is a property of its module, of a class made for that module alone: it is computed whenever it is
read. What it is computed from are parameters of `module.parametrizations`, under PyTorch's names.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ...autograd.grad_mode import no_grad
from ...tensor.tensor import Tensor
from ..modules.container import ModuleDict, ModuleList
from ..modules.module import Module
from ..parameter import Parameter


class ParametrizationList(ModuleList):
    """The parametrizations of one tensor, which are applied in order, and what they are applied to.

    That is `original`, or `original0`, `original1`, ... if the first of them takes several tensors.
    """

    def __init__(self, modules: Sequence[Module], original: Tensor):
        super().__init__(modules)
        values = self._inverted(original)
        several = isinstance(values, (tuple, list))
        self._names = [f"original{i}" for i in range(len(values))] if several else ["original"]
        kept = isinstance(original, Parameter)
        for name, value in zip(self._names, values if several else (values,)):
            if kept:
                made = original if value is original else Parameter(value.detach(), original.requires_grad)
                self.register_parameter(name, made)
            else:
                self.register_buffer(name, value)

    def _inverted(self, value: Any) -> Any:
        with no_grad():
            for module in reversed(list(self)):
                if hasattr(module, "right_inverse"):
                    value = module.right_inverse(value)
        return value

    def right_inverse(self, value: Tensor) -> None:
        """Set the originals so that the parametrized tensor becomes `value`."""
        for module in self:
            if not hasattr(module, "right_inverse"):
                raise RuntimeError(f"parametrization {type(module).__name__} does not implement right_inverse.")
        values = self._inverted(value)
        with no_grad():
            for name, v in zip(self._names, values if isinstance(values, (tuple, list)) else (values,)):
                getattr(self, name).copy_(v)

    def originals(self) -> list[Any]:
        """What the parametrizations are applied to."""
        return [getattr(self, name) for name in self._names]

    def forward(self) -> Any:
        """The parametrized tensor."""
        first, *rest = list(self)
        value = first(*self.originals())
        for module in rest:
            value = module(value)
        return value


def _property(name: str) -> property:
    def read(self: Any) -> Any:
        return self.parametrizations[name]()

    def write(self: Any, value: Any) -> None:
        self.parametrizations[name].right_inverse(value)

    return property(read, write)


def is_parametrized(module: Module, tensor_name: str | None = None) -> bool:
    """Whether a tensor of the module, or the one of this name, is computed by parametrizations."""
    found = getattr(module, "parametrizations", None)
    if not isinstance(found, ModuleDict):
        return False
    return len(found) > 0 if tensor_name is None else tensor_name in found


def register_parametrization(
    module: Module, tensor_name: str, parametrization: Module, *, unsafe: bool = False
) -> Module:
    """Have the parameter or buffer `tensor_name` be what `parametrization` makes of it from now on.

    Another one may be registered for the same tensor; it is applied to what the first gives. The tensor keeps its
    value if the parametrization has a method `right_inverse`, which gives what the value is made from: a tensor, or
    several for a `forward` of several. Assigning to the attribute uses it, too.

    Args:
        unsafe: do not ask that dtype and shape stay what they are.

    Raises:
        ValueError: the module has no such tensor, or the parametrization changes its dtype or shape.

    >>> import gradcore as torch
    >>> class Symmetric(torch.nn.Module):
    ...     def forward(self, x):
    ...         return x.triu() + x.triu(1).T
    >>> layer = torch.nn.Linear(3, 3)
    >>> _ = torch.nn.utils.parametrize.register_parametrization(layer, "weight", Symmetric())
    >>> bool((layer.weight == layer.weight.T).all())
    True
    """
    parametrization.train(module.training)
    if not is_parametrized(module, tensor_name) and tensor_name not in (*module._buffers, *module._parameters):
        raise ValueError(
            f"Module '{module}' does not have a parameter, a buffer, or a parametrized element with name "
            f"'{tensor_name}'"
        )
    if is_parametrized(module, tensor_name):
        listed = module.parametrizations[tensor_name]
        if hasattr(parametrization, "right_inverse"):
            with no_grad():
                listed.right_inverse(parametrization.right_inverse(listed()))
        listed.append(parametrization)
        return module
    before: Any = getattr(module, tensor_name)
    listed = ParametrizationList([parametrization], before)
    if not unsafe:
        with no_grad():
            after = listed()
        for what, a, b in (("dtype", before.dtype, after.dtype), ("shape", before.shape, after.shape)):
            if a != b:
                raise ValueError(
                    f"Registering a parametrization may not change the {what} of the tensor, unless `unsafe` flag is "
                    f"enabled. Original {what}: {a}, parametrized {what}: {b}"
                )
    if not is_parametrized(module):
        module.parametrizations = ModuleDict()
        kind = type(module)
        module.__class__ = type(f"Parametrized{kind.__name__}", (kind,), {})
    delattr(module, tensor_name)
    setattr(type(module), tensor_name, _property(tensor_name))
    module.parametrizations[tensor_name] = listed
    return module


def remove_parametrizations(module: Module, tensor_name: str, leave_parametrized: bool = True) -> Module:
    """Make `tensor_name` an ordinary parameter or buffer again, with the value that it has; or, if not
    `leave_parametrized`, the original.

    Raises:
        ValueError: the tensor is not parametrized, or its original is several tensors.
    """
    if not is_parametrized(module, tensor_name):
        raise ValueError(f"Module {module} does not have a parametrization on {tensor_name}")
    listed = module.parametrizations[tensor_name]
    originals = listed.originals()
    if len(originals) > 1 and not leave_parametrized:
        raise ValueError(
            "Cannot leave unparametrized (`leave_parametrized=False`) a tensor that is parametrized in terms of a "
            "sequence of tensors."
        )
    original = originals[0]
    value = listed().detach() if leave_parametrized else original
    del module.parametrizations[tensor_name]
    delattr(type(module), tensor_name)
    if isinstance(original, Parameter):
        module.register_parameter(tensor_name, Parameter(value.detach(), original.requires_grad))
    else:
        module.register_buffer(tensor_name, value)
    if not len(module.parametrizations):
        delattr(module, "parametrizations")
        module.__class__ = type(module).__bases__[0]
    return module


__all__ = ["ParametrizationList", "is_parametrized", "register_parametrization", "remove_parametrizations"]
