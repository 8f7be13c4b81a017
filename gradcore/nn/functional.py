"""The functions behind the modules: linear maps, activations, normalization, dropout, losses."""

from __future__ import annotations

import math
import warnings
from typing import Any

from .. import dtypes
from ..autograd.batching import check_random_in_place, drawn
from ..autograd.grad_mode import mode
from ..autograd.inplace import apply_inplace
from ..autograd.tape import apply, wrap
from ..backends import backend_of
from ..ops import functions, linalg, losses, rows
from ..tensor.functions import FUNCTIONS, runner
from ..tensor.random import default_generator
from ..tensor.tensor import Tensor
from ._embedding import embedding as embedding
from ._embedding import one_hot as one_hot
from ._resampling import interpolate as interpolate
from ._resampling import pad as pad
from ._resampling import upsample as upsample

pixel_shuffle = FUNCTIONS["pixel_shuffle"]
pixel_unshuffle = FUNCTIONS["pixel_unshuffle"]
tanh = FUNCTIONS["tanh"]
sigmoid = FUNCTIONS["sigmoid"]
layer_norm = FUNCTIONS["layer_norm"]
rms_norm = FUNCTIONS["rms_norm"]
_relu = FUNCTIONS["relu"]


def linear(input: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """`input @ weight.T + bias`: (..., in) with (out, in) and (out,) to (..., out)."""
    return apply(linalg.linear, (input, weight, bias), {})


def relu(input: Tensor, inplace: bool = False) -> Tensor:
    """`max(input, 0)`; in the input's own memory if `inplace`."""
    return input.relu_() if inplace else _relu(input)


def relu_(input: Tensor) -> Tensor:
    """`relu` in place."""
    return input.relu_()


_gelu, _silu, _softplus = runner(functions.gelu), runner(functions.silu), runner(functions.softplus)


def gelu(input: Tensor, approximate: str = "none") -> Tensor:
    """`input` times the standard normal distribution function of it (Hendrycks & Gimpel, 2016).

    `approximate="tanh"` is their approximation by a hyperbolic tangent.

    Raises:
        RuntimeError: `approximate` is neither "none" nor "tanh".
        NotImplementedError: `input` is not of a floating point dtype.
    """
    return _gelu(functions.gelu, (input,), {"approximate": approximate})


def silu(input: Tensor, inplace: bool = False) -> Tensor:
    """`input * sigmoid(input)`, also called swish (Elfwing et al., Neural Networks 2018)."""
    return apply_inplace(functions.silu, (input,), {}) if inplace else _silu(functions.silu, (input,), {})


def softplus(input: Tensor, beta: float = 1.0, threshold: float = 20.0) -> Tensor:
    """`log(1 + exp(beta * input)) / beta`, and `input` itself where `beta * input` is over `threshold`."""
    return _softplus(functions.softplus, (input,), {"beta": beta, "threshold": threshold})


def _implicit_dim(name: str, ndim: int, stacklevel: int) -> int:
    warnings.warn(
        f"Implicit dimension choice for {name} has been deprecated. Change the call to include dim=X as an argument.",
        stacklevel=stacklevel,
    )
    return 0 if ndim in (0, 1, 3) else 1


def softmax(input: Tensor, dim: int | None = None, _stacklevel: int = 3, dtype: Any = None) -> Tensor:
    """`exp(input) / sum(exp(input))` along `dim`; `dtype` is what to convert the input to first."""
    if dim is None:
        dim = _implicit_dim("softmax", input.ndim, _stacklevel)
    return FUNCTIONS["softmax"](input, dim, dtype)


def log_softmax(input: Tensor, dim: int | None = None, _stacklevel: int = 3, dtype: Any = None) -> Tensor:
    """`input - log(sum(exp(input)))` along `dim`; `dtype` is what to convert the input to first."""
    if dim is None:
        dim = _implicit_dim("log_softmax", input.ndim, _stacklevel)
    return FUNCTIONS["log_softmax"](input, dim, dtype)


# ---------------------------------------------------------------- dropout
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
    return run(functions.dropout, (input,), {"p": float(p), "seed": seed, "offset": offset})


def _dropout_of_members(input: Any, p: float, inplace: bool) -> Any:
    """`dropout` by a mask, which each member has of its own or all share, as the `randomness` of `vmap` says."""
    array = input._array

    def draw(shape: tuple[int, ...]) -> Any:
        ones = wrap(backend_of(array).full(shape, 1, array.dtype))
        seed, offset = default_generator.draw()
        return apply(functions.dropout, (ones,), {"p": p, "seed": seed, "offset": offset})

    if inplace:
        check_random_in_place(input)
    scale = drawn(array.shape, draw)
    result = FUNCTIONS["where"](scale != 0, input * scale, 0.0)
    return input.copy_(result) if inplace else result


# ---------------------------------------------------------------- losses
_REDUCTIONS = ("none", "mean", "sum")


def check_reduction(reduction: str) -> None:
    """ValueError unless `reduction` is "none", "mean" or "sum"."""
    if reduction not in _REDUCTIONS:
        raise ValueError(f"{reduction} is not a valid value for reduction")


def refuse_legacy(name: str, size_average: bool | None, reduce: bool | None) -> None:
    """ValueError if one of the arguments is given that `reduction` took the place of."""
    if size_average is not None or reduce is not None:
        same = "none" if reduce is False else "sum" if size_average is False else "mean"
        raise ValueError(
            f"{name}(): size_average and reduce, deprecated in PyTorch, are not supported; use reduction='{same}' "
            "instead"
        )


def _reduced(loss: Any, reduction: str) -> Any:
    return loss if reduction == "none" else loss.mean() if reduction == "mean" else loss.sum()


def _class_weight(weight: Any, classes: int, prefix: str = "") -> None:
    if weight is not None and (weight.ndim != 1 or weight.numel() != classes):
        raise RuntimeError(
            f"{prefix}weight tensor should be defined either for all {classes} classes or no classes but got weight "
            f"tensor of shape: {list(weight.shape)}"
        )


def _class_rows(input: Any, target: Any, weight: Any) -> tuple[Any, Any]:
    """Scores (C), (N, C) or (N, C, d1, ...) as a matrix with a row for each of the flattened targets."""
    scores, labels = input._array, target._array
    if scores.ndim == 2 and labels.shape == scores.shape[:1] and labels.dtype == dtypes.int64.numpy:
        _class_weight(weight, scores.shape[1])
        return input, target
    ndim = input.ndim
    if ndim == 0:
        raise ValueError("Expected 1 or more dimensions (got 0)")
    if target.dtype is not dtypes.int64:
        if target.dtype is not dtypes.uint8:
            given = dtypes.type_name(target._array.dtype)
            raise RuntimeError(f"expected target dtype to be Long or Byte, but got {given}")
        target = target.long()
    sizes = tuple(input.shape)
    classes = sizes[0] if ndim == 1 else sizes[1]
    expected = sizes[:1] + sizes[2:] if ndim > 1 else ()
    if ndim > 1 and (target.ndim == 0 or sizes[0] != target.shape[0]):
        batch = target.shape[0] if target.ndim else 1
        raise ValueError(f"Expected input batch_size ({sizes[0]}) to match target batch_size ({batch}).")
    if ndim <= 2 and target.ndim > 1:
        raise RuntimeError("0D or 1D target tensor expected, multi-target not supported")
    if tuple(target.shape) != expected and not (ndim == 1 and target.numel() == 1):
        raise RuntimeError(f"Expected target size {list(expected)}, got {list(target.shape)}")
    if ndim > 2:
        input = input.permute(0, *range(2, ndim), 1)
    input, target = input.reshape(-1 if classes else math.prod(expected), classes), target.reshape(-1)
    _class_weight(weight, classes)
    return input, target


def cross_entropy(
    input: Tensor,
    target: Tensor,
    weight: Tensor | None = None,
    size_average: bool | None = None,
    ignore_index: int = -100,
    reduce: bool | None = None,
    reduction: str = "mean",
    label_smoothing: float = 0.0,
) -> Tensor:
    """The cross-entropy between logits and targets, `-sum_c q_c log softmax(input)_c`.

    Args:
        input: logits of shape (C), (N, C) or (N, C, d1, ...), of C classes.
        target: class indices (int64 or uint8) of shape (), (N) or (N, d1, ...), or probabilities of the input's shape.
        weight: a weight for each class, shape (C).
        ignore_index: targets of this value do not count, neither in the sum nor in the mean.
        reduction: "none" (a loss for each target), "sum", or "mean", which for class indices is weighted.
        label_smoothing: how much of the target's probability, in [0, 1], to spread evenly over all classes (Szegedy et
            al., CVPR 2016).

    Raises:
        IndexError: a class index is out of range.
        RuntimeError, ValueError: shapes, dtypes or options do not fit.
    """
    if size_average is not None or reduce is not None:
        refuse_legacy("cross_entropy", size_average, reduce)
    check_reduction(reduction)
    if not 0 <= label_smoothing <= 1:
        raise RuntimeError(f"label_smoothing must be between 0.0 and 1.0. Got: {label_smoothing}")
    if input._array.shape == target._array.shape:
        return _soft_cross_entropy(input, target, weight, ignore_index, reduction, label_smoothing)
    logits, index = _class_rows(input, target, weight)
    attrs = {"reduction": reduction, "ignore_index": ignore_index, "label_smoothing": float(label_smoothing)}
    loss = apply(rows.cross_entropy, (logits, index, weight), attrs)
    return loss.reshape(target.shape) if reduction == "none" else loss


def _soft_cross_entropy(
    input: Any, target: Any, weight: Any, ignore_index: int, reduction: str, label_smoothing: float
) -> Any:
    if not target.is_floating_point():
        given = dtypes.type_name(target._array.dtype)
        raise RuntimeError(f"Expected floating point type for target with class probabilities, got {given}")
    if ignore_index >= 0:
        raise RuntimeError("ignore_index is not supported for floating point target")
    axis = 0 if input.ndim == 1 else 1
    classes = input.shape[axis]
    _class_weight(weight, classes, "cross_entropy: ")
    if label_smoothing:
        target = target * (1 - label_smoothing) + label_smoothing / classes
    if weight is not None:
        target = target * weight.reshape(-1, *(1,) * (input.ndim - axis - 1))
    loss = -(log_softmax(input, axis) * target)
    if reduction == "none":
        return loss.sum(axis)
    total = loss.sum()
    return total if reduction == "sum" else total / (input.numel() / classes if input.numel() else 0.0)


def nll_loss(
    input: Tensor,
    target: Tensor,
    weight: Tensor | None = None,
    size_average: bool | None = None,
    ignore_index: int = -100,
    reduce: bool | None = None,
    reduction: str = "mean",
) -> Tensor:
    """`-weight[target] * input[target]` of log-probabilities; shapes and options are those of `cross_entropy`."""
    refuse_legacy("nll_loss", size_average, reduce)
    check_reduction(reduction)
    scores, index = _class_rows(input, target, weight)
    attrs = {"reduction": reduction, "ignore_index": ignore_index}
    loss = apply(losses.nll_loss, (scores, index, weight), attrs)
    return loss.reshape(target.shape) if reduction == "none" else loss


def _pointwise(loss: losses.ExpressionLoss, input: Any, target: Any, weight: Any, reduction: str) -> Any:
    if input._array.shape != target._array.shape:
        warnings.warn(
            f"Using a target size ({target.size()}) that is different to the input size ({input.size()}). This will "
            "likely lead to incorrect results due to broadcasting. Please ensure they have the same size.",
            stacklevel=3,
        )
    if weight is None:
        check_reduction(reduction)
        return loss(input, target, reduction)
    if weight.shape != input.shape:
        raise ValueError("Weights and input must have the same size.")
    if reduction not in _REDUCTIONS:
        raise ValueError(f"Invalid reduction mode: {reduction}. Expected one of 'none', 'mean', 'sum'.")
    weighted = loss(input, target, "none") * weight
    return weighted.sum() / weight.sum() if reduction == "mean" else _reduced(weighted, reduction)


def mse_loss(
    input: Tensor,
    target: Tensor,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: str = "mean",
    weight: Tensor | None = None,
) -> Tensor:
    """`(input - target)^2`: each, their sum, or their mean (with `weight`, of the input's shape, the weighted mean)."""
    refuse_legacy("mse_loss", size_average, reduce)
    return _pointwise(losses.mse, input, target, weight, reduction)


def l1_loss(
    input: Tensor,
    target: Tensor,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: str = "mean",
    weight: Tensor | None = None,
) -> Tensor:
    """`|input - target|`: each, their sum, or their mean (with `weight`, of the input's shape, the weighted mean)."""
    refuse_legacy("l1_loss", size_average, reduce)
    return _pointwise(losses.l1, input, target, weight, reduction)


def binary_cross_entropy_with_logits(
    input: Tensor,
    target: Tensor,
    weight: Tensor | None = None,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: str = "mean",
    pos_weight: Tensor | None = None,
) -> Tensor:
    """`-(pos_weight t log s + (1 - t) log(1 - s))` with `s = sigmoid(input)`, finite for every finite input.

    Args:
        input: logits, any shape.
        target: probabilities, the same shape.
        weight: a factor for every loss, and pos_weight one for positive examples; both broadcast to the input's shape.
    """
    refuse_legacy("binary_cross_entropy_with_logits", size_average, reduce)
    check_reduction(reduction)
    if target._array.shape != input._array.shape:
        raise ValueError(f"Target size ({target.size()}) must be the same as input size ({input.size()})")
    if weight is None and pos_weight is None:
        return losses.bce_with_logits(input, target, reduction)
    if pos_weight is None:
        loss = losses.bce_with_logits(input, target, "none")
    else:
        loss = losses.bce_with_logits_pos_weight(input, target, pos_weight)
    return _reduced(loss if weight is None else loss * weight, reduction)
