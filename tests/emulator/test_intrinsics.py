"""Warp operations, votes, barriers with a result, atomics and intrinsics, against their definitions."""

import ml_dtypes
import numpy as np
import pytest

from gradcore.backends.emulator import KernelError, using
from gradcore.backends.emulator import api as xp

SETTINGS = [("fast", "forward"), ("fast", "reverse"), ("check", "forward"), ("check", 3)]
LANE = np.arange(64) & 31
FULL = "0xffffffffu"


def run(body, threads=64, dtype=np.int32, size=None, headers="", more=()):
    """The array `o` after a launch of one block, in which `t` is the thread's number."""
    kind = {"int32": "int", "uint32": "unsigned", "float32": "float", "float64": "double", "int64": "long long"}
    parameters = "".join(f", int a{i}" for i in range(len(more)))
    code = (
        f'{headers}\nextern "C" __global__ void k({kind[np.dtype(dtype).name]}* o{parameters}) {{\n'
        f"  int t = threadIdx.x;\n  {body}\n}}"
    )
    out = xp.zeros(size or threads, dtype)
    xp.RawKernel(code, "k")((1,), (threads,), (out, *map(np.int32, more)))
    return out.get()


@pytest.fixture(params=SETTINGS, ids=lambda setting: f"{setting[0]}-{setting[1]}", autouse=True)
def settings(request):
    with using(mode=request.param[0], order=request.param[1]):
        yield


def test_shuffles():
    code = f"""
extern "C" __global__ void shuffles(int* o, int w, int s) {{
  int t = threadIdx.x, v = t * 10;
  o[t] = __shfl_sync({FULL}, v, s, w);
  o[64 + t] = __shfl_up_sync({FULL}, v, s, w);
  o[128 + t] = __shfl_down_sync({FULL}, v, s, w);
  o[192 + t] = __shfl_xor_sync({FULL}, v, s, w);
}}"""
    kernel = xp.RawKernel(code, "shuffles")
    for width in (1, 2, 4, 8, 16, 32):
        for argument in (0, 1, 2, 3, 5, 7, 15, 16, 31):
            out = xp.zeros(256, np.int32)
            kernel((1,), (64,), (out, np.int32(width), np.int32(argument)))
            first, last = LANE & ~(width - 1), LANE | (width - 1)
            sources = [
                first | (argument & (width - 1)),
                np.where(LANE - argument < first, LANE, LANE - argument),
                np.where(LANE + argument > last, LANE, LANE + argument),
                np.where((LANE ^ argument) > last, LANE, LANE ^ argument),
            ]
            expected = (np.array(sources) + (np.arange(64) & 32)) * 10
            np.testing.assert_array_equal(out.get().reshape(4, 64), expected, err_msg=f"{width=} {argument=}")


def test_shuffle_of_other_types():
    assert run(f"o[t] = __shfl_sync({FULL}, t * 0.5, 3);", dtype=np.float64)[[0, 40]].tolist() == [1.5, 17.5]
    assert run(f"o[t] = __shfl_sync({FULL}, (long long)t << 40, 2);", dtype=np.int64)[0] == 2 << 40


def test_half_masks_in_both_arms_of_a_branch():
    out = run(
        "if ((t & 31) < 16) o[t] = __shfl_xor_sync(0x0000ffffu, t, 1); else o[t] = __shfl_xor_sync(0xffff0000u, t, 2);"
    )
    np.testing.assert_array_equal(out, np.where(LANE < 16, np.arange(64) ^ 1, np.arange(64) ^ 2))


def test_votes():
    t = np.arange(64)
    np.testing.assert_array_equal(run(f"o[t] = __any_sync({FULL}, t == 5);"), t < 32)
    np.testing.assert_array_equal(run(f"o[t] = __all_sync({FULL}, t < 63);"), t < 32)
    assert (run(f"o[t] = __ballot_sync({FULL}, t & 1);", dtype=np.uint32) == 0xAAAAAAAA).all()
    assert (run("o[t] = __activemask() >> (t & 31) & 1;", threads=40) == 1).all()
    matches = run(f"o[t] = __match_any_sync({FULL}, t % 3);", dtype=np.uint32)
    assert matches[0] == sum(1 << lane for lane in range(0, 32, 3))
    everyone = run(f"int p; unsigned m = __match_all_sync({FULL}, t / 32 ? 7 : t, &p); o[t] = p ? (int)m : 0;")
    np.testing.assert_array_equal(everyone, np.where(t < 32, 0, -1))


def test_warp_reductions():
    t = np.arange(64)
    np.testing.assert_array_equal(run(f"o[t] = __reduce_add_sync({FULL}, t);"), np.where(t < 32, 496, 1520))
    np.testing.assert_array_equal(run(f"o[t] = __reduce_min_sync({FULL}, -t);"), np.where(t < 32, -31, -63))
    np.testing.assert_array_equal(run(f"o[t] = __reduce_max_sync({FULL}, (unsigned)t);"), np.where(t < 32, 31, 63))
    np.testing.assert_array_equal(run(f"o[t] = __reduce_xor_sync({FULL}, (unsigned)t);"), 0)


def test_barriers_with_a_result():
    assert (run("o[t] = __syncthreads_count(t % 3 == 0);") == 22).all()
    assert (run("o[t] = __syncthreads_or(t == 63);") == 1).all()
    assert (run("o[t] = __syncthreads_and(t < 63);") == 0).all()


def test_atomics():
    assert run("atomicAdd(&o[0], t);")[0] == 2016
    assert run("atomicAdd(&o[0], (double)t);", dtype=np.float64)[0] == 2016
    assert run("atomicAdd(&o[0], (float)t);", dtype=np.float32)[0] == 2016
    assert run("atomicMax(&o[0], t); atomicMin(&o[1], -t);")[:2].tolist() == [63, -63]
    assert run("atomicOr(&o[0], 1 << (t & 15)); atomicXor(&o[1], 5);")[:2].tolist() == [0xFFFF, 0]
    assert run("atomicInc(&o[0], 9u);", dtype=np.uint32)[0] == 4
    assert run("atomicSub(&o[0], 1); atomicExch(&o[1], 7);")[:2].tolist() == [-64, 7]
    assert run("int seen = o[1]; do { seen = atomicCAS(&o[0], seen, seen + 2); } while (0);", threads=1, size=2)[0] == 2


@pytest.mark.usefixtures("half_headers")
def test_half_precision():
    headers = "#include <cuda_fp16.h>\n#include <cuda_bf16.h>"
    body = "__half h = __float2half(0.1f * t); o[t] = __half2float(__hmul(h, h)) + __half2float(hexp(h));"
    t = np.float16(np.float32(0.1) * np.arange(64, dtype=np.float32))
    np.testing.assert_allclose(
        run(body, dtype=np.float32, headers=headers),
        (t * t).astype(np.float32) + np.exp(t.astype(np.float32)).astype(np.float16).astype(np.float32),
        rtol=2e-3,
    )
    code = (
        headers
        + r"""
extern "C" __global__ void accumulate(__half* h, __nv_bfloat16* b, __half2* pair) {
  atomicAdd(h, __float2half(1.f));
  atomicAdd(b, __float2bfloat16(2.f));
  atomicAdd(pair, __floats2half2_rn(1.f, 3.f));
}"""
    )
    half, bfloat, pair = xp.zeros(1, np.float16), xp.zeros(1, ml_dtypes.bfloat16), xp.zeros(2, np.float16)
    xp.RawKernel(code, "accumulate")((1,), (32,), (half, bfloat, pair.view(np.uint32).view(np.float16)))
    assert (half.item(), float(bfloat.item()), pair.tolist()) == (32.0, 64.0, [32.0, 96.0])


def test_bits_and_integers():
    body = "o[t] = __popc(t) + 100 * __clz(t) + 10000 * __ffs(t);"
    t = np.arange(64)
    expected = [
        bin(i).count("1") + 100 * (32 - int(i).bit_length()) + 10000 * ((int(i) & -int(i)).bit_length()) for i in t
    ]
    np.testing.assert_array_equal(run(body), expected)
    assert run("o[t] = __brev((unsigned)t);", dtype=np.uint32)[1] == 1 << 31
    assert run("o[t] = __umulhi(0xffffffffu, (unsigned)t);", dtype=np.uint32)[10] == 9
    assert run("o[t] = __funnelshift_l(0x80000000u, (unsigned)t, 1);", dtype=np.uint32)[3] == 7
    assert run("o[t] = __byte_perm(0x33221100u, 0x77665544u, 0x7531u);", dtype=np.uint32)[0] == 0x77553311
    assert run("o[t] = __float2int_rn(t + 0.5f);")[:4].tolist() == [0, 2, 2, 4]
    assert run("o[t] = __float2int_rz(-1e30f * t);")[[0, 1]].tolist() == [0, -(2**31)]


def test_math():
    x = np.linspace(-0.99, 0.99, 64)
    from math import erf

    values = run("o[t] = erfinv(-0.99 + t * (1.98 / 63));", dtype=np.float64)
    np.testing.assert_allclose([erf(v) for v in values], x, rtol=1e-13)
    np.testing.assert_allclose(run("o[t] = erfinv(1 - 1e-12);", dtype=np.float64)[0], 5.0420297398, rtol=1e-6)
    assert run("o[t] = rsqrtf(4.f) + fmaxf(0.f, __int_as_float(0x7fffffff));", dtype=np.float32)[0] == 0.5
    np.testing.assert_allclose(run("o[t] = sinpif(t * 0.5f);", dtype=np.float32)[:4], [0, 1, 0, -1], atol=1e-7)


def test_denormals_are_flushed():
    # A run-time factor: the compiler must not do the multiplication.
    assert run("o[t] = 1e-38f * (0.1f * a0);", dtype=np.float32, more=(1,))[0] == 0


def test_thread_indices():
    code = """
extern "C" __global__ void k(int* o) {
  int block = blockIdx.x + gridDim.x * (blockIdx.y + gridDim.y * blockIdx.z);
  int thread = threadIdx.x + blockDim.x * (threadIdx.y + blockDim.y * threadIdx.z);
  o[block * blockDim.x * blockDim.y * blockDim.z + thread] = threadIdx.x + 10 * threadIdx.y + 100 * threadIdx.z
      + 1000 * blockIdx.x + 10000 * blockIdx.y + 100000 * blockIdx.z;
}"""
    out = xp.zeros(2 * 3 * 4 * 24, np.int32)
    xp.RawKernel(code, "k")((4, 3, 2), (4, 3, 2), (out,))
    axes = [np.arange(n) for n in (2, 3, 4, 2, 3, 4)]
    z, y, x, tz, ty, tx = np.meshgrid(*axes, indexing="ij")
    expected = tx + 10 * ty + 100 * tz + 1000 * x + 10000 * y + 100000 * z
    np.testing.assert_array_equal(out.get(), expected.ravel())


def test_shared_memory_is_not_kept_between_blocks():
    code = """
extern "C" __global__ void k(float* o) {
  __shared__ float s;
  if (threadIdx.x == 0 && blockIdx.x % 2 == 0) s = 1.f;
  __syncthreads();
  if (threadIdx.x == 1) o[blockIdx.x] = s;
}"""
    out = xp.zeros(4, np.float32)
    kernel = xp.RawKernel(code, "k")
    try:
        kernel((4,), (32,), (out,))
        np.testing.assert_array_equal(out.get(), [1, np.nan, 1, np.nan])
    except KernelError as error:  # check mode
        assert "read of uninitialised static __shared__ memory" in str(error)
