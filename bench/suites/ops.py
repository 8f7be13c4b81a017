"""Every op, forward and forward + backward: the elementwise ones from gradcore's registry, the others from a table.

An elementwise op that joins the registry is measured without a line here, except where not all numbers in [-2, 2] suit
it. The table also names everyday ops that gradcore does not have yet: they are listed as waiting.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from math import prod
from typing import Any

import numpy as np

from ..case import Case, Step, find
from ..lab import Lab
from .models import update_step

SUITE = "ops"
Shape = tuple[int, ...]


@dataclass(frozen=True)
class Input:
    """A tensor argument: `float` values in [low, high) that want a gradient, or `index` or `mask` values.

    `order` values want a gradient, too, and no two of them are equal: what is first among equals is for nobody to say.
    """

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
        if self.kind == "order":
            return (generator.permutation(prod(self.shape)).reshape(self.shape) / prod(self.shape)).astype(dtype)
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


def different(n: int, columns: int) -> tuple[Input, ...]:
    """A matrix without equal elements."""
    return (Input((n, columns), "order"),)


def _norm(affine: int) -> Callable[[int, int], tuple[Input, ...]]:
    return lambda n, columns: (Input((n, columns)), *(Input((columns,)),) * affine)


def _image(affine: int = 0) -> Callable[[int, int, int], tuple[Input, ...]]:
    """Images (n, channels, size, size) and so many parameters of each channel."""
    return lambda n, c, s: (Input((n, c, s, s)), *(Input((c,)),) * affine)


def _kernels(
    kernel: int, *, ndim: int = 2, groups: bool = False, transposed: bool = False
) -> Callable[..., tuple[Input, ...]]:
    """Images, kernels with `ndim` sides of `kernel`, and biases; with `groups` each channel has kernels of its own."""

    def inputs(n: int, c: int, o: int, s: int) -> tuple[Input, ...]:
        channels = (c, o) if transposed else (o, 1 if groups else c)
        return Input((n, c, *(s,) * ndim)), Input((*channels, *(kernel,) * ndim)), Input((o,))

    return inputs


def _named_rows(n: int, d: int, count: int) -> tuple[Input, ...]:
    """A table (n, d), numbers of its rows, and as many rows."""
    return Input((n, d)), Input((count,), "index", high=n), Input((count, d))


def _convolution(name: str, inputs: Callable[..., tuple[Input, ...]], *sizes: Any, **options: Any) -> Call:
    path = f"nn.functional.{name}"
    return Call(_of(path, **options), inputs, (path,), terms=4096, sizes=sizes)


def _resampled(mode: str, **options: Any) -> Call:
    path = "nn.functional.interpolate"
    return Call(_of(path, scale_factor=2, mode=mode, **options), _image(), (path,), terms=16, sizes=((16, 32, 32),))


def _pooled(name: str, *arguments: Any, **options: Any) -> Call:
    path = f"nn.functional.{name}"
    # A window has 2x2 elements at every size.
    inputs = lambda n, c, s: _image()(n, c, 2 * s)  # noqa: E731
    return Call(_of(path, *arguments, **options), inputs, (path,), terms=16, sizes=((32, 32, 14), (32, 64, 56)))


def _ctc(m: Any, x: Any, labels: Any) -> Any:
    (steps, batch, classes), longest = x.shape, labels.shape[1]
    lengths = (steps,) * batch, (longest,) * batch
    return m.nn.functional.ctc_loss(x.log_softmax(-1), labels, *lengths, blank=classes - 1)


ROWS = ((4096, 1024), (256, 32768), (32, 64))
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
    "gather_classes": Call(lambda m, x, i: x.gather(1, i), lambda n, c: (Input((n, c)), Input((n, 1), "index", high=c)),
                           ("gather",), sizes=((4096, 1024),)),
    **{name: Call(lambda m, x, i, y, name=name: getattr(x, name)(0, i, y),
                  lambda n: (Input((n,)), Input((n,), "index", high=n), Input((n,))), (name,), terms=16)
       for name in ("index_add", "scatter_add")},
    "index_add_rows": Call(lambda m, x, i, y: x.index_add(0, i, y), _named_rows, ("index_add",), terms=64,
                           sizes=((1000, 64, 10_000), (10_000, 256, 20_000))),
    "index_put_rows": Call(lambda m, x, i, y: x.index_put((i,), y, accumulate=True), _named_rows, ("Tensor.index_put",),
                           terms=64, sizes=((1000, 64, 10_000),)),
    "embedding": Call(lambda m, w, i: m.nn.functional.embedding(i, w),
                      lambda n, d: (Input((n, d)), Input((16, 256), "index", high=n)), ("nn.functional.embedding",),
                      terms=16, sizes=((50304, 64), (8192, 768))),
    # order
    "sort": Call(lambda m, x: m.sort(x, -1)[0], different, ("sort",), sizes=((32, 64), (1024, 1024))),
    "argsort": Call(lambda m, x: m.argsort(x, -1), different, ("argsort",), backward=False, sizes=((1024, 1024),)),
    "topk": Call(lambda m, x: m.topk(x, min(10, x.shape[1]), -1)[0], different, ("topk",),
                 sizes=((32, 64), (1024, 1024))),
    "argmax_rows": Call(lambda m, x: x.argmax(-1), rows, backward=False, sizes=((32, 64), (4096, 1024))),
    # losses
    "mse_loss": Call(_of("nn.functional.mse_loss"), plain(inputs=2), terms=SUM),
    "l1_loss": Call(_of("nn.functional.l1_loss"), plain(inputs=2), terms=SUM),
    "bce_with_logits": Call(_of("nn.functional.binary_cross_entropy_with_logits"), plain(inputs=2), terms=SUM),
    "ctc_loss": Call(_ctc, lambda t, n, c, s: (Input((t, n, c)), Input((n, s), "index", high=max(1, c - 1))),
                     ("nn.functional.ctc_loss",), terms=4 * SUM, sizes=((128, 16, 64, 32),)),
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
    "conv1d": _convolution("conv1d", _kernels(3, ndim=1), (32, 64, 64, 256), padding=1),
    "conv2d": _convolution("conv2d", _kernels(3), (32, 16, 32, 28), (8, 64, 64, 56), (16, 256, 256, 14), padding=1),
    "conv2d_pointwise": _convolution("conv2d", _kernels(1), (16, 64, 128, 28)),
    "conv2d_strided": _convolution("conv2d", _kernels(3), (16, 32, 64, 56), stride=2, padding=1),
    "conv2d_depthwise": Call(lambda m, x, w, b: m.nn.functional.conv2d(x, w, b, padding=1, groups=x.shape[1]),
                             lambda n, c, s: _kernels(3, groups=True)(n, c, c, s), ("nn.functional.conv2d",),
                             terms=4096, sizes=((16, 64, 28), (8, 128, 56))),
    "conv3d": _convolution("conv3d", _kernels(3, ndim=3), (4, 16, 32, 16), padding=1),
    "conv_transpose2d": _convolution("conv_transpose2d", _kernels(4, transposed=True), (16, 64, 32, 28), stride=2,
                                     padding=1),
    # norms of channels, pooling, resampling
    "batch_norm": Call(lambda m, x, w, b: m.nn.functional.batch_norm(x, None, None, w, b, True), _image(2),
                       ("nn.functional.batch_norm",), terms=4 * SUM, sizes=((32, 64, 64), (64, 32, 8))),
    "group_norm": Call(lambda m, x, w, b: m.nn.functional.group_norm(x, max(1, x.shape[1] // 2), w, b), _image(2),
                       ("nn.functional.group_norm",), terms=4 * SUM, sizes=((32, 64, 64), (64, 64, 8))),
    "max_pool2d": _pooled("max_pool2d", 2), "avg_pool2d": _pooled("avg_pool2d", 2),
    "max_pool2d_overlapping": _pooled("max_pool2d", 3, stride=2, padding=1),
    "adaptive_avg_pool2d": _pooled("adaptive_avg_pool2d", 1),
    "interpolate_nearest": _resampled("nearest"), "interpolate_bilinear": _resampled("bilinear", align_corners=False),
    "attention": Call(_of("nn.functional.scaled_dot_product_attention"),
                      lambda b, h, t, d: (Input((b, h, t, d)),) * 3, ("nn.functional.scaled_dot_product_attention",),
                      terms=1024, sizes=((4, 4, 256, 64),)),
    "attention_causal": Call(_of("nn.functional.scaled_dot_product_attention", is_causal=True),
                             lambda b, h, t, d: (Input((b, h, t, d)),) * 3,
                             ("nn.functional.scaled_dot_product_attention",), terms=1024, sizes=((8, 8, 512, 64),)),
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
    xs = [lab.tensor(i.array(generator, dtype), grad=backward and i.kind in ("float", "order")) for i in given]
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
    return found + _updates(quick)


# The parameters that an optimizer updates: those of a small network, many small ones, some large ones.
NETWORK = ((64, 64), (64,)) * 2 + ((10, 64), (10,))
PARAMETERS = {"6": NETWORK, "200": ((16, 16), (64,)) * 100, "large": ((1024, 1024), (1024,)) * 4}
UPDATES = {
    "sgd": ("SGD", {}), "sgd_momentum": ("SGD", {"momentum": 0.9}), "adam": ("Adam", {}), "adamw": ("AdamW", {}),
    "rmsprop": ("RMSprop", {}), "adagrad": ("Adagrad", {}),
}  # fmt: skip


def _updates(quick: bool) -> list[Case]:
    """Optimizers, each for several sets of parameters."""
    return [
        Case(
            SUITE, f"step_{name}-{size}", f"step of {kind}, {size} parameters", update_step,
            {"optimizer": kind, "options": options, "shapes": shapes}, size=max(map(prod, shapes)),
            threads=1 if size == "6" else None, terms=4,
        )
        for name, (kind, options) in UPDATES.items()
        for size, shapes in (dict([next(iter(PARAMETERS.items()))]) if quick else PARAMETERS).items()
    ]  # fmt: skip


def tiny(suite: str, quick: bool) -> list[Case]:
    """Every op that any number of elements suits, on four of them and one thread."""
    found = [e for e in entries() if not call_of(e.name, e.inputs).sizes]
    found = found[:3] if quick else found
    return [
        case(suite, entry, 20 if call_of(entry.name).inputs is matrix else 4, backward, threads=1)
        for entry in found
        for backward in _passes(entry)
    ]
