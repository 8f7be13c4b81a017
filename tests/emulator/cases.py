"""Runs the kernels of `sources` on the emulated device and compares them with NumPy."""

import functools

import ml_dtypes
import numpy as np
from emulator import sources

from gradcore.backends.emulator import api as xp

RNG = np.random.default_rng(0)
_DTYPES = {"float": np.float32, "__half": np.float16, "__nv_bfloat16": ml_dtypes.bfloat16}


def floats(*shape):
    return RNG.standard_normal(shape).astype(np.float32)


def ceil_div(a, b):
    return -(-a // b)


@functools.cache
def module(code, names=None):
    return xp.RawModule(code=code, options=("-std=c++17",), name_expressions=names)


def launch(code, name, grid, block, args, **kwargs):
    """Launches a kernel; NumPy arrays among the arguments are copied to the device."""
    args = tuple(xp.asarray(arg) if isinstance(arg, np.ndarray) else arg for arg in args)
    module(code, (name,) if "<" in name else None).get_function(name)(grid, block, args, **kwargs)
    return args


def assert_close(device_array, expected, tolerance=2e-5):
    actual = xp.asnumpy(device_array).astype(np.float64)
    np.testing.assert_allclose(actual, expected, rtol=tolerance, atol=tolerance)


def gelu(v):
    return 0.5 * v * (1 + np.tanh(0.7978845608 * (v + 0.044715 * v**3)))


def vector4(code=sources.VECTOR4, size=1003, offset=0, **changed):
    host = floats(size + offset)
    x = xp.asarray(host)[offset:]
    y = xp.empty(size, np.float32)
    args = {"x": x, "y": y, "a": np.float32(1.5), "b": np.float32(0.25), "n": np.int64(size), **changed}
    launch(code, "gelu_axpb", (1,), (256,), tuple(args.values()))
    assert_close(y, gelu(host[offset:].astype(np.float64) * 1.5 + 0.25))


def broadcast(code=sources.BROADCAST, shape=(3, 5, 7)):
    a, b, c = floats(*shape), floats(shape[2]), np.asfortranarray(floats(shape[0], 1, shape[2]))
    strides = [[s // v.itemsize for s in np.broadcast_to(v, shape).strides] for v in (a, b, c)]
    meta = np.array([*shape, *np.concatenate(strides)], np.int64)
    n = a.size
    out = xp.empty(shape, np.float32)
    # `multiply_add` reads c through the strides of its own memory order.
    args = (a, b, xp.asarray(c, order="F"), out, meta, np.int64(n))
    launch(code, "multiply_add<float, 3>", (ceil_div(n, 128),), (128,), args)
    assert_close(out, a * b + c)


def row_sum(code=sources.REDUCE, rows=7, cols=1000, block=256):
    x = floats(rows, cols)
    y = xp.empty(rows, np.float32)
    launch(code, "row_sum", (rows,), (block,), (x, y, np.int32(cols)))
    assert_close(y, x.astype(np.float64).sum(1), 1e-4)


def softmax(code=sources.SOFTMAX, kind="float", rows=5, cols=777, shared=None):
    names = (f"softmax<{kind}>", f"softmax_backward<{kind}>")
    kernels = module(code, names)
    tolerance = {"float": 2e-5, "__half": 2e-3, "__nv_bfloat16": 2e-2}[kind]
    x, gy = (floats(rows, cols).astype(_DTYPES[kind]) for _ in range(2))
    y, gx = (xp.empty((rows, cols), _DTYPES[kind]) for _ in range(2))
    shared = cols * 4 if shared is None else shared
    kernels.get_function(names[0])((rows,), (128,), (xp.asarray(x), y, np.int32(cols)), shared_mem=shared)
    exact = np.exp(x.astype(np.float64) - x.astype(np.float64).max(1, keepdims=True))
    exact /= exact.sum(1, keepdims=True)
    assert_close(y, exact, tolerance)
    kernels.get_function(names[1])((rows,), (128,), (y, xp.asarray(gy), gx, np.int32(cols)))
    g = gy.astype(np.float64)
    assert_close(gx, exact * (g - (exact * g).sum(1, keepdims=True)), tolerance)


def layernorm(code=sources.LAYERNORM, rows=50, cols=70, rows_per_block=16):
    x, g, gy = floats(rows, cols), floats(cols), floats(rows, cols)
    mean, rstd = x.mean(1), 1 / np.sqrt(x.var(1) + 1e-5)
    gx = xp.empty((rows, cols), np.float32)
    launch(code, "layernorm_dx", (rows,), (64,), (x, g, gy, mean, rstd, gx, np.int32(cols)))
    normalised = (x.astype(np.float64) - mean[:, None]) * rstd[:, None]
    a = gy.astype(np.float64) * g
    centred = a - a.mean(1, keepdims=True) - normalised * (a * normalised).mean(1, keepdims=True)
    assert_close(gx, rstd[:, None] * centred, 1e-4)

    parts = ceil_div(rows, rows_per_block)
    partial = [xp.empty((parts, cols), np.float32) for _ in range(2)]
    sizes = (np.int32(rows), np.int32(cols), np.int32(rows_per_block))
    launch(code, "layernorm_partial", (ceil_div(cols, 32), parts), (32, 8), (x, gy, mean, rstd, *partial, *sizes))
    for part, expected in zip(partial, ((gy * normalised).sum(0), gy.astype(np.float64).sum(0)), strict=True):
        out = xp.empty(cols, np.float32)
        launch(code, "column_sum", (ceil_div(cols, 64),), (64,), (part, out, np.int32(parts), np.int32(cols)))
        assert_close(out, expected, 1e-4)


def histogram(code=sources.HISTOGRAM, n=3000):
    values = RNG.integers(0, 10, n).astype(np.int32)
    counts = xp.zeros(10, np.int32)
    launch(code, "histogram", (12,), (256,), (values, counts, np.int32(n)))
    np.testing.assert_array_equal(counts.get(), np.bincount(values, minlength=10))


def swap_in_warp(code=sources.SWAP_IN_WARP):
    x, y = floats(64), xp.empty(64, np.float32)
    launch(code, "swap", (1,), (64,), (x, y))
    assert_close(y, x.reshape(-1, 2)[:, ::-1].ravel())


def stencil(in_place=False, n=500):
    host = floats(n)
    x = xp.asarray(host)
    y = x if in_place else xp.empty(n, np.float32)
    launch(sources.STENCIL, "stencil", (4,), (128,), (x, y, np.int32(n)))
    assert_close(y, host + np.concatenate([host[:1], host[:-1]]))


def reverse(code=sources.REVERSE, n=200):
    x, y = floats(n), xp.empty(n, np.float32)
    launch(code, "reverse", (2,), (128,), (x, y, np.int32(n)))
    padded = np.zeros(256, np.float32)
    padded[:n] = x
    assert_close(y, padded.reshape(2, 128)[:, ::-1].ravel()[:n])


def last_block(code=sources.LAST_BLOCK):
    x, out = floats(5), xp.empty(1, np.float32)
    launch(code, "last_block_sum", (5,), (32,), (x, xp.empty(5, np.float32), out, xp.zeros(1, np.uint32)))
    assert_close(out, [x.astype(np.float64).sum()])


def transpose(code=sources.TRANSPOSE, rows=50, cols=70):
    x, y = floats(rows, cols), xp.empty((cols, rows), np.float32)
    grid = (ceil_div(cols, 32), ceil_div(rows, 32))
    launch(code, "transpose", grid, (32, 8), (x, y, np.int32(rows), np.int32(cols)))
    assert_close(y, x.T)


def pointer_table(code=sources.POINTER_TABLE, stray=False):
    hosts = [floats(n) for n in (5, 100, 33)]
    arrays = [xp.asarray(host) for host in hosts]
    table = np.array([array.data.ptr for array in arrays], np.uint64)
    if stray:
        table[1] += 4 * 100 + 128  # in no allocation
    sizes = np.array([host.size for host in hosts], np.int32)
    launch(code, "scale_all", (3,), (32,), (table, sizes, np.float32(3)))
    for array, host in zip(arrays, hosts, strict=True):
        assert_close(array, host.astype(np.float64) * 3)


ALL = {
    "vector4": vector4,
    "broadcast": broadcast,
    "row_sum": row_sum,
    "softmax": softmax,
    "softmax of halves": functools.partial(softmax, kind="__half"),
    "softmax of bfloat16": functools.partial(softmax, kind="__nv_bfloat16"),
    "layernorm": layernorm,
    "histogram": histogram,
    "swap_in_warp": swap_in_warp,
    "stencil": stencil,
    "reverse": reverse,
    "last_block": last_block,
    "transpose": transpose,
    "pointer_table": pointer_table,
}
