"""Activations as functions."""

from __future__ import annotations

import warnings
from typing import Any

from ...autograd.autocast import with_precision
from ...autograd.inplace import apply_inplace
from ...autograd.tape import apply
from ...ops import activations
from ...ops.elementwise import Elementwise
from ...ops.precision import LOWER
from ...tensor.creation import empty_like, zeros_like
from ...tensor.functions import FUNCTIONS, runner
from ...tensor.tensor import Tensor

tanh = FUNCTIONS["tanh"]
sigmoid = FUNCTIONS["sigmoid"]
_relu = FUNCTIONS["relu"]
_hardshrink = FUNCTIONS["hardshrink"]


def relu(input: Tensor, inplace: bool = False) -> Tensor:
    """`max(input, 0)`; in the input's own memory if `inplace`."""
    return input.relu_() if inplace else _relu(input)


def relu_(input: Tensor) -> Tensor:
    """`relu` in place."""
    return input.relu_()


def _activation(op: Elementwise) -> Any:
    """A function of the input, whether to work in place, and the op's numbers."""
    run = runner(op)

    def activation(input: Tensor, inplace: bool = False, **numbers: Any) -> Tensor:
        attrs = {**defaults, **numbers} if numbers else defaults
        return apply_inplace(op, (input,), attrs) if inplace else run(op, (input,), attrs)

    defaults = {n: value for n, value in op.defaults.items() if n not in op.inputs}
    return activation


_gelu, _softplus = runner(activations.gelu), runner(activations.softplus)
_silu, _mish, _softsign = map(_activation, (activations.silu, activations.mish, activations.softsign))
_elu, _leaky_relu, _hardtanh = map(_activation, (activations.elu, activations.leaky_relu, activations.hardtanh))
_hardswish, _hardsigmoid = map(_activation, (activations.hardswish, activations.hardsigmoid))
_logsigmoid = _activation(activations.log_sigmoid)
_threshold, _softshrink = _activation(activations.threshold), _activation(activations.softshrink)


def gelu(input: Tensor, approximate: str = "none") -> Tensor:
    """`input` times the standard normal distribution function of it (Hendrycks & Gimpel, 2016).

    `approximate="tanh"` is their approximation by a hyperbolic tangent.

    Raises:
        RuntimeError: `approximate` is neither "none" nor "tanh".
        NotImplementedError: `input` is not of a floating point dtype.
    """
    return _gelu(activations.gelu, (input,), {"approximate": approximate})


def silu(input: Tensor, inplace: bool = False) -> Tensor:
    """`input * sigmoid(input)`, also called swish (Elfwing et al., Neural Networks 2018)."""
    return _silu(input, inplace)


def mish(input: Tensor, inplace: bool = False) -> Tensor:
    """`input * tanh(softplus(input))` (Misra, BMVC 2020)."""
    return _mish(input, inplace)


def relu6(input: Tensor, inplace: bool = False) -> Tensor:
    """`min(max(input, 0), 6)`; the derivative at 0 and 6 is 0."""
    return _hardtanh(input, inplace, min_val=0, max_val=6)


def hardtanh(input: Tensor, min_val: float = -1.0, max_val: float = 1.0, inplace: bool = False) -> Tensor:
    """`input` limited to [min_val, max_val]; the derivative at the bounds is 0.

    Raises:
        ValueError: `min_val` is greater than `max_val`.
    """
    if min_val > max_val:
        raise ValueError("min_val cannot be greater than max_val")
    if not input.dtype.is_floating_point:
        min_val, max_val = int(min_val), int(max_val)
    return _hardtanh(input, inplace, min_val=min_val, max_val=max_val)


def leaky_relu(input: Tensor, negative_slope: float = 0.01, inplace: bool = False) -> Tensor:
    """`input` where it is positive, else `negative_slope * input` (Maas et al., ICML 2013)."""
    return _leaky_relu(input, inplace, negative_slope=float(negative_slope))


def elu(input: Tensor, alpha: float = 1.0, inplace: bool = False) -> Tensor:
    """`input` where it is positive, else `alpha * (exp(input) - 1)` (Clevert et al., ICLR 2016)."""
    return _elu(input, inplace, alpha=float(alpha))


# The constants of the paper, for which mean 0 and variance 1 are a fixed point.
_SELU_ALPHA, _SELU_SCALE = 1.6732632423543772848170429916717, 1.0507009873554804934193349852946


def selu(input: Tensor, inplace: bool = False) -> Tensor:
    """The self-normalizing ELU, with fixed alpha and scale (Klambauer et al., NeurIPS 2017)."""
    return _elu(input, inplace, alpha=_SELU_ALPHA, scale=_SELU_SCALE)


def celu(input: Tensor, alpha: float = 1.0, inplace: bool = False) -> Tensor:
    """`input` where it is positive, else `alpha * (exp(input / alpha) - 1)` (Barron, 2017).

    Raises:
        RuntimeError: `alpha` is 0.
    """
    if alpha == 0:
        raise RuntimeError("ZeroDivisionError: alpha cannot be 0 for CELU")
    return _elu(input, inplace, alpha=float(alpha), input_scale=1 / alpha)


def hardswish(input: Tensor, inplace: bool = False) -> Tensor:
    """`input * relu6(input + 3) / 6` (Howard et al., ICCV 2019)."""
    return _hardswish(input, inplace)


def hardsigmoid(input: Tensor, inplace: bool = False) -> Tensor:
    """`relu6(input + 3) / 6`."""
    return _hardsigmoid(input, inplace)


def threshold(input: Tensor, threshold: float, value: float, inplace: bool = False) -> Tensor:
    """`input` where it is above `threshold`, else `value`."""
    return _threshold(input, inplace, threshold=threshold, value=value)


def hardshrink(input: Tensor, lambd: float = 0.5) -> Tensor:
    """`input` outside [-lambd, lambd], else 0."""
    return _hardshrink(input, lambd=lambd)


def softshrink(input: Tensor, lambd: float = 0.5) -> Tensor:
    """`input` nearer to 0 by `lambd`, and 0 within [-lambd, lambd].

    Raises:
        RuntimeError: `lambd` is negative.
    """
    if lambd < 0:
        raise RuntimeError(f"lambda must be greater or equal to 0, but found to be {lambd:g}.")
    return _softshrink(input, lambd=lambd)


def tanhshrink(input: Tensor) -> Tensor:
    """`input - tanh(input)`."""
    return input - tanh(input)


def rrelu(
    input: Tensor, lower: float = 1 / 8, upper: float = 1 / 3, training: bool = False, inplace: bool = False
) -> Tensor:
    """`leaky_relu` with a slope for each element, uniform in [lower, upper) in training, else their mean (Xu et al.,
    2015).

    Raises:
        RuntimeError: `lower` is greater than `upper`.
    """
    if lower > upper:
        raise RuntimeError(f"Lower bound should be less than or equal to the upper bound, got {lower} and {upper}")
    if not training:
        return leaky_relu(input, (lower + upper) / 2, inplace)
    slopes = empty_like(input).uniform_(lower, upper)
    result = FUNCTIONS["where"](input > 0, input, input * slopes)
    return input.copy_(result) if inplace else result


def threshold_(input: Tensor, threshold: float, value: float) -> Tensor:
    """`threshold` in place."""
    return _threshold(input, True, threshold=threshold, value=value)


def rrelu_(input: Tensor, lower: float = 1 / 8, upper: float = 1 / 3, training: bool = False) -> Tensor:
    """`rrelu` in place."""
    return rrelu(input, lower, upper, training, inplace=True)


def gumbel_softmax(logits: Tensor, tau: float = 1, hard: bool = False, eps: float = 1e-10, dim: int = -1) -> Tensor:
    """A differentiable sample of the classes with these `logits` along `dim`, at temperature `tau` (Jang et al., ICLR
    2017; Maddison et al., ICLR 2017).

    With `hard` it is one-hot, its gradient that of the soft sample; `eps` has no effect.
    """
    soft = FUNCTIONS["softmax"]((logits - empty_like(logits).exponential_().log()) / tau, dim)
    if not hard:
        return soft
    index = soft.max(dim, keepdim=True)[1]
    return zeros_like(logits).scatter(dim, index, 1.0) - soft.detach() + soft


def leaky_relu_(input: Tensor, negative_slope: float = 0.01) -> Tensor:
    """`leaky_relu` in place."""
    return leaky_relu(input, negative_slope, inplace=True)


def elu_(input: Tensor, alpha: float = 1.0) -> Tensor:
    """`elu` in place."""
    return elu(input, alpha, inplace=True)


def selu_(input: Tensor) -> Tensor:
    """`selu` in place."""
    return selu(input, inplace=True)


def celu_(input: Tensor, alpha: float = 1.0) -> Tensor:
    """`celu` in place."""
    return celu(input, alpha, inplace=True)


def hardtanh_(input: Tensor, min_val: float = -1.0, max_val: float = 1.0) -> Tensor:
    """`hardtanh` in place."""
    return hardtanh(input, min_val, max_val, inplace=True)


def logsigmoid(input: Tensor) -> Tensor:
    """`log(sigmoid(input))`, finite for every finite input."""
    return _logsigmoid(input)


def softsign(input: Tensor) -> Tensor:
    """`input / (1 + abs(input))`."""
    return _softsign(input)


def glu(input: Tensor, dim: int = -1) -> Tensor:
    """`a * sigmoid(b)` of the halves a and b of `input` along `dim` (Dauphin et al., ICML 2017).

    Raises:
        RuntimeError: the size of `dim` is odd, or the tensor has no dimensions.
        NotImplementedError: `input` is not of a floating point dtype.
    """
    return apply(activations.glu, (input,), {"dim": dim})


@with_precision(LOWER)
def prelu(input: Tensor, weight: Tensor) -> Tensor:
    """`input` where it is positive, else `weight * input` (He et al., ICCV 2015).

    Args:
        input: any shape with at least one dimension if there are several weights.
        weight: one for everything (shape () or (1)), or one for each channel, (C): the size of dimension 1.

    Raises:
        RuntimeError: the shapes do not fit.
    """
    if weight.ndim > 1:
        raise RuntimeError(f"prelu: Expected `weight` to be a scalar or 1D tensor, but got: ndim = {weight.ndim}")
    if weight.numel() != 1:
        if input.ndim == 0:
            raise RuntimeError("Not allow zero-dim input tensor.")
        channels = input.shape[1] if input.ndim > 1 else 1
        if channels != weight.numel():
            raise RuntimeError(
                f"Mismatch of parameter numbers and input channel size. Found parameter numbers = {weight.numel()} "
                f"and channel size = {channels}."
            )
    if input.dtype is not weight.dtype:
        raise RuntimeError(
            "prelu: Type promoting not supported. Convert the weight, as in weight.to(input.dtype): got "
            f"{input.dtype} and {weight.dtype}"
        )
    if weight.ndim:
        weight = weight.reshape((-1, *(1,) * (input.ndim - 2)) if input.ndim > 1 else (1,) * input.ndim)
    return apply(activations.prelu_kernel, (input, weight), {})


def softplus(input: Tensor, beta: float = 1.0, threshold: float = 20.0) -> Tensor:
    """`log(1 + exp(beta * input)) / beta`, and `input` itself where `beta * input` is over `threshold`."""
    return _softplus(activations.softplus, (input,), {"beta": beta, "threshold": threshold})


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


def softmin(input: Tensor, dim: int | None = None, _stacklevel: int = 3, dtype: Any = None) -> Tensor:
    """`softmax(-input)` along `dim`; `dtype` is what to convert the input to first."""
    if dim is None:
        dim = _implicit_dim("softmin", input.ndim, _stacklevel)
    return FUNCTIONS["softmax"](-input, dim, dtype)


def log_softmax(input: Tensor, dim: int | None = None, _stacklevel: int = 3, dtype: Any = None) -> Tensor:
    """`input - log(sum(exp(input)))` along `dim`; `dtype` is what to convert the input to first."""
    if dim is None:
        dim = _implicit_dim("log_softmax", input.ndim, _stacklevel)
    return FUNCTIONS["log_softmax"](input, dim, dtype)
