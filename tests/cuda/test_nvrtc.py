"""What NVRTC makes of the kernels. (conftest.py compiles every kernel that any test uses.)"""

from __future__ import annotations

import re

import numpy as np
import nvrtc
import pytest

from gradcore import expr
from gradcore.backends.cpp import sources
from gradcore.backends.cuda import compiler
from gradcore.backends.cuda.elementwise import source
from gradcore.backends.cuda.layout import Access
from gradcore.expr import trace

pytestmark = pytest.mark.skipif(not nvrtc.available(), reason=nvrtc.missing())

F32 = np.dtype(np.float32)


def ptx_of(text: str) -> str:
    image, _ = nvrtc.nvrtc().compile(sources.assemble(text), "compute_80", compiler.OPTIONS)
    return image.decode()


def flat(dtype: np.dtype, width: int) -> str:
    program = trace(lambda x, y: x * y)
    return source("flat", program, [dtype, dtype], dtype, [dtype], Access("vv", width), True, 1, False, 2)


@pytest.mark.parametrize("dtype", [np.float32, np.float16, np.float64, np.int32])
def test_flat_kernels_move_sixteen_bytes_at_once(dtype):
    dtype = np.dtype(dtype)
    ptx = ptx_of(flat(dtype, 16 // dtype.itemsize))
    # Two operands, two vectors of each in flight. Doubles are stored in pairs.
    assert len(re.findall(r"ld\.global(?:\.nc)?\.v4", ptx)) == 4
    assert len(re.findall(r"st\.global\.v[24]", ptx)) == 2
    assert not re.findall(r"ld\.global(?:\.nc)?\.v4", ptx_of(flat(dtype, 1)))


def test_neighbours_share_a_philox_block():
    program = trace(lambda s, o: expr.uniform(s, o))
    text = source("draw", program, [int, int], F32, [F32], Access("", 4), True, 1, False, 1)
    # Ten rounds of two products for a vector, and as many for the single elements at the end.
    assert ptx_of(text).count("mul.hi.u32") <= 40


def test_programs_share_subexpressions():
    program = trace(lambda x: (x * x + 1) * (x * x + 1))
    text = source("square", program, [F32], F32, [F32], Access("v", 1), True, 1, False, 1)
    assert text.count(" * ") == 2


@pytest.mark.parametrize(
    "text",
    [
        'extern "C" __global__ void k(float *x) { x[0] = INFINITY; }',
        'extern "C" __global__ void k(int64_t *x) { x[0] = 0; }',
        "#include <cmath>\n",
    ],
)
def test_what_nvrtc_refuses_is_refused(text, tmp_path):
    with pytest.raises(nvrtc.NvrtcError):
        nvrtc.verify(text, compiler.OPTIONS, cache=tmp_path)


def test_spills_are_found(tmp_path):
    text = """
    extern "C" __global__ void __launch_bounds__(1024) hungry(float *x) {
      float a[100];
      #pragma unroll
      for (int i = 0; i < 100; i++) a[i] = __sinf(x[i * 1024 + threadIdx.x]);
      for (int j = 0; j < 100; j++) {
        #pragma unroll
        for (int i = 0; i < 100; i++) a[i] = a[i] * a[99 - i] + x[j];
      }
      #pragma unroll
      for (int i = 0; i < 100; i++) x[i * 1024 + threadIdx.x] = a[i];
    }"""
    with pytest.raises(nvrtc.NvrtcError, match="spill.*hungry"):
        nvrtc.verify(text, compiler.OPTIONS, cache=tmp_path)
    assert not list(tmp_path.iterdir())


def test_what_passed_is_not_compiled_again(tmp_path, monkeypatch):
    text = 'extern "C" __global__ void k(float *x) { x[0] = 1.0f; }'
    nvrtc.verify(text, compiler.OPTIONS, cache=tmp_path)
    assert len(list(tmp_path.iterdir())) == 2
    monkeypatch.setattr(nvrtc.Nvrtc, "compile", None)
    nvrtc.verify(text, compiler.OPTIONS, cache=tmp_path)
