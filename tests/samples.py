"""Sample inputs of every op: the one list that the tests of values, gradients, devices and PyTorch parity go through.

A sample is a function of a module, `gradcore` or `torch`, and of tensors, with the shapes of these. Elementwise ops get
theirs from the registry.
"""

# ruff: noqa: E501  one line a sample
from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from gradcore.ops import REGISTRY, Elementwise

Shape = tuple[int, ...]


@dataclass
class Sample:
    name: str
    function: Callable[..., Any]
    shapes: list[Shape]
    low: float = -2.0
    high: float = 2.0
    differentiable: bool = True
    dtypes: tuple[str, ...] = ("float32", "float64")
    any_strides: bool = True
    kink: float = 0.05  # values this close to whole halves are moved away: kinks and jumps lie there
    id: str = field(init=False, default="")

    def arrays(self, dtype: str = "float64", seed: int = 0) -> list[np.ndarray]:
        """Values for the inputs, away from kinks, none repeated."""
        generator = np.random.default_rng(seed + sum(map(ord, self.name)))
        arrays = []
        for shape in self.shapes:
            x = generator.uniform(self.low, self.high, shape)
            near = np.abs(x * 2 - np.round(x * 2)) < 2 * self.kink
            x = np.where(near, x + 2.5 * self.kink * (1 if self.low >= 0 else np.where(x < 0, -1, 1)), x)
            arrays.append(np.asarray(x).astype(dtype))
        return arrays


BROADCAST: list[list[Shape]] = [
    [(3, 4), (3, 4)],
    [(2, 3, 4), (4,)],
    [(3, 1), (1, 4)],
    [(), (3,)],
    [(), ()],
    [(0, 3), (3,)],
]
SHAPES: list[Shape] = [(3, 4), (5,), (), (0, 3)]

# Where a function is defined, or smooth.
DOMAIN: dict[str, tuple[float, float]] = {
    "log": (0.2, 3), "log2": (0.2, 3), "log10": (0.2, 3), "log1p": (-0.7, 3), "sqrt": (0.2, 3), "rsqrt": (0.2, 3),
    "asin": (-0.8, 0.8), "acos": (-0.8, 0.8), "tan": (-1, 1), "pow": (0.2, 2), "reciprocal": (0.3, 2), "div": (0.3, 2),
    "floor_divide": (0.3, 3), "remainder": (0.3, 3),
}  # fmt: skip
INTEGRAL = {"bitwise_and", "bitwise_or", "bitwise_xor", "bitwise_not"}


def _elementwise() -> list[Sample]:
    out = []
    for name, op in REGISTRY.items():
        if not isinstance(op, Elementwise) or not op.methods or name in ("clamp",) or name in INTEGRAL:
            continue
        low, high = DOMAIN.get(name, (-2, 2))
        smooth = op.program_of(op.split([object()] * len(op.inputs), {})[0]).output_kind(0) != "bool"
        smooth = smooth and name != "floor_divide"  # PyTorch refuses its derivative

        def function(m: Any, *xs: Any, name: str = name) -> Any:
            return getattr(m, name)(*xs)

        for shapes in [[s] for s in SHAPES] if len(op.inputs) == 1 else BROADCAST:
            out.append(Sample(name, function, shapes, low, high, differentiable=smooth))
    return out


def _S(name: str, function: Callable[..., Any], *shapes: Shape, **options: Any) -> Sample:
    return Sample(name, function, list(shapes), **options)


def index(m: Any, values: Any) -> Any:
    """An index tensor on the device that the module's inputs are on."""
    return m.tensor(values, device=getattr(m, "device_in_use", None))


def _others() -> list[Sample]:
    inf = math.inf
    return [
        # numbers as operands
        _S("add", lambda m, x: x + 2, (3,)),
        _S("add", lambda m, x: 2.5 + x, ()),
        _S("add", lambda m, x, y: m.add(x, y, alpha=3), (3, 4), (4,)),
        _S("sub", lambda m, x: 1 - x, (3, 2)),
        _S("sub", lambda m, x, y: m.sub(x, y, alpha=0.5), (3,), (2, 3)),
        _S("mul", lambda m, x: x * 3, (3,)),
        _S("div", lambda m, x: 1 / x, (4,), low=0.3),
        _S("div", lambda m, x: x / 4, (4,)),
        _S("div", lambda m, x, y: m.div(x, y, rounding_mode="floor"), (4,), (4,), low=0.3),
        _S("div", lambda m, x, y: m.div(x, y, rounding_mode="trunc"), (4,), (4,), low=0.3),
        *[_S("pow", lambda m, x, p=p: x**p, (3, 2), low=0.3) for p in (0, 1, 2, 3, 0.5, -0.5, -1, -2, 2.5, -1.5)],
        _S("pow", lambda m, x: 2**x, (3,)),
        _S("pow", lambda m, x: m.pow(x, 2), ()),
        _S("clamp", lambda m, x: m.clamp(x, -0.75, 0.75), (3, 4)),
        _S("clamp", lambda m, x: x.clamp(min=-0.75), (5,)),
        _S("clamp", lambda m, x: x.clamp(max=0.75), (5,)),
        _S("clamp", lambda m, x, a, b: m.clamp(x, a, b), (3, 4), (4,), (3, 1)),
        _S("maximum", lambda m, x: m.maximum(x, x), (3,)),
        _S("where", lambda m, x, y: m.where(x > 0, x, y), (3, 4), (4,)),
        _S("where", lambda m, x: m.where(x > 0, x, 0.0), (3, 4)),
        # activations
        *[_S(name, lambda m, x, name=name, k=k: getattr(m.nn.functional, name)(x * 3, **k), shape)
          for name, k, shape in (
              ("gelu", {}, (3, 4)), ("gelu", {}, ()), ("gelu", {"approximate": "tanh"}, (3, 4)), ("silu", {}, (3, 4)),
              ("silu", {}, (0, 3)), ("softplus", {}, (3, 4)), ("softplus", {"beta": 2.5, "threshold": 1.5}, (3, 4)))],
        _S("silu_", lambda m, x: m.nn.functional.silu(x * 2, inplace=True) * x, (3,)),
        # reductions
        *[
            _S(name, lambda m, x, name=name, k=k: getattr(m, name)(x, **k), shape)
            for name in ("sum", "mean")
            for k, shape in (
                ({}, (3, 4)), ({}, ()), ({"dim": 0}, (3, 4)), ({"dim": -1, "keepdim": True}, (2, 3, 4)),
                ({"dim": (0, 2)}, (2, 3, 4)), ({"dim": 1}, (2, 3, 4)), ({"dim": 0}, (0, 3)),
            )
        ],
        _S("sum", lambda m, x: x.sum(), (0,)),
        _S("sum", lambda m, x: x.t().sum(0), (3, 4)),
        *[
            _S(name, lambda m, x, name=name, k=k: getattr(m, name)(x, **k), shape)
            for name in ("var", "std")
            for k, shape in (
                ({}, (3, 4)), ({"dim": 0}, (3, 4)), ({"dim": -1, "keepdim": True}, (2, 3, 4)),
                ({"dim": (0, 1), "correction": 0}, (3, 4, 2)), ({"dim": 1, "unbiased": False}, (3, 4)),
            )
        ],
        _S("var", lambda m, x: x.var(False), (5,)),
        *[
            _S(name, lambda m, x, name=name, k=k: getattr(m, name)(x, **k), shape)
            for name in ("amax", "amin")
            for k, shape in (({}, (3, 4)), ({"dim": 1}, (3, 4)), ({"dim": (0, 2), "keepdim": True}, (2, 3, 2)))
        ],
        *[_S(name, lambda m, x, name=name: getattr(m, name)(x), shape) for name in ("max", "min") for shape in ((3, 4), ())],
        *[
            _S(name, lambda m, x, name=name, k=k: getattr(m, name)(x, 1, **k)[0], (3, 4))
            for name in ("max", "min")
            for k in ({}, {"keepdim": True})
        ],
        *[
            _S(name, lambda m, x, name=name, k=k: getattr(m, name)(x, **k), (3, 4), differentiable=False)
            for name in ("argmax", "argmin")
            for k in ({}, {"dim": 0}, {"dim": -1, "keepdim": True})
        ],
        _S("prod", lambda m, x: x.prod(), (3, 2)),
        _S("prod", lambda m, x: m.prod(x, 1), (3, 4)),
        _S("prod", lambda m, x: m.prod(x, 0, keepdim=True), (3, 4)),
        *[_S("norm", lambda m, x, p=p: m.norm(x, p), (3, 4)) for p in (2, 1, 3, 1.5, inf, -inf, "fro")],
        _S("norm", lambda m, x: m.norm(x, 0), (3, 4), differentiable=False),
        _S("norm", lambda m, x: x.norm(dim=1), (3, 4)),
        _S("norm", lambda m, x: x.norm(3, dim=0, keepdim=True), (3, 4)),
        _S("any", lambda m, x: (x > 1).any(), (3, 4), differentiable=False),
        _S("all", lambda m, x: (x > -1).all(1), (3, 4), differentiable=False),
        # products
        *[
            _S("matmul", lambda m, x, y: x @ y, a, b)
            for a, b in (
                ((3, 4), (4, 2)), ((4,), (4,)), ((3, 4), (4,)), ((4,), (4, 2)), ((2, 3, 4), (4, 2)),
                ((2, 3, 4), (2, 4, 2)), ((5, 1, 3, 4), (2, 4, 2)), ((2, 3, 4), (4,)), ((4,), (2, 4, 3)), ((0, 4), (4, 2)),
            )
        ],
        _S("mm", lambda m, x, y: m.mm(x, y), (3, 4), (4, 2)),
        _S("mm", lambda m, x, y: m.mm(x.t(), y), (4, 3), (4, 2)),
        _S("bmm", lambda m, x, y: m.bmm(x, y), (2, 3, 4), (2, 4, 2)),
        _S("addmm", lambda m, b, x, y: m.addmm(b, x, y), (2,), (3, 4), (4, 2)),
        _S("addmm", lambda m, b, x, y: m.addmm(b, x, y, beta=0.5, alpha=2), (3, 2), (3, 4), (4, 2)),
        _S("dot", lambda m, x, y: m.dot(x, y), (4,), (4,)),
        _S("outer", lambda m, x, y: m.outer(x, y), (3,), (4,)),
        _S("linear", lambda m, x, w, b: m.nn.functional.linear(x, w, b), (3, 4), (2, 4), (2,)),
        _S("linear", lambda m, x, w: m.nn.functional.linear(x, w), (2, 3, 4), (2, 4)),
        _S("linear", lambda m, x, w, b: m.nn.functional.linear(x, w, b), (4,), (2, 4), (2,)),
        # shapes
        _S("reshape", lambda m, x: x.reshape(6, 2) * 2, (3, 4)),
        _S("reshape", lambda m, x: x.t().reshape(-1), (3, 4)),
        _S("view", lambda m, x: x.view(2, -1) * 1, (3, 4), any_strides=False),
        _S("flatten", lambda m, x: x.flatten(1) ** 2, (2, 3, 2)),
        _S("transpose", lambda m, x: x.transpose(0, -1) ** 2, (2, 3, 2)),
        _S("t", lambda m, x: x.t() ** 2, (2, 3)),
        _S("T", lambda m, x: x.T**2, (2, 3)),
        _S("permute", lambda m, x: x.permute(2, 0, 1) ** 2, (2, 3, 4)),
        _S("squeeze", lambda m, x: x.squeeze() ** 2, (2, 1, 3, 1)),
        _S("squeeze", lambda m, x: x.squeeze(1) ** 2, (2, 1, 3, 1)),
        _S("unsqueeze", lambda m, x: x.unsqueeze(-1) ** 2, (2, 3)),
        _S("expand", lambda m, x: x.expand(2, 3, 4) ** 2, (3, 1)),
        _S("expand", lambda m, x: x.expand(-1, 4), (3, 1)),
        _S("expand_as", lambda m, x, y: x.expand_as(y) * y, (4,), (3, 4)),
        _S("cat", lambda m, x, y: m.cat([x, y], 1), (2, 3), (2, 2)),
        _S("cat", lambda m, x, y: m.cat((x * 2, y, x), dim=-2), (2, 3), (1, 3)),
        _S("stack", lambda m, x, y: m.stack([x, y], -1), (2, 3), (2, 3)),
        _S("split", lambda m, x: m.split(x, 2, 1)[1] ** 2, (2, 5)),
        _S("split", lambda m, x: x.split([1, 3, 1], 1)[1] ** 2 + x.split([1, 3, 1], 1)[0], (2, 5)),
        _S("chunk", lambda m, x: m.cat([c**2 for c in x.chunk(3)], 0), (5, 2)),
        _S("narrow", lambda m, x: x.narrow(1, 1, 2) ** 2, (2, 4)),
        _S("contiguous", lambda m, x: x.t().contiguous() ** 2, (2, 4)),
        _S("clone", lambda m, x: x.clone() * 2, (2, 4)),
        # indexing
        _S("getitem", lambda m, x: x[1], (3, 4)),
        _S("getitem", lambda m, x: x[1, 2], (3, 4)),
        _S("getitem", lambda m, x: x[..., None, 1:] ** 2, (3, 4)),
        _S("getitem", lambda m, x: x[::2, 1::2] ** 2, (5, 6)),
        _S("getitem", lambda m, x: x[-1:, :-1], (3, 4)),
        _S("getitem", lambda m, x: x[index(m, [0, 2, 0])] ** 2, (3, 4)),
        _S("getitem", lambda m, x: x[index(m, [[0, -1], [1, 1]]), index(m, [[0, 1], [-1, 3]])] ** 2, (3, 4)),
        _S("getitem", lambda m, x: x[:, index(m, [3, 3])] ** 2, (3, 4)),
        _S("getitem", lambda m, x: x[index(m, [0, 1]), 1:3] ** 2, (3, 4)),
        _S("getitem", lambda m, x: x[index(m, [True, False, True])] ** 2, (3, 4)),
        _S("getitem", lambda m, x: x[[0, 1], [1, 2]], (3, 4)),
        _S("setitem", lambda m, x, y: _assigned(x, (slice(None), 1), y), (3, 4), (3,)),
        _S("setitem", lambda m, x: _assigned(x, 0, 2.0), (3, 4)),
        _S("setitem", lambda m, x, y: _assigned(x, (Ellipsis, slice(0, 2)), y), (3, 4), (2,)),
        _S("setitem", lambda m, x, y: _assigned(x, index(m, [2, 0]), y), (3, 4), (2, 4)),
        _S("setitem", lambda m, x: _assigned(x, index(m, [True, False, True]), 0.5), (3, 4)),
        # in place
        _S("add_", lambda m, x, y: x.clone().add_(y), (3, 4), (4,)),
        _S("mul_", lambda m, x, y: x.clone().mul_(y), (3, 4), (4,)),
        _S("sub_", lambda m, x, y: _iop(x, y), (3, 4), (4,)),
        _S("exp_", lambda m, x: (x * 1).exp_() * x, (3,)),
        _S("mul_ on a view", lambda m, x, y: _scaled_row(x, y), (3, 4), (4,)),
        _S("zero_", lambda m, x: (x * 2).zero_() + x, (3,)),
        # rows
        *[_S("softmax", lambda m, x, d=d: x.softmax(d), s) for d, s in ((1, (3, 5)), (0, (3, 5)), (-2, (2, 3, 4)), (0, (5,)))],
        *[_S("log_softmax", lambda m, x, d=d: m.log_softmax(x, d), s) for d, s in ((1, (3, 5)), (0, (3, 5)), (1, (2, 3, 4)))],
        # norms
        *[_S("layer_norm", lambda m, x, w, b, k=k: m.nn.functional.layer_norm(x, k, w, b), s, k, k)
          for s, k in (((3, 5), (5,)), ((2, 3, 4), (3, 4)), ((2, 3, 4), (4,)), ((4,), (4,)), ((0, 4), (4,)))],
        _S("layer_norm", lambda m, x: m.layer_norm(x, (5,), eps=0.1), (3, 5)),
        _S("layer_norm", lambda m, x, w: m.layer_norm(x, [3, 5], w), (3, 5), (3, 5)),
        _S("layer_norm", lambda m, x, b: m.layer_norm(x, (5,), None, b, 1e-3), (3, 5), (5,)),
        _S("layer_norm", lambda m, x, w, b: m.layer_norm(x, (3, 2), w.t(), b.t()), (4, 3, 2), (2, 3), (2, 3)),
        *[_S("rms_norm", lambda m, x, w, k=k: m.nn.functional.rms_norm(x, k, w, 1e-3), s, k)
          for s, k in (((3, 5), (5,)), ((2, 3, 4), (3, 4)), ((4,), (4,)), ((0, 4), (4,)))],
        _S("rms_norm", lambda m, x: m.rms_norm(x, (5,)), (3, 5)),
        *[_S("batch_norm", lambda m, x, w, b: m.nn.functional.batch_norm(x, None, None, w, b, True, eps=0.1), s, (3,), (3,))
          for s in ((4, 3), (2, 3, 4), (3, 3, 2, 2), (0, 3))],
        _S("batch_norm", lambda m, x: m.nn.functional.batch_norm(x, None, None, training=True), (4, 3, 2)),
        _S("batch_norm", lambda m, x, w: m.nn.functional.batch_norm(
            x, index(m, [0.5, 0.0, 1.0]).to(x.dtype), index(m, [0.5, 1.0, 2.0]).to(x.dtype), w), (4, 3, 2), (3,)),
        *[_S("group_norm", lambda m, x, w, b, g=g: m.nn.functional.group_norm(x, g, w, b, 0.1) * 0.05, s, (6,), (6,))
          for s, g in (((3, 6), 2), ((2, 6, 3), 3), ((2, 6, 2, 2), 6), ((2, 6, 3), 1))],
        _S("group_norm", lambda m, x: m.nn.functional.group_norm(x, 2) * 0.05, (2, 4, 3)),
        _S("instance_norm", lambda m, x, w, b: m.nn.functional.instance_norm(x, None, None, w, b) * 0.05, (2, 3, 5), (3,), (3,)),
        # convolution
        *[_S("conv", lambda m, x, w, b, k=k: getattr(m.nn.functional, f"conv{x.ndim - 2}d")(x, w, b, **k), x, w, w[:1])
          for x, w, k in (
              ((2, 4, 6), (4, 2, 3), {"groups": 2, "padding": 1}), ((2, 3, 5), (2, 3, 1), {}),
              ((2, 2, 5, 4), (3, 2, 3, 2), {"stride": (2, 1), "padding": (1, 0), "dilation": (1, 2)}),
              ((1, 2, 4, 5), (2, 2, 2, 3), {"padding": "same"}), ((1, 2, 3, 4, 3), (2, 2, 2, 2, 2), {"stride": 2, "padding": 1}),
              ((0, 2, 4, 4), (2, 2, 2, 2), {}))],
        _S("conv", lambda m, x, w: m.nn.functional.conv2d(x, w, groups=4), (2, 4, 4, 4), (4, 1, 3, 3)),
        *[_S("conv_transpose", lambda m, x, w, b, k=k: getattr(m.nn.functional, f"conv_transpose{x.ndim - 2}d")(
            x, w, b, **k), x, w, (w[1] * k.get("groups", 1),))
          for x, w, k in (
              ((2, 4, 4), (4, 1, 3), {"groups": 2, "stride": 2, "output_padding": 1}),
              ((2, 2, 3, 4), (2, 3, 3, 2), {"stride": (2, 1), "padding": (1, 0), "dilation": (1, 2)}),
              ((1, 2, 2, 2, 3), (2, 1, 2, 2, 1), {}))],
        # pooling
        *[_S(name, lambda m, x, name=name, k=k: getattr(m.nn.functional, name)(x, **k), s)
          for name, k, s in (
              ("avg_pool1d", {"kernel_size": 3, "stride": 2, "padding": 1}, (2, 2, 7)),
              ("avg_pool2d", {"kernel_size": (3, 2), "ceil_mode": True, "padding": 1, "count_include_pad": False}, (2, 2, 5, 4)),
              ("avg_pool2d", {"kernel_size": 2, "stride": 1, "divisor_override": 3}, (2, 4, 5)),
              ("avg_pool3d", {"kernel_size": 2}, (1, 2, 2, 4, 3)), ("avg_pool2d", {"kernel_size": 2}, (0, 2, 4, 4)),
              ("adaptive_avg_pool1d", {"output_size": 3}, (2, 2, 5)), ("adaptive_avg_pool2d", {"output_size": (3, 2)}, (2, 2, 5, 4)),
              ("max_pool1d", {"kernel_size": 3, "stride": 2, "padding": 1}, (2, 2, 7)),
              ("max_pool2d", {"kernel_size": 3, "stride": 1, "padding": 1, "dilation": (1, 2)}, (2, 2, 5, 6)),
              ("max_pool2d", {"kernel_size": 2, "ceil_mode": True}, (2, 5, 5)), ("max_pool3d", {"kernel_size": 2}, (1, 2, 2, 4, 3)),
              ("max_pool2d", {"kernel_size": 2}, (0, 2, 4, 4)), ("adaptive_max_pool2d", {"output_size": (3, 2)}, (2, 2, 5, 4)))],
        _S("max_pool2d of squares", lambda m, x: m.nn.functional.max_pool2d(x * x, 3, 2) ** 2, (2, 2, 7, 6)),
        # attention
        *[_S("attention", lambda m, q, k, v, o=o: m.nn.functional.scaled_dot_product_attention(q, k, v, **o) * 0.05, *s)
          for o, s in (
              ({}, ((2, 3, 4), (2, 5, 4), (2, 5, 3))), ({"is_causal": True}, ((2, 5, 4), (2, 3, 4), (2, 3, 4))),
              ({"scale": 0.3}, ((2, 2, 3, 4), (2, 2, 5, 4), (2, 2, 5, 4))), ({}, ((3, 4), (5, 4), (5, 2))),
              ({"enable_gqa": True}, ((2, 4, 3, 2), (2, 2, 3, 2), (2, 2, 3, 2))))],
        _S("attention", lambda m, q, k, v: m.nn.functional.scaled_dot_product_attention(
            q, k, v, index(m, [[True, False, True], [False, False, False]])), (2, 2, 4), (2, 3, 4), (2, 3, 4)),
        _S("attention", lambda m, q, k, v, a: m.nn.functional.scaled_dot_product_attention(q, k, v, a),
           (2, 2, 4), (2, 3, 4), (2, 3, 4), (2, 3)),
        _S("attention", lambda m, q, k, v: m.nn.functional.scaled_dot_product_attention(
            q, k, v, index(m, [[0.5, -1.0, 0.0], [1.0, -math.inf, 0.25]]).to(q.dtype)), (2, 2, 4), (2, 3, 4), (2, 3, 4)),
        # losses
        _S("cross_entropy", lambda m, x: m.nn.functional.cross_entropy(x, index(m, [1, 0, 4])), (3, 5)),
        _S("cross_entropy", lambda m, x: m.nn.functional.cross_entropy(x, index(m, [1, -100, 4]), reduction="sum"), (3, 5)),
        _S("cross_entropy", lambda m, x: m.nn.functional.cross_entropy(
            x, index(m, [1, 2, 4]), ignore_index=2, reduction="none", label_smoothing=0.1), (3, 5)),
        _S("cross_entropy", lambda m, x: m.nn.functional.cross_entropy(
            x, index(m, [1, 2, 4]), weight=index(m, [0.5, 1.0, 2.0, 1.5, 0.25]).to(x.dtype), label_smoothing=0.2), (3, 5)),
        _S("cross_entropy", lambda m, x: m.nn.functional.cross_entropy(x, index(m, [[1, 0], [2, 2]])), (2, 3, 2)),
        _S("cross_entropy", lambda m, x: m.nn.functional.cross_entropy(x, index(m, 2)), (5,)),
        _S("cross_entropy", lambda m, x, p: m.nn.functional.cross_entropy(x, p.softmax(1)), (3, 5), (3, 5)),
        _S("nll_loss", lambda m, x: m.nn.functional.nll_loss(x.log_softmax(1), index(m, [1, 0, -100])), (3, 5)),
        *[_S("mse_loss", lambda m, x, y, r=r: m.nn.functional.mse_loss(x, y, reduction=r), (3, 4), (3, 4))
          for r in ("mean", "sum", "none")],
        _S("l1_loss", lambda m, x, y: m.nn.functional.l1_loss(x, y), (3, 4), (3, 4)),
        *[_S("bce_with_logits", lambda m, x, y, r=r: m.nn.functional.binary_cross_entropy_with_logits(
            x, y.sigmoid(), reduction=r), (3, 4), (3, 4)) for r in ("mean", "sum", "none")],
        _S("bce_with_logits", lambda m, x, y: m.nn.functional.binary_cross_entropy_with_logits(
            x, y.sigmoid(), pos_weight=index(m, [0.5, 1.0, 2.0, 3.0]).to(x.dtype)), (3, 4), (3, 4)),
        # conversions
        _S("to", lambda m, x: x.double() * 2, (3,)),
        _S("to", lambda m, x: x.to(m.float64).sum(), (3,)),
    ]  # fmt: skip


def _assigned(x: Any, key: Any, value: Any) -> Any:
    out = x.clone()
    out[key] = value
    return out * x


def _iop(x: Any, y: Any) -> Any:
    z = x * 1
    z -= y
    return z * x


def _scaled_row(x: Any, y: Any) -> Any:
    z = x * 2
    z[1].mul_(y)
    z.t()[0] += x[:, 1]
    return z * x


def all_samples() -> list[Sample]:
    """Every sample, with an id of its own."""
    samples = _elementwise() + _others()
    count: dict[str, int] = {}
    for s in samples:
        count[s.name] = count.get(s.name, 0) + 1
        s.id = f"{s.name}-{count[s.name]}"
    return samples


SAMPLES = all_samples()
