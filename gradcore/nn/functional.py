"""The functions behind the modules: linear maps, activations, normalization, dropout, losses."""

from __future__ import annotations

from typing import Any

from ..autograd.batching import check_random_in_place, drawn
from ..autograd.grad_mode import mode
from ..autograd.inplace import apply_inplace
from ..autograd.tape import apply, wrap
from ..backends import backend_of
from ..ops import activations, linalg
from ..tensor.functions import FUNCTIONS
from ..tensor.random import default_generator
from ..tensor.tensor import Tensor
from .functions.activations import (
    celu,
    celu_,
    elu,
    elu_,
    gelu,
    glu,
    hardsigmoid,
    hardswish,
    hardtanh,
    hardtanh_,
    leaky_relu,
    leaky_relu_,
    log_softmax,
    logsigmoid,
    mish,
    prelu,
    relu,
    relu6,
    relu_,
    selu,
    selu_,
    sigmoid,
    silu,
    softmax,
    softmin,
    softplus,
    softsign,
    tanh,
)
from .functions.convolution import *  # noqa: F403
from .functions.embedding import embedding as embedding
from .functions.embedding import one_hot as one_hot
from .functions.losses import (
    binary_cross_entropy,
    binary_cross_entropy_with_logits,
    check_reduction,
    cosine_embedding_loss,
    cosine_similarity,
    cross_entropy,
    ctc_loss,
    huber_loss,
    kl_div,
    l1_loss,
    margin_ranking_loss,
    mse_loss,
    nll_loss,
    normalize,
    pairwise_distance,
    refuse_legacy,
    smooth_l1_loss,
    triplet_margin_loss,
)
from .functions.normalization import *  # noqa: F403
from .functions.pooling import *  # noqa: F403
from .functions.resampling import interpolate as interpolate
from .functions.resampling import pad as pad
from .functions.resampling import upsample as upsample

pixel_shuffle = FUNCTIONS["pixel_shuffle"]
pixel_unshuffle = FUNCTIONS["pixel_unshuffle"]
layer_norm = FUNCTIONS["layer_norm"]
rms_norm = FUNCTIONS["rms_norm"]


def linear(input: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """`input @ weight.T + bias`: (..., in) with (out, in) and (out,) to (..., out)."""
    return apply(linalg.linear, (input, weight, bias), {})


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


from .functions.attention import *  # noqa: E402, F403  (made of the functions above)
