"""Convolution and attention through cuDNN: layouts, uids, settings, planning once, and what happens without it.

The stand-in reads the emulated device's memory by the strides and addresses it is given.
"""

from __future__ import annotations

import runpy
import subprocess
import sys
import warnings
from collections.abc import Iterator
from typing import Any

import cudnn_standin
import numpy as np
import pytest

import gradcore as gc
from gradcore.backends import Sliding, cudnn
from gradcore.backends.attention import AttentionInputs
from gradcore.backends.cuda import CudaBackend, driver, libraries
from gradcore.backends.cuda.cudnn import Cudnn, padding
from gradcore.nn import functional as F

FLOATS = ["float16", "bfloat16", "float32", "float64"]


@pytest.fixture
def library(cuda: CudaBackend, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """The stand-in, as the backend's cuDNN."""
    if not driver.emulated():
        pytest.skip("the stand-in reads the emulated device's memory")
    cudnn_standin.reset()
    monkeypatch.setattr(libraries, "cudnn", lambda: cudnn_standin)
    monkeypatch.setattr(libraries, "_told", set())
    monkeypatch.setattr(cuda, "_cudnn", Cudnn(cuda.xp))
    yield cudnn_standin
    cudnn_standin.reset()


def places(size: tuple[int, ...], s: Sliding) -> tuple[int, ...]:
    return tuple(
        (n + 2 * p - (k - 1) * d - 1) // t + 1 for n, k, t, p, d in zip(size, s.kernel, s.stride, s.padding, s.dilation)
    )


# (images, channels in, channels out, groups, size, how the kernel slides)
CASES = [
    (2, 3, 4, 1, (6, 7), Sliding((3, 2), (1, 1), (1, 0), (1, 1))),
    (1, 4, 6, 2, (7, 9), Sliding((3, 3), (2, 3), (2, 1), (2, 1))),
    (2, 4, 4, 4, (5, 5), Sliding((3, 3), (1, 1), (1, 1), (1, 1))),
    (2, 3, 2, 1, (9,), Sliding((4,), (3,), (2,), (1,))),
    (2, 2, 3, 1, (3, 4, 5), Sliding((2, 3, 2), (1, 2, 1), (1, 0, 1), (1, 1, 2))),
    (1, 1, 1, 1, (1, 1), Sliding((1, 1), (1, 1), (0, 0), (1, 1))),
]


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("case", CASES, ids=str)
def test_convolutions(cuda, random_array, same, library, case, dtype):
    images, inner, outer, groups, size, sliding = case
    out = places(size, sliding)
    x, w = random_array((images, inner, *size), dtype), random_array((outer, inner // groups, *sliding.kernel), dtype)
    g, bias = random_array((images, outer, *out), dtype), random_array((outer,), dtype)

    def computed() -> list[np.ndarray]:
        dx, dw, dg, b = (cuda.from_host(a) for a in (x, w, g, bias))
        return [
            cuda.convolution(dx, dw, b, sliding, out, groups),
            cuda.convolution_input(dg, dw, None, sliding, size, groups),
            cuda.convolution_weight(dg, dx, sliding, groups),
        ]

    found = computed()
    assert [operation for operation, *_ in library.executed] == ["conv_fprop", "conv_dgrad", "conv_wgrad"]
    with cudnn.flags(enabled=False):
        for one, other in zip(found, computed()):
            same(one, cuda.to_host(other), 20)
    assert len(library.executed) == 3


def test_a_transposed_convolution_with_a_bias(cuda, rng, library):
    # Each place of the input is left with the output padding that PyTorch's output_padding asks for.
    x = gc.tensor(rng.standard_normal((2, 3, 4)).astype(np.float32), device="cuda", requires_grad=True)
    w = gc.tensor(rng.standard_normal((3, 2, 3)).astype(np.float32), device="cuda", requires_grad=True)
    b = gc.tensor(rng.standard_normal(2).astype(np.float32), device="cuda", requires_grad=True)

    def gradients() -> list[np.ndarray]:
        for t in (x, w, b):
            t.grad = None
        y = F.conv_transpose1d(x, w, b, stride=3, padding=1, output_padding=2)
        (y * y).sum().backward()
        return [t.cpu().detach().numpy() for t in (y, x.grad, w.grad, b.grad)]

    found = gradients()
    assert {operation for operation, *_ in library.executed} == {"conv_fprop", "conv_dgrad", "conv_wgrad"}
    with cudnn.flags(enabled=False):
        for one, other in zip(found, gradients()):
            np.testing.assert_allclose(one, other, rtol=1e-5, atol=1e-5)


def test_a_weight_that_is_not_contiguous(cuda, rng, library):
    x = cuda.from_host(rng.standard_normal((2, 3, 5, 5)).astype(np.float32))
    w = cuda.from_host(rng.standard_normal((3, 4, 3, 3)).astype(np.float32)).swapaxes(0, 1)
    sliding = Sliding((3, 3), (1, 1), (0, 0), (1, 1))
    found = cuda.convolution(x, w, None, sliding, (3, 3), 1)
    with cudnn.flags(enabled=False):
        expected = cuda.convolution(x, w.copy(), None, sliding, (3, 3), 1)
    np.testing.assert_allclose(cuda.to_host(found), cuda.to_host(expected), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(
    ("size", "out", "sliding", "ends"),
    [
        ((6,), (6,), Sliding((3,), (1,), (1,), (1,)), (1,)),
        ((6,), (6,), Sliding((4,), (1,), (1,), (1,)), (2,)),  # "same" with an even kernel
        ((7,), (3,), Sliding((2,), (2,), (0,), (1,)), (0,)),  # the last element is left over
        ((7,), (2,), Sliding((2,), (2,), (0,), (1,)), None),
    ],
)
def test_padding_at_the_ends(size, out, sliding, ends):
    assert padding(sliding, size, out) == ends


def test_more_padding_at_the_end(cuda, random_array, same, library):
    sliding, size, out = Sliding((4,), (1,), (1,), (1,)), (6,), (6,)
    x, w, g = (cuda.from_host(random_array(shape)) for shape in ((2, 3, 6), (2, 3, 4), (2, 2, 6)))

    def computed() -> list[Any]:
        return [
            cuda.convolution(x, w, None, sliding, out, 1),
            cuda.convolution_input(g, w, None, sliding, size, 1),
            cuda.convolution_weight(g, x, sliding, 1),
        ]

    found = computed()
    assert (
        all(a["pre"] == [0, 1] and a["post"] == [0, 2] for _, a, _, _ in library.executed)
        and len(library.executed) == 3
    )
    with cudnn.flags(enabled=False):
        for one, other in zip(found, computed()):
            same(one, cuda.to_host(other), 2)


def test_what_no_padding_describes_is_computed_otherwise(cuda, rng, library):
    x, w = cuda.from_host(np.ones((1, 1, 1, 7))), cuda.from_host(np.ones((1, 1, 1, 2)))
    sliding = Sliding((1, 2), (1, 2), (0, 0), (1, 1))
    assert cuda.to_host(cuda.convolution(x, w, None, sliding, (1, 2), 1)).tolist() == [[[[2.0, 2.0]]]]
    assert not library.executed


def test_a_graph_is_planned_once(cuda, library):
    sliding = Sliding((2, 2), (1, 1), (0, 0), (1, 1))
    w = cuda.from_host(np.ones((1, 1, 2, 2), np.float32))
    for size in (3, 3, 4, 3):
        x = cuda.from_host(np.ones((1, 1, size, size), np.float32))
        cuda.convolution(x, w, None, sliding, (size - 1, size - 1), 1)
    assert len(library.planned) == 2 and len(library.executed) == 4
    x = cuda.from_host(np.ones((1, 1, 3, 3), np.float32))
    for chosen in ({}, {"allow_tf32": False}, {"deterministic": False}, {"deterministic": False, "allow_tf32": False}):
        with cudnn.flags(enabled=True, **chosen):
            cuda.convolution(x, w, None, sliding, (2, 2), 1)
    notes = library.numerical_note
    assert [set(refused) for _, _, refused, _ in library.executed[-4:]] == [
        {notes.DOWN_CONVERT_INPUTS, notes.NONDETERMINISTIC},
        {notes.DOWN_CONVERT_INPUTS, notes.NONDETERMINISTIC, notes.TENSOR_CORE},
        {notes.DOWN_CONVERT_INPUTS},
        {notes.DOWN_CONVERT_INPUTS, notes.TENSOR_CORE},
    ]


def test_current_stream_and_workspace(cuda, library):
    x, w = cuda.from_host(np.ones((1, 1, 2, 2), np.float32)), cuda.from_host(np.ones((1, 1, 1, 1), np.float32))
    sliding = Sliding((1, 1), (1, 1), (0, 0), (1, 1))
    with cuda.xp.cuda.Stream() as stream:
        before = cuda.xp.get_default_memory_pool().used_bytes()
        out = cuda.convolution(x, w, None, sliding, (2, 2), 1)
        block = -(-out.nbytes // 512) * 512  # the pool's unit
        assert cuda.xp.get_default_memory_pool().used_bytes() == before + block
    assert library.executed[-1][3] == stream.ptr != 0


ATTENTION = [(3, 5, 7, 8, 16), (1, 1, 9, 8, 8), (4, 6, 6, 24, 8)]


@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
@pytest.mark.parametrize("sizes", ATTENTION, ids=str)
def test_attention(cuda, random_array, same, library, sizes, dtype, causal):
    heads, n, m, e, f = sizes
    *qkv, g = (cuda.from_host(random_array((heads, *s), dtype, 1.0)) for s in ((n, e), (m, e), (m, f), (n, f)))
    inputs = AttentionInputs(*qkv, None, causal, 0.3)

    def computed() -> list[Any]:
        out, lse = cuda.attention(inputs)
        return [out, lse, *cuda.attention_backward(g, inputs, out, lse)]

    found = computed()
    assert [operation for operation, *_ in library.executed] == ["sdpa", "sdpa_backward"]
    assert library.executed[1][1]["deterministic"]
    with cudnn.flags(enabled=False):
        for one, other in zip(found, computed()):
            assert one.dtype == other.dtype
            same(one, cuda.to_host(other), 2)


def test_attention_that_is_left_to_the_other_kernel(cuda, random_array, library):
    def attend(dtype: str = "float16", width: int = 8, mask: Any = None) -> None:
        x = cuda.from_host(random_array((1, 4, width), dtype))
        cuda.attention(AttentionInputs(x, x, x, mask, False, 1.0))

    with warnings.catch_warnings():
        warnings.simplefilter("error")
        attend("float32")
        attend(width=12)
        attend(mask=cuda.from_host(np.ones((1, 4, 4), bool)))
    assert not library.planned
    attend()
    assert len(library.planned) == 1


@pytest.mark.parametrize("how", ["refused", "failing"])
def test_what_cudnn_does_not_do_is_told_once(cuda, random_array, same, library, how):
    getattr(library, how).update({"conv_fprop", "sdpa"})
    x, w = cuda.from_host(random_array((1, 2, 4, 4))), cuda.from_host(random_array((2, 2, 3, 3)))
    q = cuda.from_host(random_array((1, 4, 8), "float16"))
    inputs = AttentionInputs(q, q, q, None, True, 1.0)
    sliding = Sliding((3, 3), (1, 1), (0, 0), (1, 1))
    with pytest.warns(UserWarning, match="cuDNN refuses") as told:
        found = [(cuda.convolution(x, w, None, sliding, (2, 2), 1), cuda.attention(inputs)[0])
                 for _ in range(2)][-1]  # fmt: skip
    assert len(told) == 2
    with cudnn.flags(enabled=False):
        same(found[0], cuda.to_host(cuda.convolution(x, w, None, sliding, (2, 2), 1)))
        same(found[1], cuda.to_host(cuda.attention(inputs)[0]))


def test_a_library_that_does_not_start(cuda, random_array, library, monkeypatch):
    def broken() -> None:
        raise RuntimeError("libcudnn.so.9 is not there")

    monkeypatch.setattr(library, "create_handle", broken)
    x, w = cuda.from_host(random_array((1, 2, 4, 4))), cuda.from_host(random_array((2, 2, 3, 3)))
    sliding = Sliding((3, 3), (1, 1), (0, 0), (1, 1))
    with pytest.warns(UserWarning, match="cuDNN cannot be used: libcudnn.so.9 is not there"):
        cuda.convolution(x, w, None, sliding, (2, 2), 1)


def test_a_network_trains_through_cudnn(library, _cuda_reason):
    def losses() -> list[float]:
        gc.manual_seed(0)
        model = gc.nn.Sequential(
            gc.nn.Conv2d(1, 4, 3, padding=1), gc.nn.ReLU(), gc.nn.Conv2d(4, 2, 3, stride=2), gc.nn.Flatten()
        ).to("cuda")
        optimizer = gc.optim.SGD(model.parameters(), lr=0.05)
        x, y = gc.randn(4, 1, 7, 7, device="cuda"), gc.randn(4, 18, device="cuda")
        found = []
        for _ in range(3):
            optimizer.zero_grad()
            loss = ((model(x) - y) ** 2).mean()
            loss.backward()
            optimizer.step()
            found.append(loss.item())
        return found

    through = losses()
    assert len(library.executed) == 3 * 5  # the gradient of the images is not computed
    with cudnn.flags(enabled=False):
        assert through == pytest.approx(losses(), rel=1e-4)


def test_switches():
    assert cudnn is gc.backends.cudnn
    fresh = runpy.run_path(cudnn.__file__)  # the tests have changed one
    assert [fresh[name] for name in ("enabled", "allow_tf32", "deterministic", "benchmark")] == [
        True,
        True,
        True,
        False,
    ]
    with cudnn.flags():
        assert not cudnn.enabled
    assert cudnn.enabled
    assert cudnn.is_available() == (cudnn.version() is not None)


def test_nothing_is_imported_before_it_is_named():
    code = (
        "import sys, gradcore; assert 'gradcore.backends.cuda' not in sys.modules; gradcore.backends.cudnn.enabled; "
        "assert not gradcore.backends.cuda.matmul.allow_tf32; assert not {'cupy', 'cudnn', 'nvmath'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
    with pytest.raises(AttributeError, match="no attribute 'mps'"):
        gc.backends.mps  # noqa: B018


def test_version(library):
    assert cudnn.is_available() and cudnn.version() == 92800
