"""The functions behind the modules: linear maps, activations, normalization, dropout, losses."""

from __future__ import annotations

from ..autograd.autocast import with_precision
from ..autograd.tape import apply
from ..ops import linalg
from ..ops.precision import CUDA_WIDEST
from ..tensor.einsum import einsum
from ..tensor.functions import FUNCTIONS
from ..tensor.tensor import Tensor
from .functions.activations import (
    celu,
    celu_,
    elu,
    elu_,
    gelu,
    glu,
    gumbel_softmax,
    hardshrink,
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
    rrelu,
    rrelu_,
    selu,
    selu_,
    sigmoid,
    silu,
    softmax,
    softmin,
    softplus,
    softshrink,
    softsign,
    tanh,
    tanhshrink,
    threshold,
    threshold_,
)
from .functions.convolution import *  # noqa: F403
from .functions.dropout import *  # noqa: F403
from .functions.embedding import embedding as embedding
from .functions.embedding import embedding_bag as embedding_bag
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
from .functions.margins import *  # noqa: F403
from .functions.normalization import *  # noqa: F403
from .functions.pooling import *  # noqa: F403
from .functions.resampling import interpolate as interpolate
from .functions.resampling import pad as pad
from .functions.resampling import upsample as upsample
from .functions.unfolding import channel_shuffle as channel_shuffle
from .functions.unfolding import fold as fold
from .functions.unfolding import unfold as unfold

pixel_shuffle = FUNCTIONS["pixel_shuffle"]
pixel_unshuffle = FUNCTIONS["pixel_unshuffle"]
layer_norm = FUNCTIONS["layer_norm"]
rms_norm = FUNCTIONS["rms_norm"]


def linear(input: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """`input @ weight.T + bias`: (..., in) with (out, in) and (out,) to (..., out)."""
    return apply(linalg.linear, (input, weight, bias), {})


@with_precision(CUDA_WIDEST)
def bilinear(input1: Tensor, input2: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """`input1 @ weight @ input2 + bias`: (..., in1) and (..., in2) with (out, in1, in2) and (out,) to (..., out).

    Raises:
        RuntimeError: the shapes do not fit.
    """
    if input1.shape[:-1] != input2.shape[:-1]:
        raise RuntimeError(
            f"bilinear(): input batch dimensions do not match: got {list(input1.shape)} and {list(input2.shape)}"
        )
    for k, (x, size) in enumerate(((input1, weight.shape[1]), (input2, weight.shape[2])), 1):
        if x.shape[-1] != size:
            raise RuntimeError(
                f"bilinear(): input{k} size does not match weight size: got {x.shape[-1]} but expected {size}"
            )
    out = einsum("...i,oij,...j->...o", input1, weight, input2)
    return out if bias is None else out + bias


from .functions.attention import *  # noqa: E402, F403  (made of the functions above)
