"""Bugs planted one at a time in sound kernels and launches: check mode reports each, or the numbers are wrong."""

from collections.abc import Callable
from functools import partial

import numpy as np
import pytest
from emulator import cases, sources
from emulator.cases import floats, launch

from gradcore.backends.emulator import KernelError, using
from gradcore.backends.emulator import api as xp

WRONG_NUMBERS = None


def planted(case: Callable, source: str, old: str, new: str, **kwargs) -> Callable:
    """`case` with a replacement made in its kernel's source."""
    assert old in source, old
    return partial(case, code=source.replace(old, new, 1), **kwargs)


def overflowing_index():
    code = """
extern "C" __global__ void overflow(float* y, int rows, int cols) {
  int i = (int)blockIdx.x * cols + (int)threadIdx.x;
  if (i >= 0 && i < 64) y[i] = 1.f;
}"""
    y = xp.zeros(64, np.float32)
    launch(code, "overflow", (3,), (64,), (y, np.int32(3), np.int32(2**30 + 7)))


def one_thread(statement, *args, time_limit=60.0):
    """Runs one statement with a float* p and an int n."""
    code = f'extern "C" __global__ void one(float* p, int n) {{\n  {statement}\n}}'
    with using(time_limit=time_limit):
        launch(code, "one", (1,), (1,), args or (xp.zeros(8, np.float32), np.int32(0)))


def spin_lock():
    code = """
extern "C" __global__ void spin(int* flag, int* y) {
  if (threadIdx.x == 0) {
    while (atomicAdd(flag, 0) == 0);
    y[0] = 1;
  } else if (threadIdx.x == 33) atomicExch(flag, 1);
}"""
    with using(time_limit=0.2, order="forward"):
        launch(code, "spin", (1,), (64,), (xp.zeros(1, np.int32), xp.zeros(1, np.int32)))


def too_few_arguments():
    launch(sources.VECTOR4, "gelu_axpb", (1,), (256,), (floats(8), floats(8), np.float32(1)))


def freed_array_in_table():
    array = xp.zeros(10, np.float32)
    table = np.array([array.data.ptr], np.uint64)
    del array
    launch(sources.POINTER_TABLE, "scale_all", (1,), (32,), (table, np.array([10], np.int32), np.float32(3)))


def table_past_the_end():
    array = xp.zeros(10, np.float32)
    args = (np.array([array.data.ptr], np.uint64), np.array([11], np.int32), np.float32(3))
    launch(sources.POINTER_TABLE, "scale_all", (1,), (32,), args)


def write_beside_a_view():
    base = xp.zeros(100, np.float32)
    launch(sources.STENCIL, "stencil", (1,), (64,), (floats(64), base[10:60], np.int32(64)))


SYNC_AFTER_WRITE = "if (lane == 0) part[w] = v;\n  __syncthreads();"
LAST_SYNC = "part[lane] : unit, f);\n  __syncthreads();"
TAIL = "if (i < n) y[i] = gelu(fmaf(x[i], a, b));"
SECOND_REDUCE = "v = warp_reduce(lane < (blockDim.x >> 5) ? part[lane] : unit, f);"

# name: (what runs, what check mode reports)
BUGS: dict[str, tuple[Callable, str | None]] = {
    "no __syncthreads after writing the partial sums": (
        planted(cases.row_sum, sources.REDUCE, SYNC_AFTER_WRITE, "if (lane == 0) part[w] = v;"),
        r"row_sum: block .* read of uninitialised static __shared__ memory .*\(line 12 ",
    ),
    "no __syncthreads before shared memory is used again": (
        planted(cases.layernorm, sources.LAYERNORM, LAST_SYNC, LAST_SYNC.split("\n")[0], cols=200),
        r"data race \(write after read\) on static __shared__ memory",
    ),
    "no __syncthreads in the tree loop": (
        planted(cases.layernorm, sources.LAYERNORM, "tx]; }\n    __syncthreads();", "tx]; }"),
        r"data race .* on static __shared__ memory",
    ),
    "no __syncthreads between the two sides of a transpose": (
        planted(cases.transpose, sources.TRANSPOSE, "__syncthreads();", ""),
        r"(data race|read of uninitialised)",
    ),
    "no __syncwarp": (
        planted(cases.swap_in_warp, sources.SWAP_IN_WARP, "__syncwarp();", ""),
        r"(data race|read of uninitialised)",
    ),
    "__syncwarp across warps": (
        planted(cases.swap_in_warp, sources.SWAP_IN_WARP, "s[t ^ 1]", "s[t ^ 33]"),
        r"(data race|read of uninitialised)",
    ),
    "no fence before the last block's counter": (
        planted(cases.last_block, sources.LAST_BLOCK, "__threadfence();", ""),
        r"data race \(read after write\) on argument 1 ",
    ),
    "tail off by one": (
        planted(cases.vector4, sources.VECTOR4, TAIL, TAIL.replace("i < n", "i <= n")),
        r"out-of-bounds read of 4 bytes: 0 bytes past the end of argument 0, which has 4012 bytes \(line 21 ",
    ),
    "tail forgotten": (planted(cases.vector4, sources.VECTOR4, TAIL, ""), WRONG_NUMBERS),
    "vector loop rounds up": (
        planted(cases.vector4, sources.VECTOR4, "n4 = n >> 2", "n4 = (n + 3) >> 2"),
        r"out-of-bounds read of 16 bytes|out-of-bounds read of 4 bytes",
    ),
    "no guard": (
        planted(cases.broadcast, sources.BROADCAST, "if (i >= n) return;", ""),
        r"out-of-bounds .* argument",
    ),
    "write beside a view, inside its base": (
        write_beside_a_view,
        r"out-of-bounds write of 4 bytes: \d+ bytes past the end of argument 1",
    ),
    "negative index": (partial(one_thread, "p[n - 1] = 0.f;"), r"out-of-bounds write .* 4 bytes before the begin of"),
    "null pointer": (
        partial(one_thread, "p[0] = 0.f;", None, np.int32(0)),
        r"out-of-bounds write of 4 bytes at address",
    ),
    "int32 for a long long": (
        partial(cases.vector4, n=np.int32(1003)),
        r"argument 4 is int32 \(4 bytes\), the kernel has int64 \(8 bytes\).*pass np\.int64",
    ),
    "Python float for a float": (partial(cases.vector4, a=1.5), r"argument 2 is float64 .*pass np\.float32"),
    "float64 array for a float*": (
        partial(cases.vector4, x=np.zeros(1003)),
        r"argument 0 is an array of float64, the kernel has const float32\*",
    ),
    "array for a number": (partial(cases.vector4, a=floats(1003)), r"argument 2 is an array, the kernel has float32"),
    "number for an array": (partial(cases.vector4, x=np.float32(1)), r"argument 0 is float32 .*pass a device array"),
    "one argument too few": (too_few_arguments, r"3 arguments given, the kernel has 5: \(const float32\*, float32\*"),
    "mask of half a warp": (
        planted(cases.row_sum, sources.REDUCE, "0xffffffffu, v, d", "0x0000ffffu, v, d"),
        r"__shfl_xor_sync at line 4: the calling lane \d+ is not in its mask 0000ffff",
    ),
    "shuffle in a divergent branch": (
        planted(cases.row_sum, sources.REDUCE, SECOND_REDUCE, "if (lane < 8) " + SECOND_REDUCE),
        r"(deadlock or divergent barrier|warp divergence|left the kernel while|waits? for it)",
    ),
    "lanes with different masks": (
        planted(
            cases.row_sum, sources.REDUCE, "0xffffffffu, v, d", "(threadIdx.x & 1) ? 0xffffffffu : 0x55555555u, v, d"
        ),
        r"warp divergence: this lane is in __shfl_xor_sync",
    ),
    "shuffle width 16": (planted(cases.row_sum, sources.REDUCE, "v, d));", "v, d, 16));"), WRONG_NUMBERS),
    "shuffle width 12": (
        planted(cases.row_sum, sources.REDUCE, "v, d));", "v, d, 12));"),
        r"the width 12 is not a power of two",
    ),
    "warp reduction starts at 8": (planted(cases.row_sum, sources.REDUCE, "int d = 16", "int d = 8"), WRONG_NUMBERS),
    "early return before __syncthreads": (
        planted(cases.reverse, sources.REVERSE, "/*here*/", "if (i >= n) return;"),
        r"deadlock or divergent barrier; .*have left the kernel",
    ),
    "__syncthreads in both arms of a divergent if": (
        planted(
            cases.reverse,
            sources.REVERSE,
            "__syncthreads();",
            "if (threadIdx.x < 64) __syncthreads();\nelse __syncthreads();",
        ),
        r"divergent barrier: this thread is in __syncthreads at line \d+, others",
    ),
    "__syncthreads in one arm only": (
        planted(cases.reverse, sources.REVERSE, "__syncthreads();", "if (threadIdx.x < 64) __syncthreads();"),
        r"(read of uninitialised|deadlock or divergent barrier|data race)",
    ),
    "float4 access to a misaligned view": (
        partial(cases.vector4, size=1004, offset=1),
        r"misaligned access: 'const struct float4' needs 16-byte alignment",
    ),
    "shared array too small": (
        planted(cases.row_sum, sources.REDUCE, "part[32]", "part[4]"),
        r"index \d+ is out of the bounds of 'float \[4\]'",
    ),
    "uninitialised shared memory": (
        planted(cases.row_sum, sources.REDUCE, "lane < (blockDim.x >> 5) ? part[lane] : unit", "part[lane]"),
        r"read of uninitialised static __shared__ memory at byte \d+",
    ),
    "dynamic shared memory too small": (
        partial(cases.softmax, sources.SOFTMAX, shared=776 * 4),
        r"write outside the 3104 bytes of dynamic shared memory \(at byte 3104\)",
    ),
    "dynamic shared memory over the limit": (
        partial(cases.softmax, sources.SOFTMAX, shared=60000),
        r"60000 bytes of dynamic shared memory, 49152 are allowed",
    ),
    "+= instead of atomicAdd": (
        planted(cases.histogram, sources.HISTOGRAM, "atomicAdd(&h[v[i]], 1)", "h[v[i]] += 1"),
        r"data race .* on argument 1 at byte \d+: block \d+ thread \d+ touched it too",
    ),
    "stencil in place": (partial(cases.stencil, in_place=True), r"data race .* on argument 0"),
    "all blocks write one element": (
        planted(cases.row_sum, sources.REDUCE, "y[blockIdx.x] = s", "y[0] = s"),
        r"data race \(write after write\) on argument 1 at byte 0",
    ),
    "index overflows int": (overflowing_index, r"signed integer overflow in \* \(line 3 "),
    "shift too far": (partial(one_thread, "p[1 << (n + 40)] = 0.f;"), r"shift out of bounds \(line 2 "),
    "division by zero": (partial(one_thread, "p[0] = 5 / n;"), r"integer division by zero \(line 2 "),
    "failed assertion": (partial(one_thread, "assert(n == 1);"), r"assertion failed at line 2: n == 1"),
    "pointer table to freed memory": (freed_array_in_table, r"out-of-bounds read of 4 bytes"),
    "pointer table past the end of its array": (
        table_past_the_end,
        r"out-of-bounds read of 4 bytes: 0 bytes past the end of an array reached through its address",
    ),
    "pointer table with a stray address": (partial(cases.pointer_table, stray=True), r"out-of-bounds read of 4 bytes"),
    "block of 2048 threads": (partial(cases.row_sum, block=2048), r"a block of \(2048, 1, 1\) threads, at most 1024"),
    "block not a multiple of the warp": (partial(cases.row_sum, block=40), WRONG_NUMBERS),
    "spin lock": (spin_lock, r"more than 0\.2 s of CPU time: an endless loop\? \(line 4 "),
    "endless loop": (
        partial(one_thread, "while (n == 0) { *(volatile float*)p = 1.f; }", time_limit=0.2),
        r"more than 0\.2 s of CPU time: an endless loop\? \(line 2 ",
    ),
    "endless recursion": (
        partial(
            one_thread,
            "struct F { __device__ static int f(int k, volatile float* p) {"
            " p[0] = k; return f(k + 1, p) + (int)p[0]; } }; p[1] = F::f(0, p);",
        ),
        r"stack overflow: a thread's local variables need more than 128 kB",
    ),
}


@pytest.mark.parametrize("order", ["forward", 7])
@pytest.mark.parametrize("name", BUGS)
def test_planted_bug(name, order, request):
    run, report = BUGS[name]
    if "dynamic shared memory" in name:
        request.getfixturevalue("half_headers")
    with using(mode="check", order=order):
        if report is WRONG_NUMBERS:
            with pytest.raises(AssertionError):
                run()
        else:
            with pytest.raises(KernelError, match=report):
                run()


# Without the checks the same bugs are noticed where they crash, hang, break a barrier or touch a guard zone.
NOTICED_IN_FAST_MODE = [
    "mask of half a warp",
    "early return before __syncthreads",
    "__syncthreads in both arms of a divergent if",
    "shared array too small",
    "dynamic shared memory too small",
    "tail off by one",
    "no guard",
    "division by zero",
    "failed assertion",
    "null pointer",
    "spin lock",
    "endless loop",
    "endless recursion",
    "int32 for a long long",
]


@pytest.mark.parametrize("name", NOTICED_IN_FAST_MODE)
def test_planted_bug_in_fast_mode(name, request):
    run, _ = BUGS[name]
    if "dynamic shared memory" in name:
        request.getfixturevalue("half_headers")
    with using(mode="fast"), pytest.raises(KernelError):
        run()


def test_the_device_works_on_after_an_error():
    for mode in ("fast", "check"):
        with using(mode=mode):
            with pytest.raises(KernelError):
                BUGS["division by zero"][0]()
            cases.row_sum()
