"""Dropout of elements and of whole channels."""

from __future__ import annotations

import warnings
from typing import Any

from ...autograd.batching import check_random_in_place, drawn
from ...autograd.grad_mode import mode
from ...autograd.inplace import apply_inplace
from ...autograd.tape import apply, wrap
from ...backends import backend_of
from ...ops import activations
from ...tensor.functions import FUNCTIONS
from ...tensor.random import default_generator

__all__ = [
    "alpha_dropout",
    "check_probability",
    "dropout",
    "dropout1d",
    "dropout2d",
    "dropout3d",
    "feature_alpha_dropout",
]


def check_probability(p: float) -> None:
    """ValueError unless `p` can be the probability of dropping an element."""
    if not 0 <= p <= 1:
        raise ValueError(f"dropout probability has to be between 0 and 1, but got {p}")


def dropout(input: Any, p: float = 0.5, training: bool = True, inplace: bool = False) -> Any:
    """Zero each element with probability `p` and scale the others by `1 / (1 - p)` (Srivastava et al., JMLR 2014).

    The numbers come from the default generator; the backward pass draws the same ones again. Outside training the
    input itself is returned.
    """
    check_probability(p)
    if not training or p == 0:
        return input
    if p == 1:
        return input.mul_(0) if inplace else input * 0
    if mode.levels:
        return _dropout_of_members(input, float(p), inplace)
    seed, offset = default_generator.draw()
    run = apply_inplace if inplace else apply
    return run(activations.dropout, (input,), {"p": float(p), "seed": seed, "offset": offset})


def _dropout_of_members(input: Any, p: float, inplace: bool) -> Any:
    """`dropout` by a mask, which each member has of its own or all share, as the `randomness` of `vmap` says."""
    array = input._array

    def draw(shape: tuple[int, ...]) -> Any:
        ones = wrap(backend_of(array).full(shape, 1, array.dtype))
        seed, offset = default_generator.draw()
        return apply(activations.dropout, (ones,), {"p": p, "seed": seed, "offset": offset})

    if inplace:
        check_random_in_place(input)
    scale = drawn(array.shape, draw)
    result = FUNCTIONS["where"](scale != 0, input * scale, 0.0)
    return input.copy_(result) if inplace else result


# ---------------------------------------------------------------- whole channels, and what leaves the moments
def _kept(input: Any, p: float, channels: bool) -> Any:
    """1 for what is kept and 0 for what is dropped, with probability `p`: elements, or all of a channel (N, C, ...)."""
    if channels and input.ndim < 2:
        raise RuntimeError("Feature dropout requires at least 2 dimensions in the input")
    shape = (*input.shape[:2], *(1,) * (input.ndim - 2)) if channels else tuple(input.shape)
    drawn = FUNCTIONS["where"](dropout(input.detach().new_ones(shape), p) != 0, 1.0, 0.0)
    return drawn.to(input.dtype)


def _put(input: Any, result: Any, inplace: bool) -> Any:
    return input.copy_(result) if inplace else result


def _channels(input: Any, p: float, training: bool, inplace: bool) -> Any:
    check_probability(p)
    if not training or p == 0:
        return input
    scale = 0.0 if p == 1 else 1 / (1 - p)
    return _put(input, input * (_kept(input, p, True) * scale), inplace)


def dropout1d(input: Any, p: float = 0.5, training: bool = True, inplace: bool = False) -> Any:
    """`dropout` of whole channels of (N, C, L) or (C, L): all of a channel is zeroed, or none (Tompson et al., CVPR
    2015).

    Raises:
        RuntimeError: the input has another number of dimensions.
    """
    check_probability(p)
    if input.ndim not in (2, 3):
        raise RuntimeError(
            f"dropout1d: Expected 2D or 3D input, but received a {input.ndim}D input. Note that dropout1d exists to "
            "provide channel-wise dropout on inputs with 1 spatial dimension, a channel dimension, and an optional "
            "batch "
            "dimension (i.e. 2D or 3D inputs)."
        )
    if input.ndim == 3:
        return _channels(input, p, training, inplace)
    return _channels(input.unsqueeze(0), p, training, inplace).squeeze(0)


def dropout2d(input: Any, p: float = 0.5, training: bool = True, inplace: bool = False) -> Any:
    """`dropout` of whole channels of (N, C, H, W)."""
    if input.ndim not in (3, 4):
        _deprecated("dropout2d", input, 2)
    if input.ndim == 3:
        warnings.warn(
            "dropout2d: Received a 3D input to dropout2d and assuming that channel-wise 1D dropout behavior is "
            "desired - "
            "input is interpreted as shape (N, C, L), where C is the channel dim. To maintain the 1D channel-wise "
            "dropout behavior, please switch to using dropout1d instead.",
            stacklevel=2,
        )
    return _channels(input, p, training, inplace)


def dropout3d(input: Any, p: float = 0.5, training: bool = True, inplace: bool = False) -> Any:
    """`dropout` of whole channels of (N, C, D, H, W) or (C, D, H, W)."""
    check_probability(p)
    if input.ndim not in (4, 5):
        _deprecated("dropout3d", input, 3)
    if input.ndim != 4:
        return _channels(input, p, training, inplace)
    return _channels(input.unsqueeze(0), p, training, inplace).squeeze(0)


def _deprecated(name: str, input: Any, dims: int) -> None:
    warnings.warn(
        f"{name}: Received a {input.ndim}-D input to {name}, which is deprecated and will result in an error in a "
        "future "
        "release. To retain the behavior and silence this warning, please use dropout instead. Note that "
        f"{name} exists to provide channel-wise dropout on inputs with {dims} spatial dimensions, a channel dimension, "
        f"and an optional batch dimension (i.e. {dims + 1}D or {dims + 2}D inputs).",
        stacklevel=3,
    )


# What SELU gives far below 0.
_SATURATED = -1.7580993408473766


def _alpha(input: Any, p: float, training: bool, inplace: bool, channels: bool) -> Any:
    check_probability(p)
    if not training or p == 0:
        return input
    if p == 1:
        return _put(input, input * 0, inplace)
    scale = ((1 - p) * (1 + p * _SATURATED**2)) ** -0.5
    kept = _kept(input, p, channels)
    return _put(input, input * (kept * scale) + ((1 - kept) * _SATURATED - _SATURATED * p) * scale, inplace)


def alpha_dropout(input: Any, p: float = 0.5, training: bool = False, inplace: bool = False) -> Any:
    """Dropout that leaves mean 0 and variance 1 as they are, for SELU: elements get its least value, and all are scaled
    and shifted (Klambauer et al., NeurIPS 2017)."""
    return _alpha(input, p, training, inplace, False)


def feature_alpha_dropout(input: Any, p: float = 0.5, training: bool = False, inplace: bool = False) -> Any:
    """`alpha_dropout` of whole channels of (N, C, ...)."""
    return _alpha(input, p, training, inplace, True)
