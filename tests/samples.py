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

import gradcore
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
    registered: bool = False  # made from the registry: the function has the name of the sample
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
    "floor_divide": (0.3, 3), "remainder": (0.3, 3), "addcdiv": (0.3, 2),
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

        many = [[*shapes, shapes[0]][: len(op.inputs)] for shapes in BROADCAST]
        for shapes in [[s] for s in SHAPES] if len(op.inputs) == 1 else many:
            out.append(Sample(name, function, shapes, low, high, differentiable=smooth, registered=True))
    return out


def _S(name: str, function: Callable[..., Any], *shapes: Shape, **options: Any) -> Sample:
    return Sample(name, function, list(shapes), **options)


def index(m: Any, values: Any) -> Any:
    """An index tensor on the device that the module's inputs are on."""
    return m.tensor(values, device=getattr(m, "device_in_use", None))


class _Recurrent:
    """All that a recurrent module returns, as a vector: a function of its input and parameters."""

    def __init__(self, kind: str, **options: Any):
        self.kind, self.options = kind, options
        self.ours = getattr(gradcore.nn, kind)(2, 3, **options)

    def __call__(self, m: Any, x: Any, *weights: Any) -> Any:
        # (Initial values, which are random, are not to be drawn within vmap.)
        module = self.ours if m.__name__ == "gradcore" else getattr(m.nn, self.kind)(2, 3, **self.options)
        parameters = dict(zip((name for name, _ in module.named_parameters()), weights))
        out, state = m.func.functional_call(module, parameters, (x,))
        states = state if isinstance(state, tuple) else (state,)
        return m.cat([t.reshape(-1) for t in (out, *states)])


# Where sigmoid and tanh are far from flat.
_SMALL: dict[str, Any] = {"low": -0.8, "high": 0.8}


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
        *[_S(name, lambda m, x, name=name, k=k: getattr(m.nn.functional, name)(x * 3, **k), shape)
          for name, k, shape in (
              ("relu6", {}, (3, 4)), ("hardtanh", {}, (3, 4)), ("hardtanh", {"min_val": -0.7, "max_val": 2.2}, (3, 4)),
              ("leaky_relu", {}, (3, 4)), ("leaky_relu", {"negative_slope": 0.2}, ()), ("elu", {}, (3, 4)),
              ("elu", {"alpha": 0.6}, (3, 4)), ("selu", {}, (3, 4)), ("celu", {"alpha": 2.0}, (3, 4)), ("mish", {}, (3, 4)),
              ("hardswish", {}, (3, 4)), ("logsigmoid", {}, (3, 4)), ("softsign", {}, (3, 4)),
              ("glu", {}, (3, 4)), ("glu", {"dim": 0}, (4, 3)), ("glu", {"dim": 1}, (2, 6, 3)), ("glu", {}, (0, 4)),)],
        *[_S(name, lambda m, x, name=name, k=k: getattr(m.nn.functional, name)(x * 2, **k), (3, 4))
          for name, k in (("softshrink", {}), ("softshrink", {"lambd": 1.3}), ("hardshrink", {"lambd": 1.3}), ("tanhshrink", {}),
                          ("threshold", {"threshold": 0.4, "value": -1.5}), ("rrelu", {}))],
        _S("threshold_", lambda m, x: m.nn.functional.threshold(x * 2, 0.4, 7.0, inplace=True) * x, (3,)),
        _S("softmin", lambda m, x: m.nn.functional.softmin(x, 1), (3, 4)),
        # (PyTorch's 1/6 is one of float32 in float64 too.)
        _S("hardsigmoid", lambda m, x: m.nn.functional.hardsigmoid(x * 3), (3, 4), dtypes=("float32",)),
        _S("hardsigmoid_", lambda m, x: m.nn.functional.hardsigmoid(x * 2, inplace=True) * x, (3,), dtypes=("float32",)),
        *[_S("prelu", lambda m, x, w: m.nn.functional.prelu(x, w), s, w)
          for s, w in (((2, 3, 4), (3,)), ((2, 3), (1,)), ((4,), (1,)), ((2, 3), ()))],
        *[_S(f"{name}_", lambda m, x, name=name: getattr(m.nn.functional, name)(x * 2, inplace=True) * x, (3,))
          for name in ("relu6", "leaky_relu", "elu", "selu", "celu", "hardtanh", "hardswish", "mish")],
        _S("lerp", lambda m, x, y: m.lerp(x, y, 0.3), (3, 4), (4,)),
        _S("addcmul", lambda m, x, y, z: m.addcmul(x, y, z, value=-0.7), (3, 4), (4,), (3, 1)),
        _S("addcdiv", lambda m, x, y, z: m.addcdiv(x, y, z, value=2), (3, 4), (4,), (3, 1), low=0.3),
        _S("clamp_min", lambda m, x: x.clamp_min(0.3), (3, 4)),
        _S("clamp_max", lambda m, x: m.clamp_max(x, 0.3), (3, 4)),
        _S("nan_to_num", lambda m, x: m.nan_to_num(x, 1.5, 2.5) * x, (3, 4)),
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
        *[_S("logsumexp", lambda m, x, k=k: m.logsumexp(x * 3, **k), s)
          for s, k in (((3, 4), {"dim": 1}), ((2, 3, 4), {"dim": (0, 2)}), ((2, 3, 4), {"dim": 1, "keepdim": True}), ((), {"dim": 0}))],
        *[_S("cumsum", lambda m, x, d=d: m.cumsum(x, d), s) for s, d in (((3, 4), 1), ((2, 3, 4), 0), ((), 0), ((0, 3), 1))],
        _S("cumsum_", lambda m, x: (x * 2).cumsum_(0) * x, (3, 4)),
        _S("median", lambda m, x: x.median(), (3, 5)),
        _S("median", lambda m, x: m.median(x, 1)[0], (3, 4)),
        _S("median", lambda m, x: m.median(x, 0, keepdim=True).values, (4, 3)),
        _S("bincount", lambda m, x: m.bincount(index(m, [3, 0, 3, 1, 3]), x), (5,), differentiable=False),
        *[_S("prod", lambda m, x, d=d: m.prod(x * (x > -1), d), (4, 3)) for d in (0, 1)],  # with zeros
        _S("prod", lambda m, x: (x * (x > -1)).prod(), (3, 3)),
        _S("prod", lambda m, x: x.prod(), (3, 2)),
        _S("prod", lambda m, x: m.prod(x, 1), (3, 4)),
        _S("prod", lambda m, x: m.prod(x, 0, keepdim=True), (3, 4)),
        *[_S("norm", lambda m, x, p=p: m.norm(x, p), (3, 4)) for p in (2, 1, 3, 1.5, inf, -inf, "fro")],
        _S("norm", lambda m, x: m.norm(x, 0), (3, 4), differentiable=False),
        _S("norm", lambda m, x: x.norm(dim=1), (3, 4)),
        _S("norm", lambda m, x: x.norm(3, dim=0, keepdim=True), (3, 4)),
        *[_S("vector_norm", lambda m, x, k=k: m.linalg.vector_norm(x, **k), (2, 3, 4))
          for k in ({}, {"ord": 3, "dim": (0, 2)}, {"ord": inf, "dim": 1, "keepdim": True}, {"ord": -inf}, {"ord": 1, "dim": -1})],
        *[_S("matrix_norm", lambda m, x, k=k: m.linalg.matrix_norm(x, **k), (2, 3, 4))
          for k in ({}, {"ord": 1}, {"ord": -1, "keepdim": True}, {"ord": inf, "dim": (0, 1)}, {"ord": -inf})],
        _S("linalg.norm", lambda m, x: m.linalg.norm(x, inf), (3, 4)),
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
        *[_S(name, lambda m, x, y, name=name, k=k: getattr(m.nn.functional, name)(x, y, **k), (3, 4), (3, 4))
          for name, more in (("smooth_l1_loss", {}), ("smooth_l1_loss", {"beta": 0.6}), ("huber_loss", {}), ("huber_loss", {"delta": 0.6}))
          for k in ({**more, "reduction": r} for r in ("mean", "sum", "none"))],
        _S("huber_loss", lambda m, x, y, w: m.nn.functional.huber_loss(x, y, weight=w), (3, 4), (3, 4), (3, 4)),
        *[_S("binary_cross_entropy", lambda m, x, y, r=r: m.nn.functional.binary_cross_entropy(
            x.sigmoid(), y.sigmoid(), reduction=r), (3, 4), (3, 4)) for r in ("mean", "sum", "none")],
        _S("binary_cross_entropy", lambda m, x, y: m.nn.functional.binary_cross_entropy(
            x.sigmoid(), y.sigmoid(), weight=index(m, [0.5, 1.0, 2.0, 3.0]).to(x.dtype)), (3, 4), (3, 4)),
        *[_S("kl_div", lambda m, x, y, r=r: m.nn.functional.kl_div(
            x.log_softmax(1), y.softmax(1), reduction=r), (3, 4), (3, 4)) for r in ("batchmean", "sum", "none")],
        _S("kl_div", lambda m, x, y: m.nn.functional.kl_div(
            x.log_softmax(1), y.log_softmax(1), log_target=True, reduction="batchmean"), (3, 4), (3, 4)),
        *[_S("cosine_similarity", lambda m, x, y, d=d: m.nn.functional.cosine_similarity(x, y, dim=d), a, b)
          for a, b, d in (((3, 4), (3, 4), 1), ((2, 3, 4), (3, 1), 0), ((4,), (4,), -1))],
        _S("cosine_embedding_loss", lambda m, x, y: m.nn.functional.cosine_embedding_loss(x, y, index(m, [1, -1, 1])), (3, 4), (3, 4)),
        *[_S("triplet_margin_loss", lambda m, a, b, c, k=k: m.nn.functional.triplet_margin_loss(a, b, c, **k), (3, 4), (3, 4), (3, 4))
          for k in ({}, {"p": 3, "margin": 2.0, "reduction": "none"}, {"swap": True, "reduction": "sum"})],
        _S("margin_ranking_loss", lambda m, x, y: m.nn.functional.margin_ranking_loss(x, y, index(m, [1, -1, 1]), 0.2), (3,), (3,)),
        *[_S("normalize", lambda m, x, k=k: m.nn.functional.normalize(x, **k), (2, 3, 4)) for k in ({}, {"p": 1, "dim": (0, 2)})],
        *[_S("ctc_loss", lambda m, x, k=k: m.nn.functional.ctc_loss(
            x.log_softmax(2), index(m, [[1, 2, 2], [3, 1, 1]]), (6, 5), (3, 2), **k), (6, 2, 4))
          for k in ({}, {"reduction": "none"}, {"reduction": "sum", "zero_infinity": True})],
        _S("ctc_loss", lambda m, x: m.nn.functional.ctc_loss(
            x.log_softmax(2), index(m, [1, 2, 2, 1]), index(m, [6, 5]), index(m, [1, 3]), blank=3), (6, 2, 4)),
        # selecting
        _S("gather", lambda m, x: x.gather(1, index(m, [[0, 0, 3], [1, 2, 1]])), (3, 4)),
        _S("gather", lambda m, x: m.gather(x, 0, index(m, [2, 2, 0, 1, 2])), (3,)),
        _S("gather", lambda m, x: m.gather(x, -1, index(m, 0)), ()),
        _S("scatter", lambda m, x, y: m.scatter(x, 1, index(m, [[0, 2], [1, 3]]), y), (3, 4), (2, 2)),
        _S("scatter", lambda m, x: x.scatter(0, index(m, [[1, 0, 2, 1]]), 1.5), (3, 4)),
        _S("scatter", lambda m, x: x.clone().scatter_(-1, index(m, [[1], [0]]), -1.0) * x, (3, 4)),
        _S("scatter_add", lambda m, x, y: m.scatter_add(x, 0, index(m, [[0, 0, 2], [0, 1, 2]]), y), (3, 4), (2, 3)),
        *[_S("scatter_reduce", lambda m, x, y, r=r, k=k: m.scatter_reduce(
            x, 1, index(m, [[0, 0, 2], [0, 1, 1]]), y, r, include_self=k), (3, 4), (2, 3), low=0.5)
          for r in ("sum", "prod", "mean", "amax", "amin") for k in (True, False)],
        _S("index_select", lambda m, x: x.index_select(1, index(m, [3, 0, 0])) ** 2, (3, 4)),
        _S("index_select", lambda m, x: m.index_select(x, 0, index(m, 0)), ()),
        _S("index_add", lambda m, x, y: m.index_add(x, 0, index(m, [2, 0, 2]), y, alpha=3), (3, 4), (3, 4)),
        _S("index_add_", lambda m, x, y: x.clone().index_add_(1, index(m, [1, 1]), y) * x, (3, 4), (3, 2)),
        _S("index_copy", lambda m, x, y: m.index_copy(x, 1, index(m, [3, 1]), y) * x, (3, 4), (3, 2)),
        _S("index_fill", lambda m, x: m.index_fill(x, 0, index(m, [2, 0]), 2.5) * x, (3, 4)),
        _S("index_fill", lambda m, x, y: x.index_fill(1, index(m, [1]), y), (3, 4), ()),
        _S("index_put", lambda m, x, y: m.index_put(x, (index(m, [2, 0]),), y) * x, (3, 4), (2, 4)),
        _S("index_put", lambda m, x, y: x.index_put((index(m, [2, 2]), index(m, [1, 1])), y, accumulate=True), (3, 4), (2,)),
        _S("masked_fill", lambda m, x: x.masked_fill(index(m, [True, False, False, True]), 0.5) * x, (3, 4)),
        _S("masked_fill", lambda m, x, y: m.masked_fill(x, index(m, [[True], [False], [True]]), y), (4,), ()),
        _S("masked_select", lambda m, x: x.masked_select(index(m, [True, False, False, True])) ** 2, (3, 4)),
        _S("tril", lambda m, x: x.tril() ** 2, (3, 4)),
        _S("triu", lambda m, x: m.triu(x, -1) ** 2, (2, 3, 4)),
        *[_S("sort", lambda m, x, k=k: m.sort(x, **k)[0], (3, 5)) for k in ({}, {"dim": 0}, {"descending": True})],
        _S("argsort", lambda m, x: m.argsort(x, 0, descending=True), (3, 5), differentiable=False),
        _S("topk", lambda m, x: x.topk(2)[0], (3, 5)),
        _S("topk", lambda m, x: m.topk(x, 2, 0, largest=False)[0], (9, 3)),
        _S("topk", lambda m, x: m.topk(x, 2)[1], (2, 30), differentiable=False),
        # other orders
        _S("repeat", lambda m, x: x.repeat(2, 1, 3) ** 2, (2, 3)),
        _S("repeat_interleave", lambda m, x: x.repeat_interleave(2, 1) ** 2, (2, 3)),
        _S("repeat_interleave", lambda m, x: m.repeat_interleave(x, index(m, [2, 0, 1]), 1), (2, 3)),
        _S("flip", lambda m, x: x.flip(0, -1) ** 2, (2, 3)),
        _S("roll", lambda m, x: m.roll(x, (1, -2), (0, 1)) ** 2, (2, 3)),
        _S("roll", lambda m, x: x.roll(4), (2, 3)),
        _S("unbind", lambda m, x: x.unbind(1)[2] * x.unbind(1)[0], (2, 3)),
        _S("diagonal", lambda m, x: x.diagonal(1, -1, 0) ** 2, (3, 2, 4)),
        _S("diag", lambda m, x: m.diag(x, -1) * 2, (3,)),
        _S("vstack", lambda m, x, y: m.vstack((x, y)), (3,), (2, 3)),
        _S("meshgrid", lambda m, x, y: m.meshgrid(x, y, indexing="xy")[0] * y[:, None], (3,), (2,)),
        *[_S("unsqueeze_", lambda m, x, name=name, a=a: getattr(x * 2, name)(*a) ** 2, (2, 1, 3))
          for name, a in (("unsqueeze_", (1,)), ("squeeze_", ()), ("transpose_", (0, 2)))],
        _S("t_", lambda m, x: _transposed_base(x), (2, 3)),
        # linear algebra
        *[_S("einsum", lambda m, *xs, text=text: m.einsum(text, *xs), *shapes) for text, shapes in (
            ("ij,jk->ik", [(2, 3), (3, 4)]), ("bij,bkj->bik", [(2, 3, 4), (2, 2, 4)]), ("ii->i", [(3, 3)]),
            ("i,j", [(2,), (3,)]), ("...ij,j", [(2, 3, 4), (4,)]), ("abc,cd,bd->a", [(2, 3, 4), (4, 2), (3, 2)]),
            ("ij,ij->j", [(1, 3), (2, 3)]), ("ij->", [(2, 3)]))],
        _S("inv", lambda m, x: m.linalg.inv(x + 4 * _eye(m, x, 3)), (2, 3, 3)),
        _S("solve", lambda m, x, y: m.linalg.solve(x + 4 * _eye(m, x, 3), y), (2, 3, 3), (3, 2)),
        _S("cholesky", lambda m, x: m.linalg.cholesky(x @ x.transpose(-1, -2) + _eye(m, x, 3)), (2, 3, 3)),
        *[_S("svd", lambda m, x, i=i: m.linalg.svd(x, full_matrices=False)[i] ** 2, s)
          for i, s in ((0, (4, 3)), (1, (2, 3, 3)), (2, (3, 4)))],
        # embedding, padding, resampling
        _S("embedding", lambda m, w: m.nn.functional.embedding(index(m, [[1, 0], [1, 3]]), w) ** 2, (4, 3)),
        _S("embedding", lambda m, w: m.nn.functional.embedding(index(m, [1, 0, 1]), w, padding_idx=2), (4, 3)),
        *[_S("pad", lambda m, x, p=p, k=k: m.nn.functional.pad(x, p, **k) ** 2, (2, 3, 4)) for p, k in (
            ((1, 2), {}), ((1, -1, 0, 2), {"value": 1.5}), ((2, 1), {"mode": "reflect"}), ((2, 1, 1, 1), {"mode": "replicate"}),
            ((1, 2, 0, 1), {"mode": "circular"}))],
        *[_S("interpolate", lambda m, x, k=k: m.nn.functional.interpolate(x, **k), (1, 2, 3, 4)) for k in (
            {"scale_factor": 2}, {"size": (5, 3), "mode": "nearest-exact"}, {"size": (2, 7), "mode": "bilinear"},
            {"scale_factor": 1.5, "mode": "bilinear", "align_corners": True}, {"size": (4, 6), "mode": "bicubic"},
            {"size": (2, 3), "mode": "area"}, {"scale_factor": (1.7, 0.6), "mode": "bicubic", "align_corners": True})],
        _S("pixel_shuffle", lambda m, x: m.nn.functional.pixel_shuffle(x, 2) ** 2, (2, 4, 2, 3)),
        _S("pixel_unshuffle", lambda m, x: m.nn.functional.pixel_unshuffle(x, 2) ** 2, (1, 4, 6)),
        *[_S("unfold", lambda m, x, k=k: m.nn.functional.unfold(x, **k) ** 2, (2, 3, 4, 5))
          for k in ({"kernel_size": 2}, {"kernel_size": (2, 3), "stride": 2, "padding": (1, 0), "dilation": (2, 1)})],
        _S("fold", lambda m, x: m.nn.functional.fold(x, (3, 4), 2, padding=1, stride=(1, 2)) ** 2, (2, 8, 12)),
        _S("unflatten", lambda m, x: x.unflatten(-1, (2, -1)) ** 2, (2, 6)),
        _S("embedding_bag", lambda m, w, s: m.nn.functional.embedding_bag(
            index(m, [1, 0, 1]), w, index(m, [0, 1]), mode="sum", per_sample_weights=s), (4, 3), (3,)),
        # recurrent layers
        _S("lstm", _Recurrent("LSTM"), (3, 2, 2), (12, 2), (12, 3), (12,), (12,), **_SMALL),
        _S("lstm", _Recurrent("LSTM", proj_size=2, bias=False),
           (2, 2, 2), (12, 2), (12, 2), (2, 3), **_SMALL),
        _S("gru", _Recurrent("GRU", bidirectional=True),
           (2, 2, 2), *[(9, 2), (9, 3), (9,), (9,)] * 2, **_SMALL),
        *[_S("rnn", _Recurrent("RNN", nonlinearity=f), (2, 2, 2), (3, 2), (3, 3), (3,), (3,), **_SMALL)
          for f in ("tanh", "relu")],
        # conversions
        _S("to", lambda m, x: x.double() * 2, (3,)),
        _S("to", lambda m, x: x.to(m.float64).sum(), (3,)),
    ]  # fmt: skip


def _assigned(x: Any, key: Any, value: Any) -> Any:
    out = x.clone()
    out[key] = value
    return out * x


def _eye(m: Any, x: Any, n: int) -> Any:
    return m.eye(n, dtype=x.dtype, device=x.device)


def _transposed_base(x: Any) -> Any:
    """A base that is transposed between the making of a view and a change of it."""
    base = x * 1
    row = base[0]
    base.t_()
    row.mul_(base[:, 1].clone())
    base.unsqueeze_(0)[0, 1] *= 2
    return (base * base).sum(0) + row.sum()


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
