#!/usr/bin/env python3
"""Launch every family of gradcore's CUDA kernels once, on small arrays, and keep the results.

    python scripts/kernel_sample.py                                  all families, on the GPU
    GRADCORE_CUDA=emulate python scripts/kernel_sample.py            on the emulated device
    python scripts/kernel_sample.py --out FILE.npz softmax optimizers   some families; the results go into a file

The inputs are the same in every run and on every device, so two files can be compared (`scripts/gpu_check.py` does),
and compute-sanitizer can watch the whole run. `--no-pool` gives each array an allocation of its own, so that it sees
accesses past an array's end.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator
from itertools import product
from typing import Any

import ml_dtypes
import numpy as np

from gradcore import expr, optim
from gradcore.autograd.tape import wrap
from gradcore.backends import Reduction, Sliding, Windows, backend_for, cudnn
from gradcore.backends.attention import AttentionInputs, Dropout
from gradcore.backends.cuda import CudaBackend, preferred_blas_library
from gradcore.devices import device
from gradcore.expr import PRIMITIVES, trace
from gradcore.ops.recurrent import cell_of

Results = Iterator[tuple[str, Any]]
FLOATS = ("float32", "float16", "bfloat16", "float64")
F32, I64 = np.dtype(np.float32), np.dtype(np.int64)


def dtype_of(name: str) -> np.dtype:
    return np.dtype(getattr(ml_dtypes, name, name))


class Inputs:
    """Makes device arrays of reproducible values."""

    def __init__(self, device: CudaBackend):
        self._device, self._rng = device, np.random.default_rng(0)

    def __call__(self, shape: tuple[int, ...], dtype: str = "float32", low: float = -2.0, high: float = 2.0) -> Any:
        values = self._rng.uniform(low, high, shape)
        return self._device.from_host(np.asarray(values).astype(dtype_of(dtype)))

    def whole(self, shape: tuple[int, ...], low: int, high: int, dtype: str = "int64") -> Any:
        return self._device.from_host(self._rng.integers(low, high, shape).astype(dtype_of(dtype)))


def _operators(cuda: CudaBackend, make: Inputs) -> Results:
    """Every scalar operator that takes floating point, within the domain of all, eight in a kernel."""
    chosen = [p for p in PRIMITIVES.values() if p.name not in ("uniform", "where") and not p.name.startswith("bitwise")]
    for dtype, arity in product(FLOATS, (1, 2)):
        operands = [make((257,), dtype, 0.1, 0.9) for _ in range(arity)]
        fitting = [p for p in chosen if p.arity == arity]
        for group in (fitting[i : i + 8] for i in range(0, len(fitting), 8)):
            program = trace(lambda *xs, group=group: [expr.call(p.name, *xs) for p in group], ["x", "y"][:arity])
            outs = [np.dtype(bool) if p.kind == "bool" else dtype_of(dtype) for p in group]
            found = cuda.elementwise(program, operands, dtype_of(dtype), outs, (257,))
            yield from ((f"{p.name}, {dtype}", array) for p, array in zip(group, found))


MULTIPLY_ADD = trace(lambda x, y: (x * y + x, expr.where(x < y, x, y)))
LAYOUTS: dict[str, tuple[tuple[int, ...], tuple[int, ...]]] = {
    "flat": ((1003,), (1003,)),
    "a row": ((33, 32), (32,)),
    "a column": ((33, 32), (33, 1)),
    "odd rows": ((33, 31), (31,)),
    "one element": ((6, 7), (1,)),
    "three dimensions": ((4, 5, 8), (4, 1, 8)),
    "four dimensions": ((2, 3, 4, 5), (3, 1, 5)),
}


def _layouts(cuda: CudaBackend, make: Inputs) -> Results:
    for dtype, (name, shapes) in product((*FLOATS, "int64"), LAYOUTS.items()):
        x, y = (make.whole(s, -9, 9) if dtype == "int64" else make(s, dtype) for s in shapes)
        outs = [x.dtype] * 2
        for wide in (False, True):
            found = cuda._elementwise(MULTIPLY_ADD, [x, y], x.dtype, outs, x.shape, wide=wide)
            yield from ((f"{name}, {dtype}, {'64' if wide else '32'}-bit, {i}", f) for i, f in enumerate(found))
    x, y = make((40, 24)), make((40, 24))
    for name, view in {
        "transposed": lambda a: a.T,
        "reversed": lambda a: a[::-1, ::-1],
        "every second": lambda a: a[::2, ::2],
        "unaligned": lambda a: a.reshape(-1)[1:],
    }.items():
        yield name, cuda.elementwise(MULTIPLY_ADD, [view(x), view(y)], F32, [F32] * 2, view(x).shape)[0]


def _gradients(cuda: CudaBackend, make: Inputs) -> Results:
    """The fused backward kernels of some expressions."""
    for dtype in FLOATS:
        for name, program, count in (
            ("gelu", trace(lambda x: x * 0.5 * (1 + expr.tanh(0.7978845608 * (x + 0.044715 * x * x * x)))), 1),
            ("silu of a product", trace(lambda x, y: x * y * expr.sigmoid(x * y)), 2),
            ("clamp", trace(lambda x, y: expr.minimum(expr.maximum(x, y), 0.5)), 2),
        ):
            gradient, _ = program.gradient(program.inputs)
            values = [make((3, 100), dtype, 0.1, 0.9) for _ in gradient.inputs]
            found = cuda.elementwise(gradient, values, dtype_of(dtype), [dtype_of(dtype)] * count, (3, 100))
            yield from ((f"{name}, {dtype}, {i}", f) for i, f in enumerate(found))


def _conversions(cuda: CudaBackend, make: Inputs) -> Results:
    for source, target in product((*FLOATS, "int64", "int8", "bool"), repeat=2):
        yield f"{source} to {target}", cuda.astype(make((77,), source, 0, 100), dtype_of(target))


_DOT = Reduction(trace(lambda x, y: x * y), "sum", trace(lambda acc, count: expr.sqrt(expr.abs(acc) / count)))
_SHAPES = {
    "a vector": ((5000,), (0,)),
    "rows": ((37, 64), (1,)),
    "odd rows": ((37, 61), (1,)),
    "columns": ((128, 64), (0,)),
    "odd columns": ((128, 61), (0,)),
    "outer and inner": ((7, 8, 12), (0, 2)),
    "middle": ((7, 8, 12), (1,)),
}


def _reductions(cuda: CudaBackend, make: Inputs) -> Results:
    for dtype, (name, (shape, axes)) in product((*FLOATS, "int64"), _SHAPES.items()):
        if dtype not in ("float32", "bfloat16") and name not in ("rows", "odd columns"):
            continue
        x = make.whole(shape, -9, 9) if dtype == "int64" else make(shape, dtype)
        for combine in ("sum", "max", "min", "any", "all"):
            out = np.dtype(bool) if combine in ("any", "all") else x.dtype
            reduction = Reduction(trace(lambda x: x), combine)
            yield f"{combine}, {name}, {dtype}", cuda.reduce(reduction, (x,), x.dtype, out, shape, axes, False)
        if dtype != "int64":
            last = make(shape[-1:], dtype)
            yield f"dot, {name}, {dtype}", cuda.reduce(_DOT, (x, last), x.dtype, x.dtype, shape, axes, True)
    x = make((9, 600), "float32", 0.9, 1.1)
    yield "prod", cuda.reduce(Reduction(trace(lambda x: x), "prod"), (x,), F32, F32, x.shape, (1,), False)
    for axes, options in product(((0,), (1,)), ({"wide_index": True}, {"splits": 3})):
        (found,) = cuda._reduce(Reduction(trace(lambda x: x), "sum"), (x,), F32, F32, x.shape, axes, **options)
        yield f"sum, {axes}, {options}", found


def _arg_reductions(cuda: CudaBackend, make: Inputs) -> Results:
    for dtype, which, axis in product(("float32", "bfloat16", "int64"), ("max", "min"), (0, 1)):
        # Few different values: the first of many equal ones counts.
        x = make.whole((300, 40), 0, 9, dtype)
        for name, options in (("plain", {}), ("64-bit", {"wide_index": True}), ("in chunks", {"splits": 3})):
            values, positions = cuda._reduce.arg_reduce(x, axis, which, **options)
            yield f"{which} along {axis}, {name}, {dtype}", values
            yield f"position of the {which} along {axis}, {name}, {dtype}", positions


def _softmax(cuda: CudaBackend, make: Inputs) -> Results:
    """Rows of a few threads up to the largest block, held in registers and in two passes."""
    for dtype, log in product(FLOATS, (False, True)):
        d = dtype_of(dtype)
        for shape in ((300, 4), (7, 33), (2, 5000)):
            x, grad = make(shape, dtype), make(shape, dtype)
            for longest in (None, 0):
                y = cuda._rows.softmax(x, log, d, longest)
                name = f"{'log-softmax' if log else 'softmax'}, {shape}, {dtype}, longest {longest}"
                yield name, y
                yield f"{name}, backward", cuda._rows.softmax_backward(grad, y, log, d, longest)


def _cross_entropy(cuda: CudaBackend, make: Inputs) -> Results:
    for dtype, shape in product(FLOATS, ((6, 10), (5, 64), (300, 4), (2, 5000))):
        x, grad, weight = make(shape, dtype), make(shape[:1], dtype), make(shape[1:], dtype, 0.1, 1)
        target = make.whole(shape[:1], 0, shape[1])
        for w, smoothing in product((None, weight), (0.0, 0.1)):
            name = f"{shape}, {dtype}, {'plain' if w is None else 'weighted'}, smoothing {smoothing}"
            loss, lse, row_weight = cuda.cross_entropy(x, target, w, 1, smoothing)
            yield from ((f"{name}, {n}", a) for n, a in (("loss", loss), ("lse", lse), ("weight", row_weight)))
            dx = cuda.cross_entropy_backward(grad, x, target, w, lse, 1, smoothing)
            yield f"{name}, backward", dx


def _layer_norm(cuda: CudaBackend, make: Inputs) -> Results:
    """Layer norm and RMS norm: several rows in a block up to one, rows in registers and longer ones, partial sums."""
    for dtype, shape in product(FLOATS, ((300, 4), (7, 33), (5, 64), (2, 5000))):
        x, grad, weight, bias = (make(s, dtype) for s in (shape, shape, shape[1:], shape[1:]))
        for centered, longest in product((True, False), (None, 0)):
            name = f"{'layer norm' if centered else 'RMS norm'}, {shape}, {dtype}, longest {longest}"
            b = bias if centered else None
            y, mean, rstd = cuda._norms.layer_norm(x, weight, b, 1e-5, x.dtype, centered, longest)
            gradients = cuda._norms.layer_norm_backward(grad, x, mean, rstd, weight, (True, True, centered), longest)
            found = {"y": y, "mean": mean, "rstd": rstd, **dict(zip(("dx", "dweight", "dbias"), gradients))}
            yield from ((f"{name}, {n}", a) for n, a in found.items() if a is not None)


def _channels(cuda: CudaBackend, make: Inputs) -> Results:
    """Moments and sums of channels: along rows, along columns, and in chunks."""
    products = trace(lambda x, y: (x, x * y))
    for dtype, shape in product(FLOATS, ((5, 7, 300), (700, 33, 1), (2, 300, 16))):
        x, y = make(shape, dtype), make(shape, dtype)
        work = dtype_of("float64" if dtype == "float64" else "float32")
        found = (*cuda.channel_moments(x, 0.1), *cuda.sums(products, (x, y), work, work, shape, (0, 2)))
        names = ("mean", "variance", "rstd", "sum", "sum of products")
        yield from ((f"channels, {shape}, {dtype}, {n}", a) for n, a in zip(names, found))


def _products(cuda: CudaBackend, make: Inputs) -> Results:
    """Matrix products in the layouts that are read as they lie, by cuBLAS and by cuBLASLt where that is installed."""
    preferred = preferred_blas_library()
    for library, dtype in product(("cublas", "cublaslt"), FLOATS):
        preferred_blas_library(library)
        x, y, heads = make((3, 4, 33, 17), dtype), make((3, 4, 17, 21), dtype), make((3, 33, 4, 17), dtype)
        operands = {
            "batches": (x, y),
            "batches, transposed": (y.swapaxes(2, 3), x.swapaxes(2, 3)),
            "heads": (heads.swapaxes(1, 2), y),
            "heads, transposed": (heads.swapaxes(1, 2), x.swapaxes(2, 3)),
            "one matrix for all": (x, y[0, 0]),
            "matrices": (x[0, 0], y[0, 0]),
            "matrices, transposed": (y[0, 0].T, x[0, 0].T),
            "unaligned": (x.reshape(-1)[1 : 1 + 17 * 33].reshape(33, 17), y[0, 0]),
            "a vector": (x, y[0, 0, :, 0]),
            "vectors": (x[0, 0, 0], y[0, 0, :, 0]),
        }
        for name, (a, b) in operands.items():
            yield f"{name}, {dtype}, {library}", cuda.matmul(a, b)
        weight, bias = make((21, 17), dtype), make((21,), dtype)
        yield f"linear, {dtype}, {library}", cuda.linear(x, weight, bias)
        grad, short = make((2, 9, 21), dtype), make((2, 9, 17), dtype)
        gradients = cuda.linear_backward(grad, short, weight, (True, True, True))
        yield from ((f"linear, {dtype}, {library}, {n}", g) for n, g in zip(("dx", "dw", "db"), gradients))
    preferred_blas_library(preferred)


def _cudnn(cuda: CudaBackend, make: Inputs) -> Results:
    """Convolutions and attention, by cuDNN where that is installed, and without it."""
    cases = (
        ((2, 8, 9, 7), (16, 8, 3, 3), Sliding((3, 3), (2, 1), (1, 1), (1, 2)), (5, 5)),
        ((2, 8, 9), (8, 4, 4), Sliding((4,), (1,), (2,), (1,)), (10,)),
        ((1, 4, 4, 5, 6), (6, 4, 2, 3, 2), Sliding((2, 3, 2), (1, 1, 1), (1, 1, 0), (1, 1, 1)), (5, 5, 5)),
    )
    for enabled, dtype in product((True, False), FLOATS):
        with cudnn.flags(enabled=enabled, allow_tf32=False):
            for size, kernel, sliding, out in cases:
                x, w = make(size, dtype, -1, 1), make(kernel, dtype, -1, 1)
                groups, grad = size[1] // kernel[1], make((size[0], kernel[0], *out), dtype, -1, 1)
                found = {
                    "y": cuda.convolution(x, w, make(kernel[:1], dtype), sliding, out, groups),
                    "dx": cuda.convolution_input(grad, w, None, sliding, size[2:], groups),
                    "dw": cuda.convolution_weight(grad, x, sliding, groups),
                }
                name = f"convolution, {len(out)}d, {dtype}, {'cuDNN' if enabled else 'without'}"
                yield from ((f"{name}, {n}", a) for n, a in found.items())
            for causal in (False, True) if dtype in ("float16", "bfloat16") else ():
                q, k, v, g = (make((4, *s), dtype, -1, 1) for s in ((19, 16), (18, 16), (18, 24), (19, 24)))
                inputs = AttentionInputs(q, k, v, None, causal, 0.25)
                y, lse = cuda.attention(inputs)
                gradients = cuda.attention_backward(g, inputs, y, lse)
                name = f"attention, {dtype}, {'causal' if causal else 'whole'}, {'cuDNN' if enabled else 'without'}"
                yield from ((f"{name}, {n}", a) for n, a in zip(("y", "lse", "dq", "dk", "dv"), (y, lse, *gradients)))


def _convolution(cuda: CudaBackend, make: Inputs) -> Results:
    """Columns and their sums, with every setting of a convolution that is not 1."""
    sliding, size, out = Sliding((4, 3), (1, 2), (2, 1), (1, 2)), (6, 9), (7, 4)
    for dtype in FLOATS:
        x = make((2, 3, *size), dtype)
        columns = cuda.unfold(x, sliding, out)
        yield f"unfold, {dtype}", columns
        yield f"fold, {dtype}", cuda.fold(columns, sliding, x.shape, out)


def _pooling(cuda: CudaBackend, make: Inputs) -> Results:
    windows = Windows(5, (0, 1, 2), (3, 4, 5), (3, 3, 3)), Windows(6, (0, 2, 4), (2, 4, 6), (2, 2, 2))
    for dtype in FLOATS:
        x, grad = make((4, 5, 6), dtype), make((4, 3, 3), dtype)
        values, places = cuda.max_pool(x, windows)
        found = {
            "mean": cuda.mean_pool(x, windows),
            "mean, backward": cuda.mean_pool_backward(grad, windows),
            "max": values,
            "places": places,
            "max, backward": cuda.max_pool_backward(grad, places, windows),
        }
        yield from ((f"{name}, {dtype}", array) for name, array in found.items())


def _attention(cuda: CudaBackend, make: Inputs) -> Results:
    """More than a tile of queries and of keys, with masks of both kinds."""
    for dtype in FLOATS:
        q, k, v, grad = (make((2, *s), dtype) for s in ((19, 5), (18, 5), (18, 7), (19, 7)))
        for name, mask in (
            ("causal", None),
            ("bool mask", make.whole((2, 19, 18), 0, 2, "bool")),
            ("float mask", make((2, 19, 18), dtype)),
            ("dropout and grouped queries", None),
        ):
            inputs = AttentionInputs(q, k, v, mask, name == "causal", 0.5)
            if name.startswith("dropout"):
                k, v = make((1, 18, 5), dtype), make((1, 18, 7), dtype)
                inputs = inputs._replace(key=k, value=v, dropout=Dropout(0.25, 1, 2))
            out, lse = cuda.attention(inputs)
            gradients = cuda.attention_backward(grad, inputs, out, lse)
            for part, array in zip(("out", "lse", "dq", "dk", "dv"), (out, lse, *gradients)):
                yield f"{name}, {dtype}, {part}", array


def _cells(cuda: CudaBackend, make: Inputs) -> Results:
    """A step of every recurrent cell, forward and backward, over more than a block of units."""
    for dtype, name in product(FLOATS, ("lstm", "gru", "rnn_tanh", "rnn_relu")):
        cell, size = cell_of(name), 131
        for direction, step in (("forward", cell.forward), ("backward", cell.backward)):
            inputs = [make((3, n * size), dtype, -0.9, 0.9) for n in step.reads]
            outs = [make((3, n * size), dtype) for n in step.writes]
            cuda.cell(step, inputs, outs, size)
            yield from ((f"{name} {direction}, {dtype}, {i}", out) for i, out in enumerate(outs))


_TENSORS = ((3,), (9000,), (5, 7), ())


def _optimizers(cuda: CudaBackend, make: Inputs) -> Results:
    """Steps of the optimizers, over tensors of one chunk and of several."""
    kinds: tuple[tuple[str, dict[str, Any]], ...] = (
        ("SGD", {"lr": 0.1, "momentum": 0.9, "dampening": 0.1, "weight_decay": 0.01}),
        ("AdamW", {"lr": 0.1, "amsgrad": True, "weight_decay": 0.1}),
        ("RMSprop", {"lr": 0.01, "centered": True, "momentum": 0.5, "eps": 0.1}),
    )
    for dtype, (kind, options) in product(FLOATS, kinds):
        params = [wrap(make(s, dtype)) for s in _TENSORS]
        optimizer = getattr(optim, kind)(params, **options)
        for _ in range(2):
            for p, s in zip(params, _TENSORS):
                p.grad = wrap(make(s, dtype))
            optimizer.step()
        for i, p in enumerate(params):
            yield f"{kind}, {dtype}, {i}", p._array
            yield from (
                (f"{kind}, {dtype}, {i}, {name}", t._array) for name, t in optimizer.state[p].items() if name != "step"
            )


def _random(cuda: CudaBackend, make: Inputs) -> Results:
    for dtype in FLOATS:
        yield f"uniform, {dtype}", cuda.uniform((1001,), dtype_of(dtype), 7, 3)
        yield f"normal, {dtype}", cuda.normal((1001,), dtype_of(dtype), 7, 3)
    yield "integers", cuda.integers(-3, 2**40, (1001,), I64, 7, 3)
    drop = trace(lambda x, seed, offset: expr.where(expr.uniform(seed, offset) < 0.3, 0, x))
    for shape in ((1001,), (12, 21)):
        yield f"dropout, {shape}", cuda.elementwise(drop, [make(shape), 7, 3], F32, [F32], shape)[0]


def _indexing(cuda: CudaBackend, make: Inputs) -> Results:
    index = make.whole((200,), -20, 20)
    cuda.errors.check("index", index, 20, 0)
    cuda.synchronize()  # all indices are good: nothing is raised
    for dtype in (*FLOATS, "int64"):
        target = make.whole((20, 5), 0, 9, dtype)
        cuda.index_add(target, index, make.whole((200, 5), 0, 2, dtype))
        yield f"index_add, {dtype}", target
    often = make.whole((200,), 0, 2)
    for combine in ("sum", "prod", "max", "min", "last"):
        target = make.whole((20,), 0, 2, "float32")
        cuda.scatter(target, often, make.whole((200,), 0, 2, "float32"), 0, combine)
        yield f"scatter, {combine}", target
    bad = make.whole((3,), 50, 60)
    cuda.errors.check("index", bad, 20, 0)
    try:
        cuda.synchronize()
        caught = 0
    except IndexError:
        caught = 1
    yield "bad indices caught", cuda.from_host(np.array([caught]))


FAMILIES: dict[str, Callable[[CudaBackend, Inputs], Results]] = {
    "operators": _operators,
    "layouts": _layouts,
    "gradients": _gradients,
    "conversions": _conversions,
    "reductions": _reductions,
    "arg_reductions": _arg_reductions,
    "softmax": _softmax,
    "cross_entropy": _cross_entropy,
    "layer_norm": _layer_norm,
    "channels": _channels,
    "products": _products,
    "cudnn": _cudnn,
    "convolution": _convolution,
    "pooling": _pooling,
    "attention": _attention,
    "recurrent cells": _cells,
    "optimizers": _optimizers,
    "random": _random,
    "indexing": _indexing,
}


def run(family: str) -> dict[str, np.ndarray]:
    """The results of one of `FAMILIES` by name, on the current CUDA device."""
    cuda = backend_for(device("cuda"))
    assert isinstance(cuda, CudaBackend)
    results = {}
    for name, array in FAMILIES[family](cuda, Inputs(cuda)):
        assert name not in results, name
        results[name] = cuda.to_host(array)
    return results


def storable(array: np.ndarray) -> np.ndarray:
    """The array in a dtype that NumPy's files know, without loss."""
    return array.astype(np.float32) if array.dtype == ml_dtypes.bfloat16 else array


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("families", nargs="*", metavar="FAMILY", help=f"some of {', '.join(FAMILIES)}; all if none")
    parser.add_argument("--without", nargs="*", default=[], metavar="FAMILY", help="families to leave out")
    parser.add_argument("--out", help="where to put the results (.npz)")
    parser.add_argument("--no-pool", action="store_true", help="one allocation for each array (CuPy)")
    options = parser.parse_args()
    unknown = {*options.families, *options.without} - set(FAMILIES)
    if unknown:
        parser.error(f"no family {', '.join(sorted(unknown))}: there are {', '.join(FAMILIES)}")
    if options.no_pool:
        import cupy

        cupy.cuda.set_allocator(None)
    families = [family for family in options.families or FAMILIES if family not in options.without]
    results = {f"{family}: {name}": array for family in families for name, array in run(family).items()}
    if options.out:
        # With their dtypes: bfloat16 is stored as float32.
        np.savez(
            options.out,
            names=np.array(list(results)),
            dtypes=np.array([a.dtype.name for a in results.values()]),
            **{str(i): storable(a) for i, a in enumerate(results.values())},
        )
    print(f"{len(results)} results")


if __name__ == "__main__":
    main()
