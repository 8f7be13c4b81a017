"""Matrix products without copies: which layouts are read as they lie, through cuBLAS and through cuBLASLt.

The stand-ins for the two libraries see what the real ones see, addresses, leading dimensions and distances of batches,
and read the emulated device's memory by them; a wrong one gives a wrong product or an error.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import product
from typing import Any

import cublaslt_standin as lt
import numpy as np
import pytest

import gradcore as gc
from gradcore.backends.cuda import CudaBackend, driver, libraries
from gradcore.backends.cuda.gemm import MOST_CALLS, plan

# Ways to lay out a matrix, from an array that holds it, and whether a library reads it as it lies.
LAYOUTS: dict[str, tuple[Callable[[Any, Any], Any], bool]] = {
    "by rows": (lambda xp, x: x.copy(), True),
    "by columns": (lambda xp, x: _swapped(_swapped(x).copy()), True),
    "a part of longer rows": (lambda xp, x: xp.concatenate([x, x], -1)[..., : x.shape[-1]], True),
    "a part of longer columns": (
        lambda xp, x: _swapped(xp.concatenate([_swapped(x)] * 2, -1))[..., : x.shape[-2], :],
        True,
    ),
    "an offset": (lambda xp, x: xp.concatenate([x, x], -2)[..., x.shape[-2] :, :], True),
    "every second column": (lambda xp, x: xp.repeat(x, 2, -1)[..., ::2], False),
    "reversed": (lambda xp, x: x[..., ::-1, :].copy()[..., ::-1, :], False),
}
# Ways to lay out batches.
BATCHES: dict[str, Callable[[Any, Any], Any]] = {
    "in order": lambda xp, x: x,
    "exchanged": lambda xp, x: x.swapaxes(0, 1).copy().swapaxes(0, 1) if x.ndim > 3 else x,
    "behind the rows": lambda xp, x: xp.moveaxis(xp.moveaxis(x, -2, 0).copy(), 0, -2) if x.ndim > 2 else x,
    "every second": lambda xp, x: xp.repeat(x, 2, 0)[::2] if x.ndim > 2 else x,
    "backwards": lambda xp, x: x[::-1].copy()[::-1] if x.ndim > 2 else x,
}


def _swapped(x: Any) -> Any:
    return x.swapaxes(-1, -2)


@pytest.fixture
def copies(cuda: CudaBackend, monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, ...]]:
    """The shapes of all operands that were copied."""
    made: list[tuple[int, ...]] = []
    whole = cuda._products._whole

    def spy(x: Any, shape: tuple[int, ...]) -> Any:
        made.append(shape)
        return whole(x, shape)

    monkeypatch.setattr(cuda._products, "_whole", spy)
    return made


@pytest.fixture
def cublaslt(cuda: CudaBackend, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """The stand-in, as the backend's library."""
    if not driver.emulated():
        pytest.skip("the stand-in reads the emulated device's memory")
    lt.reset()
    monkeypatch.setattr(libraries, "cublaslt", lambda: lt)
    monkeypatch.setattr(cuda._products, "_asked", False)
    monkeypatch.setattr(cuda._products, "_lt", None)
    monkeypatch.setattr(libraries, "_told", set())
    yield lt
    lt.reset()


@pytest.fixture(params=["cublas", "cublaslt"])
def library(request: pytest.FixtureRequest, cuda: CudaBackend, monkeypatch: pytest.MonkeyPatch) -> str:
    """Each of the libraries: on the emulated device stand-ins, on a GPU the real ones."""
    name = str(request.param)
    if name == "cublaslt" and driver.emulated():
        request.getfixturevalue("cublaslt")
    monkeypatch.setattr(libraries, "_blas", name)
    if name == "cublaslt" and cuda._products.lt is None:
        pytest.skip("cuBLASLt is not here: pip install nvmath-python")
    return name


def whole_numbers(rng: np.random.Generator, shape: tuple[int, ...], dtype: Any = np.float32) -> np.ndarray:
    """Numbers whose sums of products are exact, so that the smallest mistake shows."""
    return rng.integers(-4, 5, shape).astype(dtype)


@pytest.mark.parametrize("sizes", list(product((1, 2, 5), repeat=3)), ids=str)
def test_matrices_in_every_layout(cuda, rng, copies, library, sizes):
    n, k, m = sizes
    x, y = whole_numbers(rng, (n, k)), whole_numbers(rng, (k, m))
    for (first, (lay_x, x_fits)), (second, (lay_y, y_fits)) in product(LAYOUTS.items(), repeat=2):
        a, b = lay_x(cuda.xp, cuda.from_host(x)), lay_y(cuda.xp, cuda.from_host(y))
        copies.clear()
        out = cuda.matmul(a, b)
        assert np.array_equal(cuda.to_host(out), x @ y), (first, second)
        assert out.flags.c_contiguous
        assert not (x_fits and y_fits and copies), (first, second)


BATCH_SHAPES = [
    ((3,), (3,)), ((3,), ()), ((), (3,)), ((1,), (3,)), ((2, 3), (2, 3)), ((2, 3), (3,)), ((3,), (2, 3)),
    ((2, 1), (3,)), ((2, 3), ()), ((1, 1), (2, 3)), ((2, 3), (2, 1)),
]  # fmt: skip


@pytest.mark.parametrize("shapes", BATCH_SHAPES, ids=str)
def test_batches_in_every_layout(cuda, rng, copies, library, shapes):
    x, y = whole_numbers(rng, (*shapes[0], 4, 3)), whole_numbers(rng, (*shapes[1], 3, 2))
    matrices = ("by rows", "by columns", "a part of longer rows", "every second column")
    for first, second in product(product(matrices, BATCHES), repeat=2):
        a, b = (
            BATCHES[batch](cuda.xp, LAYOUTS[layout][0](cuda.xp, cuda.from_host(host)))
            for host, (layout, batch) in ((x, first), (y, second))
        )
        copies.clear()
        assert np.array_equal(cuda.to_host(cuda.matmul(a, b)), x @ y), (first, second)
        if not {"every second column", "behind the rows", "backwards"} & {*first, *second}:
            assert not copies, (first, second)


def test_attention_heads_are_not_copied(cuda, rng, copies, library):
    # (batch, sequence, heads, width) seen as (batch, heads, sequence, width), and its transpose.
    x = whole_numbers(rng, (2, 5, 3, 4))
    q = cuda.from_host(x).swapaxes(1, 2)
    host = x.swapaxes(1, 2)
    assert np.array_equal(cuda.to_host(cuda.matmul(q, _swapped(q))), host @ _swapped(host))
    assert not copies


def test_batches_at_many_distances_are_copied_once(cuda, rng, copies):
    x = whole_numbers(rng, (MOST_CALLS + 1, 20, MOST_CALLS + 2, 2))
    y = whole_numbers(rng, (MOST_CALLS + 1, MOST_CALLS + 2, 2, 3))
    a = cuda.from_host(x).swapaxes(1, 2)
    assert np.array_equal(cuda.to_host(cuda.matmul(a, cuda.from_host(y))), x.swapaxes(1, 2) @ y)
    assert copies == [a.shape]


def test_rows_of_batches_are_rows_of_one_matrix():
    made = plan((7, 5, 4), (80, 16, 4), (4, 3), (4, 16), 4)
    (call,) = made.calls
    assert (call.gemm.batch, call.gemm.m, call.gemm.n, call.gemm.k) == (1, 3, 35, 4)
    assert call.gemm.a.transposed and not call.gemm.b.transposed


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32", "float64"])
@pytest.mark.parametrize("shapes", [((5, 7), (7, 3)), ((4, 5, 7), (4, 7, 3)), ((2, 4, 5, 7), (7, 3)), ((7,), (2, 7, 3)),
                                    ((2, 5, 7), (7,)), ((7,), (7,))], ids=str)  # fmt: skip
def test_dtypes_are_multiplied_as_they_are(cuda, random_array, same, copies, library, dtype, shapes, monkeypatch):
    monkeypatch.setattr(cuda, "astype", None)  # nothing is widened
    x, y = (random_array(shape, dtype) for shape in shapes)
    found = cuda.matmul(cuda.from_host(x), cuda.from_host(y))
    wide = np.float64 if dtype == "float64" else np.float32
    same(found, np.asarray(np.matmul(x.astype(wide), y.astype(wide))).astype(x.dtype), 10)
    assert not copies


@pytest.mark.parametrize(
    "shapes", [((0, 3), (3, 2)), ((2, 0), (0, 3)), ((2, 3), (3, 0)), ((0, 2, 3), (3, 2)), ((4, 2, 0), (0, 3))]
)
def test_nothing_to_multiply(cuda, library, shapes):
    x, y = (np.ones(shape, np.float32) for shape in shapes)
    out = cuda.to_host(cuda.matmul(cuda.from_host(x), cuda.from_host(y)))
    assert np.array_equal(out, x @ y) and out.shape == (x @ y).shape


def test_batches_that_do_not_broadcast(cuda):
    with pytest.raises(ValueError, match="shape"):
        cuda.matmul(cuda.from_host(np.ones((2, 3, 4))), cuda.from_host(np.ones((3, 4, 5))))


@pytest.mark.parametrize("shape", [(5, 3), (2, 4, 3), (3,), (0, 3), (5, 0)])
@pytest.mark.parametrize(("dtype", "large"), [("float16", 2048), ("bfloat16", 256), ("float32", 2)])
def test_bias_is_added_before_rounding(cuda, random_array, library, shape, dtype, large):
    # large + 1 is none of the 16-bit floats, large + 2 is: rounding the product first would lose both ones.
    ones, kind = np.ones(shape, np.float64), random_array((1,), dtype).dtype
    w = np.tile(np.array([large, 1, 0], np.float64)[: shape[-1]], (4, 1))
    bias = np.ones(4, np.float64)
    out = cuda.to_host(cuda.linear(*(cuda.from_host(a.astype(kind)) for a in (ones, w, bias))))
    assert np.array_equal(out.astype(np.float64), ones @ w.T + bias) and out.shape == (*shape[:-1], 4)
    if library == "cublaslt" and driver.emulated() and ones.size:
        assert lt.computed[-1]["EPILOGUE"] == lt.Epilogue.BIAS


def test_integers(cuda, rng):
    x, w, b = (whole_numbers(rng, shape, np.int64) for shape in ((2, 5, 3), (4, 3), (4,)))
    dx, dw, db = (cuda.from_host(a) for a in (x, w, b))
    assert np.array_equal(cuda.to_host(cuda.matmul(dx, dw.T)), x @ w.T)
    assert np.array_equal(cuda.to_host(cuda.linear(dx, dw, db)), x @ w.T + b)
    assert np.array_equal(cuda.to_host(cuda.linear(dx, dw, None)), x @ w.T)


def test_gradients_of_linear_in_two_products(cuda, rng, cublaslt):
    grad, x, w = whole_numbers(rng, (2, 6, 3)), whole_numbers(rng, (2, 6, 4)), whole_numbers(rng, (3, 4))
    arrays = [cuda.from_host(a) for a in (grad, x, w)]
    dx, dw, db = cuda.linear_backward(*arrays, (True, True, True))
    rows = grad.reshape(-1, 3)
    assert np.array_equal(cuda.to_host(dx), grad @ w)
    assert np.array_equal(cuda.to_host(dw), rows.T @ x.reshape(-1, 4))
    assert np.array_equal(cuda.to_host(db), rows.sum(0))
    assert sorted(found["EPILOGUE"] for found in cublaslt.computed) == [1, cublaslt.Epilogue.BGRADB]


def test_an_algorithm_is_chosen_once(cuda, rng, cublaslt):
    x = cuda.from_host(whole_numbers(rng, (4, 4)))
    for _ in range(3):
        cuda.matmul(x, x.T)
    assert cublaslt.calls.count("matmul_algo_get_heuristic") == 1 and cublaslt.calls.count("matmul") == 3
    unaligned = cuda.from_host(whole_numbers(rng, (17,)))[1:].reshape(4, 4)
    cuda.matmul(unaligned, x.T)
    assert cublaslt.calls.count("matmul_algo_get_heuristic") == 2


def test_algorithms_are_forgotten_at_last(cuda, rng, cublaslt, monkeypatch):
    monkeypatch.setattr("gradcore.backends.cuda.blas._MOST_PREPARED", 3)
    for n in range(1, 9):
        cuda.matmul(cuda.from_host(np.ones((n, 2))), cuda.from_host(np.ones((2, n))))
        assert len(cublaslt.objects) <= 1 + 3 * 4


def test_current_stream_and_workspace(cuda, rng, cublaslt):
    x = cuda.from_host(whole_numbers(rng, (4, 4)))
    before = cuda.xp.get_default_memory_pool().used_bytes()
    with cuda.xp.cuda.Stream() as stream:
        cuda.matmul(x, x)
    assert cublaslt.computed[-1]["stream"] == stream.ptr != 0
    assert cuda.xp.get_default_memory_pool().used_bytes() == before


def test_what_cublaslt_does_not_compute_cublas_does(cuda, rng, cublaslt):
    cublaslt.refused.update({cublaslt.Epilogue.BIAS, cublaslt.Epilogue.BGRADB, cublaslt.Epilogue.DEFAULT})
    x, w, b = whole_numbers(rng, (5, 3)), whole_numbers(rng, (4, 3)), whole_numbers(rng, (4,))
    with pytest.warns(
        UserWarning, match="cuBLASLt refuses a product: BIAS .* of float32: CUBLAS_STATUS_NOT_SUPPORTED"
    ) as told:
        for _ in range(2):
            out = cuda.linear(*(cuda.from_host(a) for a in (x, w, b)))
            assert np.array_equal(cuda.to_host(out), x @ w.T + b)
            _, dw, db = cuda.linear_backward(out, cuda.from_host(x), cuda.from_host(w), (False, True, True))
            assert np.array_equal(cuda.to_host(db), (x @ w.T + b).sum(0))
    assert len(told) == 1
    assert not cublaslt.computed


def test_a_product_that_fails_is_computed_by_cublas(cuda, rng, cublaslt, monkeypatch):
    def failing(*_: Any) -> None:
        raise lt.cublasLtError("CUBLAS_STATUS_EXECUTION_FAILED")

    monkeypatch.setattr(lt, "matmul", failing)
    x, w, b = whole_numbers(rng, (5, 3)), whole_numbers(rng, (4, 3)), whole_numbers(rng, (4,))
    with pytest.warns(UserWarning, match="CUBLAS_STATUS_EXECUTION_FAILED"):
        out = cuda.linear(*(cuda.from_host(a) for a in (x, w, b)))
    assert np.array_equal(cuda.to_host(out), x @ w.T + b)


def test_without_memory_for_the_workspace(cuda, rng, cublaslt, monkeypatch):
    x = cuda.from_host(whole_numbers(rng, (4, 4)))
    empty = cuda.xp.empty

    def full(shape: Any, dtype: Any) -> Any:
        if dtype is np.uint8:
            raise MemoryError("all of it is in use")
        return empty(shape, dtype)

    monkeypatch.setattr(cuda.xp, "empty", full)
    with pytest.raises(MemoryError, match="all of it"):
        cuda.matmul(x, x)
    monkeypatch.undo()


def test_a_bias_that_is_not_aligned(cuda, rng, cublaslt):
    x, w, b = whole_numbers(rng, (5, 3)), whole_numbers(rng, (4, 3)), whole_numbers(rng, (5,))
    out = cuda.linear(cuda.from_host(x), cuda.from_host(w), cuda.from_host(b)[1:])
    assert np.array_equal(cuda.to_host(out), x @ w.T + b[1:])
    assert cublaslt.computed[-1]["EPILOGUE"] == cublaslt.Epilogue.DEFAULT


def test_a_library_that_fails_to_start(cuda, rng, cublaslt, monkeypatch):
    def broken() -> int:
        raise lt.cublasLtError("CUBLAS_STATUS_NOT_INITIALIZED")

    monkeypatch.setattr(lt, "create", broken)
    x = whole_numbers(rng, (3, 3))
    with pytest.warns(UserWarning, match="cuBLASLt cannot be used: CUBLAS_STATUS_NOT_INITIALIZED"):
        found = cuda.matmul(cuda.from_host(x), cuda.from_host(x))
    assert np.array_equal(cuda.to_host(found), x @ x)


def test_preferred_library(cuda, cublaslt):
    x = cuda.from_host(np.ones((2, 2), np.float32))
    assert gc.backends.cuda.preferred_blas_library() == "default"
    try:
        gc.backends.cuda.preferred_blas_library("cublas")
        cuda.matmul(x, x)
        assert not cublaslt.computed
        gc.backends.cuda.preferred_blas_library("cublaslt")
        cuda.matmul(x, x)
        assert len(cublaslt.computed) == 1
        with pytest.raises(RuntimeError, match="Unknown input value. Choose from: default, cublas, cublaslt"):
            gc.backends.cuda.preferred_blas_library("mkl")
    finally:
        gc.backends.cuda.preferred_blas_library("default")


def test_tensor_float_32_is_used_where_it_is_allowed(cuda, cublaslt):
    def compute_type(dtype: type) -> int:
        x = cuda.from_host(np.ones((2, 2), dtype))
        cuda.matmul(x, x)
        return int(cublaslt.computed[-1]["COMPUTE_TYPE"])

    assert gc.get_float32_matmul_precision() == "highest" and not gc.backends.cuda.matmul.allow_tf32
    assert (compute_type(np.float32), compute_type(np.float16), compute_type(np.float64)) == (68, 68, 70)
    try:
        gc.set_float32_matmul_precision("high")
        assert gc.backends.cuda.matmul.allow_tf32
        assert (compute_type(np.float32), compute_type(np.float16), compute_type(np.float64)) == (77, 68, 70)
        gc.backends.cuda.matmul.allow_tf32 = False
        assert gc.get_float32_matmul_precision() == "highest" and compute_type(np.float32) == 68
        gc.backends.cuda.matmul.allow_tf32 = True
        assert gc.get_float32_matmul_precision() == "high"
        with pytest.warns(UserWarning, match="low is not one of 'highest', 'high', or 'medium'"):
            gc.set_float32_matmul_precision("low")
        assert gc.get_float32_matmul_precision() == "high"
        with pytest.raises(RuntimeError, match="set_float32_matmul_precision expects a str, but got int"):
            gc.set_float32_matmul_precision(3)
        with pytest.raises(RuntimeError, match="expects a bool, but got int"):
            gc.backends.cuda.matmul.allow_tf32 = 1
    finally:
        gc.set_float32_matmul_precision("highest")


def test_tensors_train_through_cublaslt(cublaslt, _cuda_reason):
    x, y = gc.randn(6, 5, device="cuda"), gc.randn(6, 3, device="cuda")
    model = gc.nn.Linear(5, 3).to("cuda")
    loss = ((model(x) - y) ** 2).mean()
    loss.backward()
    epilogues = [found["EPILOGUE"] for found in cublaslt.computed]
    assert epilogues == [cublaslt.Epilogue.BIAS, cublaslt.Epilogue.BGRADB]
    w, b = (p.detach().cpu().numpy() for p in model.parameters())
    host_x, host_y = x.cpu().numpy(), y.cpu().numpy()
    slope = 2 * (host_x @ w.T + b - host_y) / host_y.size
    assert np.allclose(model.weight.grad.cpu().numpy(), slope.T @ host_x, rtol=1e-5, atol=1e-6)
    assert np.allclose(model.bias.grad.cpu().numpy(), slope.sum(0), rtol=1e-5, atol=1e-6)
