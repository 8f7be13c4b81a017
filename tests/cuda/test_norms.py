"""Layer norm and RMS norm kernels against the CPU."""

from __future__ import annotations

from itertools import product

import ml_dtypes
import numpy as np
import pytest

LENGTHS = (1, 3, 31, 32, 33, 1000, 1024, 1025, 4097)
SHAPES = [*((4, n) for n in LENGTHS), (300, 4), (70, 200), (600, 8), (1, 40000), (2, 8193), (0, 4), (4, 0)]
DTYPES = ["float16", "bfloat16", "float32", "float64"]


def dtype_of(name: str) -> np.dtype:
    return np.dtype(getattr(ml_dtypes, name, name))


def wide(dtype: str) -> np.dtype:
    return np.dtype(np.float64 if dtype == "float64" else np.float32)


@pytest.fixture
def there(cuda):
    """Copies to the device; None stays None."""
    return lambda *arrays: [None if a is None else cuda.from_host(a) for a in arrays]


@pytest.fixture
def check(cuda, cpu, same, there):
    """Asserts that forward and backward on the device are what they are on the CPU."""

    def run(x, grad, weight, bias, centered, longest=None, needs=None):
        forward = (weight, bias, 1e-5, x.dtype, centered)
        y, mean, rstd = cpu.layer_norm(x, *forward)
        found = cuda._norms.layer_norm(*there(x, weight, bias), *forward[2:], longest)
        for f, e in zip(found, (y, mean, rstd)):
            assert (f is None) == (e is None)
            if e is not None and x.size:
                same(f, e, 4)
        needs = needs or (True, True, centered)
        expected = cpu.layer_norm_backward(grad, x, mean, rstd, weight, needs)
        gradients = cuda._norms.layer_norm_backward(*there(grad, x, mean, rstd, weight), needs, longest)
        for f, e, need in zip(gradients, expected, needs):
            assert (f is None) == (e is None) == (not need)
            if e is not None:
                # Sums over the rows grow with their number.
                same(f, e, 20)

    return run


@pytest.mark.parametrize("centered", [True, False], ids=["layer_norm", "rms_norm"])
@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("dtype", DTYPES)
def test_forward_and_backward(check, dtype, shape, centered, random_array):
    x, grad = random_array(shape, dtype), random_array(shape, dtype)
    weight, bias = random_array(shape[1:], dtype), random_array(shape[1:], dtype)
    # Held in registers, and in two passes.
    for longest in (None, 0):
        check(x, grad, weight, bias if centered else None, centered, longest)


@pytest.mark.parametrize("longest", [None, 0])
@pytest.mark.parametrize("centered", [True, False], ids=["layer_norm", "rms_norm"])
def test_every_set_of_parameters_and_gradients(check, longest, centered, random_array):
    x, grad, p = random_array((7, 24)), random_array((7, 24)), random_array((24,))
    for weight, bias in ((None, None), (p, None), (None, p)):
        for needs in product((False, True), repeat=3):
            check(x, grad, weight, bias, centered, longest, needs)


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_half_precision_rows_with_float32_parameters(check, dtype, random_array):
    x, grad = random_array((9, 64), dtype), random_array((9, 64), dtype)
    check(x, grad, random_array((64,)), random_array((64,)), True)


def test_many_rows_share_the_blocks(check, random_array):
    """More rows than all blocks take in one turn, and a last turn that is not full."""
    x, grad = random_array((2600, 520)), random_array((2600, 520))
    check(x, grad, random_array((520,)), random_array((520,)), True)


@pytest.mark.parametrize("centered", [True, False], ids=["layer_norm", "rms_norm"])
def test_sums_over_rows_have_the_same_bits_every_time(cuda, there, centered, random_array):
    from gradcore.backends.cuda import driver

    x, grad, weight = there(random_array((333, 40)), random_array((333, 40)), random_array((40,)))
    _, mean, rstd = cuda.layer_norm(x, weight, None, 1e-5, np.dtype(np.float32), centered)

    def bits():
        found = cuda.layer_norm_backward(grad, x, mean, rstd, weight, (True, True, True))
        return [cuda.to_host(f).tobytes() for f in found]

    first = bits()
    assert bits() == first
    if driver.emulated():
        from gradcore.backends.emulator.config import using

        for order in ("reverse", 1, 2):
            with using(order=order):
                assert bits() == first


@pytest.mark.parametrize("longest", [None, 0])
def test_rows_far_from_zero_keep_their_variance(cuda, same, longest):
    x = (np.arange(600, dtype=np.float64).reshape(3, 200) % 7 + 4096).astype(np.float32)
    exact = x.astype(np.float64)
    exact = (exact - exact.mean(1, keepdims=True)) / np.sqrt(exact.var(1, keepdims=True) + 1e-5)
    y, _, _ = cuda._norms.layer_norm(cuda.from_host(x), None, None, 1e-5, x.dtype, True, longest)
    # The mean is a multiple of float32's spacing at 4096, 5e-4, at best.
    np.testing.assert_allclose(cuda.to_host(y), exact, atol=5e-4)


@pytest.mark.parametrize("longest", [None, 0])
@pytest.mark.parametrize("centered", [True, False], ids=["layer_norm", "rms_norm"])
def test_infinities_and_huge_numbers(cuda, cpu, same, centered, longest):
    x = np.ones((5, 12), np.float32)
    x[0, 3] = np.inf
    x[1, 4] = np.nan
    x[2] = 1e20  # its square overflows
    x[3] = 0
    x[4, :6] = -1e15
    with np.errstate(all="ignore"):
        expected = cpu.layer_norm(x, None, None, 1e-5, x.dtype, centered)[0]
    same(cuda._norms.layer_norm(cuda.from_host(x), None, None, 1e-5, x.dtype, centered, longest)[0], expected, 10)


def test_unaligned_rows(cuda, cpu, same, random_array):
    flat = random_array((66,))
    x, view = flat[2:].reshape(2, 32), cuda.from_host(flat)[2:].reshape(2, 32)
    p, q = random_array((33,)), random_array((32,))
    for weight, there in ((p[1:], cuda.from_host(p)[1:]), (q, cuda.from_host(q))):
        y, mean, rstd = cpu.layer_norm(x, weight, None, 1e-5, x.dtype)
        same(cuda.layer_norm(view, there, None, 1e-5, x.dtype)[0], y)
        expected = cpu.layer_norm_backward(x, x, mean, rstd, weight, (True, True, True))
        found = cuda.layer_norm_backward(view, view, *map(cuda.from_host, (mean, rstd)), there, (True, True, True))
        for f, e in zip(found, expected):
            same(f, e, 10)


def test_into_another_dtype(cuda, same, cpu, random_array):
    x = random_array((4, 24), "float16")
    arguments = (None, None, 1e-5, dtype_of("float32"))
    same(cuda.layer_norm(cuda.from_host(x), *arguments)[0], cpu.layer_norm(x, *arguments)[0], 10)


@pytest.mark.parametrize("shape", [(3, 10), (5, 64), (40, 24), (2, 1500)], ids=str)
@pytest.mark.parametrize("dtype", ["bfloat16", "float32"])
def test_every_access_is_in_bounds(check, checked, dtype, shape, random_array):
    x, grad = random_array(shape, dtype), random_array(shape, dtype)
    weight, bias = random_array(shape[1:], dtype), random_array(shape[1:], dtype)
    for centered, longest in product((True, False), (None, 0)):
        check(x, grad, weight, bias, centered, longest)
