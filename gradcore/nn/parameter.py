"""`Parameter` and `Buffer`: tensors that register themselves with the module they are assigned to."""

from __future__ import annotations

import copy
from typing import Any

from ..autograd.variable import bare
from ..tensor.creation import empty
from ..tensor.tensor import Tensor


class Parameter(Tensor):
    """A tensor that a `Module` counts among its parameters when it is assigned as an attribute.

    It shares the memory of `data` and requires grad unless told otherwise, whatever the grad mode. Operations on it
    give plain tensors.

    >>> import gradcore as torch
    >>> Parameter(torch.zeros(2))
    Parameter containing:
    tensor([0., 0.], requires_grad=True)

    Raises:
        TypeError: `data` is not a tensor.
        RuntimeError: `data` is not of a floating point dtype and `requires_grad` is True.
    """

    def __new__(cls, data: Tensor | None = None, requires_grad: bool = True) -> Parameter:
        self = _own(cls, empty(0) if data is None else data)
        self._set_requires_grad(requires_grad, "Only Tensors of floating point and complex dtype can require gradients")
        return self

    def __deepcopy__(self, memo: dict[int, Any]) -> Parameter:
        # As in PyTorch, a copy starts without gradient.
        if id(self) not in memo:
            memo[id(self)] = out = type(self)(self.data.clone(), self._requires_grad)
            vars(out).update(copy.deepcopy(self._attributes(), memo))
        return memo[id(self)]

    def __repr__(self) -> str:
        return "Parameter containing:\n" + super().__repr__()


class Buffer(Tensor):
    """A tensor that a `Module` counts among its buffers when it is assigned as an attribute.

    Args:
        data: the tensor whose memory it shares; an empty one by default.
        persistent: whether it is part of the module's `state_dict`.
    """

    persistent: bool

    def __new__(cls, data: Tensor | None = None, *, persistent: bool = True) -> Buffer:
        self = _own(cls, empty(0) if data is None else data)
        self.persistent = persistent
        return self


def _own(cls: type[Tensor], data: Any) -> Any:
    if not isinstance(data, Tensor):
        raise TypeError(f"{cls.__name__}(): argument 'data' must be Tensor, not {type(data).__name__}")
    self = bare(cls, data._array)
    self._counter = data.counter()
    return self
