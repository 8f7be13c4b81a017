"""Forward-mode differentiation: tensors with a tangent, their derivative in one direction.

>>> import gradcore as torch
>>> import gradcore.autograd.forward_ad as fwAD
>>> with fwAD.dual_level():
...     x = fwAD.make_dual(torch.tensor([1.0, 2.0]), torch.tensor([1.0, 0.0]))
...     fwAD.unpack_dual(x * x.sum())
UnpackedDualTensor(primal=tensor([3., 6.]), tangent=tensor([4., 2.]))
"""

from __future__ import annotations

from contextlib import ContextDecorator
from typing import Any, NamedTuple

from .. import dtypes
from ..ops.shape import view
from . import tape
from .grad_mode import mode
from .tangents import Level, check_size, laid_out_as, set_tangent, tangent_of, without_tangents
from .tracer import Tracer
from .variable import Variable

__all__ = [
    "UnpackedDualTensor",
    "dual_level",
    "enter_dual_level",
    "exit_dual_level",
    "make_dual",
    "set_forward_grad_enabled",
    "unpack_dual",
]


class UnpackedDualTensor(NamedTuple):
    """What `unpack_dual` returns: the tensor without its tangent, and the tangent (None if it has none)."""

    primal: Any
    tangent: Any


def enter_dual_level() -> int:
    """Enter a level, in which tensors may have tangents, and return its number, 0. `dual_level` leaves it, too.

    Raises:
        RuntimeError: one is entered already.
    """
    if mode.dual_level is not None:
        raise RuntimeError("Nested forward mode AD is not supported at the moment")
    mode.dual_level = mode.dual = Level()
    tape.watch(1)
    return 0


def exit_dual_level(*, level: int | None = None) -> None:
    """Leave the level: the tangents made in it are gone.

    Raises:
        RuntimeError: none is entered, or another than `level`.
    """
    if level is not None and level != 0:
        raise RuntimeError(
            "Trying to exit a forward AD level that was not the last one that was created. This is not supported."
        )
    if mode.dual_level is None:
        raise RuntimeError("Dual level must be a positive number.")
    mode.dual_level.end()
    mode.dual_level = mode.dual = None
    tape.watch(-1)


class dual_level(ContextDecorator):
    """The context manager, or decorator, of a level of forward mode; see `make_dual`.

    Levels do not nest. Each thread has its own.
    """

    def __enter__(self) -> int:
        return enter_dual_level()

    def __exit__(self, *exc: object) -> None:
        exit_dual_level()


def _check_level(t: Any, level: int | None, api: str) -> None:
    if isinstance(t, Variable) and isinstance(t._array, Tracer) and t._array.level.depth > mode.dual_level.depth:
        raise RuntimeError(
            f"{api}: the level of forward mode was entered outside of the vmap that runs. Enter it within the "
            "function, or make and unpack dual tensors outside"
        )
    if level is not None and level != 0:
        raise RuntimeError(f"Invalid level given to {api}: there is one level, 0")


def make_dual(tensor: Any, tangent: Any, *, level: int | None = None) -> Any:
    """A view of `tensor` that has the tangent `tangent`: what is computed of it has tangents, too.

    Args:
        tensor: of a floating point dtype; it may require grad.
        tangent: of its shape. Changing the result in place changes it.
        level: the level that is entered, if given.

    Raises:
        RuntimeError: no level is entered; the shapes differ; or one of the two has a tangent already.
        ValueError: one of the two is not of a floating point dtype.
    """
    if mode.dual_level is None:
        raise RuntimeError(
            "Trying to create a dual Tensor for forward AD but no level exists, make sure to enter_dual_level() first."
        )
    _check_level(tensor, level, "_make_dual")
    for name, t in (("primal", tensor), ("tangent", tangent)):
        if not isinstance(t, Variable):
            raise TypeError(f"make_dual(): the {name} must be Tensor, not {type(t).__name__}")
        dtype = dtypes.from_numpy(t._array.dtype)
        if not dtype.is_floating_point:
            raise ValueError(f"Expected {name} to be floating point or complex, but got: {dtype}")
    check_size(tensor, tangent)
    if tangent_of(tensor) is not None:
        raise RuntimeError(
            "Making a dual Tensor based on a Tensor that already has a forward gradient at the same level 0 is not "
            "supported."
        )
    if tangent_of(tangent) is not None:
        raise RuntimeError(
            "Setting a forward grad that itself has a forward gradient at the same level0 is not supported."
        )
    with without_tangents():
        dual = view(tensor, shape=tensor._array.shape)
        tangent = laid_out_as(tensor, tangent)
    with set_forward_grad_enabled(True):
        set_tangent(dual, tangent)
    return dual


def unpack_dual(tensor: Any, *, level: int | None = None) -> UnpackedDualTensor:
    """A view of `tensor` without its tangent, and the tangent; None for that if it has none, or no level is entered."""
    if not isinstance(tensor, Variable):
        raise TypeError(f"_unpack_dual(): argument 'dual' (position 1) must be Tensor, not {type(tensor).__name__}")
    if mode.dual_level is None:
        return UnpackedDualTensor(tensor, None)
    _check_level(tensor, level, "_fw_primal")
    with set_forward_grad_enabled(True):
        tangent = tangent_of(tensor)
        with without_tangents():
            primal = view(tensor, shape=tensor._array.shape)
        set_tangent(primal, None)
    return UnpackedDualTensor(primal, tangent)


class set_forward_grad_enabled:
    """Set at once whether operations pass tangents on; used with `with`, until the end of the block."""

    def __init__(self, mode_: bool):
        self._before = mode.dual
        mode.dual = mode.dual_level if mode_ else None

    def __enter__(self) -> None:
        pass

    def __exit__(self, *exc: object) -> None:
        mode.dual = self._before
