"""Losses and similarities as functions."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from ... import dtypes
from ...autograd.autocast import with_precision
from ...autograd.inplace import write_out
from ...autograd.tape import apply
from ...backends import backend_of
from ...ops import ctc, losses, rows
from ...ops.core import concrete
from ...ops.elementwise import broadcast_shape
from ...ops.precision import CPU_FLOAT32, CUDA_FLOAT32, FLOAT32, Precision, Rule
from ...ops.reductions import holds
from ...tensor.creation import tensor
from ...tensor.functions import FUNCTIONS
from ...tensor.norms import vector_norm
from ...tensor.tensor import Tensor
from .activations import log_softmax

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


def reduced(loss: Any, reduction: str) -> Any:
    """The losses themselves, their mean or their sum."""
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


@with_precision(FLOAT32)
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


def _pointwise(
    loss: losses.ExpressionLoss, input: Any, target: Any, weight: Any, reduction: str, **numbers: float
) -> Any:
    if input._array.shape != target._array.shape:
        warnings.warn(
            f"Using a target size ({target.size()}) that is different to the input size ({input.size()}). This will "
            "likely lead to incorrect results due to broadcasting. Please ensure they have the same size.",
            stacklevel=3,
        )
    if weight is None:
        check_reduction(reduction)
        return loss(input, target, reduction, **numbers)
    if weight.shape != input.shape:
        raise ValueError("Weights and input must have the same size.")
    if reduction not in _REDUCTIONS:
        raise ValueError(f"Invalid reduction mode: {reduction}. Expected one of 'none', 'mean', 'sum'.")
    weighted = loss(input, target, "none", **numbers) * weight
    return weighted.sum() / weight.sum() if reduction == "mean" else reduced(weighted, reduction)


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


def smooth_l1_loss(
    input: Tensor,
    target: Tensor,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: str = "mean",
    beta: float = 1.0,
) -> Tensor:
    """`0.5 * d^2 / beta` where the distance d of input and target is below `beta`, else `d - 0.5 * beta`.

    Raises:
        RuntimeError: `beta` is negative.
    """
    refuse_legacy("smooth_l1_loss", size_average, reduce)
    if beta < 0:
        raise RuntimeError("smooth_l1_loss does not support negative values for beta.")
    if beta == 0:
        return _pointwise(losses.l1, input, target, None, reduction)
    return _pointwise(losses.smooth_l1, input, target, None, reduction, beta=float(beta))


def huber_loss(
    input: Tensor, target: Tensor, reduction: str = "mean", delta: float = 1.0, weight: Tensor | None = None
) -> Tensor:
    """`0.5 * d^2` where the distance d of input and target is at most `delta`, else `delta * (d - 0.5 * delta)`.

    With `weight`, of the input's shape, each loss is multiplied by it (P. J. Huber, Ann. Math. Statist. 35, 1964).

    Raises:
        RuntimeError: `delta` is not positive.
    """
    if delta <= 0:
        raise RuntimeError("huber_loss does not support non-positive values for delta.")
    if weight is None:
        return _pointwise(losses.huber, input, target, None, reduction, delta=float(delta))
    weighted = _pointwise(losses.huber, input, target, weight, "none", delta=float(delta))
    check_reduction(reduction)
    return reduced(weighted, reduction)


@with_precision(Precision(Rule.FLOAT32, Rule.BANNED))
def binary_cross_entropy(
    input: Tensor,
    target: Tensor,
    weight: Tensor | None = None,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: str = "mean",
) -> Tensor:
    """`-(t log p + (1 - t) log(1 - p))` of probabilities; logarithms below -100 count as -100, so that it is finite.

    Args:
        input: probabilities, any shape. Outside of [0, 1] they are an error on the CPU, and give NaN on CUDA, where
            looking at them would mean to wait.
        target: probabilities, the same shape.
        weight: a factor for every loss, which broadcasts to the input's shape.

    Raises:
        ValueError: input and target have different shapes.
        RuntimeError: they have different dtypes, or the input is outside of [0, 1].
    """
    refuse_legacy("binary_cross_entropy", size_average, reduce)
    check_reduction(reduction)
    if target._array.shape != input._array.shape:
        raise ValueError(
            f"Using a target size ({target.size()}) that is different to the input size ({input.size()}) is "
            "deprecated. Please ensure they have the same size."
        )
    if target._array.dtype != input._array.dtype:
        given, expected = (dtypes.type_name(t._array.dtype) for t in (target, input))
        raise RuntimeError(f"Found dtype {given} but expected {expected}")
    if input.device.type == "cpu" and not holds("all_probable", concrete(input._array)):
        raise RuntimeError("all elements of input should be between 0 and 1")
    if weight is None:
        return losses.bce(input, target, reduction)
    return reduced(losses.bce(input, target, "none") * weight.expand(input.shape), reduction)


def kl_div(
    input: Tensor,
    target: Tensor,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: str = "mean",
    log_target: bool = False,
) -> Tensor:
    """The Kullback-Leibler divergence, elementwise `target * (log(target) - input)`.

    Args:
        input: log-probabilities.
        target: probabilities, or log-probabilities if `log_target`; it broadcasts with the input.
        reduction: "none", "sum", "mean" (over all elements), or "batchmean": the sum over the size of dimension 0,
            which is the divergence as it is defined.
    """
    refuse_legacy("kl_div", size_average, reduce)
    loss = losses.kl_div_of_logs if log_target else losses.kl_div
    if reduction == "batchmean":
        total = loss(input, target, "sum")
        return total / input.shape[0] if input.ndim else total
    check_reduction(reduction)
    if reduction == "mean":
        warnings.warn(
            "reduction: 'mean' divides the total loss by both the batch size and the support size.'batchmean' divides "
            "only by the batch size, and aligns with the KL div math definition.'mean' will be changed to behave the "
            "same as 'batchmean' in the next major release.",
            stacklevel=2,
        )
    return loss(input, target, reduction)


# ---------------------------------------------------------------- similarities
@with_precision(CUDA_FLOAT32)
def cosine_similarity(x1: Tensor, x2: Tensor, dim: int = 1, eps: float = 1e-08) -> Tensor:
    """The cosine of the angle between vectors along `dim`: their inner product over their norms, each at least `eps`.

    Raises:
        RuntimeError: the shapes do not broadcast, or the common dtype is not a floating point one.
    """
    dtype = FUNCTIONS["result_type"](x1, x2)
    if not dtype.is_floating_point:
        raise RuntimeError(
            f"expected common dtype to be floating point, yet common dtype is {dtypes.type_name(dtype.numpy)}"
        )
    shape = broadcast_shape("cosine_similarity", (x1._array, x2._array))
    x1, x2 = (x.to(dtype).expand(shape) for x in (x1, x2))
    n1, n2 = (vector_norm(x, 2, dim).clamp_min(eps) for x in (x1, x2))
    return losses.inner(x1, x2, dim=dim) / (n1 * n2)


def pairwise_distance(x1: Tensor, x2: Tensor, p: float = 2.0, eps: float = 1e-06, keepdim: bool = False) -> Tensor:
    """The p-norm over the last dimension of `x1 - x2 + eps`."""
    return vector_norm(losses.difference(x1, x2, eps=eps), p, -1, keepdim)


def normalize(input: Tensor, p: float = 2.0, dim: int = 1, eps: float = 1e-12, out: Tensor | None = None) -> Tensor:
    """`input` over its p-norm along `dim`, which counts as at least `eps`."""
    if out is not None:
        return write_out("normalize", (input,), out, lambda: normalize(input, p, dim, eps))
    return input / vector_norm(input, p, dim, True).clamp_min(eps)


@with_precision(FLOAT32)
def cosine_embedding_loss(
    input1: Tensor,
    input2: Tensor,
    target: Tensor,
    margin: float = 0,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: str = "mean",
) -> Tensor:
    """`1 - cos(input1, input2)` where the target is 1, `max(0, cos(input1, input2) - margin)` where it is -1.

    Args:
        input1, input2: (N, D) or (D).
        target: 1 or -1, of shape (N) or ().

    Raises:
        RuntimeError: the shapes do not fit.
    """
    refuse_legacy("cosine_embedding_loss", size_average, reduce)
    check_reduction(reduction)
    if target.ndim > 1 or input1.ndim != target.ndim + 1 or input2.ndim != target.ndim + 1:
        expected = (
            "0D or 1D target tensor expected"
            if target.ndim > 1
            else (f"{target.ndim}D target tensor expects {target.ndim + 1}D input tensors")
        )
        raise RuntimeError(f"{expected}, but found inputs with sizes {list(input1.shape)} and {list(input2.shape)}.")
    cosine = cosine_similarity(input1, input2, target.ndim)
    apart = (cosine - margin).clamp_min(0)
    loss = FUNCTIONS["where"](target == 1, 1 - cosine, FUNCTIONS["where"](target == -1, apart, 0))
    return reduced(loss, reduction)


@with_precision(FLOAT32)
def triplet_margin_loss(
    anchor: Tensor,
    positive: Tensor,
    negative: Tensor,
    margin: float = 1.0,
    p: float = 2,
    eps: float = 1e-06,
    swap: bool = False,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: str = "mean",
) -> Tensor:
    """`max(0, d(anchor, positive) - d(anchor, negative) + margin)`, d the distance `pairwise_distance`.

    With `swap` the negative's distance is that to the nearer of anchor and positive (Balntas et al., BMVC 2016).

    Raises:
        ValueError: `margin` is not positive, or `reduction` is unknown.
        RuntimeError: the shapes do not fit.
    """
    refuse_legacy("triplet_margin_loss", size_average, reduce)
    check_reduction(reduction)

    def distance(x: Any, y: Any) -> Any:
        return pairwise_distance(x, y, p, eps)

    return triplet_loss(anchor, positive, negative, distance, margin, swap, reduction)


def triplet_loss(
    anchor: Any,
    positive: Any,
    negative: Any,
    distance: Callable[[Any, Any], Any],
    margin: float,
    swap: bool,
    reduction: str,
) -> Any:
    """`triplet_margin_loss` by any distance."""
    if margin <= 0:
        raise ValueError(f"margin must be greater than 0, got {margin}")
    if not anchor.ndim == positive.ndim == negative.ndim:
        raise RuntimeError(
            "The anchor, positive, and negative tensors are expected to have the same number of dimensions, but got: "
            f"anchor {anchor.ndim}D, positive {positive.ndim}D, and negative {negative.ndim}D inputs"
        )
    near, far = distance(anchor, positive), distance(anchor, negative)
    if swap:
        far = far.minimum(distance(positive, negative))
    return reduced((near - far + margin).clamp_min(0), reduction)


@with_precision(FLOAT32)
def margin_ranking_loss(
    input1: Tensor,
    input2: Tensor,
    target: Tensor,
    margin: float = 0,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: str = "mean",
) -> Tensor:
    """`max(0, -target * (input1 - input2) + margin)`: `input1` is to rank higher where the target is 1, lower at -1.

    Raises:
        RuntimeError: the tensors have different numbers of dimensions.
    """
    refuse_legacy("margin_ranking_loss", size_average, reduce)
    check_reduction(reduction)
    if not input1.ndim == input2.ndim == target.ndim:
        raise RuntimeError(
            "margin_ranking_loss : All input tensors should have same dimension but got sizes: input1: "
            f"{input1.size()}, input2: {input2.size()}, target: {target.size()} "
        )
    return reduced((-target * (input1 - input2) + margin).clamp_min(0), reduction)


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
    return reduced(loss if weight is None else loss * weight, reduction)


# ---------------------------------------------------------------- sequences
def _lengths(name: str, given: Any, batch: int) -> list[int]:
    """The lengths of the sequences of a batch, on the host."""
    if isinstance(given, Tensor):
        if given.dtype.is_floating_point:
            raise RuntimeError(f"{name} must be integral")
        given = given.reshape(-1).tolist()
    found = [int(n) for n in given]
    if len(found) != batch:
        raise RuntimeError(f"{name} must be of size batch_size")
    if any(n < 0 for n in found):
        raise RuntimeError(f"{name} must not be negative, got {min(found)}")
    return found


@with_precision(CPU_FLOAT32)
def ctc_loss(
    log_probs: Tensor,
    targets: Tensor,
    input_lengths: Tensor | Sequence[int],
    target_lengths: Tensor | Sequence[int],
    blank: int = 0,
    reduction: str = "mean",
    zero_infinity: bool = False,
) -> Tensor:
    """The connectionist temporal classification loss: `-log` of the probability of labels, over all alignments.

    A. Graves et al., "Connectionist temporal classification", ICML 2006; computed with logarithms. The gradient is, as
    PyTorch's, that of the scores that log_probs are the log-softmax of.

    Args:
        log_probs: (T, N, C), or (T, C) without a batch: log-probabilities of C classes, float32 or float64.
        targets: labels, integers other than `blank`: (N, S), or all of them one after the other in one dimension.
        input_lengths: (N,), how many of the T steps each sequence has; integers, a tensor or a sequence of them.
        target_lengths: (N,), how many labels.
        blank: the class that stands for no label.
        reduction: "none" (a loss for each sequence), "sum", or "mean": of the losses over their target lengths.
        zero_infinity: whether infinite losses, of inputs too short for their labels, and their gradients count as 0.

    Raises:
        IndexError: a label is out of range.
        RuntimeError, NotImplementedError: shapes, lengths or dtypes do not fit.
    """
    check_reduction(reduction)
    batched = log_probs.ndim == 3
    if log_probs.ndim == 2:
        log_probs = log_probs.unsqueeze(1)
        targets = targets.reshape(1, -1)
    if log_probs.ndim != 3:
        raise RuntimeError(f"ctc_loss: log_probs must be (T, N, C) or (T, C), got {log_probs.ndim} dimensions")
    if log_probs.dtype not in (dtypes.float32, dtypes.float64):
        given = dtypes.type_name(log_probs._array.dtype)
        raise NotImplementedError(f"\"ctc_loss\" not implemented for '{given}': convert log_probs, as in .float()")
    steps, batch, classes = log_probs.shape
    if not 0 <= blank < classes:
        raise RuntimeError("blank must be in label range")
    in_lengths = _lengths("input_lengths", input_lengths, batch)
    out_lengths = _lengths("target_lengths", target_lengths, batch)
    if max(in_lengths, default=0) > steps:
        raise RuntimeError(
            f"Expected input_lengths to have value at most {steps}, but got value {max(in_lengths)} (while checking "
            "arguments for ctc_loss)"
        )
    labels = _padded_labels(targets.detach().long(), out_lengths, blank, classes)
    rows = [tensor(n, dtype=dtypes.int64, device=log_probs.device) for n in (in_lengths, out_lengths)]
    attrs = {"blank": blank, "zero_infinity": zero_infinity}
    loss = apply(ctc.ctc_loss, (log_probs, labels, *rows), attrs)
    if zero_infinity:
        loss = FUNCTIONS["where"](loss == math.inf, 0, loss)
    if reduction == "mean":
        return (loss / rows[1].clamp_min(1).to(loss.dtype)).mean()
    return loss.sum() if reduction == "sum" else loss if batched else loss.squeeze(0)


def _padded_labels(targets: Any, lengths: list[int], blank: int, classes: int) -> Any:
    """Labels as rows of one length; what is beyond the end of a row is blank."""
    longest, backend = max(lengths, default=0), backend_of(targets._array)
    if targets.ndim == 1:
        if targets.numel() != sum(lengths):
            raise RuntimeError(
                f"Expected targets to have size {sum(lengths)} at dimension 0, the sum of target_lengths, but got size "
                f"{targets.numel()} (while checking arguments for ctc_loss)"
            )
        starts = np.cumsum([0, *lengths])[:-1]
    elif targets.ndim != 2 or targets.shape[0] != len(lengths) or targets.shape[1] < longest:
        raise RuntimeError(
            f"Expected tensor to have size at least {longest} at dimension 1, but got shape {list(targets.shape)} for "
            "argument #2 'targets' (while checking arguments for ctc_loss)"
        )
    else:
        starts = np.arange(len(lengths)) * targets.shape[1]
    within = np.arange(longest) < np.asarray(lengths, np.int64).reshape(-1, 1)
    positions = backend.from_host(np.where(within, starts.reshape(-1, 1) + np.arange(longest), 0))
    flat = targets._array.reshape(-1)
    inside = backend.from_host(within)
    picked = flat[positions] if flat.size else backend.full(positions.shape, blank, flat.dtype)
    labels = backend.xp.where(inside, picked, blank)
    # A negative label is an error, not a class from the end: moved to where the check does not accept it.
    backend.check_index("ctc_loss", backend.xp.where(labels < 0, labels - classes, labels), classes, 2)
    return labels
