"""Every op, forward and forward + backward: the elementwise ones from gradcore's registry, the others from a table.

An elementwise op that joins the registry is measured without a line here, except where not all numbers in [-2, 2] suit
it. The table also names everyday ops that gradcore does not have yet: they are listed as waiting.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..case import Case, Step, find
from ..lab import Lab

SUITE = "ops"
Shape = tuple[int, ...]


@dataclass(frozen=True)
class Input:
    """A tensor argument: `float` values in [low, high) that want a gradient, or `index` or `mask` values."""

    shape: Shape
    kind: str = "float"
    low: float = -2.0
    high: float = 2.0

    def array(self, generator: np.random.Generator, dtype: str) -> np.ndarray:
        """Its values."""
        if self.kind == "index":
            return generator.integers(0, int(self.high), self.shape)
        if self.kind == "mask":
            return generator.random(self.shape) < 0.5
        return (self.low + (self.high - self.low) * generator.random(self.shape, "f4")).astype(dtype)


@dataclass(frozen=True)
class Call:
    """How an op is called: `function(module, *tensors)`, with the inputs for `n` elements or for given dimensions."""

    function: Callable[..., Any]
    inputs: Callable[..., tuple[Input, ...]]
    needs: tuple[str, ...] = ()
    backward: bool = True
    terms: int = 1
    sizes: tuple[Any, ...] = ()  # empty: those of every elementwise op

    def named(self, size: Any) -> tuple[Input, ...]:
        """The inputs of one size: a number of elements, or dimensions."""
        return self.inputs(*size) if isinstance(size, tuple) else self.inputs(size)


def plain(*, inputs: int = 1, low: float = -2.0, high: float = 2.0) -> Callable[[int], tuple[Input, ...]]:
    """`inputs` vectors of n elements."""
    return lambda n: (Input((n,), low=low, high=high),) * inputs


def matrix(n: int) -> tuple[Input, ...]:
    """A matrix of n elements with rows of at most 1000."""
    columns = min(1000, max(1, n // 10))
    return (Input((n // columns, columns)),)


def rows(n: int, columns: int) -> tuple[Input, ...]:
    """A matrix."""
    return (Input((n, columns)),)


def _norm(affine: int) -> Callable[[int, int], tuple[Input, ...]]:
    return lambda n, columns: (Input((n, columns)), *(Input((columns,)),) * affine)


ROWS = ((4096, 1024), (256, 32768))
MATRICES = ((64, 64, 64), (256, 256, 256), (1024, 1024, 1024))
SUM = 1000  # roundings of a sum: blocks of it are added up separately, everywhere


def _of(name: str, *arguments: Any, **options: Any) -> Callable[..., Any]:
    return lambda m, *xs: find(m, name)(*xs, *arguments, **options)


def _activation(name: str, *arguments: Any) -> Call:
    path = f"nn.functional.{name}"
    return Call(_of(path, *arguments), plain(), (path,))


def _waiting(name: str, inputs: int = 1, **domain: float) -> Call:
    return Call(_of(name), plain(inputs=inputs, **domain), (name,))


# fmt: off
CALLS: dict[str, Call] = {
    # arithmetic with numbers and rows, and what composes ops
    "clamp": Call(lambda m, x: m.clamp(x, -1.0, 1.0), plain()),
    "where": Call(lambda m, c, x, y: m.where(c, x, y), lambda n: (Input((n,), "mask"), Input((n,)), Input((n,)))),
    "add_number": Call(lambda m, x: x + 1.5, plain()),
    "add_row": Call(lambda m, x, b: x + b, lambda n: (*matrix(n), Input(matrix(n)[0].shape[1:])), terms=SUM),
    "pow_number": Call(lambda m, x: x**3, plain()),
    "bitwise_not": Call(lambda m, x: ~x, lambda n: (Input((n,), "index", high=1000),), backward=False),
    **{f"bitwise_{name}": Call(_of(f"bitwise_{name}"), lambda n: (Input((n,), "index", high=1000),) * 2, backward=False)
       for name in ("and", "or", "xor")},
    "addcmul": _waiting("addcmul", 3), "addcdiv": _waiting("addcdiv", 3, low=0.5), "lerp": _waiting("lerp", 3),
    "erf": _waiting("erf"), "nan_to_num": _waiting("nan_to_num"),
    # activations
    "gelu": _activation("gelu"), "silu": _activation("silu"), "softplus": _activation("softplus"),
    "relu6": _activation("relu6"), "leaky_relu": _activation("leaky_relu"), "elu": _activation("elu"),
    "hardswish": _activation("hardswish"), "logsigmoid": _activation("logsigmoid"),
    "glu": Call(_of("nn.functional.glu"), matrix, ("nn.functional.glu",)),
    # reductions and scans
    **{name: Call(_of(name), plain(), terms=SUM) for name in ("sum", "mean", "var", "std", "norm")},
    **{name: Call(_of(name), plain()) for name in ("amax", "amin", "max", "min")},
    **{name: Call(_of(name), plain(), backward=False) for name in ("argmax", "argmin", "any", "all")},
    "sum_of_squares": Call(lambda m, x: (x * x).sum(), plain(), terms=SUM),
    "sum_columns": Call(lambda m, x: x.sum(0), matrix, terms=SUM),
    "sum_rows": Call(lambda m, x: x.sum(1), matrix, terms=SUM),
    "mean_rows": Call(lambda m, x: x.mean(-1), matrix, terms=SUM),
    "var_rows": Call(lambda m, x: x.var(-1), matrix, terms=SUM),
    "max_rows": Call(lambda m, x: m.max(x, 1)[0], matrix),
    "prod_rows": Call(lambda m, x: m.prod(x, 1), lambda n: (Input(matrix(n)[0].shape, low=0.99, high=1.01),),
                      terms=SUM),
    "logsumexp": Call(lambda m, x: x.logsumexp(-1), matrix, ("logsumexp",), terms=SUM),
    "cumsum": Call(lambda m, x: x.cumsum(-1), matrix, ("cumsum",), terms=SUM),
    # shapes
    "transpose_copy": Call(lambda m, x: x.t().contiguous(), matrix),
    "reshape_copy": Call(lambda m, x: x.t().reshape(-1), matrix),
    "expand_mul": Call(lambda m, x, y: x.unsqueeze(1).expand_as(y) * y,
                       lambda n: (Input(matrix(n)[0].shape[:1]), *matrix(n)), terms=SUM),
    "cat": Call(lambda m, x, y: m.cat([x, y], 1), lambda n: matrix(n) * 2),
    "stack": Call(lambda m, x, y: m.stack([x, y]), lambda n: matrix(n) * 2),
    "split": Call(lambda m, x: x.split(x.shape[1] // 2, 1)[1] * 2, matrix),
    "clone": Call(lambda m, x: x.clone(), plain()),
    "flip": Call(lambda m, x: x.flip(0), matrix, ("flip",)),
    "repeat": Call(lambda m, x: x.repeat(2, 1), matrix, ("Tensor.repeat",)),
    "pad": Call(lambda m, x: m.nn.functional.pad(x, (1, 1)), matrix, ("nn.functional.pad",)),
    # indexing
    "getitem_slice": Call(lambda m, x: x[:, ::2] * 2, matrix),
    "getitem_rows": Call(lambda m, x, i: x[i], lambda n: (*matrix(n), Input((matrix(n)[0].shape[0],), "index",
                         high=matrix(n)[0].shape[0])), terms=8),
    "getitem_mask": Call(lambda m, x, c: x[c], lambda n: (Input((n,)), Input((n,), "mask"))),
    "masked_fill": Call(lambda m, x, c: x.masked_fill(c, 0.0), lambda n: (Input((n,)), Input((n,), "mask")),
                        ("Tensor.masked_fill",)),
    "gather": Call(lambda m, x, i: x.gather(0, i), lambda n: (Input((n,)), Input((n,), "index", high=n)), ("gather",),
                   terms=16),
    "index_add": Call(lambda m, x, i, y: x.index_add(0, i, y),
                      lambda n: (Input((n,)), Input((n,), "index", high=n), Input((n,))), ("index_add",), terms=16),
    "embedding": Call(lambda m, w, i: m.nn.functional.embedding(i, w),
                      lambda n, d: (Input((n, d)), Input((16, 256), "index", high=n)), ("nn.functional.embedding",),
                      terms=16, sizes=((50304, 64),)),
    # losses
    "mse_loss": Call(_of("nn.functional.mse_loss"), plain(inputs=2), terms=SUM),
    "l1_loss": Call(_of("nn.functional.l1_loss"), plain(inputs=2), terms=SUM),
    "bce_with_logits": Call(_of("nn.functional.binary_cross_entropy_with_logits"), plain(inputs=2), terms=SUM),
    # rows
    "softmax": Call(lambda m, x: x.softmax(-1), rows, terms=SUM, sizes=ROWS),
    "log_softmax": Call(lambda m, x: x.log_softmax(-1), rows, terms=SUM, sizes=ROWS),
    "cross_entropy": Call(_of("nn.functional.cross_entropy"),
                          lambda n, c: (Input((n, c)), Input((n,), "index", high=c)), terms=SUM, sizes=ROWS),
    "layer_norm": Call(lambda m, x, w, b: m.nn.functional.layer_norm(x, x.shape[-1:], w, b), _norm(2),
                       ("nn.functional.layer_norm",), terms=4 * SUM, sizes=ROWS),
    "rms_norm": Call(lambda m, x, w: m.nn.functional.rms_norm(x, x.shape[-1:], w), _norm(1),
                     ("nn.functional.rms_norm",), terms=4 * SUM, sizes=ROWS),
    # products and convolution
    "matmul": Call(lambda m, x, y: x @ y, lambda n, k, p: (Input((n, k)), Input((k, p))), terms=1024, sizes=MATRICES),
    "bmm": Call(lambda m, x, y: m.bmm(x, y), lambda b, n, k: (Input((b, n, k)), Input((b, k, n))), terms=1024,
                sizes=((16, 128, 64),)),
    "linear": Call(_of("nn.functional.linear"),
                   lambda n, k, p: (Input((n, k)), Input((p, k)), Input((p,))), terms=1024,
                   sizes=((128, 256, 256), (512, 512, 512))),
    "conv2d": Call(lambda m, x, w, b: m.nn.functional.conv2d(x, w, b, padding=1),
                   lambda n, c, o, s: (Input((n, c, s, s)), Input((o, c, 3, 3)), Input((o,))),
                   ("nn.functional.conv2d",), terms=4096, sizes=((32, 16, 32, 28), (8, 64, 64, 56))),
    "max_pool2d": Call(lambda m, x: m.nn.functional.max_pool2d(x, 2),
                       lambda n, c, s: (Input((n, c, 2 * s, 2 * s)),), ("nn.functional.max_pool2d",),
                       sizes=((32, 32, 14),)),
    "attention": Call(_of("nn.functional.scaled_dot_product_attention"),
                      lambda b, h, t, d: (Input((b, h, t, d)),) * 3, ("nn.functional.scaled_dot_product_attention",),
                      terms=1024, sizes=((4, 4, 256, 64),)),
}
# Where an elementwise op of the registry is defined, for those that [-2, 2) does not suit.
DOMAIN = {
    "log": (0.2, 3), "log2": (0.2, 3), "log10": (0.2, 3), "log1p": (-0.7, 3), "sqrt": (0.2, 3), "rsqrt": (0.2, 3),
    "asin": (-0.8, 0.8), "acos": (-0.8, 0.8), "tan": (-1, 1), "pow": (0.2, 2), "reciprocal": (0.3, 2), "div": (0.3, 2),
    "floor_divide": (0.3, 3), "remainder": (0.3, 3),
}
# fmt: on


def call_of(name: str, inputs: int = 1) -> Call:
    """How `name` is called: as the table says, or as a function of the module with `inputs` vectors."""
    if name in CALLS:
        return CALLS[name]
    low, high = DOMAIN.get(name, (-2.0, 2.0))
    return Call(_of(name), plain(inputs=inputs, low=low, high=high))


def build(lab: Lab, dtype: str, *, op: str, inputs: int, size: Any, backward: bool, kept: Any) -> Step:
    """The call on random inputs; it returns the result and, with `backward`, the gradients for a random one of it."""
    torch = lab.module
    call = call_of(op, inputs)
    generator = np.random.default_rng(0)
    given = call.named(size)
    xs = [lab.tensor(i.array(generator, dtype), grad=backward and i.kind == "float") for i in given]
    leaves = [x for x in xs if x.requires_grad]
    function = lab.compiled(lambda *xs: call.function(torch, *xs))
    result = function(*xs)
    moved = _bytes(*xs, result)
    if not backward:
        step: Any = lambda: function(*xs)  # noqa: E731
    else:
        shape = tuple(result.shape)
        grad = lab.tensor(generator.random(shape, "f4").astype(dtype)) if shape else None

        def step() -> Any:
            for x in leaves:
                x.grad = None
            y = function(*xs)
            y.backward(grad)
            return [y, *[x.grad for x in leaves]]

        positions, result_kept = kept if kept is not None else (range(len(xs)), False)
        moved += _bytes(result, *leaves, *(xs[i] for i in positions if i < len(xs)), *[result] * result_kept)
    step.traffic = moved
    return step


def _bytes(*tensors: Any) -> int:
    return sum(t.numel() * t.element_size() for t in tensors)


# ---------------------------------------------------------------- which there are
@dataclass(frozen=True)
class Entry:
    """An op to be measured: its name, the number of its inputs, and what its declaration says of its backward."""

    name: str
    inputs: int
    backward: bool
    kept: tuple[tuple[int, ...], bool] | None


def entries() -> list[Entry]:
    """Every elementwise op of the registry that has a public function, then the rest of the table."""
    import gradcore
    from gradcore.ops import REGISTRY, Elementwise

    found = []
    for name, op in REGISTRY.items():
        if isinstance(op, Elementwise) and op.public and op.methods and hasattr(gradcore, name):
            count = len(op.inputs) if name not in CALLS else len(CALLS[name].named(4))
            found.append(Entry(name, count, _differentiable(name, count), _kept(op)))
    known = {e.name for e in found}
    rest = [n for n in CALLS if n not in known]
    return found + [Entry(n, 1, CALLS[n].backward, _kept(REGISTRY.get(n))) for n in rest]


def _differentiable(name: str, inputs: int) -> bool:
    """Whether the result of a gradcore op has a derivative that PyTorch has too (not of floor_divide), by a call."""
    import gradcore

    if name == "floor_divide" or not call_of(name, inputs).backward:
        return False
    xs = [gradcore.tensor([1.0]).requires_grad_() for _ in range(inputs)]
    return bool(call_of(name, inputs).function(gradcore, *xs).requires_grad)


def _kept(op: Any) -> tuple[tuple[int, ...], bool] | None:
    """What the backward of an op reads besides the gradient: the positions of inputs, and whether the result."""
    try:
        plan = op.plan((True,) * len(op.inputs), op.plan_key([np.ones(1, "f4")] * len(op.inputs), {}))
        return tuple(plan.inputs), bool(plan.outputs)
    except Exception:  # not an op of the registry, or one that wants more arguments: all inputs are read
        return None


def label(size: Any) -> str:
    """1e7 for ten millions, 4096x1024 for dimensions."""
    if isinstance(size, tuple):
        return "x".join(map(str, size))
    exponent = len(str(size)) - 1
    return f"1e{exponent}" if size == 10**exponent and size >= 1000 else str(size)


def case(suite: str, entry: Entry, size: Any, backward: bool, **options: Any) -> Case:
    """One op at one size."""
    call = call_of(entry.name, entry.inputs)
    given = call.named(size)
    passes = "forward + backward" if backward else "forward"
    return Case(
        suite,
        f"{entry.name}-{label(size)}" + ("" if backward else "-forward"),
        f"{entry.name}, {label(size)}, {passes}",
        build,
        {"op": entry.name, "inputs": entry.inputs, "size": size, "backward": backward, "kept": entry.kept},
        size=max(int(np.prod(i.shape)) for i in given),
        needs=call.needs,
        terms=call.terms,
        device_clock=True,
        **options,
    )


def _passes(entry: Entry) -> list[bool]:
    return [False, True] if entry.backward else [False]


# At a million too, for those that the targets name.
MILLION = ("gelu", "silu", "softplus", "tanh")


def cases(quick: bool) -> list[Case]:
    """Every op at every size."""
    found = []
    for entry in entries():
        own = call_of(entry.name, entry.inputs).sizes
        if quick:
            sizes: tuple[Any, ...] = (tuple(max(1, d // 32) for d in own[0]),) if own else (1000,)
        else:
            sizes = own or ((1000, 100_000) + (1_000_000,) * (entry.name in MILLION) + (10_000_000,))
        for size in sizes:
            one = None if size != 1000 else 1  # no subject splits a thousand elements
            found += [case(SUITE, entry, size, backward, threads=one) for backward in _passes(entry)]
    return found


def tiny(suite: str, quick: bool) -> list[Case]:
    """Every op that any number of elements suits, on four of them and one thread."""
    found = [e for e in entries() if not call_of(e.name, e.inputs).sizes]
    found = found[:3] if quick else found
    return [
        case(suite, entry, 20 if call_of(entry.name).inputs is matrix else 4, backward, threads=1)
        for entry in found
        for backward in _passes(entry)
    ]
