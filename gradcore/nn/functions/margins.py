"""Losses by margins and likelihoods; part of `gradcore.nn.functional`."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from ... import dtypes
from ...autograd.autocast import with_precision
from ...autograd.grad_mode import no_grad
from ...ops.precision import FLOAT32
from ...tensor.creation import arange
from ...tensor.functions import FUNCTIONS
from ...tensor.tensor import Tensor
from .activations import logsigmoid, softplus
from .losses import check_reduction, pairwise_distance, reduced, refuse_legacy, triplet_loss

__all__ = [
    "gaussian_nll_loss",
    "hinge_embedding_loss",
    "multi_margin_loss",
    "multilabel_margin_loss",
    "multilabel_soft_margin_loss",
    "poisson_nll_loss",
    "soft_margin_loss",
    "triplet_margin_with_distance_loss",
]


def _check(name: str, reduction: str, size_average: bool | None, reduce: bool | None) -> None:
    refuse_legacy(name, size_average, reduce)
    check_reduction(reduction)


@with_precision(FLOAT32)
def poisson_nll_loss(
    input: Any,
    target: Any,
    log_input: bool = True,
    full: bool = False,
    size_average: bool | None = None,
    eps: float = 1e-8,
    reduce: bool | None = None,
    reduction: str = "mean",
) -> Tensor:
    """`exp(input) - target * input`: the negative log-likelihood of counts, but for `log(target!)`.

    Args:
        log_input: the input is the logarithm of the rate; else it is the rate: `input - target * log(input + eps)`.
        full: add Stirling's approximation of `log(target!)` where the target is above 1.
    """
    _check("poisson_nll_loss", reduction, size_average, reduce)
    loss = input.exp() - target * input if log_input else input - target * (input + eps).log()
    if full:
        stirling = target * target.log() - target + 0.5 * (2 * math.pi * target).log()
        loss = loss + FUNCTIONS["where"](target > 1, stirling, 0.0)
    return reduced(loss, reduction)


def gaussian_nll_loss(
    input: Any, target: Any, var: Any, full: bool = False, eps: float = 1e-6, reduction: str = "mean"
) -> Tensor:
    """`(log(var) + (input - target)^2 / var) / 2`: the negative log-likelihood of a normal target, but for a constant.

    Args:
        input: the expected values.
        var: the variances, of the input's shape, or with a last dimension of size 1 or without it; or a number.
        full: add the constant.
        eps: var counts as at least this; its gradient does not notice.

    Raises:
        ValueError: a variance is negative, or their shape does not fit.
    """
    if not isinstance(var, Tensor):
        if var < 0:
            raise ValueError("var has negative entry/entries")
        var = var * input.detach().new_ones(tuple(input.shape))
    elif bool((var < 0).any()):
        raise ValueError("var has negative entry/entries")
    sizes, own = tuple(input.shape), tuple(var.shape)
    if own != sizes:
        if own == sizes[:-1]:
            var = var.unsqueeze(-1)
        elif len(own) != len(sizes) or sum(b for a, b in zip(sizes, own) if a != b) != 1:
            raise ValueError("var is of incorrect size")
    if reduction not in ("none", "mean", "sum"):
        raise ValueError(f"{reduction} is not valid")
    var = var.clone()
    with no_grad():
        var.clamp_(min=eps)
    loss = 0.5 * (var.log() + (input - target) ** 2 / var)
    return reduced(loss + 0.5 * math.log(2 * math.pi) if full else loss, reduction)


@with_precision(FLOAT32)
def soft_margin_loss(
    input: Any,
    target: Any,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: str = "mean",
) -> Tensor:
    """`log(1 + exp(-target * input))`, for targets 1 and -1."""
    _check("soft_margin_loss", reduction, size_average, reduce)
    return reduced(softplus(-target * input), reduction)


@with_precision(FLOAT32)
def hinge_embedding_loss(
    input: Any,
    target: Any,
    margin: float = 1.0,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: str = "mean",
) -> Tensor:
    """`input` where the target is 1, and `max(0, margin - input)` where it is -1."""
    _check("hinge_embedding_loss", reduction, size_average, reduce)
    where = FUNCTIONS["where"]
    hinge = where(target != 1, (margin - input).clamp_min(0), 0.0)
    return reduced(hinge + where(target != -1, input, 0.0), reduction)


def _rows(name: str, input: Any, target: Any, per_class: bool) -> tuple[Any, Any, bool]:
    """Scores as (N, C), and targets as (N,) or, `per_class`, (N, C); whether there was a batch."""
    expected = tuple(input.shape) if per_class else tuple(input.shape[:-1])
    if input.ndim not in (1, 2) or (tuple(target.shape) != expected and not (input.ndim == 1 and target.numel() == 1)):
        raise RuntimeError(
            f"{name}: expected input (C) or (N, C) and a target of size {list(expected)}, but got input "
            f"{list(input.shape)} and target {list(target.shape)}"
        )
    if target.dtype is not dtypes.int64:
        raise RuntimeError(f"{name}: expected scalar type Long but found {dtypes.type_name(target._array.dtype)}")
    if input.ndim == 2:
        return input, target, True
    return input.unsqueeze(0), target.reshape(1, -1) if per_class else target.reshape(1), False


@with_precision(FLOAT32)
def multi_margin_loss(
    input: Any,
    target: Any,
    p: int = 1,
    margin: float = 1.0,
    weight: Any = None,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: str = "mean",
) -> Tensor:
    """The sum over other classes of `max(0, margin - input[target] + input[class])^p / C`, times the target's weight.

    Args:
        input: scores (N, C) or (C); target: class indices (N) or ().
        p: 1 or 2.

    Raises:
        ValueError, RuntimeError: p or the shapes do not fit.
        IndexError: a class index is out of range.
    """
    _check("multi_margin_loss", reduction, size_average, reduce)
    if p not in (1, 2):
        raise ValueError("only p == 1 and p == 2 supported")
    if weight is not None and weight.ndim != 1:
        raise ValueError("weight must be one-dimensional")
    x, index, batched = _rows("multi_margin_loss", input, target, False)
    classes = x.shape[1]
    own = x.gather(1, index.unsqueeze(1))
    terms = (margin - own + x).clamp_min(0)
    terms = terms * terms if p == 2 else terms
    if weight is not None:
        terms = terms * weight.index_select(0, index).unsqueeze(1)
    others = arange(classes, device=x.device) != index.unsqueeze(1)
    loss = FUNCTIONS["where"](others, terms, 0.0).sum(1) / classes
    return reduced(loss if batched else loss.squeeze(0), reduction)


@with_precision(FLOAT32)
def multilabel_margin_loss(
    input: Any,
    target: Any,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: str = "mean",
) -> Tensor:
    """The sum over labels i and other classes j of `max(0, 1 - input[i] + input[j]) / C`.

    `input` (N, C) or (C) are scores, `target`, of the same shape, has the labels first and -1 after the last of them.
    """
    _check("multilabel_margin_loss", reduction, size_average, reduce)
    x, labels, batched = _rows("multilabel_margin_loss", input, target, True)
    rows, classes = x.shape
    counts = (labels < 0).long().cumsum(1) == 0  # before the first -1
    index = FUNCTIONS["where"](counts, labels, 0)
    is_label = x.detach().new_zeros((rows, classes)).scatter_reduce(1, index, counts.to(x.dtype), "amax") > 0
    hinges = (1 - x.gather(1, index).unsqueeze(2) + x.unsqueeze(1)).clamp_min(0)
    wanted = counts.unsqueeze(2) & ~is_label.unsqueeze(1)
    loss = FUNCTIONS["where"](wanted, hinges, 0.0).sum((1, 2)) / classes
    return reduced(loss if batched else loss.squeeze(0), reduction)


def multilabel_soft_margin_loss(
    input: Any,
    target: Any,
    weight: Any = None,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: str = "mean",
) -> Tensor:
    """The mean over classes, the last dimension, of the cross-entropy of `sigmoid(input)` with targets in [0, 1]."""
    _check("multilabel_soft_margin_loss", reduction, size_average, reduce)
    loss = -(target * logsigmoid(input) + (1 - target) * logsigmoid(-input))
    loss = loss if weight is None else loss * weight
    return reduced(loss.sum(-1) / input.shape[-1], reduction)


def triplet_margin_with_distance_loss(
    anchor: Any,
    positive: Any,
    negative: Any,
    *,
    distance_function: Callable[[Any, Any], Any] | None = None,
    margin: float = 1.0,
    swap: bool = False,
    reduction: str = "mean",
) -> Tensor:
    """`triplet_margin_loss` with any distance; `pairwise_distance` if None is given."""
    check_reduction(reduction)
    return triplet_loss(anchor, positive, negative, distance_function or pairwise_distance, margin, swap, reduction)
