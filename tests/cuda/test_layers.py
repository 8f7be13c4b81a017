"""The kernels of convolution, pooling and attention against the CPU."""

from __future__ import annotations

import ml_dtypes
import numpy as np
import pytest

import gradcore as gc
from gradcore.autograd.tape import apply
from gradcore.backends import Sliding, Windows
from gradcore.backends.attention import AttentionInputs, Dropout
from gradcore.ops import attention as ops

DTYPES = ["float16", "bfloat16", "float32", "float64"]
SIZES = (1, 3, 31, 32, 33, 1000, 1025)


@pytest.fixture
def there(cuda):
    """Copies to the device; None stays None."""
    return lambda *arrays: [None if a is None else cuda.from_host(a) for a in arrays]


# ---------------------------------------------------------------- convolution
SLIDING = [
    (Sliding((3,), (1,), (1,), (1,)), (7,), (7,)),
    (Sliding((4, 3), (1, 2), (2, 1), (1, 2)), (6, 9), (7, 4)),
    (Sliding((2, 3), (3, 1), (0, 2), (2, 1)), (9, 5), (3, 7)),
    (Sliding((2, 2, 2), (2, 1, 1), (1, 0, 1), (1, 1, 2)), (4, 5, 3), (3, 4, 3)),
    *((Sliding((3,), (1,), (1,), (1,)), (n,), (n,)) for n in SIZES),
]


@pytest.mark.parametrize(("sliding", "size", "out"), SLIDING, ids=str)
@pytest.mark.parametrize("dtype", DTYPES)
def test_unfold_and_fold(cuda, cpu, same, there, random_array, sliding, size, out, dtype):
    x = random_array((2, 3, *size), dtype)
    columns = cpu.unfold(x, sliding, out)
    same(cuda.unfold(*there(x), sliding, out), columns, 0)
    given = random_array(columns.shape, dtype)
    expected = cpu.fold(given.astype(np.float64), sliding, x.shape, out)
    same(cuda.fold(*there(given), sliding, x.shape, out), expected.astype(x.dtype), 4)


@pytest.mark.parametrize("columns", [1, 200, 1 << 20])
@pytest.mark.parametrize("groups", [1, 2])
@pytest.mark.parametrize("dtype", DTYPES)
def test_convolutions_in_blocks(cuda, cpu, same, there, random_array, columns, groups, dtype, monkeypatch):
    """However many images share a product."""
    sliding, size, out = SLIDING[1]
    x, weight, bias = (random_array(s, dtype) for s in ((5, 4, *size), (6, 4 // groups, 4, 3), (6,)))
    grad = random_array((5, 6, *out), dtype)
    calls = [
        ("convolution", (x, weight, bias), (sliding, out, groups)),
        ("convolution_input", (grad, weight, None), (sliding, size, groups)),
        ("convolution_weight", (grad, x), (sliding, groups)),
    ]
    for name, arrays, rest in calls:
        expected = getattr(cpu, name)(*(None if a is None else a.astype(np.float64) for a in arrays), *rest)
        monkeypatch.setattr(cuda, "columns", columns)
        same(getattr(cuda, name)(*there(*arrays), *rest), expected.astype(x.dtype), 100)
        monkeypatch.setattr(cpu, "columns", columns)
        same(cuda.from_host(getattr(cpu, name)(*arrays, *rest)), expected.astype(x.dtype), 100)


def test_unfold_and_fold_checked(checked, cuda, cpu, same, there, random_array):
    for sliding, size, out in SLIDING[:4]:
        x = random_array((2, 3, *size))
        columns = cpu.unfold(x, sliding, out)
        same(cuda.unfold(*there(x), sliding, out), columns, 0)
        same(cuda.fold(*there(columns), sliding, x.shape, out), cpu.fold(columns, sliding, x.shape, out), 4)


# ---------------------------------------------------------------- pooling
WINDOWS = [
    (Windows(7, (0, 1, 3), (2, 4, 7), (3, 3, 4)),),
    (Windows(5, (0, 1, 2), (3, 4, 5), (3, 3, 3)), Windows(6, (0, 2, 4), (2, 4, 6), (2, 2, 2))),
    (Windows(8, (1, 2, 0, 1), (5, 6, 7, 8), (2, 2, 3, 3), 2), Windows(3, (0, 1), (2, 3), (2, 2))),
    (Windows(2, (0,), (2,), (2,)), Windows(3, (0, 0), (2, 3), (2, 3)), Windows(4, (0, 2), (2, 4), (2, 2))),
    *((Windows(n, tuple(range(n)), tuple(min(i + 3, n) for i in range(n)), (3,) * n),) for n in SIZES),
]


def _pool(cuda, cpu, same, there, random_array, windows, dtype):
    size, out = [w.size for w in windows], [len(w.starts) for w in windows]
    x, grad = random_array((5, *size), dtype), random_array((5, *out), dtype)
    x[0].flat[-1] = np.nan
    if all(w.step == 1 for w in windows):
        same(cuda.mean_pool(*there(x), windows), cpu.mean_pool(x, windows), 4)
        same(cuda.mean_pool_backward(*there(grad), windows), cpu.mean_pool_backward(grad, windows), 4)
    values, places = cpu.max_pool(x, windows)
    for found, expected in zip(cuda.max_pool(*there(x), windows), (values, places)):
        same(found, expected, 0)
    expected = cpu.max_pool_backward(grad, places, windows)
    same(cuda.max_pool_backward(*there(grad, places), windows), expected, 4)


@pytest.mark.parametrize("windows", WINDOWS, ids=lambda w: str([x.size for x in w]))
@pytest.mark.parametrize("dtype", DTYPES)
def test_pooling(cuda, cpu, same, there, random_array, windows, dtype):
    _pool(cuda, cpu, same, there, random_array, windows, dtype)


def test_pooling_checked(checked, cuda, cpu, same, there, random_array):
    for windows in WINDOWS[:4]:
        _pool(cuda, cpu, same, there, random_array, windows, "float32")


def test_places_that_a_window_skips_are_not_in_it(cpu):
    """Windows that are dilated begin, cut off by the edge, at places that do not follow each other."""
    (windows,) = WINDOWS[2][:1]
    first, last = windows.covering()
    for i in range(windows.size):
        holding = [o for o, (a, b) in enumerate(zip(windows.starts, windows.stops)) if a <= i < b]
        assert not holding or (first[i] <= holding[0] and holding[-1] < last[i])


# ---------------------------------------------------------------- attention
SHAPES = [(1, 1, 1, 1), (3, 5, 4, 4), (17, 16, 32, 31), (31, 33, 33, 20), (40, 3, 64, 65), (32, 100, 100, 128)]


def _attend(cuda, cpu, same, there, random_array, shape, causal, kind, dtype):
    n, m, e, f = shape
    if max(e, f) > cuda.attention_width(np.dtype(getattr(ml_dtypes, dtype, dtype))):
        return
    q, k, v, grad = (random_array((3, *s), dtype) for s in ((n, e), (m, e), (m, f), (n, f)))
    mask = None
    if kind == "bool":
        mask = np.broadcast_to(np.random.default_rng(0).random((n, m)) > 0.3, (3, n, m)).copy()
        mask[:, 0] = False
    elif kind == "float":
        mask = random_array((3, m, n), dtype).swapaxes(1, 2)
    scale = 1 / np.sqrt(e)

    def wide(*arrays):
        return [a if a is None or a.dtype.kind == "b" else a.astype(np.float64) for a in arrays]

    ours = AttentionInputs(*wide(q, k, v, mask), causal, scale)
    theirs = AttentionInputs(*there(q, k, v, mask), causal, scale)
    out, lse = cpu.attention(ours)
    found, sums = cuda.attention(theirs)
    kept = np.float64 if dtype == "float64" else np.float32
    same(found, out.astype(q.dtype), 8)
    same(sums, lse.astype(kept), 8)
    expected = cpu.attention_backward(*wide(grad), ours, out, lse)
    grad, *outs = there(grad, out.astype(q.dtype), lse.astype(kept))
    gradients = cuda.attention_backward(grad, theirs, *outs)
    for a, b in zip(gradients, expected):
        same(a, b.astype(q.dtype), 50)


# Each setting is a kernel to compile: all of them in float32, a few in the others.
SETTINGS = [("float32", kind, causal) for kind in ("none", "bool", "float") for causal in (False, True)]
SETTINGS += [("float16", "float", False), ("bfloat16", "none", True), ("float64", "bool", False)]


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize(("dtype", "kind", "causal"), SETTINGS)
def test_attention(cuda, cpu, same, there, random_array, shape, causal, kind, dtype):
    _attend(cuda, cpu, same, there, random_array, shape, causal, kind, dtype)


def _against_the_composite(cuda, there, random_array, shape, group, causal, masked, dropout, dtype="float32"):
    """Results and gradients of the kernels, and of the op's definition by plain ops, which draws the same numbers."""
    n, m, e, f = shape
    q, k, v, grad = (random_array(s, dtype) for s in ((6, n, e), (6 // group, m, e), (6 // group, m, f), (6, n, f)))
    mask = random_array((6, n, m), dtype) if masked else None
    if masked:
        mask[:, 0] = -np.inf
    attrs = {"causal": causal, "scale": 0.5, "dropout": dropout}
    found = []
    for function in (lambda *x: apply(ops.attention, x, attrs), lambda *x: ops._composite(*x, **attrs)):
        given = [None if a is None else gc.from_numpy(a).to("cuda").requires_grad_() for a in (q, k, v, mask)]
        out = function(*given)
        inputs = [t for t in given if t is not None]
        found.append([out, *gc.autograd.grad(out, inputs, gc.from_numpy(grad).to("cuda"))])
    tolerance = {"float32": 1e-5, "float64": 1e-12}[dtype]
    for a, b in zip(*found):
        np.testing.assert_allclose(a.detach().cpu().numpy(), b.detach().cpu().numpy(), 20 * tolerance, 20 * tolerance)


@pytest.mark.parametrize("shape", [(1, 1, 1, 1), (17, 16, 32, 31), (33, 40, 5, 3)], ids=str)
@pytest.mark.parametrize(("causal", "masked"), [(False, False), (True, False), (False, True)])
@pytest.mark.parametrize(("group", "p"), [(1, 0.4), (3, 0.0), (2, 0.9), (6, 0.1)])
def test_attention_with_dropout_and_grouped_queries(cuda, there, random_array, shape, causal, masked, group, p):
    dropout = Dropout(p, 5, 2**40 + 3) if p else None
    _against_the_composite(cuda, there, random_array, shape, group, causal, masked, dropout)


def test_attention_with_dropout_checked(checked, cuda, there, random_array):
    _against_the_composite(cuda, there, random_array, (19, 18, 7, 5), 2, True, False, Dropout(0.5, 1, 2), "float64")


def test_dropout_keeps_the_mean(cuda):
    """Of all weights as many are dropped as should be, and none in the backward pass that were not in the forward."""
    q = gc.zeros(2, 50, 4, device="cuda").requires_grad_()
    v = gc.ones(2, 60, 4, device="cuda").requires_grad_()
    out = gc.nn.functional.scaled_dot_product_attention(q, q[:, :1].expand(2, 60, 4), v, dropout_p=0.25)
    assert abs(out.mean().item() - 1) < 0.05 and out.std().item() > 0.01
    out.backward(gc.ones_like(out))
    assert abs(v.grad.sum().item() - out.sum().item()) < 1e-3


def test_keys_of_grouped_queries_are_not_repeated(cuda, monkeypatch):
    """The kernel gets as many heads of keys and values as there are."""
    seen = []
    forward = cuda._attention.forward
    monkeypatch.setattr(cuda._attention, "forward", lambda given: seen.append(given.key.shape) or forward(given))
    q, k = gc.randn(2, 6, 5, 4, device="cuda"), gc.randn(2, 3, 7, 4, device="cuda")
    given = [t.requires_grad_() for t in (q, k)]
    out = gc.nn.functional.scaled_dot_product_attention(q, k, k, enable_gqa=True)
    assert seen == [(6, 7, 4)]
    other = gc.nn.functional.scaled_dot_product_attention(*(t.detach().cpu() for t in (q, k, k)), enable_gqa=True)
    np.testing.assert_allclose(out.detach().cpu().numpy(), other.numpy(), 1e-5, 1e-5)
    assert [g.shape for g in gc.autograd.grad(out.sum(), given)] == [q.shape, k.shape]


def test_attention_checked(checked, cuda, cpu, same, there, random_array):
    for causal, kind in ((False, "bool"), (True, "none"), (False, "float")):
        _attend(cuda, cpu, same, there, random_array, (19, 18, 7, 5), causal, kind, "float32")


def test_attention_without_a_block_of_scores_in_memory(cpu, monkeypatch, random_array):
    """Blocks of queries, and of heads, give what one block gives."""
    from gradcore.backends.cpu import attention

    q, k, v, grad = (random_array((5, *s), "float64") for s in ((7, 3), (6, 3), (6, 4), (7, 4)))
    for causal in (False, True):
        inputs, found = AttentionInputs(q, k, v, None, causal, 0.5), []
        for block in (1, 13, 90, 1 << 20):
            monkeypatch.setattr(attention, "_BLOCK", block)
            out, lse = cpu.attention(inputs)
            found.append((out, lse, *cpu.attention_backward(grad, inputs, out, lse)))
        for other in found[:-1]:
            for a, b in zip(other, found[-1]):
                np.testing.assert_allclose(a, b, rtol=1e-12, atol=1e-14)
