"""Scaled dot-product attention, and multi-head attention, which is made of it."""

from __future__ import annotations

import math
from typing import Any

from ... import dtypes
from ...autograd.autocast import with_precision
from ...autograd.grad_mode import mode
from ...autograd.tape import apply
from ...backends import backend_of
from ...backends.attention import Dropout
from ...ops import attention as ops
from ...ops import linalg
from ...ops.precision import LOWER
from ...tensor import functions
from ...tensor.creation import zeros
from ...tensor.random import default_generator
from ...tensor.tensor import Tensor
from .. import functional as F

__all__ = ["multi_head_attention_forward", "scaled_dot_product_attention"]


def _check(query: Any, key: Any, value: Any, mask: Any, dropout_p: float, is_causal: bool) -> None:
    if min(query.ndim, key.ndim, value.ndim) < 2:
        raise RuntimeError(
            "Expected query, key, and value to all be  at least 2 dimensional, but got query.dim: "
            f"{query.ndim} key.dim: {key.ndim} and value.dim: {value.ndim} instead."
        )
    if not query.dtype is key.dtype is value.dtype:
        names = [dtypes.type_name(t._array.dtype).lower() for t in (query, key, value)]
        raise RuntimeError(
            f"Expected query, key, and value to have the same dtype, but got query.dtype: {names[0]} key.dtype: "
            f"{names[1]} and value.dtype: {names[2]} instead."
        )
    if not query.is_floating_point():
        given = dtypes.type_name(query._array.dtype)
        raise RuntimeError(f"scaled_dot_product_attention(): expected scalar type Float but found {given}")
    if mask is not None:
        if is_causal:
            raise RuntimeError(
                "_scaled_dot_product_attention: Explicit attn_mask should not be set when is_causal=True"
            )
        if mask.dtype not in (dtypes.bool_, dtypes.float32, query.dtype):
            one, other = (dtypes.type_name(t._array.dtype).lower() for t in (mask, query))
            raise RuntimeError(
                "Expected attn_mask dtype to be bool or float or to match query dtype, but got attn_mask.dtype: "
                f"{one} and  query.dtype: {other} instead."
            )
    if not 0 <= dropout_p <= 1:
        raise RuntimeError(f"dropout probability has to be between 0 and 1, but got {dropout_p}")


def _product(a: Any, b: Any) -> str:
    rows = math.prod(a.shape[:-1])
    return f"{rows}x{a.shape[-1]} and {b.shape[-2]}x{b.shape[-1]}"


def _batch(*shapes: tuple[int, ...]) -> tuple[int, ...]:
    """The shape that batch dimensions broadcast to."""
    ndim, found = max(map(len, shapes)), []
    for axis in range(-ndim, 0):
        sizes = [s[axis] for s in shapes if -axis <= len(s)]
        wanted = next((n for n in sizes if n != 1), 1)
        odd = next((n for n in sizes if n not in (1, wanted)), None)
        if odd is not None:
            raise RuntimeError(
                f"The size of tensor a ({wanted}) must match the size of tensor b ({odd}) at non-singleton dimension "
                f"{ndim + axis}"
            )
        found.append(wanted)
    return tuple(found)


def _heads_shared(query: Any, key: Any, value: Any) -> tuple[Any, Any, int]:
    """Keys and values of grouped queries, and how many of their heads there are in what the kernel gets.

    Where the dimensions in front differ they are repeated, as often as there are heads of queries for them.
    """
    times = []
    for x in (key, value):
        if query.shape[-3] % x.shape[-3]:
            raise RuntimeError("Number of heads in key and value must divide the number of heads in query")
        times.append(query.shape[-3] // x.shape[-3])
    if times[0] == times[1] and query.shape[:-3] == key.shape[:-3] == value.shape[:-3]:
        return key, value, key.shape[-3]
    key, value = (
        x.unsqueeze(-3).expand(*x.shape[:-2], n, *x.shape[-2:]).flatten(-4, -3) for x, n in zip((key, value), times)
    )
    return key, value, query.shape[-3]


@with_precision(LOWER)
def scaled_dot_product_attention(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attn_mask: Tensor | None = None,
    dropout_p: float = 0.0,
    is_causal: bool = False,
    scale: float | None = None,
    enable_gqa: bool = False,
) -> Tensor:
    """`softmax(query @ key.T * scale + attn_mask) @ value` (Vaswani et al., NeurIPS 2017).

    Kernels that keep no (L, S) array, forward and backward; with longer heads than a device's kernel takes, and with
    dropout on the CPU, it is made of plain operations.

    Args:
        query: (..., L, E), key (..., S, E), value (..., S, V), of one dtype; the leading dimensions broadcast.
        attn_mask: broadcasts to (..., L, S): bool, False where a key does not count, or what to add to the scores.
        dropout_p: the probability of dropping a weight, whether training or not.
        is_causal: query i sees the keys up to i.
        scale: 1 / sqrt(E) if not given.
        enable_gqa: key and value may have fewer heads, in the third last dimension, each for several of query's.

    Returns:
        (..., L, V); 0 for a query that no key counts for.

    Raises:
        RuntimeError: shapes, dtypes or options do not fit.
    """
    _check(query, key, value, attn_mask, dropout_p, is_causal)
    shared = query.shape[-3] if query.ndim > 2 else 1
    if enable_gqa and query.ndim > 2:
        key, value, shared = _heads_shared(query, key, value)
    (n, e), (m, v) = query.shape[-2:], value.shape[-2:]
    if key.shape[-1] != e:
        raise RuntimeError(f"mat1 and mat2 shapes cannot be multiplied ({_product(query, key.transpose(-2, -1))})")
    if key.shape[-2] != m:
        rows = math.prod(query.shape[:-1])
        raise RuntimeError(f"mat1 and mat2 shapes cannot be multiplied ({rows}x{key.shape[-2]} and {m}x{v})")
    if grouped := query.ndim > 2 and shared < query.shape[-3]:
        batch = tuple(query.shape[:-2])
    else:
        batch = _batch(*(tuple(t.shape[:-2]) for t in (query, key, value)))
    mask: Any = attn_mask
    if mask is not None:
        shape = _batch(tuple(mask.shape), (*batch, n, m))
        batch, mask = shape[:-2], mask.expand(shape)
    scale = 1 / math.sqrt(e) if scale is None and e else float(scale or 0)

    def heads(x: Any, front: tuple[int, ...]) -> Any:
        whole = x if tuple(x.shape[:-2]) == front else x.expand(*front, *x.shape[-2:])
        return whole.reshape(math.prod(front), *x.shape[-2:]) if len(front) != 1 else whole

    front = (*batch[:-1], shared) if grouped else batch
    q, k, val = heads(query, batch), heads(key, front), heads(value, front)
    mask = None if mask is None else heads(mask, batch)
    backend = backend_of(query._array)
    empty = not (q.numel() and k.numel() and val.numel())
    drawn = dropout_p and (dropout_p == 1 or mode.levels or not backend.attention_drops)
    if empty or drawn or max(e, v) > backend.attention_width(query._array.dtype):
        weights = ops.probabilities(q, k, mask, is_causal, scale)
        weights = weights if weights.dtype is query.dtype else weights.to(query.dtype)
        out = apply(linalg.matmul, (F.dropout(weights, dropout_p), ops.each_head(val, q)), {})
    else:
        dropout = Dropout(float(dropout_p), *default_generator.draw()) if dropout_p else None
        attrs = {"causal": bool(is_causal), "scale": scale, "dropout": dropout}
        out = apply(ops.attention, (q, k, val, mask), attrs)
    return out.reshape(*batch, n, v)


def _additive(mask: Any, name: str, like: Tensor) -> Any:
    """A mask of `multi_head_attention_forward` (True: does not count) as what is added to the scores."""
    if mask is None or mask.is_floating_point():
        return mask
    if mask.dtype is not dtypes.bool_:
        raise AssertionError(f"only bool and floating types of {name} are supported")
    return functions.where(mask, -math.inf, 0.0).to(like.dtype)


def _is_batched(query: Any, key: Any, value: Any, padding: Any, mask: Any, heads: int) -> bool:
    """AssertionError unless the numbers of dimensions fit each other."""
    if query.ndim not in (2, 3):
        raise AssertionError(
            f"query should be unbatched 2D or batched 3D tensor but received {query.ndim}-D query tensor"
        )
    batched = query.ndim == 3
    kind, ndim = ("batched (3-D)", 3) if batched else ("unbatched (2-D)", 2)
    if key.ndim != ndim or value.ndim != ndim:
        raise AssertionError(
            f"For {kind} `query`, expected `key` and `value` to be {ndim}-D but found {key.ndim}-D and {value.ndim}-D "
            "tensors respectively"
        )
    if padding is not None and padding.ndim != ndim - 1:
        raise AssertionError(
            f"For {kind} `query`, expected `key_padding_mask` to be `None` or {ndim - 1}-D but found {padding.ndim}-D "
            "tensor instead"
        )
    if mask is not None and mask.ndim not in (2, 3):
        raise AssertionError(
            f"For {kind} `query`, expected `attn_mask` to be `None`, 2-D or 3-D but found {mask.ndim}-D tensor instead"
        )
    if mask is not None and mask.ndim == 3 and not batched:
        expected = (heads, query.shape[0], key.shape[0])
        if tuple(mask.shape) != expected:
            raise AssertionError(f"Expected `attn_mask` shape to be {expected} but got {mask.shape}")
    return batched


def _projected(q: Any, k: Any, v: Any, weight: Any, bias: Any) -> tuple[Any, Any, Any]:
    """Queries, keys and values by one weight (3 * embed, embed), in as few products as the inputs allow."""
    if k is v and q is k:
        first, second, third = F.linear(q, weight, bias).chunk(3, -1)
        return first, second, third
    embed = q.shape[-1]
    w, b = weight.split([embed, 2 * embed]), (None, None) if bias is None else bias.split([embed, 2 * embed])
    if k is v:
        first, second = F.linear(k, w[1], b[1]).chunk(2, -1)
        return F.linear(q, w[0], b[0]), first, second
    weights: Any = weight.chunk(3)
    biases: Any = (None,) * 3 if bias is None else bias.chunk(3)
    a, b, c = (F.linear(x, w, b) for x, w, b in zip((q, k, v), weights, biases))
    return a, b, c


def multi_head_attention_forward(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    embed_dim_to_check: int,
    num_heads: int,
    in_proj_weight: Tensor | None,
    in_proj_bias: Tensor | None,
    bias_k: Tensor | None,
    bias_v: Tensor | None,
    add_zero_attn: bool,
    dropout_p: float,
    out_proj_weight: Tensor,
    out_proj_bias: Tensor | None,
    training: bool = True,
    key_padding_mask: Tensor | None = None,
    need_weights: bool = True,
    attn_mask: Tensor | None = None,
    use_separate_proj_weight: bool = False,
    q_proj_weight: Tensor | None = None,
    k_proj_weight: Tensor | None = None,
    v_proj_weight: Tensor | None = None,
    static_k: Tensor | None = None,
    static_v: Tensor | None = None,
    average_attn_weights: bool = True,
    is_causal: bool = False,
) -> tuple[Tensor, Tensor | None]:
    """What `nn.MultiheadAttention` computes, which see; here (L, N, E) comes first, as in (L, E).

    Args:
        in_proj_weight: (3 E, E), the projections of query, key and value below each other; if
            `use_separate_proj_weight`, `q_proj_weight` (E, E), `k_proj_weight` (E, K), `v_proj_weight` (E, V) instead.
        bias_k, bias_v: (1, 1, E), one key and one value more; `add_zero_attn` adds one of zeros.
        attn_mask: (L, S) or (N * num_heads, L, S), and key_padding_mask (N, S) or (S): bool, True where a key does not
            count, or what to add to the scores.
        static_k, static_v: (N * num_heads, S, E / num_heads), in the place of projected keys and values.
        is_causal: a hint that attn_mask is the causal one, which must be given.

    Returns:
        (L, N, E) or (L, E), and the weights, (N, L, S) on average over the heads or (N, num_heads, L, S), without N for
        inputs without it; None unless `need_weights`.

    Raises:
        AssertionError, RuntimeError: shapes or options do not fit.
    """
    batched = _is_batched(query, key, value, key_padding_mask, attn_mask, num_heads)
    q: Any
    q, k, v = query, key, value
    if not batched:
        q = query.unsqueeze(1)
        k = q if key is query else key.unsqueeze(1)
        v = k if value is key else value.unsqueeze(1)
        key_padding_mask = None if key_padding_mask is None else key_padding_mask.unsqueeze(0)
    (length, images, embed), source = q.shape, k.shape[0]
    if embed != embed_dim_to_check:
        raise AssertionError(f"was expecting embedding dimension of {embed_dim_to_check}, but got {embed}")
    size = embed // num_heads
    if size * num_heads != embed:
        raise AssertionError(f"embed_dim {embed} not divisible by num_heads {num_heads}")
    if is_causal and attn_mask is None:
        raise RuntimeError("Need attn_mask if specifying the is_causal hint.")
    padding, mask = _additive(key_padding_mask, "key_padding_mask", q), _additive(attn_mask, "attn_mask", q)
    if use_separate_proj_weight:
        if tuple(k.shape[:2]) != tuple(v.shape[:2]):
            raise AssertionError(f"key's sequence and batch dims {k.shape[:2]} do not match value's {v.shape[:2]}")
        biases = (None,) * 3 if in_proj_bias is None else in_proj_bias.chunk(3)
        projections: Any = (q_proj_weight, k_proj_weight, v_proj_weight)
        for name, weight in zip("qkv", projections):
            if weight is None:
                raise AssertionError(f"use_separate_proj_weight is True but {name}_proj_weight is None")
        q, k, v = (F.linear(x, w, b) for x, w, b in zip((q, k, v), projections, biases))
    else:
        if tuple(k.shape) != tuple(v.shape):
            raise AssertionError(f"key shape {k.shape} does not match value shape {v.shape}")
        if in_proj_weight is None:
            raise AssertionError("use_separate_proj_weight is False but in_proj_weight is None")
        q, k, v = _projected(q, k, v, in_proj_weight, in_proj_bias)
    if mask is not None:
        if mask.ndim == 2:
            if tuple(mask.shape) != (length, source):
                raise RuntimeError(f"The shape of the 2D attn_mask is {mask.shape}, but should be {(length, source)}.")
            mask = mask.unsqueeze(0)
        elif tuple(mask.shape) != (images * num_heads, length, source):
            raise RuntimeError(
                f"The shape of the 3D attn_mask is {mask.shape}, but should be {(images * num_heads, length, source)}."
            )
    if (bias_k is None) is not (bias_v is None):
        raise AssertionError("bias_k and bias_v must both be given, or neither")
    if bias_k is not None and bias_v is not None:
        k = functions.FUNCTIONS["cat"]([k, bias_k.expand(1, images, embed)])
        v = functions.FUNCTIONS["cat"]([v, bias_v.expand(1, images, embed)])
    q = q.reshape(length, images * num_heads, size).transpose(0, 1)
    k = k.reshape(-1, images * num_heads, size).transpose(0, 1) if static_k is None else static_k
    v = v.reshape(-1, images * num_heads, size).transpose(0, 1) if static_v is None else static_v
    if add_zero_attn:
        nothing = zeros(images * num_heads, 1, size, dtype=q.dtype, device=q.device)
        k, v = functions.FUNCTIONS["cat"]([k, nothing], 1), functions.FUNCTIONS["cat"]([v, nothing], 1)
    more = k.shape[1] - source
    if mask is not None and more:
        mask = _extended(mask, more)
    if padding is not None:
        padding = (_extended(padding, more) if more else padding).reshape(images, 1, 1, -1)
        padding = padding.expand(-1, num_heads, -1, -1).reshape(images * num_heads, 1, -1)
        mask = padding if mask is None else mask + padding
    mask = mask if mask is None or mask.dtype is q.dtype else mask.to(q.dtype)
    dropout_p = dropout_p if training else 0.0
    if need_weights:
        scores = q / math.sqrt(size) @ k.transpose(-2, -1)
        shares: Any = F.softmax(scores if mask is None else mask + scores, -1)
        shares = F.dropout(shares, dropout_p)
        out = shares @ v
    else:
        out = scaled_dot_product_attention(q, k, v, mask, dropout_p)
    out = F.linear(out.transpose(0, 1).reshape(length * images, embed), out_proj_weight, out_proj_bias)
    out = out.reshape(length, images, embed) if batched else out.reshape(length, embed)
    if not need_weights:
        return out, None
    shares = shares.reshape(images, num_heads, length, -1)
    shares = shares.mean(1) if average_attn_weights else shares
    return out, shares if batched else shares.squeeze(0)


def _extended(mask: Any, more: int) -> Any:
    """An additive mask with as many keys more, which count."""
    new = zeros(*mask.shape[:-1], more, dtype=mask.dtype, device=mask.device)
    return functions.FUNCTIONS["cat"]([mask, new], -1)
