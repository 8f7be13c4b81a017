"""Calls under autocast: of each the tensors' shapes, and a function of a module (`gradcore` or `torch`) and of them."""

# ruff: noqa: E501  one line a case
from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

Shape = tuple[int, ...]
M, V, I = (4, 4), (4,), (2, 4, 6, 6)  # noqa: E741


@dataclass
class Case:
    name: str
    function: Callable[..., Any]
    shapes: list[Shape]


def _C(name: str, function: Callable[..., Any], *shapes: Shape) -> Case:
    return Case(name, function, list(shapes))


def _index(m: Any, like: Any, *values: int) -> Any:
    return m.tensor(values, device=like.device)


_UNARY = (
    "exp expm1 log log1p log2 log10 sqrt rsqrt sin cos tan asin acos atan sinh cosh tanh sigmoid erf reciprocal square "
    "abs neg floor sign relu"
).split()
_F_UNARY = (
    "relu gelu silu softplus elu selu celu leaky_relu hardtanh hardswish hardsigmoid logsigmoid mish softsign relu6"
).split()
_LOSSES = (
    "mse_loss l1_loss smooth_l1_loss huber_loss kl_div binary_cross_entropy binary_cross_entropy_with_logits".split()
)

CASES = [
    *[_C(n, lambda m, x, n=n: getattr(m, n)(x), M) for n in _UNARY],
    *[_C(n, lambda m, x, n=n: getattr(m.nn.functional, n)(x), M) for n in _F_UNARY],
    *[_C(n, lambda m, x, y, n=n: getattr(m.nn.functional, n)(x, y), M, M) for n in _LOSSES],
    *[_C(n, lambda m, x, y, n=n: getattr(m, n)(x, y), M, M) for n in "add sub mul div maximum mm matmul pow".split()],
    # products
    _C("linear", lambda m, x, w, b: m.nn.functional.linear(x, w, b), M, M, V),
    _C("bmm", lambda m, x, y: m.bmm(x, y), (2, 3, 4), (2, 4, 3)),
    _C("addmm", lambda m, x, y, z: m.addmm(x, y, z), M, M, M),
    _C("dot", lambda m, x, y: m.dot(x, y), V, V),
    _C("matmul", lambda m, x, y: x @ y, M, V),
    _C("outer", lambda m, x, y: m.outer(x, y), V, V),
    _C("einsum", lambda m, x, y: m.einsum("ij,jk->ik", x, y), M, M),
    _C("einsum", lambda m, x, y: m.einsum("ij,ij->i", x, y), M, M),
    _C("einsum", lambda m, x: m.einsum("ij->j", x), M),
    _C("attention", lambda m, q, k, v: m.nn.functional.scaled_dot_product_attention(q, k, v), (1, 2, 4), (1, 3, 4), (1, 3, 4)),
    _C("attention", lambda m, q, k, v: m.nn.functional.scaled_dot_product_attention(q, k, v, is_causal=True), (1, 2, 4, 4), (1, 2, 4, 4), (1, 2, 4, 4)),
    _C("conv1d", lambda m, x, w, b: m.nn.functional.conv1d(x, w, b), (2, 4, 6), (3, 4, 2), (3,)),
    _C("conv2d", lambda m, x, w, b: m.nn.functional.conv2d(x, w, bias=b), I, (3, 4, 2, 2), (3,)),
    _C("conv3d", lambda m, x, w: m.nn.functional.conv3d(x, w), (1, 2, 3, 3, 3), (2, 2, 2, 2, 2)),
    _C("conv_transpose1d", lambda m, x, w: m.nn.functional.conv_transpose1d(x, w), (2, 4, 6), (4, 3, 2)),
    _C("conv_transpose2d", lambda m, x, w: m.nn.functional.conv_transpose2d(x, w), I, (4, 3, 2, 2)),
    _C("conv_transpose3d", lambda m, x, w: m.nn.functional.conv_transpose3d(x, w), (1, 2, 3, 3, 3), (2, 2, 2, 2, 2)),
    _C("prelu", lambda m, x, w: m.nn.functional.prelu(x, w), M, V),
    # numbers
    _C("pow", lambda m, x: x**2, M),
    _C("pow", lambda m, x: 2**x, M),
    _C("pow", lambda m, x: m.pow(x, 0.5), M),
    _C("rdiv", lambda m, x: 1 / x, M),
    _C("div", lambda m, x: x / 2, M),
    _C("clamp", lambda m, x: m.clamp(x, 0, 1), M),
    _C("where", lambda m, x, y: m.where(x > 0, x, y), M, M),
    _C("lerp", lambda m, x, y: m.lerp(x, y, 0.5), M, M),
    _C("addcmul", lambda m, x, y, z: m.addcmul(x, y, z), M, M, M),
    _C("addcdiv", lambda m, x, y, z: m.addcdiv(x, y, z), M, M, M),
    # reductions
    *[_C(n, lambda m, x, n=n: getattr(m, n)(x), M) for n in "sum mean prod var std amax amin max min median".split()],
    *[_C(n, lambda m, x, n=n: getattr(m, n)(x, 1), M) for n in "sum mean prod logsumexp cumsum argmax".split()],
    _C("sum", lambda m, x: x.sum(dtype=m.float16), M),
    _C("prod", lambda m, x: x.prod(1, dtype=m.float64), M),
    _C("cumsum", lambda m, x: x.cumsum(1, dtype=m.float16), M),
    *[_C("norm", lambda m, x, p=p: x.norm(p), M) for p in (1, 2, float("inf"))],
    _C("norm", lambda m, x: x.norm(2, 1), M),
    _C("vector_norm", lambda m, x: m.linalg.vector_norm(x), M),
    _C("vector_norm", lambda m, x: m.linalg.vector_norm(x, 3, dim=1), M),
    _C("matrix_norm", lambda m, x: m.linalg.matrix_norm(x), M),
    _C("linalg.norm", lambda m, x: m.linalg.norm(x), M),
    # rows
    *[_C(n, lambda m, x, n=n: getattr(m.nn.functional, n)(x, 1), M) for n in "softmax log_softmax softmin".split()],
    _C("softmax", lambda m, x: m.softmax(x, 0), M),
    _C("softmax", lambda m, x: m.softmax(x, 0, dtype=m.float16), M),
    _C("softmax", lambda m, x: m.softmax(x, 0, dtype=m.float64), M),
    _C("normalize", lambda m, x: m.nn.functional.normalize(x), M),
    _C("cross_entropy", lambda m, x: m.nn.functional.cross_entropy(x, _index(m, x, 0, 1, 2, 3)), M),
    _C("cross_entropy", lambda m, x, w: m.nn.functional.cross_entropy(x, _index(m, x, 0, 1, 2, 3), w), M, V),
    _C("cross_entropy", lambda m, x, y: m.nn.functional.cross_entropy(x, y), M, M),
    _C("nll_loss", lambda m, x: m.nn.functional.nll_loss(x, _index(m, x, 0, 1, 2, 3)), M),
    _C("layer_norm", lambda m, x, w, b: m.nn.functional.layer_norm(x, (4,), w, b), M, V, V),
    _C("layer_norm", lambda m, x: m.nn.functional.layer_norm(x, (4,)), M),
    _C("rms_norm", lambda m, x, w: m.nn.functional.rms_norm(x, (4,), w), M, V),
    _C("rms_norm", lambda m, x: m.nn.functional.rms_norm(x, (4,)), M),
    _C("group_norm", lambda m, x, w, b: m.nn.functional.group_norm(x, 2, w, b), I, V, V),
    _C("group_norm", lambda m, x: m.nn.functional.group_norm(x, 2), I),
    _C("batch_norm", lambda m, x, w, b: m.nn.functional.batch_norm(x, None, None, w, b, training=True), I, V, V),
    _C("instance_norm", lambda m, x: m.nn.functional.instance_norm(x), I),
    # losses of several ops
    _C("bce_weighted", lambda m, x, y, w: m.nn.functional.binary_cross_entropy_with_logits(x, y, w, pos_weight=w), M, M, M),
    _C("cosine_similarity", lambda m, x, y: m.nn.functional.cosine_similarity(x, y), M, M),
    _C("cosine_embedding_loss", lambda m, x, y: m.nn.functional.cosine_embedding_loss(x, y, _index(m, x, 1, -1, 1, 1)), M, M),
    _C("triplet_margin_loss", lambda m, x, y, z: m.nn.functional.triplet_margin_loss(x, y, z), M, M, M),
    _C("margin_ranking_loss", lambda m, x, y: m.nn.functional.margin_ranking_loss(x, y, _index(m, x, 1, -1, 1, 1)), V, V),
    _C("ctc_loss", lambda m, x: m.nn.functional.ctc_loss(x, m.tensor([[1, 2]]), m.tensor([4]), m.tensor([2])), (4, 1, 3)),
    _C("pairwise_distance", lambda m, x, y: m.nn.functional.pairwise_distance(x, y), M, M),
    *[_C(n, lambda m, x, y, n=n: getattr(m.nn.functional, n)(x, y), M, M) for n in "hinge_embedding_loss poisson_nll_loss soft_margin_loss".split()],
    _C("multi_margin_loss", lambda m, x: m.nn.functional.multi_margin_loss(x, _index(m, x, 0, 1, 2, 3)), M),
    _C("multilabel_margin_loss", lambda m, x: m.nn.functional.multilabel_margin_loss(x, _index(m, x, *range(4)).repeat(4, 1)), M),
    _C("multilabel_soft_margin_loss", lambda m, x, y: m.nn.functional.multilabel_soft_margin_loss(x, y), M, M),
    _C("bilinear", lambda m, x, y, w: m.nn.functional.bilinear(x, y, w), M, M, (2, 4, 4)),
    # joining, selecting
    _C("cat", lambda m, x, y: m.cat([x, y]), M, M),
    _C("stack", lambda m, x, y: m.stack([x, y]), M, M),
    _C("gather", lambda m, x: m.gather(x, 0, _index(m, x, 0, 1, 2, 3).reshape(1, 4)), M),
    _C("scatter_add", lambda m, x, y: m.scatter_add(x, 0, _index(m, x, 0, 1, 2, 3).reshape(1, 4), y), M, M),
    _C("index_add", lambda m, x, y: m.index_add(x, 0, _index(m, x, 0, 1, 2, 3), y), M, M),
    _C("index_copy", lambda m, x, y: m.index_copy(x, 0, _index(m, x, 0, 1, 2, 3), y), M, M),
    _C("index_put", lambda m, x, y: m.index_put(x, (_index(m, x, 0, 1, 2, 3),), y), M, M),
    _C("embedding", lambda m, w: m.nn.functional.embedding(_index(m, w, 0, 1), w), M),
    # images
    *[_C(n, lambda m, x, n=n: getattr(m.nn.functional, n)(x, 2), I) for n in "max_pool2d avg_pool2d adaptive_avg_pool2d".split()],
    *[_C(n, lambda m, x, n=n: getattr(m.nn.functional, n)(x, 2), (1, 2, 4, 4, 4)) for n in "max_pool3d avg_pool3d adaptive_avg_pool3d adaptive_max_pool3d".split()],
    *[_C("pad", lambda m, x, n=n: m.nn.functional.pad(x, (1, 1, 1, 1), n), I) for n in "constant reflect replicate circular".split()],
    *[_C("interpolate", lambda m, x, n=n: m.nn.functional.interpolate(x, scale_factor=2, mode=n), I) for n in "nearest nearest-exact bilinear bicubic area".split()],
    _C("pixel_shuffle", lambda m, x: m.nn.functional.pixel_shuffle(x, 2), I),
    # decompositions
    *[_C(f"linalg.{n}", lambda m, x, n=n: getattr(m.linalg, n)(x @ x.T + m.eye(4, device=x.device, dtype=x.dtype) * 9), M) for n in "inv cholesky".split()],
    _C("linalg.svd", lambda m, x: m.linalg.svd(x)[1], M),
    _C("linalg.solve", lambda m, x, y: m.linalg.solve(x + m.eye(4, device=x.device, dtype=x.dtype) * 9, y), M, M),
]  # fmt: skip
